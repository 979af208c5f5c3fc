package token

import (
	"math/rand/v2"
	"time"
)

// Policy says when a value is renewed and what WeChat does when asked for one
// it has already given. The zero Policy is that of Classic.
type Policy struct {
	// The value is renewed when what is left of its life falls below a
	// duration drawn anew for each value from [min, max): gateways that started
	// together must not call together for ever.
	min, max time.Duration

	// again is the pause after an early renewal that brought the same value.
	again time.Duration

	// keepEnd: the life reported for a value already held cannot be believed,
	// its first reported end holds.
	keepEnd bool

	// force: a value that was seen failing and is given again can be replaced
	// with force_refresh.
	force bool
}

// Classic is the policy of cgi-bin/token: every call makes a new token, the old
// one lives on for 5 minutes; renewed 5-10 minutes before the end.
func Classic() Policy {
	return Policy{min: 5 * time.Minute, max: 10 * time.Minute, again: time.Minute}
}

// Stable is the policy of cgi-bin/stable_token: every call gives the same token
// until 5 minutes before its end, so it is renewed 90-270 s before. The same
// token again is no fault, the next try follows 60 s later. A token that was
// seen failing and is given again is replaced with force_refresh, which WeChat
// allows 20 times a day, 30 s apart; the Keeper stays well below.
func Stable() Policy {
	return Policy{min: 90 * time.Second, max: 270 * time.Second, again: time.Minute, force: true}
}

// Ticket is the policy of cgi-bin/ticket/getticket: each call may give the same
// ticket and reports a full life whatever is left of it, so it is renewed 10-20
// minutes before the end, and a ticket given again keeps the end first reported.
func Ticket() Policy {
	return Policy{min: 10 * time.Minute, max: 20 * time.Minute, again: 3 * time.Minute, keepEnd: true}
}

// orDefault makes the zero Policy usable.
func (p Policy) orDefault() Policy {
	if p.max == 0 {
		return Classic()
	}
	return p
}

// lead draws how long before its end a value is renewed.
func (p Policy) lead() time.Duration {
	return p.min + rand.N(p.max-p.min)
}

// leadOf is lead for a value just fetched: at most half its life, so that a
// short-lived one is not fetched without pause.
func (p Policy) leadOf(life time.Duration) time.Duration {
	return min(p.lead(), life/2)
}

// Bounds of force_refresh. WeChat's own are 30 s and 20 a day
// (cgi-bin/stable_token); what is left over is for people at a console.
const (
	forceApart  = time.Minute
	forcePerDay = 15
	day         = 24 * time.Hour
)

// forceBudget remembers when force_refresh was used, oldest first.
type forceBudget struct {
	used []time.Duration // times on the keeper's monotonic clock, at most forcePerDay
}

// take spends one force_refresh. If none is left it reports how long until one
// is, and spends nothing.
func (b *forceBudget) take(now time.Duration) (wait time.Duration) {
	for len(b.used) > 0 && now-b.used[0] >= day {
		b.used = b.used[1:]
	}
	if n := len(b.used); n > 0 {
		wait = b.used[n-1] + forceApart - now
		if n >= forcePerDay {
			wait = max(wait, b.used[0]+day-now)
		}
		if wait > 0 {
			return wait
		}
	}
	b.used = append(b.used, now)
	return 0
}

// ago is how long before now each was used, for a budget on another clock.
func (b *forceBudget) ago(now time.Duration) []time.Duration {
	ago := make([]time.Duration, len(b.used))
	for i, at := range b.used {
		ago[i] = now - at
	}
	return ago
}

// spent is the budget of which was used what ago tells.
func spent(ago []time.Duration, now time.Duration) forceBudget {
	b := forceBudget{used: make([]time.Duration, len(ago))}
	for i, d := range ago {
		b.used[i] = now - d
	}
	return b
}

// Bounds of the default back-off.
const (
	backOffMin = time.Second
	backOffMax = time.Minute
)

// backOff is the pause after the nth failure in a row, n from 1: doubling from
// 1 s to 60 s, jittered upwards by up to a quarter.
func backOff(n int) time.Duration {
	d := backOffMax
	if n < 7 {
		d = backOffMin << (max(n, 1) - 1)
	}
	return min(d+rand.N(d/4), backOffMax)
}
