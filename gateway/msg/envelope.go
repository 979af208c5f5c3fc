package msg

import (
	"bytes"
	"errors"
	"fmt"

	"wx-gateway/gateway/codec"
)

// ErrNoEncrypt says that a body can be read but is no envelope: it has no
// Encrypt.
var ErrNoEncrypt = errors.New("body has no Encrypt")

// ParseEnvelope returns the value of Encrypt in an encrypted push, mostly as a
// part of body, and the format of the envelope. It is base64 by contract; that
// is for the caller to check. Other fields, which a push in compatible mode
// carries in the clear, are not authenticated and therefore not returned.
func ParseEnvelope(body []byte) (encrypt []byte, f Format, err error) {
	text := trimBlanks(dropBOM(body))
	switch {
	case len(text) == 0:
		return nil, XML, ErrNoEncrypt
	case text[0] == '<':
		encrypt, err = xmlEnvelope(text)
	case text[0] == '{':
		f = JSON
		encrypt, err = jsonEnvelope(text)
	default:
		err = errors.New("it begins with neither < nor {")
	}
	switch {
	case err != nil:
		return nil, f, fmt.Errorf("cannot read the envelope: %w", err)
	case len(encrypt) == 0:
		return nil, f, ErrNoEncrypt
	}
	return encrypt, f, nil
}

func xmlEnvelope(text []byte) ([]byte, error) {
	text, err := skipProlog(text)
	if err != nil {
		return nil, err
	}
	if encrypt, ok := scanEnvelope(text); ok {
		return encrypt, nil
	}
	root, _, _, err := readXML(text)
	if err != nil {
		return nil, err
	}
	for _, g := range groupChildren(root) {
		if g.name == "Encrypt" {
			return []byte(textOf(g.counts(true))), nil
		}
	}
	return nil, nil
}

// scanEnvelope reads the shape that WeChat's envelopes have: <xml> with a few
// elements, each of a name of its own and holding plain text or one CDATA
// section. It gives up on anything else, so that a user's text in compatible
// mode cannot pass for the envelope.
func scanEnvelope(text []byte) (encrypt []byte, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte("<xml>"))
	if !ok {
		return nil, false
	}
	var seen [16][]byte
	for n := 0; ; n++ {
		rest = trimLeft(rest)
		if end, found := bytes.CutPrefix(rest, []byte("</xml>")); found {
			return encrypt, len(trimBlanks(end)) == 0
		}
		name, empty, size, found := startTag(rest)
		if !found || empty || size != len(name)+2 || n == len(seen) {
			return nil, false
		}
		for _, s := range seen[:n] {
			if bytes.Equal(s, name) {
				return nil, false
			}
		}
		seen[n] = name
		rest = trimLeft(rest[size:])
		value := rest
		if in, cdata := bytes.CutPrefix(rest, cdataOpen); cdata {
			value, rest, found = bytes.Cut(in, cdataClose)
			rest = trimLeft(rest)
		} else if i := bytes.IndexByte(rest, '<'); i >= 0 {
			value, rest = rest[:i], rest[i:]
		}
		closed, size, closes := endTag(rest)
		if !found || !closes || !bytes.Equal(closed, name) {
			return nil, false
		}
		rest = rest[size:]
		if string(name) == "Encrypt" {
			encrypt = trimBlanks(value)
		}
	}
}

func jsonEnvelope(text []byte) ([]byte, error) {
	if jsonDepth(text) > maxJSONDepth {
		return nil, fmt.Errorf("its values nest deeper than %d levels", maxJSONDepth)
	}
	if !codec.Valid(text) {
		if text = cleanJSON(text); !codec.Valid(text) {
			return nil, errors.New("it is not valid JSON")
		}
	}
	var encrypt []byte
	for key, value := range members(text) {
		if value[0] == '"' && string(bytes.TrimSpace(plainText(key))) == "Encrypt" {
			encrypt = plainText(value)
		}
	}
	return encrypt, nil
}
