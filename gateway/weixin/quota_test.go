package weixin

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestSpentQuota: an API that answered 45009 is left alone, its refusal being
// repeated to whoever asks; other APIs are called as always.
func TestSpentQuota(t *testing.T) {
	t.Parallel()
	w := newWechat(t, refusal(45009))
	c, _ := w.client()
	for range 3 {
		if _, err := c.UserInfo(t.Context(), "o1"); Code(err) != 45009 {
			t.Errorf("UserInfo: %v, want 45009", err)
		}
	}
	if n := len(w.asked); n != 1 {
		t.Errorf("WeChat was asked %d times, want once", n)
	}
	if n := strings.Count(w.logs.String(), "quota"); n != 1 {
		t.Errorf("the log tells of it %d times, want once:\n%s", n, w.logs.String())
	}
	if _, err := c.ShortURL(t.Context(), "http://x"); Code(err) != 45009 || len(w.asked) != 2 {
		t.Errorf("another API: %v after %d calls, want one of its own", err, len(w.asked))
	}
}

func TestQuotas(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	const path = "cgi-bin/user/info"
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("Beijing", 8*60*60))
	var q quotas
	f := func(after time.Duration, want bool) {
		t.Helper()
		if got := q.refusal(path, noon.Add(after)) == nil; got != want {
			t.Errorf("%s after the refusal: called %v, want %v", after, got, want)
		}
	}
	f(0, true)
	q.notice(log, appID, path, &Error{Op: path, Code: 45009}, noon)
	f(0, false)
	f(10*time.Minute-1, false)
	f(10*time.Minute, true) // one probe, for the operator may have cleared the quota
	f(10*time.Minute, false)
	q.notice(log, appID, path, &Error{Op: path, Code: 45009}, noon.Add(10*time.Minute))
	f(19*time.Minute, false)
	f(20*time.Minute, true)
	f(12*time.Hour, true)
	f(12*time.Hour, true)

	q.notice(log, appID, path, nil, noon.Add(20*time.Minute))
	f(21*time.Minute, true)
	q.notice(log, appID, path, &Error{Op: path, Code: 40003}, noon)
	f(time.Minute, true)
}
