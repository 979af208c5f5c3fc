package outbox

import (
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
type ledger struct {
	mu    sync.Mutex
	users map[string]*account
	order []string // by first sight; the oldest goes when there are too many
}

type account struct {
	message grant
	action  grant
	closed  bool // WeChat itself said so; until the user is back
}

type grant struct {
	left int
	till time.Time
}

func newLedger() *ledger { return &ledger{users: map[string]*account{}} }

// open notes a user's doing.
func (l *ledger) open(openid, kind string, at time.Time) {
	message := strings.HasPrefix(kind, "msg/")
	if !message && !actions[kind] {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.users[openid]
	if a == nil {
		l.room()
		a = &account{}
		l.users[openid] = a
		l.order = append(l.order, openid)
	}
	a.closed = false
	if message {
		a.message = grant{messageGrant, at.Add(messageWindow)}
	} else {
		a.action = grant{actionGrant, at.Add(actionWindow)}
	}
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
	a := l.users[openid]
	switch {
	case a == nil || a.action.open(now) || a.message.open(now):
		return ""
	case a.closed:
		return "WeChat takes no more messages for this user until the user is in touch again"
	case a.message.till.IsZero():
		return "" // a message from before the start may still have left a window
	case now.Before(a.message.till):
		return "5 messages were sent since the user's last one: WeChat takes no more (45047)"
	}
	return "the user's last message is older than 48 h: WeChat takes no message (45015)"
}

func (g grant) open(now time.Time) bool { return g.left > 0 && now.Before(g.till) }

// sent charges a message to the window that closes first.
func (l *ledger) sent(openid string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.users[openid]
	switch {
	case a == nil:
	case a.action.open(now):
		a.action.left--
	case a.message.open(now):
		a.message.left--
	}
}

// close notes that WeChat has refused.
func (l *ledger) close(openid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.users[openid]; a != nil {
		a.closed = true
		a.action, a.message.left = grant{}, 0
	}
}
