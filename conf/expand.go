package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"
)

const (
	filePrefix = "file:"
	// maxTarget bounds what a file: target may hold, in bytes: it is one value of the configuration.
	maxTarget = 64 << 10
)

// expand replaces each ${NAME} in s by that environment variable, whose text is not looked into again.
func (r *reader) expand(s string) (value string, replaced bool, err error) {
	if !strings.Contains(s, "${") {
		return s, false, nil
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		b.WriteString(before)
		if !found {
			return b.String(), true, nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || !isEnvName(name) {
			// It could be taken as it stands, but then a slip in a name would become part of a secret unseen.
			return "", false, errors.New(`has "${" without an environment variable's name and "}" after it; a text that holds "${" itself can come from a file: or a variable`)
		}
		v, ok := r.getenv(name)
		if !ok {
			return "", false, fmt.Errorf("the environment variable %s is not set", shorten(name))
		}
		if !utf8.ValidString(v) {
			return "", false, fmt.Errorf("the environment variable %s is not UTF-8", shorten(name))
		}
		b.WriteString(v)
		s = after
	}
}

func isEnvName(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c == '_', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return s != ""
}

// content returns the text of a file: target without the blanks around it, and remembers its name.
// A relative name counts from the process's working directory, like token-cache-dir and data-dir.
func (r *reader) content(name string) (string, error) {
	if name == "" {
		return "", errors.New(`names no file; write "file:/run/secrets/x"`)
	}
	r.watch(name)
	data, err := r.readFile(name)
	if err != nil {
		return "", fmt.Errorf("cannot read the file %s: %w", quote(name), reason(err))
	}
	if !utf8.Valid(data) {
		return "", fmt.Errorf("the file %s is not UTF-8", quote(name))
	}
	return string(bytes.TrimSpace(trimBOM(data))), nil
}

// watch remembers a file that the configuration is made from.
func (r *reader) watch(name string) {
	if !r.seen[name] {
		r.seen[name] = true
		r.files = append(r.files, name)
	}
}

// readTarget reads a small regular file. A pipe would block, and could not be read again at a reload.
func readTarget(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return readUpTo(name, maxTarget)
}

// readUpTo reads a file of at most limit bytes.
func readUpTo(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it is larger than %s", sizeText(int(limit)))
	}
	return data, nil
}

// reason strips the operation and the file name off an error of package os: the caller has named the file.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// trimBOM drops the byte order mark that some editors on Windows put in front.
func trimBOM(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\ufeff")) }
