package sim

import (
	"net/http"
	"time"

	"wx-gateway/gateway/codec"
)

// The paths below sim/ are the remote control of a platform that runs as its
// own process; tests call the methods instead. They take and give JSON:
//
//	POST   sim/fault       {"appid","path","latency":"2s","code","msg","status","body","drop","times"}
//	DELETE sim/fault       clears all faults
//	GET    sim/calls?path= the last 100 calls, without queries
//	GET    sim/sent?appid=&openid=
//	POST   sim/revoke?appid=
//	POST   sim/interacted?appid=&openid=&kind=

const maxListed = 100

func badControl(text string) (any, *apiError) {
	return nil, &apiError{code: 40097, msg: text}
}

func (p *Platform) controlFault(c *call) (any, *apiError) {
	switch c.r.Method {
	case http.MethodDelete:
		p.faults = nil
		return nil, nil
	case http.MethodPost:
	default:
		return nil, refuse(43002)
	}
	var q struct {
		AppID   string `json:"appid"`
		Path    string `json:"path"`
		Latency string `json:"latency"`
		Code    int    `json:"code"`
		Msg     string `json:"msg"`
		Status  int    `json:"status"`
		Body    string `json:"body"`
		Drop    bool   `json:"drop"`
		Times   int    `json:"times"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	f := Fault{AppID: q.AppID, Path: q.Path, Code: q.Code, Msg: q.Msg, Status: q.Status, Body: q.Body, Drop: q.Drop, Times: q.Times}
	if q.Latency != "" {
		d, err := time.ParseDuration(q.Latency)
		if err != nil || d < 0 {
			return badControl("latency must be a duration like 2s")
		}
		f.Latency = d
	}
	if q.Status != 0 && (q.Status < 200 || q.Status > 599) || q.Times < 0 {
		return badControl("status must be 200 to 599, times not negative")
	}
	p.addFault(&f)
	return nil, nil
}

func (p *Platform) controlCalls(c *call) (any, *apiError) {
	type row struct {
		Path  string    `json:"path"`
		AppID string    `json:"appid"`
		Code  int       `json:"errcode"`
		At    time.Time `json:"at"`
		Body  string    `json:"body"`
	}
	rows := []row{}
	for i := len(p.calls.list) - 1; i >= 0 && len(rows) < maxListed; i-- {
		if k := p.calls.list[i]; c.q.Get("path") == "" || c.q.Get("path") == k.Path {
			body := string(k.Body)
			if k.Path == "cgi-bin/stable_token" || k.Path == "cgi-bin/clear_quota/v2" {
				body = "" // holds the secret
			}
			rows = append(rows, row{k.Path, k.AppID, k.Code, k.At, body})
		}
	}
	return map[string]any{"calls": rows}, nil
}

func (p *Platform) controlSent(c *call) (any, *apiError) {
	type row struct {
		JSON codec.RawMessage `json:"json"`
		At   time.Time        `json:"at"`
	}
	rows := []row{}
	for i := len(p.sent.list) - 1; i >= 0 && len(rows) < maxListed; i-- {
		s := p.sent.list[i]
		if s.appid == c.q.Get("appid") && (c.q.Get("openid") == "" || c.q.Get("openid") == s.openid) {
			rows = append(rows, row{s.JSON, s.At})
		}
	}
	return map[string]any{"sent": rows}, nil
}

func (p *Platform) controlRevoke(c *call) (any, *apiError) {
	p.revoke(c.q.Get("appid"))
	return nil, nil
}

func (p *Platform) controlInteracted(c *call) (any, *apiError) {
	p.interacted(c.q.Get("appid"), c.q.Get("openid"), c.q.Get("kind"))
	return nil, nil
}
