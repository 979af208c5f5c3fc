package delivery

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// The marks of the clock as the documents name them: as numbers, so that no
// change of a constant goes unseen.

// TestMarks: what the first attempt of each kind hears while the backend works,
// and when.
func TestMarks(t *testing.T) {
	f := func(account Kind, hold bool, kind string, do Do, after time.Duration) {
		t.Helper()
		in(t, func(t *testing.T, h *house) {
			h.svc.Kind, h.svc.Policy.Hold = account, hold
			h.backend.slow(time.Minute)
			began := time.Now()
			v := h.Deliver(testPush(1, kind), now())
			if took := time.Since(began); v.Do != do || took != after {
				t.Errorf("%s, %s, hold %v: %+v after %s; want %v after %s", account, kind, hold, v, took, do, after)
			}
		})
	}
	const open, soon, held = 4500 * time.Millisecond, 2500 * time.Millisecond, 6 * time.Second
	for _, kind := range []string{"msg/text", "msg/of_tomorrow", "event/CLICK", "event/subscribe", "event/SCAN", "event/scancode_waitmsg"} {
		for _, account := range []Kind{Official, MiniProgram} {
			f(account, true, kind, Hang, held)
			f(account, false, kind, Success, open)
		}
		f(Shop, true, kind, Success, open)
	}
	for _, kind := range []string{"event/VIEW", "event/unsubscribe", "event/LOCATION", "event/scancode_push", "event/of_tomorrow", "info/authorized"} {
		f(Official, true, kind, Success, open)
	}
	f(Shop, true, "event/channels_ec_order_pay", Success, open)
	for _, kind := range []string{
		"event/supply_order_cancel", "event/channels_ec_vip_user_info_get", "event/channels_ec_gen_order_info_init",
		"event/channels_ec_order_use_vip_discount", "event/channels_ec_order_unuse_vip_discount", "event/minigame_coin_deliver_completed",
	} {
		f(Shop, true, kind, Success, soon)
		f(MiniProgram, true, kind, Success, soon)
	}
}

// TestAckTextIsForOfficialAccounts: nobody else has passive texts.
func TestAckTextIsForOfficialAccounts(t *testing.T) {
	for account, want := range map[Kind]Do{Official: Reply, MiniProgram: Success, Shop: Success} {
		in(t, func(t *testing.T, h *house) {
			h.svc.Kind, h.svc.Policy.Hold, h.svc.Policy.Ack = account, false, "one moment"
			h.backend.slow(time.Minute)
			if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != want {
				t.Errorf("%s: %+v, want %v", account, v, want)
			}
		})
	}
}

// TestGivenUpAfter3s: an attempt that comes within 3 s of the end of the last
// one is the next; later it is late.
func TestGivenUpAfter3s(t *testing.T) {
	f := func(pause time.Duration, want int) {
		t.Helper()
		in(t, func(t *testing.T, h *house) {
			h.backend.slow(time.Minute)
			h.Deliver(testPush(1, "msg/text"), now())
			time.Sleep(pause)
			synctest.Wait()
			if n := h.event("given-up"); n != want {
				t.Errorf("%s after the last attempt has ended: given up %d times, want %d", pause, n, want)
			}
		})
	}
	f(2999*time.Millisecond, 0)
	f(3001*time.Millisecond, 1)
}

// TestRetryPauses: a backend that did nothing is tried again after 0.2, 0.5, 1
// and 2 s, as far as the inline time goes.
func TestRetryPauses(t *testing.T) {
	f := func(kind, want string) {
		t.Helper()
		in(t, func(t *testing.T, h *house) {
			h.svc.Policy.RedeliverFor = 0
			h.backend.fails(&Failure{Retry: true, Keep: true, Err: errors.New("connection refused")})
			h.Deliver(testPush(1, kind), now())
			time.Sleep(time.Minute)
			var left []time.Duration
			for _, c := range h.backend.all() {
				left = append(left, c.ReplyWithin.Round(time.Millisecond))
			}
			if got := fmt.Sprint(left); got != want {
				t.Errorf("%s: tried with %s left, want %s", kind, got, want)
			}
		})
	}
	f("msg/text", "[14.5s 14.3s 13.8s 12.8s 10.8s]")
	f("event/VIEW", "[4.5s 4.3s 3.8s 2.8s 800ms]")
	f("event/supply_order_cancel", "[2.5s 2.3s 1.8s 800ms]")
}

// TestRedeliveryPauses: 1 s doubling to 10 min, give or take a quarter.
func TestRedeliveryPauses(t *testing.T) {
	for n, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 10: 512 * time.Second, 11: 10 * time.Minute, 12: 10 * time.Minute, 1000: 10 * time.Minute,
	} {
		least, most := time.Hour, time.Duration(0)
		for range 1000 {
			d := pause(n)
			least, most = min(least, d), max(most, d)
		}
		if least < want*3/4 || most > want*5/4 || most-least < want/4 {
			t.Errorf("pause %d is between %s and %s, want %s give or take a quarter", n, least, most, want)
		}
	}
}

// TestDeadLettersStay7Days: and no longer.
func TestDeadLettersStay7Days(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.svc.Policy.Timeouts = 0
		h.backend.fails(&Failure{Keep: true, Timeout: true, Err: errors.New("no answer in time")})
		h.Deliver(testPush(1, "msg/text"), now())
		time.Sleep(7*24*time.Hour - time.Minute)
		if n := len(h.items(t)); n != 1 {
			t.Errorf("%d items a minute before 7 days are over, want the dead letter", n)
		}
		time.Sleep(2 * time.Minute)
		if n := len(h.items(t)); n != 0 {
			t.Errorf("%d items a minute after, want none", n)
		}
	})
}
