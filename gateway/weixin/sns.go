package weixin

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"

	"wx-gateway/gateway/codec"
)

// SNS is web authorization: a user's code becomes a Grant. It uses the app
// secret, never the account's access_token, and so its errors say nothing about
// that token. It is safe for concurrent use.
type SNS struct{ caller }

// NewSNS returns the web authorization of an account.
func NewSNS(cfg Config) *SNS { return &SNS{newCaller(cfg)} }

// Grant is what a user allowed: to be known by openid, or by more with the scope
// snsapi_userinfo. AccessToken is the grant's own, good for UserInfo only; it is
// left out when a Grant is printed or logged.
type Grant struct {
	OpenID      string
	UnionID     string // "" unless the account is bound to an open platform
	Scope       string
	AccessToken string
	Snapshot    bool // WeChat shows a snapshot page: the ids are a placeholder's
}

// String leaves the AccessToken out.
func (g Grant) String() string {
	return fmt.Sprintf("openid %s, unionid %q, scope %s, snapshot %v", g.OpenID, g.UnionID, g.Scope, g.Snapshot)
}

// GoString leaves the AccessToken out.
func (g Grant) GoString() string { return "weixin.Grant{" + g.String() + "}" }

// LogValue leaves the AccessToken out.
func (g Grant) LogValue() slog.Value { return slog.StringValue(g.String()) }

// Exchange turns the code of a redirect into a grant. A code works once, for
// 5 minutes, so the call is never repeated; 40163 says that it was used before.
func (s *SNS) Exchange(ctx context.Context, code string) (Grant, error) {
	const path = "sns/oauth2/access_token"
	body, err := s.repeat(ctx, request{
		path: path,
		query: url.Values{
			"appid":      {s.cfg.AppID},
			"secret":     {s.cfg.Secret},
			"code":       {code},
			"grant_type": {"authorization_code"},
		},
		secrets: []string{s.cfg.Secret, code},
	})
	if err != nil {
		return Grant{}, err
	}
	var out struct {
		AccessToken string           `json:"access_token"`
		OpenID      string           `json:"openid"`
		UnionID     string           `json:"unionid"`
		Scope       string           `json:"scope"`
		Snapshot    codec.RawMessage `json:"is_snapshotuser"`
	}
	if err := codec.Unmarshal(body, &out); err != nil {
		return Grant{}, fmt.Errorf("cannot read the answer of %s: a field has the wrong type", path)
	}
	if out.OpenID == "" || out.AccessToken == "" {
		return Grant{}, fmt.Errorf("cannot read the answer of %s: no openid or access_token in it", path)
	}
	return Grant{
		OpenID:      out.OpenID,
		UnionID:     out.UnionID,
		Scope:       out.Scope,
		AccessToken: out.AccessToken,
		Snapshot:    unquote(out.Snapshot) == "1",
	}, nil
}

// UserInfo is what WeChat tells of the user behind a grant of the scope
// snsapi_userinfo, as WeChat wrote it. Other grants are refused with 48001.
func (s *SNS) UserInfo(ctx context.Context, g Grant) (codec.RawMessage, error) {
	r := request{
		path:  "sns/userinfo",
		query: url.Values{"openid": {g.OpenID}, "lang": {"zh_CN"}},
		again: true,
	}
	return s.repeat(ctx, r.withToken(g.AccessToken))
}
