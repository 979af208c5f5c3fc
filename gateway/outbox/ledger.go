package outbox

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

// WeChat's windows for customer-service messages (customer-message guide): 5
// messages within 48 h of a user's message; 3 within a minute of a menu click,
// a scan or a follow.
const (
	messageGrant  = 5
	messageWindow = 48 * time.Hour
	actionGrant   = 3
	actionWindow  = time.Minute

	maxUsers = 100_000
)

// ledger knows which messages would certainly be refused. It never knows that
// one will be accepted: others send on the account too, and what happened
// before the start is unknown. So it speaks up only about users whose last
// message it has seen.
//
// It holds as many users as write in two days, so it knows them by a hash and
// keeps nothing that the collector would have to look at.
type ledger struct {
	start time.Time
	seed  maphash.Seed

	mu    sync.Mutex
	users map[uint64]account
	order []uint64 // by first sight; the oldest goes when there are too many
}

type account struct {
	message grant
	action  grant
	closed  bool // WeChat itself said so; until the user is back
}

// grant is what is left of a window that closes at till, in seconds of the
// ledger's age; till is 0 for one that was never opened.
type grant struct {
	till uint32
	left int8
}

func newLedger() *ledger {
	return &ledger{start: time.Now(), seed: maphash.MakeSeed(), users: map[uint64]account{}}
}

func (l *ledger) user(openid string) uint64 { return maphash.String(l.seed, openid) }

// till is when a window closes that was opened at a time, rounded up.
func (l *ledger) till(opened time.Time, window time.Duration) uint32 {
	age := max(0, opened.Sub(l.start)) + window
	return uint32((age + time.Second - 1) / time.Second)
}

// open notes a user's doing.
func (l *ledger) open(openid, kind string, at time.Time) {
	message := strings.HasPrefix(kind, "msg/")
	if !message && !actions[kind] {
		return
	}
	user := l.user(openid)
	l.mu.Lock()
	defer l.mu.Unlock()
	a, known := l.users[user]
	if !known {
		l.room()
		l.order = append(l.order, user)
	}
	a.closed = false
	if message {
		a.message = grant{l.till(at, messageWindow), messageGrant}
	} else {
		a.action = grant{l.till(at, actionWindow), actionGrant}
	}
	l.users[user] = a
}

// actions are the events that open the short window.
var actions = map[string]bool{
	"event/CLICK": true, "event/subscribe": true, "event/SCAN": true,
	"event/scancode_push": true, "event/scancode_waitmsg": true,
}

// room drops the oldest user when the ledger is full. l.mu is held.
func (l *ledger) room() {
	if len(l.users) < maxUsers {
		return
	}
	delete(l.users, l.order[0])
	l.order = l.order[1:]
}

// full says why a message would certainly be refused, or "".
func (l *ledger) full(openid string, now time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, known := l.users[l.user(openid)]
	switch {
	case !known || l.isOpen(a.action, now) || l.isOpen(a.message, now):
		return ""
	case a.closed:
		return "WeChat takes no more messages for this user until the user is in touch again"
	case a.message.till == 0:
		return "" // a message from before the start may still have left a window
	case l.before(now, a.message.till):
		return "5 messages were sent since the user's last one: WeChat takes no more (45047)"
	}
	return "the user's last message is older than 48 h: WeChat takes no message (45015)"
}

func (l *ledger) before(now time.Time, till uint32) bool {
	return now.Sub(l.start) < time.Duration(till)*time.Second
}

func (l *ledger) isOpen(g grant, now time.Time) bool { return g.left > 0 && l.before(now, g.till) }

// sent charges a message to the window that closes first.
func (l *ledger) sent(openid string, now time.Time) {
	l.change(openid, func(a *account) {
		switch {
		case l.isOpen(a.action, now):
			a.action.left--
		case l.isOpen(a.message, now):
			a.message.left--
		}
	})
}

// close notes that WeChat has refused.
func (l *ledger) close(openid string) {
	l.change(openid, func(a *account) {
		a.closed = true
		a.action, a.message.left = grant{}, 0
	})
}

// change changes what is known of a user, if anything is.
func (l *ledger) change(openid string, change func(a *account)) {
	user := l.user(openid)
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, known := l.users[user]; known {
		change(&a)
		l.users[user] = a
	}
}
