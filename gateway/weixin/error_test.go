package weixin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/codec"
)

func TestCode(t *testing.T) {
	t.Parallel()
	e := &Error{Op: "cgi-bin/user/info", Code: 40003, Msg: "invalid openid rid: 1"}
	wantError(t, e, "cgi-bin/user/info: 40003 invalid openid rid: 1")
	if Code(fmt.Errorf("wrapped: %w", e)) != 40003 || Code(errors.New("x")) != 0 || Code(nil) != 0 {
		t.Error("Code does not find the errcode")
	}
	for _, code := range []int{0, -1, 40002, 41001, 42002, 42007} {
		if InvalidToken(code) {
			t.Errorf("%d is taken for an invalid token", code)
		}
	}
}

func TestIP(t *testing.T) {
	t.Parallel()
	f := func(code int, msg, want string) {
		t.Helper()
		if got := IP(fmt.Errorf("wrapped: %w", &Error{Code: code, Msg: msg})); got != want {
			t.Errorf("IP(%d %q) = %q, want %q", code, msg, got, want)
		}
	}
	f(40164, "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 65f0-1a2b-3c4d", "203.0.113.7")
	f(40164, "invalid ip ::ffff:203.0.113.7, not in whitelist", "203.0.113.7")
	f(40164, "invalid ip 2001:db8::a1 ipv6 2001:db8::a1, not in whitelist", "2001:db8::a1")
	f(40164, "invalid ip 203.0.113.7.", "203.0.113.7")
	f(61004, "access clientip is not registered requestIP: 203.0.113.9 rid: 1", "203.0.113.9")
	f(45035, "access clientip is not registered, not in ip-white-list", "")
	f(40164, "at 12:34, dead:beef", "")
	f(40003, "invalid ip 203.0.113.7", "")
	if IP(errors.New("203.0.113.7")) != "" || IP(nil) != "" {
		t.Error("an IP out of nothing")
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 15, 59, 30, 250e6, time.UTC) // 23:59:30.25 in Beijing
	f := func(op string, code int, now time.Time, want time.Duration) {
		t.Helper()
		if got := Retry(fmt.Errorf("wrapped: %w", &Error{Op: op, Code: code}), now); got != want {
			t.Errorf("Retry(%s %d) at %v = %v, want %v", op, code, now, got, want)
		}
	}
	f("", 45009, at, 29750*time.Millisecond)
	f("", 45009, at.Add(30*time.Second), 24*time.Hour-250*time.Millisecond)
	f("", 45009, time.Date(2026, 12, 31, 16, 0, 0, 0, time.UTC), 24*time.Hour)
	f("", 45011, at, 29750*time.Millisecond)
	f("", -1, at, 5*time.Second)
	for _, code := range []int{40164, 61004, 45035, 89501, 89503, 89505} {
		f("", code, at, 5*time.Minute)
	}
	f("", 89506, at, 24*time.Hour)
	f("", 89507, at, time.Hour)
	for _, code := range []int{40002, 40013, 40125, 40243, 41002, 41004} {
		f("", code, at, 10*time.Minute)
	}
	f("cgi-bin/stable_token", 40001, at, 10*time.Minute)
	f("cgi-bin/token", 40001, at, 10*time.Minute)
	f("cgi-bin/user/info", 40001, at, 0)
	f("", 40003, at, 0)
	f("", 48001, at, 0)
	if Retry(errors.New("x"), at) != 0 || Retry(nil, at) != 0 {
		t.Error("an error that is not WeChat's gives a wait")
	}
}

// A machine that leaves through several addresses, only some of them listed.
func TestGate(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logs, nil))
	g, now := &gate{}, time.Unix(1e9, 0)
	lines := func(want int, ip string, fine bool) {
		t.Helper()
		logs.Reset()
		var e *Error
		if !fine {
			e = &Error{Code: 40164, Msg: "invalid ip " + ip + ","}
		}
		g.notice(log, appID, e, now)
		if got := strings.Count(logs.String(), "\n"); got != want {
			t.Errorf("logged %d lines, want %d: %s", got, want, logs.String())
		}
	}
	lines(0, "", true)
	lines(1, "203.0.113.1", false)
	lines(1, "203.0.113.2", false)
	lines(0, "203.0.113.1", false)
	lines(1, "", true)
	lines(0, "203.0.113.1", false)
	lines(0, "", true)
	now = now.Add(10 * time.Minute)
	lines(1, "203.0.113.1", false)
	for i := range 1000 {
		lines(1, fmt.Sprintf("10.0.%d.%d", i/256, i%256), false)
	}
	if len(g.logged) > maxAddress {
		t.Errorf("%d addresses remembered", len(g.logged))
	}
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if !pause(context.Background(), time.Second) || time.Since(start) != time.Second {
			t.Errorf("paused for %v, want 1 s", time.Since(start))
		}
		start = time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if pause(ctx, time.Second) || time.Since(start) != 0 {
			t.Errorf("began a pause that the deadline does not allow")
		}
		time.AfterFunc(100*time.Millisecond, cancel)
		if pause(ctx, 500*time.Millisecond) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("a canceled pause took %v", time.Since(start))
		}
	})
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"errcode":0}`, `{"errcode":"40001","errmsg":"SECRET-TOKEN"}`, `{"errcode":-1,"errmsg":5}`, `<xml>`, ``, `null`,
		"{\"a\":\"\x00\xff\"}", `{"errcode":99999999999999999999}`, `{"errcode":"\""}`, `{"errmsg":"x","errcode":1}`, "{\"errcode\":7,\"errmsg\":\"SECRET-\\u0054OKEN\"}",
		`{"errcode":{"errcode":1}}`, `{"a":1}{"b":2}`, strings.Repeat(`{"a":`, 2000),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := request{path: "p", secrets: []string{"SECRET-TOKEN"}}
		body, refusal, err := r.read(200, bytes.Clone(answer))
		switch {
		case err != nil:
			if body != nil || refusal != nil || strings.Contains(err.Error(), "SECRET-TOKEN") {
				t.Errorf("%q: body %q, refusal %v, err %v", answer, body, refusal, err)
			}
		case refusal != nil:
			if body != nil || refusal.Code == 0 || len(refusal.Msg) > maxMsg+3 ||
				strings.Contains(refusal.Error(), "SECRET-TOKEN") || strings.ContainsAny(refusal.Msg, "\n\r\x00") {
				t.Errorf("%q: body %q, refusal %q", answer, body, refusal)
			}
		case !codec.Valid(body) || body[0] != '{':
			t.Errorf("%q gave the body %q", answer, body)
		}
		IP(&Error{Code: 40164, Msg: string(answer)})
	})
}
