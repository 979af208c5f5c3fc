package weixin

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"wx-gateway/gateway/codec"
)

const (
	pathToken       = "cgi-bin/token"
	pathStableToken = "cgi-bin/stable_token"
)

// Issuer has WeChat issue access_tokens. It is safe for concurrent use.
type Issuer struct {
	caller
	classic bool
}

// NewIssuer returns the issuer of an account. classic asks cgi-bin/token, where
// every new token ends the one before (after an overlap of 5 minutes); otherwise
// it is cgi-bin/stable_token, which gives the same token until its last 5
// minutes. The two kinds leave each other alone.
func NewIssuer(cfg Config, classic bool) *Issuer {
	return &Issuer{caller: newCaller(cfg), classic: classic}
}

// Token fetches a token and how long it lives. force makes stable_token give a
// new one and end the old at once (at most 20 times a day, 30 s apart).
func (i *Issuer) Token(ctx context.Context, force bool) (value string, life time.Duration, err error) {
	r := request{secrets: []string{i.cfg.Secret}}
	if i.classic {
		r.path = pathToken
		r.query = url.Values{
			"grant_type": {"client_credential"},
			"appid":      {i.cfg.AppID},
			"secret":     {i.cfg.Secret},
		}
		r.again = true // a token that got lost on the way is replaced by the next
	} else {
		r.path = pathStableToken
		r.again = !force // forced ones are few a day
		r.body, err = codec.Marshal(struct {
			GrantType    string `json:"grant_type"`
			AppID        string `json:"appid"`
			Secret       string `json:"secret"`
			ForceRefresh bool   `json:"force_refresh"`
		}{"client_credential", i.cfg.AppID, i.cfg.Secret, force})
		if err != nil {
			return "", 0, fmt.Errorf("cannot write the request to %s: %w", r.path, err)
		}
	}
	body, err := i.repeat(ctx, r)
	if err != nil {
		return "", 0, err
	}
	return expiring(r.path, body, "access_token")
}

// Ticket fetches the ticket that signs for the JS-SDK and how long it lives.
// WeChat names the full life even of a ticket it gave out before.
func (c *Client) Ticket(ctx context.Context) (value string, life time.Duration, err error) {
	const path = "cgi-bin/ticket/getticket"
	body, err := c.call(ctx, request{path: path, query: url.Values{"type": {"jsapi"}}, again: true})
	if err != nil {
		return "", 0, err
	}
	return expiring(path, body, "ticket")
}

// maxLife bounds what expires_in may claim; WeChat's values live two hours.
const maxLife = 30 * 24 * time.Hour

// expiring reads a value and its expires_in, seconds.
func expiring(path string, body []byte, name string) (string, time.Duration, error) {
	raw, err := field(body, name)
	if err != nil {
		return "", 0, fmt.Errorf("cannot read the answer of %s: %w", path, err)
	}
	var value string
	if raw == nil || codec.Unmarshal(raw, &value) != nil || value == "" {
		return "", 0, fmt.Errorf("cannot read the answer of %s: no %s in it", path, name)
	}
	if raw, err = field(body, "expires_in"); err != nil {
		return "", 0, fmt.Errorf("cannot read the answer of %s: %w", path, err)
	}
	secs, err := strconv.ParseInt(unquote(raw), 10, 64)
	if err != nil || secs <= 0 {
		return "", 0, fmt.Errorf("cannot read the answer of %s: expires_in is no number of seconds", path)
	}
	return value, time.Duration(min(secs, int64(maxLife/time.Second))) * time.Second, nil
}
