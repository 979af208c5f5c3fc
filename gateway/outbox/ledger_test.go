package outbox

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// generous is the most that WeChat may still take from a user whose doings are
// all known: each message of the user opens 5 within 48 h, each click, scan or
// follow 3 within a minute, and those of several may be used one by one.
type generous struct {
	message, action []time.Time // those sent since the window was opened
	lastMessage     time.Time
	lastAction      time.Time
}

func (g *generous) takes(now time.Time) bool {
	return g.messageOpen(now) || g.actionOpen(now)
}

func (g *generous) messageOpen(now time.Time) bool {
	return !g.lastMessage.IsZero() && now.Before(g.lastMessage.Add(messageWindow)) && len(g.message) < messageGrant
}

func (g *generous) actionOpen(now time.Time) bool {
	return !g.lastAction.IsZero() && now.Before(g.lastAction.Add(actionWindow)) && len(g.action) < actionGrant
}

// send uses up what closes first, so that most is left.
func (g *generous) send(now time.Time) {
	if g.actionOpen(now) {
		g.action = append(g.action, now)
	} else if g.messageOpen(now) {
		g.message = append(g.message, now)
	}
}

// TestLedgerIsNeverStricterThanWeChat: whatever users do and are sent, the
// ledger refuses exactly what WeChat, knowing no more, would refuse too; it
// never refuses a user whose last message it has not seen.
func TestLedgerIsNeverStricterThanWeChat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger()
		now := time.Unix(1_767_000_000, 0)
		l.start = now
		users := map[string]*generous{}
		user := rapid.SampledFrom([]string{"a", "b", "c"})
		pause := rapid.SampledFrom([]time.Duration{0, time.Second, 30 * time.Second, time.Minute, 10 * time.Hour, 48 * time.Hour})
		t.Repeat(map[string]func(*rapid.T){
			"message": func(t *rapid.T) {
				u := user.Draw(t, "user")
				l.open(u, "msg/text", now)
				g := get(users, u)
				g.lastMessage, g.message = now, nil
			},
			"action": func(t *rapid.T) {
				u := user.Draw(t, "user")
				l.open(u, rapid.SampledFrom([]string{"event/CLICK", "event/SCAN", "event/subscribe"}).Draw(t, "event"), now)
				g := get(users, u)
				g.lastAction, g.action = now, nil
			},
			"other event": func(t *rapid.T) { l.open(user.Draw(t, "user"), "event/VIEW", now) },
			"time":        func(t *rapid.T) { now = now.Add(pause.Draw(t, "pause")) },
			"send": func(t *rapid.T) {
				u := user.Draw(t, "user")
				g := users[u]
				why := l.full(u, now)
				switch {
				case g == nil || g.lastMessage.IsZero():
					if why != "" {
						t.Fatalf("%s, whose last message is unknown, is refused: %s", u, why)
					}
				case (why == "") != g.takes(now):
					t.Fatalf("%s at %s: refusal %q, WeChat takes it: %v (%+v)", u, now, why, g.takes(now), g)
				}
				if why == "" {
					l.sent(u, now)
					if g != nil {
						g.send(now)
					}
				}
			},
			"WeChat refuses": func(t *rapid.T) {
				u := user.Draw(t, "user")
				l.close(u)
				if g := users[u]; g != nil {
					if l.full(u, now) == "" {
						t.Fatalf("%s is still taken after WeChat's refusal", u)
					}
					delete(users, u)
					delete(l.users, l.user(u))
					delete(l.older, l.user(u)) // a known user stays closed until the next doing; begin anew
				}
			},
			"": func(t *rapid.T) {
				if len(l.users) > maxUsers {
					t.Fatalf("%d users", len(l.users))
				}
			},
		})
	})
}

func get(users map[string]*generous, u string) *generous {
	if users[u] == nil {
		users[u] = &generous{}
	}
	return users[u]
}

// TestLedgerIsBounded: with too many users those not heard of for longest go.
func TestLedgerIsBounded(t *testing.T) {
	l := newLedger()
	at := time.Now()
	open := func(user int) { l.open(fmt.Sprint(user), "msg/text", at) }
	knows := func(user int) bool {
		_, known := l.find(l.user(fmt.Sprint(user)))
		return known
	}
	for i := range 2 * maxUsers {
		open(i)
		if i%1000 == 0 {
			open(7) // is in touch all the time
		}
		if n := len(l.users) + len(l.older); n > maxUsers {
			t.Fatalf("%d users, at most %d wanted", n, maxUsers)
		}
	}
	if !knows(7) || !knows(2*maxUsers-1) || !knows(2*maxUsers-maxUsers/2) {
		t.Error("a user of late is not known any more")
	}
	if knows(8) || knows(maxUsers/2) {
		t.Error("a user of long ago is still known")
	}
}
