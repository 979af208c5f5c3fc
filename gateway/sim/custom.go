package sim

import (
	"strings"
	"time"

	"wx-gateway/gateway/codec"
)

// Windows of customer-service messages (official customer-message guide): a
// message of the user allows 5 sends in 48 h; a menu click, a subscription or a
// scan 3 sends in 1 min.
const (
	messageWindow = 48 * time.Hour
	messageSends  = 5
	eventWindow   = time.Minute
	eventSends    = 3
	typingWindow  = 30 * time.Second
	typingLasts   = 15 * time.Second
	maxTextBytes  = 2048
)

// windows is what one user's doings allow.
type windows struct {
	message, event window
	lastSeen       time.Time
	typingUntil    time.Time
}

type window struct {
	until time.Time
	left  int
}

// Interacted tells the quota model (Config.Quota) that openid did something:
// kind "CLICK", "SCAN" or "subscribe" (any case) opens the short window,
// "unsubscribe" closes both, everything else is a message.
func (p *Platform) Interacted(appid, openid, kind string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.interacted(appid, openid, kind)
}

func (p *Platform) interacted(appid, openid, kind string) {
	a := p.account(appid)
	if a == nil {
		return
	}
	w, ok := a.windows.get(openid)
	if !ok {
		w = &windows{}
		a.windows.put(openid, w)
	}
	now := p.now()
	w.lastSeen = now
	switch strings.ToLower(kind) {
	case "click", "scan", "subscribe":
		w.event = window{until: now.Add(eventWindow), left: eventSends}
	case "unsubscribe":
		*w = windows{}
	default:
		w.message = window{until: now.Add(messageWindow), left: messageSends}
	}
}

// allow takes one send from the window that ends first.
func (p *Platform) allow(a *account, openid string) *apiError {
	w, ok := a.windows.get(openid)
	if !ok {
		return refuse(45015)
	}
	now, open := p.now(), false
	for _, one := range []*window{&w.event, &w.message} {
		if !now.Before(one.until) {
			continue
		}
		open = true
		if one.left > 0 {
			one.left--
			return nil
		}
	}
	if open {
		return refuse(45047)
	}
	return refuse(45015)
}

// customBodies names the object each msgtype needs and the field in it that may
// not be empty ("" any).
func customBody(msgtype string) (object, field string) {
	switch msgtype {
	case "text":
		return "text", "content"
	case "image", "voice", "mpnews":
		return msgtype, "media_id"
	case "video":
		return "video", "media_id"
	case "music":
		return "music", "thumb_media_id"
	case "news":
		return "news", ""
	case "mpnewsarticle":
		return "mpnewsarticle", "article_id"
	case "msgmenu":
		return "msgmenu", ""
	case "wxcard":
		return "wxcard", "card_id"
	case "miniprogrampage":
		return "miniprogrampage", "title"
	case "link":
		return "link", "title"
	}
	return "", ""
}

// sendCustom is POST cgi-bin/message/custom/send.
func (p *Platform) sendCustom(c *call) (any, *apiError) {
	if c.acct.NoCustomSend {
		return nil, refuse(48001)
	}
	var q map[string]codec.RawMessage
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	var to, msgtype string
	if codec.Unmarshal(q["touser"], &to) != nil || !validOpenID(to) {
		return nil, refuse(40003)
	}
	if q["msgtype"] != nil && codec.Unmarshal(q["msgtype"], &msgtype) != nil {
		return nil, refuse(40008)
	}
	object, field := customBody(msgtype)
	if object == "" {
		return nil, refuse(40008)
	}
	var body map[string]codec.RawMessage
	if codec.Unmarshal(q[object], &body) != nil {
		return nil, refuse(47001)
	}
	if field != "" {
		var v string
		if codec.Unmarshal(body[field], &v) != nil || v == "" {
			return nil, refuse(44002)
		}
		if field == "content" && len(v) > maxTextBytes {
			return nil, refuse(45002)
		}
	}
	if object == "news" {
		var articles []codec.RawMessage
		if codec.Unmarshal(body["articles"], &articles) != nil || len(articles) == 0 {
			return nil, refuse(47001)
		}
		if len(articles) > 1 {
			return nil, refuse(45008)
		}
	}
	if !p.following(c.acct, to) {
		return nil, refuse(43004)
	}
	if p.quota {
		if refusal := p.allow(c.acct, to); refusal != nil {
			return nil, refusal
		}
		if w, ok := c.acct.windows.get(to); ok {
			w.typingUntil = time.Time{} // a message ends the typing
		}
	}
	p.sent.add(sentTo{
		Sent:  Sent{JSON: append(codec.RawMessage(nil), c.body...), At: p.now()},
		appid: c.acct.AppID, openid: to,
	})
	return nil, nil
}

// typing is POST cgi-bin/message/custom/typing.
func (p *Platform) typing(c *call) (any, *apiError) {
	if c.acct.NoCustomSend {
		return nil, refuse(48001)
	}
	var q struct {
		To      string `json:"touser"`
		Command string `json:"command"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	if !validOpenID(q.To) {
		return nil, refuse(40003)
	}
	if q.Command != "Typing" && q.Command != "CancelTyping" {
		return nil, refuse(45072)
	}
	if !p.quota {
		return nil, nil
	}
	now := p.now()
	w, ok := c.acct.windows.get(q.To)
	switch {
	case !ok || now.Sub(w.lastSeen) > typingWindow:
		return nil, refuse(45080)
	case q.Command == "CancelTyping":
		w.typingUntil = time.Time{}
	case now.Before(w.typingUntil):
		return nil, refuse(45081)
	default:
		w.typingUntil = now.Add(typingLasts)
	}
	return nil, nil
}

// sendTemplate is POST cgi-bin/message/template/send.
func (p *Platform) sendTemplate(c *call) (any, *apiError) {
	var q struct {
		To       string                      `json:"touser"`
		Template string                      `json:"template_id"`
		Data     map[string]codec.RawMessage `json:"data"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	if !validOpenID(q.To) {
		return nil, refuse(40003)
	}
	if q.Template == "" {
		return nil, refuse(40037)
	}
	for _, raw := range q.Data {
		var v struct {
			Value codec.RawMessage `json:"value"`
		}
		if codec.Unmarshal(raw, &v) != nil || v.Value == nil {
			return nil, refuse(47001)
		}
	}
	if !p.following(c.acct, q.To) {
		return nil, refuse(43004)
	}
	return map[string]any{"errcode": 0, "errmsg": "ok", "msgid": p.nextID()}, nil
}
