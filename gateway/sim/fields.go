package sim

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"wx-gateway/gateway/codec"
)

// Defaults of Fields.
const (
	DefaultTo   = "gh_0123456789ab"
	DefaultFrom = "oSim0000000000000000000000_1"
)

// Fields builds the body of a push. Zero fields get sensible values, so that
// Fields{Content: "你好"} is a text message and Fields{Event: "CLICK", EventKey:
// "K"} a menu click.
type Fields struct {
	To, From   string            // ToUserName (gh_…), FromUserName (openid)
	Type       string            // MsgType; default "event" with Event set, else "text"
	Content    string            // of text messages
	Event      string            // event name, in WeChat's spelling
	EventKey   string            //
	MsgID      string            // of messages; default a new one beyond 2^53
	CreateTime int64             // seconds; default now
	Extra      map[string]string // further elements by name; they beat the invented ones
}

// element is one child of <xml>. Numbers stand bare, strings in CDATA.
type element struct {
	name, value string
	number      bool
}

// XML returns the push as WeChat writes it.
func (f Fields) XML() []byte {
	var b bytes.Buffer
	b.WriteString("<xml>")
	for _, e := range f.elements() {
		b.WriteString("<" + e.name + ">")
		if e.number {
			b.WriteString(e.value)
		} else {
			b.WriteString(cdata(e.value))
		}
		b.WriteString("</" + e.name + ">\n")
	}
	b.WriteString("</xml>")
	return b.Bytes()
}

// JSON returns the push as WeChat writes it to mini programs and shops.
func (f Fields) JSON() []byte {
	b := []byte{'{'}
	for i, e := range f.elements() {
		if i > 0 {
			b = append(b, ',')
		}
		b = codec.AppendString(b, e.name)
		b = append(b, ':')
		if e.number {
			b = append(b, e.value...)
		} else {
			b = codec.AppendString(b, e.value)
		}
	}
	return append(b, '}')
}

func (f Fields) elements() []element {
	if f.To == "" {
		f.To = DefaultTo
	}
	if f.From == "" {
		f.From = DefaultFrom
	}
	if f.CreateTime == 0 {
		f.CreateTime = time.Now().Unix()
	}
	if f.Type == "" {
		f.Type = "text"
		if f.Event != "" {
			f.Type = "event"
		}
	}
	list := []element{
		{name: "ToUserName", value: f.To},
		{name: "FromUserName", value: f.From},
		{name: "CreateTime", value: strconv.FormatInt(f.CreateTime, 10), number: true},
		{name: "MsgType", value: f.Type},
	}
	event := f.Type == "event" || f.Type == "device_event"
	if event {
		list = append(list, element{name: "Event", value: f.Event})
	}
	if f.Type == "text" || f.Content != "" {
		list = append(list, element{name: "Content", value: f.Content})
	}
	if f.EventKey != "" || event && hasEventKey(f.Event) {
		list = append(list, element{name: "EventKey", value: f.EventKey})
	}
	extra := invented(f.Type, f.Event)
	if extra == nil {
		extra = make(map[string]string)
	}
	maps.Copy(extra, f.Extra)
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		list = append(list, element{name: name, value: extra[name]})
	}
	if id := f.MsgID; id != "" || !event {
		if id == "" {
			id = newMsgID()
		}
		list = append(list, element{name: "MsgId", value: id, number: digits(id)})
	}
	return list
}

// invented gives a type or event the elements its table row in WeChat's
// documents has and that a server is likely to look at.
func invented(msgtype, event string) map[string]string {
	switch msgtype {
	case "image":
		return map[string]string{"PicUrl": "http://mmbiz.qpic.cn/sim/0", "MediaId": "sim-image"}
	case "voice":
		return map[string]string{"MediaId": "sim-voice", "Format": "amr"}
	case "video", "shortvideo":
		return map[string]string{"MediaId": "sim-video", "ThumbMediaId": "sim-thumb"}
	case "location":
		return map[string]string{"Location_X": "23.134521", "Location_Y": "113.358803", "Scale": "20", "Label": " 广州市"}
	case "link":
		return map[string]string{"Title": "标题", "Description": "描述", "Url": "https://example.com/a?x=1&y=2"}
	case "event":
	default:
		return nil
	}
	switch event {
	case "SCAN":
		return map[string]string{"Ticket": "gQsim"}
	case "LOCATION":
		return map[string]string{"Latitude": "23.137466", "Longitude": "113.352425", "Precision": "119.385040"}
	}
	return nil
}

func hasEventKey(event string) bool {
	switch event {
	case "subscribe", "unsubscribe", "SCAN", "CLICK", "VIEW", "view_miniprogram":
		return true
	}
	return false
}

// newMsgID returns a message id as large as WeChat's: beyond 2^53, within int64.
func newMsgID() string {
	var b [8]byte
	rand.Read(b[:])
	return strconv.FormatUint(binary.BigEndian.Uint64(b[:])>>2|1<<54|1, 10)
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" && len(s) < 20 }

// cdata wraps s; a "]]>" inside is split over two sections.
func cdata(s string) string {
	return "<![CDATA[" + strings.ReplaceAll(s, "]]>", "]]]]><![CDATA[>") + "]]>"
}

// facts is what the push client must know of a body it sends.
type facts struct {
	json                     bool
	to, from, msgType, event string
}

// look reads facts from any body, however broken: files with faults are sent as
// they are.
func look(body []byte) facts {
	text := strings.TrimLeft(strings.TrimPrefix(string(body), "\ufeff"), " \t\r\n")
	if strings.HasPrefix(text, "{") {
		var m map[string]codec.RawMessage
		if codec.Unmarshal([]byte(text), &m) != nil {
			return facts{json: true} // broken on purpose: sent all the same
		}
		return facts{
			json: true,
			to:   jsonText(m["ToUserName"]), from: jsonText(m["FromUserName"]),
			msgType: jsonText(m["MsgType"]), event: jsonText(m["Event"]),
		}
	}
	return facts{
		to: xmlText(text, "ToUserName"), from: xmlText(text, "FromUserName"),
		msgType: xmlText(text, "MsgType"), event: xmlText(text, "Event"),
	}
}

// jsonText is the text of a JSON string, the digits of a number, or "".
func jsonText(raw codec.RawMessage) string {
	var s string
	if len(raw) > 0 && raw[0] == '"' {
		if codec.Unmarshal(raw, &s) != nil {
			return ""
		}
		return s
	}
	if digits(string(raw)) {
		return string(raw)
	}
	return ""
}

// xmlText is the text of the first element of that name, blanks around it dropped.
func xmlText(text, name string) string {
	_, rest, ok := strings.Cut(text, "<"+name+">")
	if !ok {
		return ""
	}
	trimmed := strings.TrimLeft(rest, " \t\r\n")
	if in, ok := strings.CutPrefix(trimmed, "<![CDATA["); ok {
		value, _, _ := strings.Cut(in, "]]>")
		return value
	}
	value, _, _ := strings.Cut(rest, "<")
	return strings.TrimSpace(value)
}
