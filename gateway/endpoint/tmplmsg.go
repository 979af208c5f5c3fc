package endpoint

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/web"
)

// TmplMsg sends a template message: POST
//
//	{"s":<service>,"to":<openid>,"tid":<template id>,"url":…,
//	 "mp":{"appid":…,"pagepath":…},"data":{<name>:<value>, …}}
//
// where url and mp may be absent, and a value is text, a number, or
// {"value":…,"color":"#173177"}.
func (s *Set) TmplMsg(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, s.tmplMsg, fasthttp.MethodPost)
}

// tmplRequest is the body of a call.
type tmplRequest struct {
	Service  string `json:"s"`
	To       string `json:"to"`
	Template string `json:"tid"`
	URL      string `json:"url"`
	MiniProg struct {
		AppID    string `json:"appid"`
		PagePath string `json:"pagepath"`
	} `json:"mp"`
	Data map[string]codec.RawMessage `json:"data"`
}

// tmplMessage is the body of cgi-bin/message/template/send.
type tmplMessage struct {
	ToUser      string               `json:"touser"`
	TemplateID  string               `json:"template_id"`
	URL         string               `json:"url,omitempty"`
	MiniProgram *tmplProgram         `json:"miniprogram,omitempty"`
	Data        map[string]tmplValue `json:"data"`
}

type tmplProgram struct {
	AppID    string `json:"appid"`
	PagePath string `json:"pagepath,omitempty"`
}

type tmplValue struct {
	Value string `json:"value"`
	Color string `json:"color,omitempty"`
}

func (s *Set) tmplMsg(c context.Context, ctx *fasthttp.RequestCtx) error {
	body := ctx.PostBody()
	if len(body) > maxJSON {
		return web.Fail(fasthttp.StatusRequestEntityTooLarge, fmt.Sprintf("body must not exceed %d bytes", maxJSON), nil)
	}
	var r tmplRequest
	if err := codec.Unmarshal(body, &r); err != nil {
		return badRequest("body as a JSON object expected: " + err.Error())
	}
	a, err := s.account(ctx, r.Service)
	if err != nil {
		return err
	}
	m, err := r.message()
	if err != nil {
		return err
	}
	if a.API == nil {
		return off(a)
	}
	out, err := codec.Marshal(m)
	if err != nil {
		return fault(err)
	}
	id, err := a.API.SendTemplate(c, out)
	if err != nil {
		return fault(err)
	}
	return ok(ctx, field{"errcode", []byte("0")}, field{"errmsg", text("ok")}, field{"msgid", number(id)})
}

// message is r in WeChat's words.
func (r *tmplRequest) message() (*tmplMessage, error) {
	switch {
	case r.To == "":
		return nil, badRequest("to(user id) parameter expected")
	case r.Template == "":
		return nil, badRequest("tid(template id) parameter expected")
	case len(r.Data) == 0:
		return nil, badRequest("data parameter as a map expected")
	}
	m := &tmplMessage{ToUser: r.To, TemplateID: r.Template, URL: r.URL, Data: make(map[string]tmplValue, len(r.Data))}
	if r.MiniProg.AppID != "" {
		m.MiniProgram = &tmplProgram{AppID: r.MiniProg.AppID, PagePath: r.MiniProg.PagePath}
	}
	// In order, so that of several faults the same one is told each time.
	for _, name := range slices.Sorted(maps.Keys(r.Data)) {
		v, ok := valueOf(r.Data[name])
		if !ok {
			return nil, badRequest(`data value ` + clip(name, maxEcho) + ` must be text, a number or {"value":…,"color":…}`)
		}
		m.Data[name] = v
	}
	return m, nil
}

// valueOf reads a value of data, plain or as WeChat takes it.
func valueOf(raw codec.RawMessage) (tmplValue, bool) {
	if s, ok := scalar(raw); ok {
		return tmplValue{Value: s}, true
	}
	var v struct {
		Value codec.RawMessage `json:"value"`
		Color string           `json:"color"`
	}
	if err := codec.Unmarshal(raw, &v); err != nil || v.Value == nil {
		return tmplValue{}, false
	}
	s, ok := scalar(v.Value)
	return tmplValue{Value: s, Color: v.Color}, ok
}

// scalar is a JSON value that is neither object nor array as text: WeChat's
// values are strings. A number keeps its digits, null is empty.
func scalar(raw codec.RawMessage) (string, bool) {
	var v any
	if err := codec.Unmarshal(raw, &v); err != nil {
		return "", false
	}
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case bool, codec.Number:
		return fmt.Sprint(v), true
	}
	return "", false
}

// number is the JSON of an id that is digits; whatever else it holds is text.
func number(id string) []byte {
	for i := range len(id) {
		if id[i] < '0' || id[i] > '9' {
			return text(id)
		}
	}
	if !codec.Valid([]byte(id)) {
		return text(id)
	}
	return []byte(id)
}
