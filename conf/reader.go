package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of one object of the file.
const (
	maxKeys = 10_000 // keys of an object, notes included
	maxList = 1_000  // entries of a list of strings
)

// reader turns the file's text into Go values and notes every problem with its path instead of stopping at the first.
type reader struct {
	faults, warnings problems

	getenv   func(string) (string, bool)
	readFile func(string) ([]byte, error) // content of a file: target
	verbatim bool                         // strings come from the environment already: nothing in them is replaced

	files []string        // file: targets and other files met, once each
	seen  map[string]bool // the same, for looking up
	keys  map[string]bool // every key asked for, as `services[].wx-params.token`
	bad   map[string]bool // every path that has a fault

	names map[string]string // services[0] → its name

	notes     []string // paths of the first unknown keys that are notes
	moreNotes int      // how many there are besides
}

func newReader(getenv func(string) (string, bool)) *reader {
	if getenv == nil {
		getenv = func(string) (string, bool) { return "", false }
	}
	return &reader{
		getenv: getenv, readFile: readTarget,
		seen: map[string]bool{}, keys: map[string]bool{}, bad: map[string]bool{}, names: map[string]string{},
	}
}

// fault notes that what stands at path is refused.
func (r *reader) fault(path, format string, args ...any) {
	r.faults.add(path, format, args...)
	r.bad[path] = true
}

// warn notes that what stands at path is doubtful.
func (r *reader) warn(path, format string, args ...any) { r.warnings.add(path, format, args...) }

// service is the name of the service that path leads into.
func (r *reader) service(path string) string {
	if i := strings.IndexByte(path, ']'); i >= 0 {
		return r.names[path[:i+1]]
	}
	return ""
}

// named is path with its service's name, for a text.
func (r *reader) named(path string) string { return named(path, r.service(path)) }

// problems are the faults or warnings, each with its service.
func (r *reader) problems(p *problems) []Problem {
	list := p.all()
	for i := range list {
		list[i].Service = r.service(list[i].Path)
	}
	return list
}

// object is a JSON object on its way into Go: each value is asked for by its key, and done complains about the
// keys that nobody asked for. An absent object is an empty one.
type object struct {
	r       *reader
	path    string // for problems; "" at the top
	pattern string // path without indexes and names
	members []member
	last    map[string]int // key → index of its last occurrence in members
	used    map[string]bool
	known   []string
	present bool
}

// object wraps raw, a JSON value that should be an object. nil stands for an absent one.
func (r *reader) object(raw []byte, path, pattern string) *object {
	o := &object{r: r, path: path, pattern: pattern, last: map[string]int{}, used: map[string]bool{}}
	if raw == nil {
		return o
	}
	if raw[0] != '{' {
		r.fault(path, "must be an object {…}, got %s", jsonType(raw))
		return o
	}
	var more bool
	if o.members, more = members(raw, maxKeys); more {
		r.fault(path, "holds more than %d keys", maxKeys)
	}
	o.present = true
	for i, m := range o.members {
		if _, twice := o.last[m.key]; twice {
			r.warn(o.at(m.key), "stands twice; the last one counts, remove the other")
		}
		o.last[m.key] = i
	}
	return o
}

func (o *object) at(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

// fault notes that the value of key is refused.
func (o *object) fault(key, format string, args ...any) {
	o.r.fault(o.at(key), format, args...)
}

// warn notes that the value of key is doubtful.
func (o *object) warn(key, format string, args ...any) {
	o.r.warn(o.at(key), format, args...)
}

// bad reports whether the value of key has been refused.
func (o *object) bad(key string) bool { return o.r.bad[o.at(key)] }

// take returns the raw value of key, nil when it is absent or null.
func (o *object) take(key string) []byte {
	o.known = append(o.known, key)
	pattern := key
	if o.pattern != "" {
		pattern = o.pattern + "." + key
	}
	o.r.keys[pattern] = true

	i, exact, found := o.find(key)
	if !found {
		return nil
	}
	m := o.members[i]
	o.used[m.key] = true
	if !exact {
		o.warn(m.key, "is taken for %q; write it so", key)
	}
	if string(m.value) == "null" {
		return nil
	}
	return m.value
}

// find returns the index of the member that key means, and whether it is written exactly so:
// the reference reads its file with encoding/json, to which workernum and workerNum are the same.
func (o *object) find(key string) (index int, exact, found bool) {
	if i, ok := o.last[key]; ok {
		return i, true, true
	}
	for k, i := range o.last {
		if i >= index && strings.EqualFold(k, key) {
			index, found = i, true
		}
	}
	return index, false, found
}

// has reports whether the file has key with a value other than null.
func (o *object) has(key string) bool {
	i, _, found := o.find(key)
	return found && string(o.members[i].value) != "null"
}

// object returns the object under key.
func (o *object) object(key string) *object {
	pattern := key
	if o.pattern != "" {
		pattern = o.pattern + "." + key
	}
	return o.r.object(o.take(key), o.at(key), pattern)
}

// array returns the raw entries of the list under key: nil when the key is absent, empty but not nil for [].
func (o *object) array(key, of string, limit int) [][]byte {
	raw := o.take(key)
	if raw == nil {
		return nil
	}
	if raw[0] != '[' {
		o.fault(key, "must be a list […] of %s, got %s", of, jsonType(raw))
		return nil
	}
	list, more := elements(raw, limit)
	if more {
		o.fault(key, "holds more than %d entries", limit)
	}
	if list == nil {
		list = [][]byte{}
	}
	return list
}

// text is a string of the file after replacement.
type text struct {
	value    string
	written  string // as it stands in the file: what problems may quote, since the value may be a secret of the environment
	set      bool   // present and not null
	replaced bool   // holds ${NAME} or is a file: target
}

// text returns the string under key.
func (o *object) text(key string) text {
	raw := o.take(key)
	if raw == nil {
		return text{}
	}
	return o.r.text(raw, o.at(key))
}

func (r *reader) text(raw []byte, path string) text {
	if raw[0] != '"' {
		r.fault(path, "must be a string, got %s", jsonType(raw))
		return text{}
	}
	written := unquote(raw)
	if r.verbatim {
		return text{written, written, true, true}
	}
	value, replaced, err := r.expand(written)
	if err != nil {
		r.fault(path, "%s", err)
		return text{}
	}
	if name, ok := strings.CutPrefix(value, filePrefix); ok && strings.HasPrefix(written, filePrefix) {
		if value, err = r.content(name); err != nil {
			r.fault(path, "%s", err)
			return text{}
		}
		if value == "" {
			r.warn(path, "the file %s is empty", quote(name))
		}
		replaced = true
	}
	return text{value, written, true, replaced}
}

// str returns the string under key, "" when it is absent.
func (o *object) str(key string) string { return o.text(key).value }

// secret returns the string under key as a Secret.
func (o *object) secret(key string) Secret { return Secret(o.str(key)) }

// optional returns the string under key, which must be one of the options; "" when it is absent or refused.
func (o *object) optional(key string, options ...string) string {
	t := o.text(key)
	if t.value == "" {
		return ""
	}
	if !slices.Contains(options, t.value) {
		o.fault(key, "must be %s, got %s", oneOf(options), quote(t.written))
		return ""
	}
	return t.value
}

// choice does what optional does, and the first option is the default.
func (o *object) choice(key string, options ...string) string {
	return cmp.Or(o.optional(key, options...), options[0])
}

// list returns the strings under key: nil when the key is absent, empty but not nil for [].
func (o *object) list(key string, limit int) []text {
	raws := o.array(key, "strings", limit)
	if raws == nil {
		return nil
	}
	list := make([]text, len(raws))
	for i, raw := range raws {
		list[i] = o.r.text(raw, fmt.Sprintf("%s[%d]", o.at(key), i))
	}
	return list
}

// done warns about the keys that nobody asked for. Keys with non-ASCII letters or blanks are notes: one warning in
// all says that they were taken for such.
func (o *object) done() {
	for i, m := range o.members {
		if o.used[m.key] || o.last[m.key] != i {
			continue
		}
		if isNote(m.key) {
			o.r.note(o.at(shorten(m.key)))
			continue
		}
		if o.r.warnings.full() {
			o.r.warnings.dropped++ // no suggestion is worked out for a warning that nobody sees
			continue
		}
		path, mean := o.at(shorten(m.key)), ""
		if near := nearest(m.key, o.known); near != "" {
			mean = near
		} else {
			mean = o.elsewhere(m.key)
		}
		if mean == "" {
			o.r.warn(path, "unknown key, ignored")
		} else {
			o.r.warn(path, "unknown key, ignored; did you mean %q?", mean)
		}
	}
}

// maxNotes bounds the notes that are named.
const maxNotes = 5

// note remembers an unknown key that is no slip.
func (r *reader) note(path string) {
	if len(r.notes) < maxNotes {
		r.notes = append(r.notes, path)
		return
	}
	r.moreNotes++
}

// warnOfNotes tells in one warning which keys were taken for notes.
func (r *reader) warnOfNotes() {
	if len(r.notes) == 0 {
		return
	}
	more := ""
	if r.moreNotes > 0 {
		more = fmt.Sprintf(" and %d more", r.moreNotes)
	}
	r.warn("", "taken for notes, ignored: %s%s", strings.Join(r.notes, ", "), more)
}

// elsewhere returns where else key is known: beneath this object rather than far away, and shallow rather than deep.
func (o *object) elsewhere(key string) string {
	best, bestNear := "", false
	want := plain(key)
	for pattern := range o.r.keys {
		if plain(pattern[strings.LastIndexByte(pattern, '.')+1:]) != want {
			continue
		}
		pattern, near := strings.CutPrefix(pattern, o.pattern+".")
		if best == "" || near && !bestNear || near == bestNear && cmp.Or(len(pattern)-len(best), strings.Compare(pattern, best)) < 0 {
			best, bestNear = pattern, near
		}
	}
	return best
}

func isNote(key string) bool {
	return strings.ContainsFunc(key, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsSpace(r) })
}

// jsonType names the type of a raw value.
func jsonType(raw []byte) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return string(raw)
	case 'n':
		return "null"
	}
	return "a number"
}

func oneOf(options []string) string {
	quoted := make([]string, len(options))
	for i, s := range options {
		quoted[i] = strconv.Quote(s)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}
