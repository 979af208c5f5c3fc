package weixin

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"wx-gateway/gateway/codec"
)

// UserInfo is what WeChat tells the account of a user, as WeChat wrote it: of
// somebody who does not follow only subscribe 0 and the openid.
func (c *Client) UserInfo(ctx context.Context, openid string) (codec.RawMessage, error) {
	return c.call(ctx, request{
		path:  "cgi-bin/user/info",
		query: url.Values{"openid": {openid}, "lang": {"zh_CN"}},
		again: true,
	})
}

// QR is a QR code that leads to the account.
type QR struct {
	Ticket  string
	URL     string // what the code says; a picture can be drawn from it
	ShowURL string // where WeChat shows the picture
}

// CreateQR makes a QR code whose scan carries scene (1 to 64 characters). A
// temporary one lives for expire, in whole seconds, at most 30 days (below a
// second: WeChat's default of 60 s); of permanent ones an account has 100,000
// in all, so the call is never repeated.
func (c *Client) CreateQR(ctx context.Context, scene string, temp bool, expire time.Duration) (QR, error) {
	const path = "cgi-bin/qrcode/create"
	type sceneStr struct {
		SceneStr string `json:"scene_str"`
	}
	type actionInfo struct {
		Scene sceneStr `json:"scene"`
	}
	in := struct {
		Expire int64      `json:"expire_seconds,omitempty"`
		Action string     `json:"action_name"`
		Info   actionInfo `json:"action_info"`
	}{Action: "QR_LIMIT_STR_SCENE", Info: actionInfo{sceneStr{scene}}}
	if temp {
		in.Action = "QR_STR_SCENE"
		in.Expire = max(0, int64(expire/time.Second))
	}
	var out struct {
		Ticket string `json:"ticket"`
		URL    string `json:"url"`
	}
	if err := c.post(ctx, path, false, in, &out); err != nil {
		return QR{}, err
	}
	if out.Ticket == "" {
		return QR{}, fmt.Errorf("cannot read the answer of %s: no ticket in it", path)
	}
	// Tickets hold + and /.
	show := c.cfg.MPBase + "/cgi-bin/showqrcode?ticket=" + url.QueryEscape(out.Ticket)
	return QR{Ticket: out.Ticket, URL: out.URL, ShowURL: show}, nil
}

// ShortURL shortens long. WeChat has stopped this service; its refusal is the
// usual outcome.
func (c *Client) ShortURL(ctx context.Context, long string) (string, error) {
	const path = "cgi-bin/shorturl"
	in := struct {
		Action  string `json:"action"`
		LongURL string `json:"long_url"`
	}{"long2short", long}
	var out struct {
		ShortURL string `json:"short_url"`
	}
	if err := c.post(ctx, path, true, in, &out); err != nil {
		return "", err
	}
	if out.ShortURL == "" {
		return "", fmt.Errorf("cannot read the answer of %s: no short_url in it", path)
	}
	return out.ShortURL, nil
}

// SendTemplate sends a template message, body being WeChat's JSON. msgID are
// the digits that TEMPLATESENDJOBFINISH will name, "" if WeChat gave none.
func (c *Client) SendTemplate(ctx context.Context, body []byte) (msgID string, err error) {
	const path = "cgi-bin/message/template/send"
	answer, err := c.call(ctx, request{path: path, body: body})
	if err != nil {
		return "", err
	}
	raw, err := field(answer, "msgid") // beyond 2^53
	if err != nil {
		return "", fmt.Errorf("cannot read the answer of %s: %w", path, err)
	}
	return unquote(raw), nil
}

// SendCustom sends a customer-service message, body being WeChat's JSON.
func (c *Client) SendCustom(ctx context.Context, body []byte) error {
	_, err := c.call(ctx, request{path: "cgi-bin/message/custom/send", body: body})
	return err
}

// Typing shows the user that an answer is being written, or no longer.
func (c *Client) Typing(ctx context.Context, openid string, on bool) error {
	in := struct {
		ToUser  string `json:"touser"`
		Command string `json:"command"`
	}{openid, "CancelTyping"}
	if on {
		in.Command = "Typing"
	}
	return c.post(ctx, "cgi-bin/message/custom/typing", false, in, nil)
}

// Order is a shop's order, as WeChat wrote it.
func (c *Client) Order(ctx context.Context, id string) (codec.RawMessage, error) {
	in := struct {
		ID string `json:"order_id"`
	}{id}
	return c.fetch(ctx, "channels/ec/order/get", in, "order")
}

// AftersaleOrder is a shop's after-sale order, as WeChat wrote it.
func (c *Client) AftersaleOrder(ctx context.Context, id string) (codec.RawMessage, error) {
	in := struct {
		ID string `json:"after_sale_order_id"`
	}{id}
	return c.fetch(ctx, "channels/ec/aftersale/getaftersaleorder", in, "after_sale_order")
}

// post sends in as JSON and reads the answer into out, unless that is nil.
func (c *Client) post(ctx context.Context, path string, again bool, in, out any) error {
	body, err := codec.Marshal(in)
	if err != nil {
		return fmt.Errorf("cannot write the request to %s: %w", path, err)
	}
	answer, err := c.call(ctx, request{path: path, body: body, again: again})
	if err != nil || out == nil {
		return err
	}
	if err := codec.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("cannot read the answer of %s: %w", path, err)
	}
	return nil
}

// fetch posts a read and returns one field of the answer.
func (c *Client) fetch(ctx context.Context, path string, in any, name string) (codec.RawMessage, error) {
	var out codec.RawMessage
	if err := c.post(ctx, path, true, in, &out); err != nil {
		return nil, err
	}
	raw, err := field(out, name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the answer of %s: %w", path, err)
	}
	if raw == nil {
		return nil, fmt.Errorf("cannot read the answer of %s: no %s in it", path, name)
	}
	return raw, nil
}
