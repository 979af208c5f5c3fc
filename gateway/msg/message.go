package msg

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"wx-gateway/gateway/codec"
)

// Format is the spelling of a push: WeChat sends XML or JSON, as chosen in
// the account's console.
type Format uint8

// The two formats of a push. Its reply has to come in the same one.
const (
	XML Format = iota
	JSON
)

// String returns "XML" or "JSON".
func (f Format) String() string {
	if f == JSON {
		return "JSON"
	}
	return "XML"
}

const (
	maxXMLDepth  = 32     // the deepest documented push has 6 levels
	maxJSONDepth = 64     // JSON pushes nest lists as well as objects
	maxElements  = 20_000 // an order with hundreds of positions stays far below
	maxName      = 64     // bytes of a name in a URL
)

// A Message is one push. Its strings and JSON are its own: the body that was
// parsed may be overwritten.
type Message struct {
	// Header values, "" when absent. CreateTime is in seconds, as it came.
	ToUserName, FromUserName, CreateTime, MsgType, Event, InfoType string

	MsgID    string // MsgId, else MsgID; "" when absent
	EventKey string // "" when absent
	Content  string // "" when absent

	Format   Format
	Injected bool   // a header name came more than once
	Cleaned  bool   // the text had to be cleaned before it could be read
	JSON     []byte // the object a backend receives, without userInfo

	ownUserInfo bool // the push itself holds a userInfo or userInfoError
}

// Parse reads a push, XML or JSON as its first character tells; a byte order
// mark and blanks around it are skipped.
//
// XML becomes the JSON object described in the package's tables. JSON is kept
// to the byte. Refused are text in neither format, a DOCTYPE, a declared
// encoding other than UTF-8, a root other than <xml>, nesting deeper than 32
// (XML) or 64 (JSON) levels, and more than 20,000 elements.
func Parse(body []byte) (*Message, error) {
	text := trimBlanks(dropBOM(body))
	var m *Message
	var err error
	switch {
	case len(text) == 0:
		err = errors.New("it is empty")
	case text[0] == '<':
		m, err = parseXML(text)
	case text[0] == '{':
		m, err = parseJSON(text)
	default:
		err = errors.New("it begins with neither < nor {")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the push: %w", err)
	}
	return m, nil
}

// Path returns what follows the backend's base URL: "/msg/<MsgType>",
// "/event/<Event>" (for device_event too, whose Event names what happened) or
// "/info/<InfoType>" for a push without MsgType. Blanks in the name become
// "_": WeChat sends an event called "complaint callback". Any other character
// outside [A-Za-z0-9_-], an empty name and one over 64 bytes are errors.
func (m *Message) Path() (string, error) {
	switch m.MsgType {
	case "event", "device_event":
		if path, known := eventPaths[m.Event]; known {
			return path, nil
		}
		return pathOf("/event/", "event", m.Event)
	case "":
		if m.InfoType != "" {
			return pathOf("/info/", "info", m.InfoType)
		}
		return "", errors.New("push has neither MsgType nor InfoType")
	}
	if path, known := messagePaths[m.MsgType]; known {
		return path, nil
	}
	return pathOf("/msg/", "message", m.MsgType)
}

// The paths of what is pushed most, so that they need not be made each time.
var messagePaths, eventPaths = pathsOf("/msg/", messageExtras), pathsOf("/event/", eventExtras)

func pathsOf(prefix string, kinds map[string][]extra) map[string]string {
	paths := make(map[string]string, len(kinds))
	for name := range kinds {
		if path, err := pathOf(prefix, "", name); err == nil { // "pic_*" is no name
			paths[name] = path
		}
	}
	return paths
}

// Kind returns Path without its leading slash, or "unnamed" where Path fails.
// It is made for logs and metrics.
func (m *Message) Kind() string {
	p, err := m.Path()
	if err != nil {
		return "unnamed"
	}
	return p[1:]
}

func pathOf(prefix, what, name string) (string, error) {
	why := ""
	switch {
	case name == "":
		why = "it is empty"
	case len(name) > maxName:
		why = fmt.Sprintf("it is longer than %d bytes", maxName)
	default:
		for _, r := range name {
			if r != ' ' && r != '\t' && !isNameByte(r) {
				why = fmt.Sprintf("character %q", r)
				break
			}
		}
	}
	if why != "" {
		return "", fmt.Errorf("%s name %q cannot stand in a URL: %s", what, short(name), why)
	}
	return prefix + strings.ReplaceAll(strings.ReplaceAll(name, " ", "_"), "\t", "_"), nil
}

func isNameByte(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-'
}

// WithoutUserInfo is m.JSON less the members userInfo and userInfoError that the
// push itself holds: AppendUserInfo is to add its own, and no key comes twice.
func (m *Message) WithoutUserInfo() []byte {
	if m.ownUserInfo {
		return withoutUserInfo(m.JSON)
	}
	return m.JSON
}

// AppendUserInfo appends object, the JSON of a push, with members userInfo and
// userInfoError at its end. userInfo must be valid JSON; empty stands for null.
func AppendUserInfo(dst, object, userInfo []byte, userInfoError string) []byte {
	if len(userInfo) == 0 {
		userInfo = []byte("null")
	}
	const key, errorKey = `"userInfo":`, `,"userInfoError":`
	dst = slices.Grow(dst, len(object)+len(key)+len(userInfo)+len(errorKey)+len(userInfoError)+8)
	before := len(dst)
	dst = append(dst, object[:len(object)-1]...)
	if len(trimBlanks(dst[before:])) > 1 { // more than the opening brace
		dst = append(dst, ',')
	}
	dst = append(dst, key...)
	dst = append(dst, userInfo...)
	dst = append(dst, errorKey...)
	dst = codec.AppendString(dst, userInfoError)
	return append(dst, '}')
}

func isUserInfo[T string | []byte](name T) bool { return slotOf(name) >= slotUserInfo }

func withoutUserInfo(object []byte) []byte {
	out := append(make([]byte, 0, len(object)), '{')
	for key, value := range members(object) {
		if isUserInfo(unquote(key)) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), value...)
	}
	return append(out, '}')
}

// A slot is what a Message does with the text of an element: most are fields.
type slot uint8

const (
	noSlot slot = iota
	slotToUserName
	slotFromUserName
	slotCreateTime
	slotMsgType
	slotEvent
	slotInfoType
	slotEventKey
	slotContent
	slotMsgId
	slotMsgID
	slotUserInfo // it gives way to the gateway's own
	slotUserInfoError
)

// slotOf returns where the text of an element of this name goes.
func slotOf[T string | []byte](name T) slot {
	switch string(name) {
	case "ToUserName":
		return slotToUserName
	case "FromUserName":
		return slotFromUserName
	case "CreateTime":
		return slotCreateTime
	case "MsgType":
		return slotMsgType
	case "Event":
		return slotEvent
	case "InfoType":
		return slotInfoType
	case "EventKey":
		return slotEventKey
	case "Content":
		return slotContent
	case "MsgId":
		return slotMsgId
	case "MsgID":
		return slotMsgID
	case "userInfo":
		return slotUserInfo
	case "userInfoError":
		return slotUserInfoError
	}
	return noSlot
}

// set takes the text of one element. The first of a name counts, since the text
// a user wrote stands behind the header and might bring names of its own; for
// MsgId and MsgID, which stand behind the text, the caller passes the last.
func (m *Message) set(s slot, text string) {
	switch s {
	case slotToUserName:
		m.ToUserName = text
	case slotFromUserName:
		m.FromUserName = text
	case slotCreateTime:
		m.CreateTime = text
	case slotMsgType:
		m.MsgType = text
	case slotEvent:
		m.Event = text
	case slotInfoType:
		m.InfoType = text
	case slotEventKey:
		m.EventKey = text
	case slotContent:
		m.Content = text
	case slotMsgId:
		if text != "" {
			m.MsgID = text
		}
	case slotMsgID:
		if m.MsgID == "" {
			m.MsgID = text
		}
	}
}

const blanks = " \t\r\n"

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func trimBlanks[T string | []byte](b T) T {
	b = trimLeft(b)
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func trimLeft[T string | []byte](b T) T {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

func dropBOM(b []byte) []byte { return bytes.TrimPrefix(trimLeft(b), []byte("\ufeff")) }

// short cuts a name from the wire down to what an error may carry.
func short(s string) string {
	if len(s) <= maxName {
		return s
	}
	n := maxName
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
