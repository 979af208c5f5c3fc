package sim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"wx-gateway/gateway/codec"
)

const maxReplyDepth = 32

// verdict is how WeChat takes an answer.
type verdict struct {
	outcome string
	opened  []byte
	sealed  bool
	why     string // of a bad one
}

// judge says whether an answer is one WeChat takes: HTTP 200 with "success",
// nothing, or a well-formed reply, sealed where the push was sealed only.
func (w wire) judge(status int, body []byte) verdict {
	v := verdict{outcome: OutcomeBad, opened: body}
	switch {
	case status != http.StatusOK: // 201 with "success" was seen to count as a failure
		v.why = fmt.Sprintf("status %d instead of 200", status)
		return v
	case len(body) > maxReply:
		v.why = fmt.Sprintf("more than %d bytes", maxReply)
		return v
	case len(body) == 0, string(body) == "success":
		v.outcome = OutcomeSuccess
		return v
	}
	e, sealed, err := readEnvelope(w.facts.json, body)
	if err != nil {
		v.why = err.Error()
		return v
	}
	switch {
	case !sealed && w.mode == Safe:
		v.why = "plain reply to a sealed push"
		return v
	case sealed && w.box == nil:
		v.sealed, v.why = true, "sealed reply to a plain push"
		return v
	case sealed:
		v.sealed = true
		if v.opened, err = w.open(e); err != nil {
			v.why = err.Error()
			return v
		}
	}
	if err := w.facts.check(v.opened); err != nil {
		v.why = err.Error()
		return v
	}
	v.outcome = OutcomeReply
	return v
}

// Judge says how WeChat takes an answer to p, for those who send what Build
// made themselves. Errors are a push that cannot be built.
func (p Push) Judge(status int, body []byte) (Attempt, error) {
	w, err := p.seal()
	if err != nil {
		return Attempt{}, err
	}
	v := w.judge(status, body)
	return Attempt{N: 1, Status: status, Body: body, Opened: v.opened, Sealed: v.sealed, Err: v.why, Outcome: v.outcome}, nil
}

// envelope is a sealed reply as it came.
type envelope struct {
	encrypt, signature, timestamp, nonce string
}

func (w wire) open(e envelope) ([]byte, error) {
	stamp, ok := number(e.timestamp)
	if !ok || stamp <= 0 {
		return nil, errors.New("sealed reply without a TimeStamp in digits")
	}
	if _, err := w.box.VerifyMsg(e.signature, e.timestamp, e.nonce, []byte(e.encrypt)); err != nil {
		return nil, fmt.Errorf("sealed reply: %w", err)
	}
	opened, err := w.box.Open([]byte(e.encrypt))
	if err != nil {
		return nil, fmt.Errorf("sealed reply: %w", err)
	}
	return opened.Msg, nil
}

// readEnvelope reads the outer form of an answer: well-formed at all, and
// sealed or not.
func readEnvelope(jsonPush bool, body []byte) (envelope, bool, error) {
	first := bytes.TrimLeft(body, " \t\r\n")
	if jsonPush || len(first) > 0 && first[0] == '{' {
		var m map[string]codec.RawMessage
		if err := codec.Unmarshal(body, &m); err != nil || m == nil {
			return envelope{}, false, fmt.Errorf("neither success, nor empty, nor a JSON object: %q", clipText(body))
		}
		if m["Encrypt"] == nil {
			return envelope{}, false, nil
		}
		return envelope{jsonText(m["Encrypt"]), jsonText(m["MsgSignature"]), jsonText(m["TimeStamp"]), jsonText(m["Nonce"])}, true, nil
	}
	m, err := readXML(body)
	if err != nil {
		return envelope{}, false, fmt.Errorf("neither success, nor empty, nor XML: %q: %w", clipText(body), err)
	}
	if m["Encrypt"] == nil {
		return envelope{}, false, nil
	}
	return envelope{m.text("Encrypt"), m.text("MsgSignature"), m.text("TimeStamp"), m.text("Nonce")}, true, nil
}

// check says what is wrong with an opened reply to a push.
func (f facts) check(reply []byte) error {
	if f.json {
		return f.checkJSON(reply)
	}
	if first := bytes.TrimLeft(reply, " \t\r\n"); len(first) > 0 && first[0] == '{' {
		// Events of the shop alliance come as XML in some samples and want JSON.
		if f.msgType != "event" || !strings.HasPrefix(f.event, "channels_ec_") {
			return errors.New("JSON reply to an XML push")
		}
		return f.checkJSON(reply)
	}
	m, err := readXML(reply)
	if err != nil {
		return fmt.Errorf("reply is not well-formed: %w", err)
	}
	if m["MsgType"] == nil {
		if f.userMessage() {
			return errors.New("reply without MsgType")
		}
		return nil // a structured answer, such as those of coupon events
	}
	if err := f.checkHeader(m.text("ToUserName"), m.text("FromUserName"), m.text("CreateTime")); err != nil {
		return err
	}
	return checkPassive(m)
}

// userMessage tells messages of a user from events and platform notices.
func (f facts) userMessage() bool {
	return f.msgType != "" && f.msgType != "event" && f.msgType != "device_event"
}

func (f facts) checkJSON(reply []byte) error {
	var m map[string]codec.RawMessage
	if err := codec.Unmarshal(reply, &m); err != nil || m == nil {
		return fmt.Errorf("reply is not a JSON object: %q", clipText(reply))
	}
	if m["MsgType"] == nil {
		return nil // structured answers have names of their own
	}
	return f.checkHeader(jsonText(m["ToUserName"]), jsonText(m["FromUserName"]), jsonText(m["CreateTime"]))
}

// checkHeader: a reply goes back the way the push came.
func (f facts) checkHeader(to, from, created string) error {
	if f.from != "" && to != f.from {
		return fmt.Errorf("reply's ToUserName is %q instead of %q", to, f.from)
	}
	if f.to != "" && from != f.to {
		return fmt.Errorf("reply's FromUserName is %q instead of %q", from, f.to)
	}
	if !digits(created) {
		return fmt.Errorf("reply's CreateTime is %q instead of seconds", created)
	}
	return nil
}

// checkPassive holds the seven passive replies to their required fields.
func checkPassive(m elements) error {
	need := ""
	switch kind := m.text("MsgType"); kind {
	case "text":
		need = "Content"
	case "image":
		need = "Image/MediaId"
	case "voice":
		need = "Voice/MediaId"
	case "video":
		need = "Video/MediaId"
	case "music":
		need = "Music/ThumbMediaId"
	case "news":
		return checkNews(m)
	case "transfer_customer_service":
		return nil
	default:
		return fmt.Errorf("reply's MsgType %q is none of the passive ones", kind)
	}
	if m.text(need) == "" {
		return fmt.Errorf("%s reply without %s", m.text("MsgType"), need)
	}
	if len(m.text("Content")) > maxTextBytes {
		return fmt.Errorf("text reply of %d bytes, more than %d", len(m.text("Content")), maxTextBytes)
	}
	return nil
}

func checkNews(m elements) error {
	items := m["Articles/item"]
	if len(items) == 0 || m.text("ArticleCount") != strconv.Itoa(len(items)) {
		return fmt.Errorf("news reply with ArticleCount %q and %d articles", m.text("ArticleCount"), len(items))
	}
	for _, field := range []string{"Title", "Description", "PicUrl", "Url"} {
		if len(m["Articles/item/"+field]) != len(items) {
			return fmt.Errorf("news reply with an article without %s", field)
		}
	}
	return nil
}

// elements maps the path of an element below <xml> to the texts of all of that
// path, in order.
type elements map[string][][]byte

// text is the first text at path, blanks around it dropped.
func (m elements) text(path string) string {
	if len(m[path]) == 0 {
		return ""
	}
	return string(bytes.TrimSpace(m[path][0]))
}

// readXML reads a strict, well-formed document with the root <xml>.
func readXML(body []byte) (elements, error) {
	m := make(elements)
	dec := xml.NewDecoder(bytes.NewReader(body))
	var path []string
	roots := 0
	for {
		at := dec.InputOffset()
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if len(path) == 0 {
				if roots++; roots > 1 || t.Name.Local != "xml" {
					return nil, fmt.Errorf("root element <%s>, want one <xml>", t.Name.Local)
				}
				path = append(path, "")
				continue
			}
			if len(path) > maxReplyDepth {
				return nil, fmt.Errorf("nested deeper than %d", maxReplyDepth)
			}
			name := t.Name.Local
			if parent := path[len(path)-1]; parent != "" {
				name = parent + "/" + name
			}
			path = append(path, name)
			m[name] = append(m[name], []byte{})
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if len(path) == 0 {
				if len(bytes.TrimSpace(t)) > 0 {
					return nil, errors.New("text outside of <xml>")
				}
				continue
			}
			if here := m[path[len(path)-1]]; len(path) > 1 {
				here[len(here)-1] = append(here[len(here)-1], t...)
			}
		case xml.ProcInst:
			if t.Target == "xml" && at > 0 {
				return nil, errors.New("the XML declaration is not at the start")
			}
		case xml.Directive:
			return nil, errors.New("a DOCTYPE")
		}
	}
	if roots == 0 {
		return nil, errors.New("no <xml>")
	}
	return m, nil
}
