package grant

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// want fails unless Do hands out value, or an error with the text wantErr.
func want(t *testing.T, m *Memory[string], key, owner, fetched, value, wantErr string) {
	t.Helper()
	got, err := m.Do(context.Background(), key, owner, func() (string, error) {
		if fetched == "" {
			t.Errorf("Do(%q, %q) exchanged again", key, owner)
		}
		return fetched, nil
	})
	text := ""
	if err != nil {
		text = err.Error()
	}
	if got != value || text != wantErr {
		t.Errorf("Do(%q, %q) = %q, %q, want %q, %q", key, owner, got, text, value, wantErr)
	}
}

func TestDoOwners(t *testing.T) {
	t.Parallel()
	m := New[string](10, time.Minute)

	// the first one exchanges, and is given the same again
	want(t, m, "code", "phone", "first", "first", "")
	want(t, m, "code", "phone", "", "first", "")
	// somebody else is refused, an internal caller is not
	want(t, m, "code", "stranger", "", "", "already used by somebody else")
	want(t, m, "code", "", "", "first", "")
	// what an internal caller was the first to use is no browser's
	want(t, m, "internal", "", "second", "second", "")
	want(t, m, "internal", "", "", "second", "")
	want(t, m, "internal", "phone", "", "", "already used by somebody else")
	// keys do not mix
	want(t, m, "other", "stranger", "third", "third", "")
}

func TestDoExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := New[string](10, time.Minute)
		want(t, m, "code", "phone", "one", "one", "")
		time.Sleep(time.Minute - time.Millisecond)
		want(t, m, "code", "phone", "", "one", "")
		// a minute after the exchange, however often it was asked for since
		time.Sleep(time.Millisecond)
		want(t, m, "code", "stranger", "two", "two", "")
		if len(m.byKey) != 1 || len(m.stored) != 1 {
			t.Errorf("%d keys and %d results are kept, want 1 and 1", len(m.byKey), len(m.stored))
		}
	})
}

func TestDoForgetsFailures(t *testing.T) {
	t.Parallel()
	m := New[string](10, time.Minute)
	refused := errors.New("refused")
	_, err := m.Do(context.Background(), "code", "phone", func() (string, error) { return "half", refused })
	if err != refused {
		t.Fatalf("Do = %v, want %v", err, refused)
	}
	want(t, m, "code", "stranger", "good", "good", "")
}

func TestDoIsBounded(t *testing.T) {
	t.Parallel()
	m := New[string](3, time.Minute)
	for i := range 100 {
		k := strconv.Itoa(i)
		want(t, m, k, "", k, k, "")
	}
	if len(m.byKey) != 3 || len(m.stored) != 3 {
		t.Fatalf("%d keys and %d results are kept, want 3 and 3", len(m.byKey), len(m.stored))
	}
	want(t, m, "99", "", "", "99", "")
	want(t, m, "97", "", "", "97", "")
	want(t, m, "96", "", "again", "again", "") // the oldest had gone
}

func TestDoOneExchange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := New[string](1, time.Minute)
		var calls atomic.Int32
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				got, err := m.Do(context.Background(), "code", "phone", func() (string, error) {
					calls.Add(1)
					time.Sleep(time.Second)
					return "one", nil
				})
				if got != "one" || err != nil {
					t.Errorf("Do = %q, %v, want one", got, err)
				}
			})
		}
		synctest.Wait()
		// while it is under way: no room for another, no word to a stranger
		want(t, m, "other", "phone", "", "", ErrFull.Error())
		want(t, m, "code", "stranger", "", "", ErrOwner.Error())
		// and whoever cannot wait so long leaves
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_, err := m.Do(ctx, "code", "phone", nil)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "cannot wait for the exchange under way: ") {
			t.Errorf("Do with a short context = %v", err)
		}
		all.Wait()
		if n := calls.Load(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
	})
}

// A panic is its caller's; those who wait must not wait for ever.
func TestDoPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := New[string](1, time.Minute)
		go func() {
			defer func() { recover() }()
			m.Do(context.Background(), "code", "", func() (string, error) {
				time.Sleep(time.Second)
				panic("exchange")
			})
		}()
		synctest.Wait()
		want(t, m, "code", "", "", "", "the exchange was broken off")
		want(t, m, "code", "", "good", "good", "")
	})
}

func TestKey(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab", "c"}, {"a", "bc"}, {"abc"}, {"a", "b", "c"}} {
		k := Key(parts...)
		if was, ok := seen[k]; ok {
			t.Errorf("Key(%q) = Key(%s)", parts, was)
		}
		seen[k] = strings.Join(parts, "|")
	}
	if _, ok := seen[Key("ab", "c")]; !ok {
		t.Error("Key is not a function of its parts")
	}
}
