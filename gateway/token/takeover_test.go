package token

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTakeOver: what another keeper of the same thing knows goes on, on the
// other's clock: the value to its end, what was seen failing, the forces spent.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{stable: true}
		old, _ := keeper(t, p, Stable(), nil)
		old.Start()
		wantToken(t, old, 1)
		renew(t, old, value(1), value(2))
		p.wantCalls(t, 3, 1)
		time.Sleep(20 * time.Second)

		k, _ := keeper(t, p, Stable(), func(c *Config) { c.Eager = true })
		k.TakeOver(old)
		k.Start()
		old.Stop()
		synctest.Wait()
		wantToken(t, k, 2)
		p.wantCalls(t, 3, 1)
		if got, want := k.State().Expires, old.State().Expires; !got.Equal(want) {
			t.Errorf("ends %s, the one before said %s", got, want)
		}
		// 20 s after the last force there is none.
		_, err := k.Renew(t.Context(), value(2))
		if err == nil {
			t.Fatal("a second force within the minute")
		}
		p.wantCalls(t, 4, 1)
		time.Sleep(40 * time.Second)
		synctest.Wait()
		wantToken(t, k, 3)
		p.wantCalls(t, 6, 2)
	})
}

// TestTakeOverNothing: a keeper without a good value has only its bad ones to
// give, and nothing comes from one's own.
func TestTakeOverNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		old, _ := keeper(t, p, Classic(), nil) // not started: it does not renew
		wantToken(t, old, 1)
		time.Sleep(3 * time.Hour)

		k, _ := keeper(t, p, Classic(), nil)
		k.TakeOver(k)
		k.TakeOver(old)
		if k.State().Have {
			t.Error("took over a value that has ended")
		}
		k.Start()
		if _, err := k.Token(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
