package sim

import (
	"time"

	"wx-gateway/gateway/codec"
)

// Bounds of the history.
const (
	maxCalls     = 10_000
	maxCallBody  = 64 << 10 // of one call
	maxCallBytes = 32 << 20 // of all
	maxSent      = 10_000
)

// Call is one request the platform answered.
type Call struct {
	Path  string // like "cgi-bin/user/info"
	AppID string // "" when the request did not say
	Query string // as it came, tokens and secrets included
	Body  []byte // the first 64 KiB
	Code  int    // errcode that was answered; of a Fault without one its Status; 0: fine
	At    time.Time
}

// Sent is one message that message/custom/send accepted.
type Sent struct {
	JSON codec.RawMessage // as it was posted
	At   time.Time
}

// Calls returns the last calls (10,000 at most) of path, or all with "", oldest first.
func (p *Platform) Calls(path string) []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Call
	for _, c := range p.calls.list {
		if path == "" || c.Path == path {
			out = append(out, c)
		}
	}
	return out
}

// CountCalls says how often appid ("" any) called path ("" any), as far as the
// history goes back.
func (p *Platform) CountCalls(path, appid string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, c := range p.calls.list {
		if (path == "" || c.Path == path) && (appid == "" || c.AppID == appid) {
			n++
		}
	}
	return n
}

// Sent returns what appid has sent to openid ("" anybody) by
// message/custom/send, in order; the last 10,000 of the platform are kept.
func (p *Platform) Sent(appid, openid string) []Sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Sent
	for _, s := range p.sent.list {
		if s.appid == appid && (openid == "" || s.openid == openid) {
			out = append(out, s.Sent)
		}
	}
	return out
}

// history is a list of calls bounded in number and bytes.
type history struct {
	list  []Call
	bytes int
}

func (h *history) add(c Call) {
	h.list = append(h.list, c)
	h.bytes += len(c.Body) + len(c.Query)
	for len(h.list) > maxCalls || h.bytes > maxCallBytes {
		h.bytes -= len(h.list[0].Body) + len(h.list[0].Query)
		h.list[0] = Call{} // let its body go
		h.list = h.list[1:]
	}
}

// outbox is a list of sent messages bounded like the history.
type outbox struct {
	list  []sentTo
	bytes int
}

type sentTo struct {
	Sent
	appid, openid string
}

func (o *outbox) add(s sentTo) {
	o.list = append(o.list, s)
	o.bytes += len(s.JSON)
	for len(o.list) > maxSent || o.bytes > maxCallBytes {
		o.bytes -= len(o.list[0].JSON)
		o.list[0] = sentTo{}
		o.list = o.list[1:]
	}
}

// clip copies at most n bytes of b.
func clip(b []byte, n int) []byte {
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b[:min(len(b), n)]...)
}
