package token

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secretMark is in every value the tests hand out, so that a leak is found.
const secretMark = "sEcReT"

func value(n int) string { return fmt.Sprintf("%s-%d", secretMark, n) }

// platform is WeChat's side of a token.
type platform struct {
	stable bool          // the same token until 5 minutes before its end
	life   time.Duration // default 2 h
	takes  time.Duration // a call takes this long

	mu     sync.Mutex
	n      int       // tokens given
	end    time.Time // of the newest
	err    error     // answer to every call
	calls  []call
	before func() // runs at the end of a call, before it is answered
}

type call struct {
	at     time.Time
	forced bool
}

func (p *platform) fetch(ctx context.Context, force bool) (string, time.Duration, error) {
	p.mu.Lock()
	p.calls = append(p.calls, call{time.Now(), force})
	takes := p.takes
	p.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return "", 0, ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.before != nil {
		p.before()
	}
	if p.err != nil {
		return "", 0, p.err
	}
	if p.life == 0 {
		p.life = 2 * time.Hour
	}
	if !p.stable || force || time.Until(p.end) <= 5*time.Minute {
		p.n++
		p.end = time.Now().Add(p.life)
	}
	return value(p.n), time.Until(p.end), nil
}

// change changes p, or reads of it, while a keeper may be calling.
func (p *platform) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *platform) fail(err error) { p.change(func() { p.err = err }) }

func (p *platform) count() (calls, forced int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.forced {
			forced++
		}
	}
	return len(p.calls), forced
}

// wantCalls fails the test unless p was called that often.
func (p *platform) wantCalls(t *testing.T, calls, forced int) {
	t.Helper()
	if c, f := p.count(); c != calls || f != forced {
		t.Fatalf("%d fetches, %d of them forced; want %d and %d", c, f, calls, forced)
	}
}

// memory is a Cache; the zero one is empty.
type memory struct {
	mu      sync.Mutex
	t       Token
	ok      bool
	loadErr error
	saveErr error
	saves   int
}

func (m *memory) Load() (Token, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.t, m.ok, m.loadErr
}

func (m *memory) Save(t Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saves++
	if m.saveErr != nil {
		return m.saveErr
	}
	m.t, m.ok = t, true
	return nil
}

// logs collects log lines.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

// keeper returns a keeper of p that is stopped with the test and whose log must
// not hold a value. change may alter the configuration; nil: none.
func keeper(t *testing.T, p *platform, policy Policy, change func(*Config)) (*Keeper, *logs) {
	t.Helper()
	l := new(logs)
	cfg := Config{
		Name:   "access_token wx1",
		Fetch:  p.fetch,
		Policy: policy,
		Log:    slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	k := New(cfg)
	t.Cleanup(func() {
		k.Stop()
		if l.count(secretMark) > 0 {
			t.Errorf("the log holds a value:\n%s", l.buf.String())
		}
	})
	return k, l
}

// wantToken fails the test unless Token gives value(n) without any time passing.
func wantToken(t *testing.T, k *Keeper, n int) {
	t.Helper()
	began := time.Now()
	got, err := k.Token(t.Context())
	if err != nil || got != value(n) {
		t.Fatalf("Token() = %q, %v; want %q", got, err, value(n))
	}
	if took := time.Since(began); took > 0 {
		t.Fatalf("Token() took %s", took)
	}
}

// wantErr fails the test unless err has that text.
func wantErr(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || err.Error() != text {
		t.Fatalf("got error %v\nwant      %s", err, text)
	}
}

var errBusy = errors.New("cgi-bin/token: -1 system error")
