package weixin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"wx-gateway/gateway/httpc"
)

const (
	appID  = "wx0123456789abcdef"
	secret = "0123456789abcdef0123456789SECRET"
)

// wechat answers the calls it gets one after the other, the last answer again
// and again, and keeps what was asked.
type wechat struct {
	*httptest.Server
	mu      sync.Mutex
	answers []string
	asked   []string // "GET cgi-bin/token?…" or "POST cgi-bin/x?… body"
	status  int
	logs    bytes.Buffer
	seen    []string // what Observe was told: "path code"
	pauses  []time.Duration
}

func newWechat(t *testing.T, answers ...string) *wechat {
	t.Helper()
	w := &wechat{answers: answers, status: http.StatusOK}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *wechat) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := r.Method + " " + strings.TrimPrefix(r.RequestURI, "/")
	if len(body) > 0 {
		asked += " " + string(body)
		if ct := r.Header.Get("Content-Type"); ct != "application/json; charset=utf-8" {
			asked += " as " + ct
		}
	}
	w.asked = append(w.asked, asked)
	answer := w.answers[0]
	if len(w.answers) > 1 {
		w.answers = w.answers[1:]
	}
	rw.WriteHeader(w.status)
	io.WriteString(rw, answer)
}

func (w *wechat) config() Config {
	return Config{
		APIBase: w.URL + "/",
		AppID:   appID,
		Secret:  secret,
		HTTP:    httpc.New(httpc.Config{}),
		Log:     slog.New(slog.NewTextHandler(&w.logs, nil)),
		Observe: func(path string, code int, took time.Duration) {
			w.seen = append(w.seen, fmt.Sprintf("%s %d", path, code))
			if took <= 0 {
				w.seen = append(w.seen, "took nothing")
			}
		},
	}
}

// noPause stands for the waits between repeats.
func (w *wechat) noPause(_ context.Context, d time.Duration) bool {
	w.pauses = append(w.pauses, d)
	return true
}

func (w *wechat) client() (*Client, *tokens) {
	k := &tokens{current: "TOKEN-ONE"}
	c := New(w.config(), k)
	c.pause = w.noPause
	return c, k
}

func (w *wechat) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := strings.Join(w.asked, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("WeChat was asked\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// tokens is a keeper that gives TOKEN-TWO for a stale TOKEN-ONE.
type tokens struct {
	current string
	stale   []string // what Renew was called with
	err     error    // of Renew
}

func (k *tokens) Token(context.Context) (string, error) {
	if k.current == "" {
		return "", errors.New("cannot fetch access_token")
	}
	return k.current, nil
}

func (k *tokens) Renew(_ context.Context, stale string) (string, error) {
	k.stale = append(k.stale, stale)
	if k.err != nil {
		return "", k.err
	}
	k.current = "TOKEN-TWO"
	return k.current, nil
}

func refusal(code int) string {
	return fmt.Sprintf(`{"errcode":%d,"errmsg":"no rid: 1-2-3"}`, code)
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("error is %q, want %q", fmt.Sprint(err), want)
	}
	for _, s := range []string{secret, "TOKEN-ONE", "TOKEN-TWO"} {
		if strings.Contains(fmt.Sprint(err), s) {
			t.Errorf("error %q holds %s", err, s)
		}
	}
}
