package msg

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"wx-gateway/gateway/codec"
)

// An Answer is what a backend made of a push. Neither Async nor any Replies:
// there is nothing to say, WeChat hears `success`.
type Answer struct {
	Async   bool    // the backend delivers its reply later
	Replies []Reply // the first may answer the push, the rest follow it
}

// ParseAnswer reads the body of a backend's 2xx. The body decides what it is,
// since backends label JSON as they please: JSON from its first character on,
// `success`, `null` or nothing as no reply. Other text is a text reply if
// contentType is text/plain. An error says that the answer cannot be used and
// why, without quoting more of it than the name of an unknown type.
func ParseAnswer(contentType string, body []byte) (Answer, error) {
	if len(body) > maxAnswerBytes {
		return Answer{}, fmt.Errorf("answer is longer than %d bytes", maxAnswerBytes)
	}
	content := trimBlanks(dropBOM(body))
	switch string(content) {
	// A framework that encodes whatever a handler returns sends the quoted ones.
	case "", "success", "null", `"success"`, `""`:
		return Answer{}, nil
	}
	if content[0] == '{' || content[0] == '[' {
		return ParseReply(content)
	}
	mediaType, _, _ := strings.Cut(contentType, ";")
	switch {
	case !strings.EqualFold(strings.TrimSpace(mediaType), "text/plain"):
		// The copy lets the caller's string live on its stack where all is well.
		return Answer{}, fmt.Errorf("answer is neither JSON nor, with Content-Type %q, plain text", short(strings.Clone(contentType)))
	case !utf8.Valid(content):
		return Answer{}, errors.New("answer is plain text but not UTF-8")
	}
	return Answer{Replies: []Reply{{Type: "text", Text: string(content), Seal: true}}}, nil
}

// ParseReply reads a reply, or an array of up to 20, from JSON. It takes the
// forms that the gateway documents ({"type":"text","msg":"…"}), WeChat's own
// JSON form ({"MsgType":"image","Image":{"MediaId":"…"}}) and that of
// message/custom/send. The letter case of names and underscores in them do
// not matter; "type" wins over "MsgType". An object with neither a type nor
// msg says nothing, which is no error.
func ParseReply(obj []byte) (Answer, error) {
	if len(obj) > maxAnswerBytes {
		return Answer{}, fmt.Errorf("answer is longer than %d bytes", maxAnswerBytes)
	}
	obj = trimBlanks(obj)
	if !codec.Valid(obj) {
		return Answer{}, errors.New("answer is broken JSON")
	}
	switch obj[0] {
	case '{':
		return parseObject(obj)
	case 'n':
		return Answer{}, nil
	case '[':
	default:
		return Answer{}, errors.New("answer is neither an object nor an array")
	}
	var all Answer
	n := 0
	for element := range elements(obj) {
		if n == maxReplies {
			return Answer{}, fmt.Errorf("answer has more than %d replies", maxReplies)
		}
		if element[0] != '{' {
			return Answer{}, fmt.Errorf("answer[%d] is not an object", n)
		}
		a, err := parseObject(element)
		if err != nil {
			return Answer{}, fmt.Errorf("answer[%d]: %w", n, err)
		}
		if a.Async {
			return Answer{}, fmt.Errorf("answer[%d]: async cannot stand in an array", n)
		}
		all.Replies = append(all.Replies, a.Replies...)
		n++
	}
	return all, nil
}

func parseObject(obj []byte) (Answer, error) {
	var room fieldRoom
	f := readFields(room[:0], obj)
	kind, _, err := f.text("type")
	if kind == "" && err == nil {
		kind, _, err = f.text("msgtype")
	}
	if err != nil {
		return Answer{}, err
	}
	switch kind {
	case "":
		if !f.has("msg") {
			return Answer{}, nil
		}
		kind = "text"
	case "success":
		return Answer{}, nil
	case "async":
		return Answer{Async: true}, nil
	}
	replies := make([]Reply, 1)
	r := &replies[0]
	if err := f.reply(r, kind); err != nil {
		return Answer{}, err
	}
	if r.Type == "text" && r.Text == "" || r.Type == "raw" && len(r.Raw) == 0 {
		return Answer{}, nil // WeChat shows a fault for an empty message
	}
	return Answer{Replies: replies}, nil
}
