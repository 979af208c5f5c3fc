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
	users map[uint64]account // those of late
	older map[uint64]account // those before them: dropped when users are too many, and what was users takes their place
}

// account is what is known of one user. (The order of its fields keeps it small.)
type account struct {
	messageTill, actionTill uint32 // when the windows close, in seconds of the ledger's age; 0: never opened
	messageLeft, actionLeft int8   // messages that they still take
	closed                  bool   // WeChat itself said so; until the user is back
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
	a, _ := l.find(user)
	a.closed = false
	if message {
		a.messageTill, a.messageLeft = l.till(at, messageWindow), messageGrant
	} else {
		a.actionTill, a.actionLeft = l.till(at, actionWindow), actionGrant
	}
	l.put(user, a)
}

func (l *ledger) find(user uint64) (a account, known bool) {
	if a, known = l.users[user]; !known {
		a, known = l.older[user]
	}
	return a, known
}

// put notes a user as one of late. l.mu is held.
func (l *ledger) put(user uint64, a account) {
	if len(l.users) >= maxUsers/2 {
		l.users, l.older = map[uint64]account{}, l.users
	}
	l.users[user] = a
}

// actions are the events that open the short window.
var actions = map[string]bool{
	"event/CLICK": true, "event/subscribe": true, "event/SCAN": true,
	"event/scancode_push": true, "event/scancode_waitmsg": true,
}

// full says why a message would certainly be refused, or "".
func (l *ledger) full(openid string, now time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, known := l.find(l.user(openid))
	switch {
	case !known || l.actionOpen(a, now) || l.messageOpen(a, now):
		return ""
	case a.closed:
		return "WeChat takes no more messages for this user until the user is in touch again"
	case a.messageTill == 0:
		return "" // a message from before the start may still have left a window
	case l.before(now, a.messageTill):
		return "5 messages were sent since the user's last one: WeChat takes no more (45047)"
	}
	return "the user's last message is older than 48 h: WeChat takes no message (45015)"
}

func (l *ledger) before(now time.Time, till uint32) bool {
	return now.Sub(l.start) < time.Duration(till)*time.Second
}

func (l *ledger) messageOpen(a account, now time.Time) bool {
	return a.messageLeft > 0 && l.before(now, a.messageTill)
}

func (l *ledger) actionOpen(a account, now time.Time) bool {
	return a.actionLeft > 0 && l.before(now, a.actionTill)
}

// sent charges a message to the window that closes first.
func (l *ledger) sent(openid string, now time.Time) {
	l.change(openid, func(a *account) {
		switch {
		case l.actionOpen(*a, now):
			a.actionLeft--
		case l.messageOpen(*a, now):
			a.messageLeft--
		}
	})
}

// close notes that WeChat has refused.
func (l *ledger) close(openid string) {
	l.change(openid, func(a *account) {
		a.closed = true
		a.actionTill, a.actionLeft, a.messageLeft = 0, 0, 0
	})
}

// change changes what is known of a user, if anything is.
func (l *ledger) change(openid string, change func(a *account)) {
	user := l.user(openid)
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, known := l.find(user); known {
		change(&a)
		l.put(user, a)
	}
}
