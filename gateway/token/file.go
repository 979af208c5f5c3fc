package token

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"wx-gateway/gateway/codec"
)

// Cache keeps one value over restarts.
type Cache interface {
	// Load returns the value last saved; false if there is none.
	Load() (Token, bool, error)
	// Save replaces it.
	Save(Token) error
}

const (
	maxFile   = 64 << 10 // bytes of a cache file that is read
	maxExpire = 1 << 40  // unix seconds; beyond any date
)

// File is a Cache in one file, as go-wx-gateway writes it:
//
//	{"<key>":"…","expire":1700000000}
//
// expire is in unix seconds. Methods may be called at the same time, also by
// several processes: the file is always replaced as a whole.
type File struct {
	dir, name, key string
}

// NewFile returns the cache in dir/name; key is the value's name inside, "token"
// or "ticket". dir is created when first needed. A name with other characters
// than those of app-ids (A-Z a-z 0-9 _ . -) or a leading dot, and an empty dir,
// are refused by Load and Save.
func NewFile(dir, name, key string) *File {
	return &File{dir: dir, name: name, key: key}
}

// path is where the file is.
func (f *File) path() (string, error) {
	if f.dir == "" {
		return "", errors.New("cannot use token cache: no folder given")
	}
	ok := f.name != "" && len(f.name) <= 128 && f.name[0] != '.'
	for i := 0; ok && i < len(f.name); i++ {
		c := f.name[i]
		ok = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
	}
	if !ok {
		return "", fmt.Errorf("cannot use token cache %.140q: not a file name made of A-Z a-z 0-9 _ . -", f.name)
	}
	return filepath.Join(f.dir, f.name), nil
}

// Load reads the file; false if there is none. A file that is not what Save
// writes is an error; its content never stands in the error.
func (f *File) Load() (Token, bool, error) {
	path, err := f.path()
	if err != nil {
		return Token{}, false, err
	}
	data, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Token{}, false, nil
	case err != nil:
		return Token{}, false, fmt.Errorf("cannot read token cache: %w", err)
	}
	t, err := parse(data, f.key)
	if err != nil {
		return Token{}, false, fmt.Errorf("cannot read token cache %s: %w", path, err)
	}
	return t, true, nil
}

// readFile reads a regular file of at most maxFile bytes. Anything else, a FIFO
// say, could block for ever.
func readFile(path string) ([]byte, error) {
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return data, err
}

// parse reads a file's content. The codec's errors are left out: they quote
// what they were given.
func parse(data []byte, key string) (Token, error) {
	var fields map[string]codec.RawMessage
	if codec.Unmarshal(data, &fields) != nil || fields == nil {
		return Token{}, errors.New("not a JSON object")
	}
	var value string
	if codec.Unmarshal(fields[key], &value) != nil || value == "" || len(value) > maxValue {
		return Token{}, fmt.Errorf("%q is not a string of 1 to %d bytes", key, maxValue)
	}
	expire, err := strconv.ParseInt(string(fields["expire"]), 10, 64)
	if err != nil || expire < 0 || expire > maxExpire {
		return Token{}, errors.New(`"expire" is not a number of unix seconds`)
	}
	return Token{Value: value, Expires: time.Unix(expire, 0)}, nil
}

// Save writes the file, mode 0600, such that a crash at any moment leaves the
// old or the new one.
func (f *File) Save(t Token) error {
	path, err := f.path()
	if err != nil {
		return err
	}
	// Rounded down to whole seconds: never served beyond its end.
	data := append([]byte{'{'}, codec.AppendString(nil, f.key)...)
	data = codec.AppendString(append(data, ':'), t.Value)
	data = append(data, `,"expire":`...)
	data = strconv.AppendInt(data, t.Expires.Unix(), 10)
	data = append(data, '}', '\n')
	if err := f.write(path, data); err != nil {
		return fmt.Errorf("cannot write token cache: %w", err)
	}
	return nil
}

func (f *File) write(path string, data []byte) (err error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	// A name of its own for each write (mode 0600): two processes may share
	// the folder while one takes over from the other.
	tmp, err := os.CreateTemp(f.dir, "."+f.name+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close() // a second close does no harm
			os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	// The rename itself survives a power cut only when the folder is synced;
	// file systems that cannot do that still have a whole file.
	if dir, err := os.Open(f.dir); err == nil {
		_ = dir.Sync()
		dir.Close()
	}
	return nil
}
