package user

import (
	"bytes"
	"errors"
	"strings"

	"wx-gateway/gateway/codec"
)

// field is a name with its value in JSON.
type field struct{ name, value string }

// always are the fields that every user info has, with the value of those that
// WeChat left out: the struct that go-wx-gateway sends.
var always = [...]field{
	{"openid", `""`},
	{"nickname", `""`},
	{"sex", `0`},
	{"province", `""`},
	{"city", `""`},
	{"country", `""`},
	{"headimgurl", `""`},
	{"privilege", `[]`},
	{"unionid", `""`},
}

// isAlways reports whether name is one of always.
func isAlways(name string) bool {
	for _, a := range always {
		if a.name == name {
			return true
		}
	}
	return false
}

var errNoObject = errors.New("user info is not a JSON object")

// Fill returns the user info raw with the fields added that backends rely on
// and WeChat leaves out by account and year: openid, nickname, sex, province,
// city, country, headimgurl, privilege, unionid, each "", 0 or []. One that is
// null counts as left out. "errcode":0 and "errmsg":"ok" are dropped, of a name
// that repeats the last value holds, every other member keeps its place and its
// bytes. raw that is not a JSON object is an error; raw itself is not changed.
func Fill(raw []byte) (codec.RawMessage, error) {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 || raw[0] != '{' || !codec.Valid(raw) {
		return nil, errNoObject
	}
	members, err := split(raw)
	if err != nil {
		return nil, err
	}
	last := make(map[string]int, len(members))
	for i, m := range members {
		last[m.name] = i
	}
	for i, m := range members {
		if last[m.name] == i && !m.keep() {
			delete(last, m.name)
		}
	}
	out := append(make([]byte, 0, len(raw)+128), '{')
	for i, m := range members {
		if at, ok := last[m.name]; ok && at == i {
			out = append(separate(out), m.raw...)
		}
	}
	for _, a := range always {
		if _, ok := last[a.name]; !ok {
			out = appendField(out, a)
		}
	}
	return append(out, '}'), nil
}

// appendField appends f as a member.
func appendField(out []byte, f field) []byte {
	out = codec.AppendString(separate(out), f.name)
	return append(append(out, ':'), f.value...)
}

// separate appends the comma between two members.
func separate(out []byte) []byte {
	if len(out) > 1 {
		out = append(out, ',')
	}
	return out
}

// Unsubscribed returns the user info of somebody who does not follow the
// account (any more), in the words of WeChat and with the fields of Fill: what
// an unsubscribe event carries, without a call.
func Unsubscribed(openid string) codec.RawMessage {
	out := append([]byte(`{"subscribe":0,"openid":`), codec.AppendString(nil, openid)...)
	for _, a := range always[1:] { // all but openid
		out = appendField(out, a)
	}
	return append(out, '}')
}

// member is one "name":value of an object.
type member struct {
	name  string // decoded
	value []byte
	raw   []byte // the whole member as it stands
}

// keep reports whether m is part of a user info.
func (m member) keep() bool {
	switch m.name {
	case "errcode":
		return string(m.value) != "0"
	case "errmsg":
		return string(m.value) != `"ok"`
	}
	return string(m.value) != "null" || !isAlways(m.name)
}

// split cuts a valid JSON object into its members.
func split(raw []byte) ([]member, error) {
	var members []member
	for i := skipBlank(raw, 1); i < len(raw); {
		if raw[i] == '}' {
			return members, nil
		}
		if raw[i] == ',' {
			i = skipBlank(raw, i+1)
		}
		begin := i
		i = skipValue(raw, i)
		key := raw[begin:i]
		var name string
		if err := codec.Unmarshal(key, &name); err != nil {
			return nil, errNoObject
		}
		i = skipBlank(raw, i)
		i = skipBlank(raw, i+1) // the colon
		if i >= len(raw) {
			break
		}
		from := i
		i = skipValue(raw, i)
		members = append(members, member{name: name, value: raw[from:i], raw: raw[begin:i]})
		i = skipBlank(raw, i)
	}
	return nil, errNoObject
}

// skipBlank returns where the blanks that begin at i end.
func skipBlank(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\r' || raw[i] == '\n') {
		i++
	}
	return i
}

// skipValue returns where the valid JSON value that begins at i ends.
func skipValue(raw []byte, i int) int {
	depth := 0
	for i < len(raw) {
		switch raw[i] {
		case '"':
			i++
			for i < len(raw) && raw[i] != '"' {
				if raw[i] == '\\' {
					i++
				}
				i++
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // ends the object around a number, true, false or null
			}
			depth--
		default:
			if depth == 0 {
				for i < len(raw) && strings.IndexByte(" \t\r\n,:}]", raw[i]) < 0 {
					i++
				}
				return i
			}
		}
		i++
		if depth == 0 {
			return min(i, len(raw))
		}
	}
	return len(raw)
}
