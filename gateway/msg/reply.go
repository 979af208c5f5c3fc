package msg

import (
	"errors"
	"fmt"
	"strconv"

	"wx-gateway/gateway/codec"
)

// Bounds of a reply.
const (
	// TextLimit is how many bytes of UTF-8 WeChat takes as the Content of one
	// text message.
	TextLimit = 2047

	maxArticles    = 8   // of a passive news reply; WeChat drops the rest
	maxReplies     = 20  // of one answer
	maxMenuItems   = 100 // of a msgmenu
	maxAnswerBytes = 1 << 20
)

// A Reply is one thing to say to a user. Which fields count depends on Type:
//
//	text                       Text
//	image, voice               MediaID
//	video                      MediaID, Title, Description, ThumbMediaID (customer service only)
//	music                      ThumbMediaID, Title, Description, MusicURL, HQMusicURL
//	news                       Articles
//	transfer_customer_service  KfAccount, "" for any agent
//	raw                        Raw, Seal
//	msgmenu                    Text (above the list), Menu
//	link                       Title, Description, URL, ThumbURL or PicURL
//	miniprogrampage            Title, AppID ("": the account's own), PagePath, ThumbMediaID
//	mpnews, mpnewsarticle      MediaID (of the material; the article's id)
//	wxcard                     MediaID (the card's id)
//
// KfAccount, where the type does not use it, names the agent in whose name a
// customer-service message is sent.
type Reply struct {
	Type                 string
	Text                 string
	MediaID              string
	Title, Description   string
	MusicURL, HQMusicURL string
	ThumbMediaID         string
	KfAccount            string
	URL, PicURL          string
	AppID, PagePath      string
	ThumbURL             string
	Articles             []Article
	Menu                 Menu
	Raw                  []byte
	Seal                 bool // raw only: sealed if the push came sealed
}

// An Article is one card of a news reply.
type Article struct{ Title, Description, PicURL, URL string }

// A Menu is the list of a msgmenu, from which a user answers by a tap.
type Menu struct {
	Items []MenuItem
	Tail  string // below the list
}

// A MenuItem comes back as the text Content with bizmsgmenuid ID.
type MenuItem struct{ ID, Content string }

// Passive reports whether r may stand in the answer to a push. The other
// types go through customer service alone.
func (r *Reply) Passive() bool {
	switch r.Type {
	case "text", "image", "voice", "video", "music", "news", "transfer_customer_service", "raw":
		return true
	}
	return false
}

// AppendXML appends r as a passive reply to the user to, in the name of the
// account from; createTime is in Unix seconds. Characters that XML forbids are
// left out and "]]>" cannot end a CDATA section. Of a raw reply exactly Raw is
// appended, of one that is not Passive nothing.
func (r *Reply) AppendXML(dst []byte, to, from string, createTime int64) []byte {
	switch {
	case r.Type == "raw":
		return append(dst, r.Raw...)
	case !r.Passive():
		return dst
	}
	dst = append(dst, "<xml><ToUserName><![CDATA["...)
	dst = appendInCData(dst, sanitizeText(to))
	dst = append(dst, "]]></ToUserName><FromUserName><![CDATA["...)
	dst = appendInCData(dst, sanitizeText(from))
	dst = append(dst, "]]></FromUserName><CreateTime>"...)
	dst = strconv.AppendInt(dst, createTime, 10)
	dst = append(dst, "</CreateTime><MsgType><![CDATA["...)
	dst = append(dst, r.Type...)
	dst = append(dst, "]]></MsgType>"...)
	if r.Type == "text" {
		dst = append(dst, "<Content><![CDATA["...)
		dst = appendInCData(dst, sanitizeText(r.Text))
		return append(dst, "]]></Content></xml>"...)
	}
	dst = appendXMLFields(dst, r.passive())
	return append(dst, "</xml>"...)
}

// AppendJSON is AppendXML in WeChat's JSON form, the names being those of the
// XML: the answer to a push that came as JSON.
func (r *Reply) AppendJSON(dst []byte, to, from string, createTime int64) []byte {
	switch {
	case r.Type == "raw":
		return append(dst, r.Raw...)
	case !r.Passive():
		return dst
	}
	dst = append(dst, `{"ToUserName":`...)
	dst = codec.AppendString(dst, sanitizeText(to))
	dst = append(dst, `,"FromUserName":`...)
	dst = codec.AppendString(dst, sanitizeText(from))
	dst = append(dst, `,"CreateTime":`...)
	dst = strconv.AppendInt(dst, createTime, 10)
	dst = append(dst, `,"MsgType":"`...)
	dst = append(dst, r.Type...)
	dst = append(dst, '"')
	if r.Type == "text" {
		dst = append(dst, `,"Content":`...)
		dst = codec.AppendString(dst, sanitizeText(r.Text))
		return append(dst, '}')
	}
	for _, f := range r.passive() {
		dst = appendJSONField(append(dst, ','), f)
	}
	return append(dst, '}')
}

// AppendCustom appends r as the body of message/custom/send to openid. Only
// the first article of news is sent: WeChat refuses more (45008). A hand-over
// and a raw body have no such form, which is an error.
func (r *Reply) AppendCustom(dst []byte, openid string) ([]byte, error) {
	content, err := r.custom()
	if err != nil {
		return dst, err
	}
	fields := []field{text("touser", openid), text("msgtype", r.Type), object(r.Type, content...)}
	if r.KfAccount != "" {
		fields = append(fields, object("customservice", text("kf_account", r.KfAccount)))
	}
	return appendJSONFields(dst, fields), nil
}

// passive returns what a passive reply other than a text says, after the four
// fields that all have.
func (r *Reply) passive() []field {
	switch r.Type {
	case "image":
		return []field{object("Image", text("MediaId", r.MediaID))}
	case "voice":
		return []field{object("Voice", text("MediaId", r.MediaID))}
	case "video":
		return []field{object("Video", text("MediaId", r.MediaID), text("Title", r.Title), text("Description", r.Description))}
	case "music":
		return []field{object("Music", text("Title", r.Title), text("Description", r.Description),
			text("MusicUrl", r.MusicURL), text("HQMusicUrl", r.HQMusicURL), text("ThumbMediaId", r.ThumbMediaID))}
	case "news":
		items := r.articles(maxArticles, "Title", "Description", "PicUrl", "Url")
		return []field{number("ArticleCount", int64(len(items))), list("Articles", items)}
	}
	if r.KfAccount != "" { // of a hand-over, "" is any agent
		return []field{object("TransInfo", text("KfAccount", r.KfAccount))}
	}
	return nil
}

// custom returns the type's own object of a customer-service message.
func (r *Reply) custom() ([]field, error) {
	switch r.Type {
	case "text":
		return []field{text("content", r.Text)}, nil
	case "image", "voice", "mpnews":
		return []field{text("media_id", r.MediaID)}, nil
	case "video":
		f := []field{text("media_id", r.MediaID), text("title", r.Title), text("description", r.Description)}
		if r.ThumbMediaID != "" {
			f = append(f, text("thumb_media_id", r.ThumbMediaID))
		}
		return f, nil
	case "music":
		return []field{text("title", r.Title), text("description", r.Description), text("musicurl", r.MusicURL),
			text("hqmusicurl", r.HQMusicURL), text("thumb_media_id", r.ThumbMediaID)}, nil
	case "news":
		return []field{list("articles", r.articles(1, "title", "description", "picurl", "url"))}, nil
	case "msgmenu":
		items := make([][]field, 0, len(r.Menu.Items))
		for _, item := range r.Menu.Items {
			items = append(items, []field{text("id", item.ID), text("content", item.Content)})
		}
		return []field{text("head_content", r.Text), list("list", items), text("tail_content", r.Menu.Tail)}, nil
	case "link":
		thumb := r.ThumbURL
		if thumb == "" {
			thumb = r.PicURL
		}
		return []field{text("title", r.Title), text("description", r.Description), text("url", r.URL), text("thumb_url", thumb)}, nil
	case "miniprogrampage":
		f := []field{text("title", r.Title), text("pagepath", r.PagePath), text("thumb_media_id", r.ThumbMediaID)}
		if r.AppID != "" {
			f = append(f, text("appid", r.AppID))
		}
		return f, nil
	case "mpnewsarticle":
		return []field{text("article_id", r.MediaID)}, nil
	case "wxcard":
		return []field{text("card_id", r.MediaID)}, nil
	case "transfer_customer_service":
		return nil, errors.New("a hand-over to customer service can only answer a push, it is no customer-service message")
	case "raw":
		return nil, errors.New("a raw reply can only answer a push, it is no customer-service message")
	}
	return nil, fmt.Errorf("cannot send a reply of type %q: unknown type", short(r.Type))
}

// articles returns up to limit articles under the given names of their fields.
func (r *Reply) articles(limit int, title, description, pic, url string) [][]field {
	items := make([][]field, 0, limit)
	for _, a := range r.Articles[:min(len(r.Articles), limit)] {
		items = append(items, []field{text(title, a.Title), text(description, a.Description), text(pic, a.PicURL), text(url, a.URL)})
	}
	return items
}

// A field is one member of a message, to be written as XML or JSON. The name
// is one of ours, the value may be anybody's.
type field struct {
	name   string
	kind   fieldKind
	text   string
	number int64
	object []field
	list   [][]field
}

type fieldKind uint8

const (
	textField fieldKind = iota
	numberField
	objectField
	listField
)

func text(name, value string) field     { return field{name: name, text: value} }
func number(name string, n int64) field { return field{name: name, kind: numberField, number: n} }
func object(name string, members ...field) field {
	return field{name: name, kind: objectField, object: members}
}
func list(name string, items [][]field) field { return field{name: name, kind: listField, list: items} }

func appendXMLFields(dst []byte, fields []field) []byte {
	for _, f := range fields {
		dst = append(append(append(dst, '<'), f.name...), '>')
		switch f.kind {
		case textField:
			dst = appendCData(dst, sanitizeText(f.text))
		case numberField:
			dst = strconv.AppendInt(dst, f.number, 10)
		case objectField:
			dst = appendXMLFields(dst, f.object)
		case listField:
			for _, item := range f.list {
				dst = append(dst, "<item>"...)
				dst = appendXMLFields(dst, item)
				dst = append(dst, "</item>"...)
			}
		}
		dst = append(append(append(dst, "</"...), f.name...), '>')
	}
	return dst
}

func appendJSONFields(dst []byte, fields []field) []byte {
	dst = append(dst, '{')
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONField(dst, f)
	}
	return append(dst, '}')
}

func appendJSONField(dst []byte, f field) []byte {
	dst = append(codec.AppendString(dst, f.name), ':')
	switch f.kind {
	case textField:
		dst = codec.AppendString(dst, sanitizeText(f.text))
	case numberField:
		dst = strconv.AppendInt(dst, f.number, 10)
	case objectField:
		dst = appendJSONFields(dst, f.object)
	case listField:
		dst = append(dst, '[')
		for i, item := range f.list {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSONFields(dst, item)
		}
		dst = append(dst, ']')
	}
	return dst
}
