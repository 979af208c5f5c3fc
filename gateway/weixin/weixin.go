// Package weixin is a client of WeChat's HTTP API: a method for each call the
// gateway makes, WeChat's errcode as an *Error, the account's token injected and
// healed. Tokens come from whoever implements Tokens. An API whose daily quota
// is used up is left alone here; how long to leave one alone that refuses for
// another reason (Retry) is advice to the caller.
//
//	issuer := weixin.NewIssuer(cfg, false) // fetches tokens; a keeper stores them
//	api := weixin.New(cfg, keeper)
//	info, err := api.UserInfo(ctx, openid)
//	if weixin.Code(err) == 48001 { … }
//
// Errors and logs never hold a token, a secret or an OAuth code.
package weixin

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"wx-gateway/gateway/httpc"
)

// Config is one account as WeChat's API knows it. HTTP and Log are needed.
type Config struct {
	APIBase string // by default "https://api.weixin.qq.com"
	MPBase  string // by default "https://mp.weixin.qq.com"
	AppID   string
	Secret  string // needed by Issuer and SNS only
	HTTP    *httpc.Client
	Log     *slog.Logger

	// Observe is told of every HTTP call: the API's path without a leading
	// slash, WeChat's errcode (0 fine, NoAnswer when there was none to read)
	// and how long it took. May be nil.
	Observe func(path string, code int, took time.Duration)
}

// NoAnswer is what Observe is told of a call without a readable answer. It is
// no errcode of WeChat's.
const NoAnswer = -999

func (c Config) withDefaults() Config {
	if c.APIBase == "" {
		c.APIBase = "https://api.weixin.qq.com"
	}
	if c.MPBase == "" {
		c.MPBase = "https://mp.weixin.qq.com"
	}
	c.APIBase = strings.TrimRight(c.APIBase, "/")
	c.MPBase = strings.TrimRight(c.MPBase, "/")
	return c
}

// Tokens is the keeper of the account's access_token.
type Tokens interface {
	// Token returns the current token.
	Token(ctx context.Context) (string, error)
	// Renew returns another token than stale, which WeChat has just refused.
	Renew(ctx context.Context, stale string) (string, error)
}

// Client makes the calls that need the account's access_token. It is safe for
// concurrent use.
type Client struct {
	caller
	tokens Tokens
}

// New returns the client of an account.
func New(cfg Config, tokens Tokens) *Client {
	return &Client{caller: newCaller(cfg), tokens: tokens}
}

// tokenMissing is answered to a call without a token. That would be our own
// mistake, or a proxy's that drops the query; a fresh token does no harm.
const tokenMissing = 41001

// call makes r with the account's token. A token that WeChat refuses is renewed
// and the call made once more: WeChat checks the token before it does anything.
func (c *Client) call(ctx context.Context, r request) ([]byte, error) {
	token, err := c.tokens.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot call %s: %w", r.path, err)
	}
	body, err := c.repeat(ctx, r.withToken(token))
	if code := Code(err); InvalidToken(code) || code == tokenMissing {
		if token, err = c.tokens.Renew(ctx, token); err != nil {
			return nil, fmt.Errorf("cannot call %s: its access_token was refused with %d: %w", r.path, code, err)
		}
		return c.repeat(ctx, r.withToken(token))
	}
	return body, err
}
