package delivery

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// A pick-up is an answer of an account that may not send by itself: the user
// sends a word, and the passive reply to that word carries the answer.

const (
	maxPickups     = 20  // stored answers of one user; the oldest goes first
	questionLength = 20  // characters of the question that an answer names
	prefixRoom     = 120 // bytes left for it in a text
)

// shelved is a stored answer.
type shelved struct {
	Question string    `json:"question,omitempty"`
	Reply    msg.Reply `json:"reply"`
}

func pickupPrefix(service, openid string) string {
	return "pickup/" + service + "\x00" + openid + "\x00"
}

// shelve stores what is left of an answer until the user picks it up.
func (e *Engine) shelve(s *Service, rec *record) {
	p := &rec.Push
	until := time.Now().Add(s.Policy.Keep)
	all := pieces(rec.Answer)
	if len(all) > maxPickups {
		all = all[:maxPickups]
		e.cfg.Log.Warn("a late answer is too long to be picked up: its end was dropped", "service", p.Service, "push", p.ID.String(), "limit", maxPickups)
	}
	at := e.shelfTime(p)
	for i, r := range all {
		if !r.Passive() || r.Type == "raw" || r.Type == "transfer_customer_service" {
			e.cfg.Log.Warn("a late answer cannot wait to be picked up: its type has no passive form then", "service", p.Service, "push", p.ID.String(), "type", r.Type)
			continue
		}
		value, err := codec.Marshal(shelved{Question: clipText(p.Question, questionLength), Reply: r})
		if err == nil {
			key := fmt.Sprintf("%s%020d-%s-%03d", pickupPrefix(p.Service, p.OpenID), at, rec.key(), rec.Shelved)
			err = e.putValue(key, value, until)
		}
		if err != nil {
			rec.Answer = all[i:]
			e.putBack(rec, fmt.Errorf("cannot store an answer to be picked up: %w", err))
			return
		}
		rec.Shelved++
	}
	e.cfg.Count(p.Service, "shelved")
	e.trimPickups(p)
	e.shelf.announce()
}

// shelfTime is the place of p's answer among its user's: when the push came, in
// nanoseconds, but after any from the future. Such a one is there when the clock
// was set back since, and is older all the same.
func (e *Engine) shelfTime(p *Push) int64 {
	at := p.Created.UnixNano()
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	prefix := pickupPrefix(p.Service, p.OpenID)
	entries, err := e.cfg.Values.List(ctx, prefix, 8*maxPickups)
	if err != nil || len(entries) == 0 {
		return at
	}
	text, _, _ := strings.Cut(entries[len(entries)-1].Key[len(prefix):], "-")
	if last, err := strconv.ParseInt(text, 10, 64); err == nil && last > time.Now().UnixNano() {
		return max(at, last+1)
	}
	return at
}

// pieces splits texts so that the question fits in front of each.
func pieces(replies []msg.Reply) []msg.Reply {
	var out []msg.Reply
	for _, r := range replies {
		if r.Type != "text" {
			out = append(out, r)
			continue
		}
		for _, text := range msg.SplitText(r.Text, msg.TextLimit-prefixRoom) {
			out = append(out, msg.Reply{Type: "text", Text: text})
		}
	}
	return out
}

// trimPickups drops the oldest answers of a user who has too many.
func (e *Engine) trimPickups(p *Push) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	entries, err := e.cfg.Values.List(ctx, pickupPrefix(p.Service, p.OpenID), 8*maxPickups)
	if err != nil {
		return // the next one trims
	}
	for i := 0; i < len(entries)-maxPickups; i++ {
		if e.cfg.Values.Delete(ctx, entries[i].Key) == nil {
			e.cfg.Count(p.Service, "pickup-dropped")
			e.cfg.Log.Warn("a user's oldest stored answer was dropped", "service", p.Service, "limit", maxPickups)
		}
	}
}

func (e *Engine) putValue(key string, value []byte, until time.Time) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return e.cfg.Values.Put(ctx, key, value, until)
}

// PicksUp reports whether text is a pick-up word of an account that uses them,
// from a user who has an answer stored or pending. Any other text is an
// ordinary push.
func (e *Engine) PicksUp(service, openid, text string) bool {
	if !e.isPickupWord(service, text) {
		return false
	}
	if e.hasPickup(service, openid) {
		return true
	}
	// Asked again, since what was pending may have been stored in between.
	svc, ok := e.cfg.Service(service)
	return ok && svc.via() == Pickup && (e.pending(service, openid) || e.hasPickup(service, openid))
}

func (e *Engine) isPickupWord(service, text string) bool {
	svc, ok := e.cfg.Service(service)
	return ok && len(svc.Policy.PickupWords) > 0 && slices.Contains(svc.Policy.PickupWords, strings.TrimSpace(text))
}

func (e *Engine) hasPickup(service, openid string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	entries, err := e.cfg.Values.List(ctx, pickupPrefix(service, openid), 1)
	return err == nil && len(entries) > 0
}

// pending reports whether an answer for the user is still being worked on.
func (e *Engine) pending(service, openid string) bool {
	e.mu.Lock()
	_, late := e.lanes[(&Push{Service: service, OpenID: openid}).lane()]
	e.mu.Unlock()
	if late {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	live := []store.State{store.Waiting, store.Running, store.Async}
	items, err := e.cfg.Queue.List(ctx, store.Filter{Service: service, OpenID: openid, States: live}, 0, maxPickups)
	return err == nil && slices.ContainsFunc(items, func(it store.Item) bool { return classOf(it.Kind).waits })
}

// Intercept answers a push whose text is a pick-up word that has something to
// pick up; false leaves the push to the backend.
func (e *Engine) Intercept(p *Push, text string, in Arrival) (Verdict, bool) {
	if !e.isPickupWord(p.Service, text) {
		return Verdict{}, false
	}
	switch k, known := e.mem.find(p.ID); {
	case k.service != "" && !k.isPickUp:
		return Verdict{}, false // a repeat of a push that went to the backend
	case !known && !e.PicksUp(p.Service, p.OpenID, text):
		return Verdict{}, false
	}
	return e.PickUp(p, in), true
}

// PickUp answers a push whose text is a pick-up word: with the oldest stored
// answer, waiting for it as for a backend's.
func (e *Engine) PickUp(p *Push, in Arrival) Verdict {
	return e.take(p, in, true)
}

// pickUp waits for an answer that no other attempt has taken.
func (e *Engine) pickUp(j *job) {
	ctx, cancel := context.WithTimeout(e.ctx, j.svc.Policy.MaxWait)
	defer cancel()
	for {
		changed := e.shelf.changed()
		key, reply, busy, ok := e.shelf.takeFirst(e, j.push, j)
		over := !ok && !busy && !e.pending(j.push.Service, j.push.OpenID)
		if over { // it may have been stored in between
			key, reply, _, ok = e.shelf.takeFirst(e, j.push, j)
		}
		if ok {
			j.mu.Lock()
			j.pickup = key
			j.mu.Unlock()
			e.finish(j, &outcome{reply: reply})
			return
		}
		j.mu.Lock()
		late := j.late
		j.mu.Unlock()
		if late || over {
			e.finish(j, &outcome{}) // what was pending has failed or was sent otherwise
			return
		}
		t := time.NewTimer(time.Second)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			e.finish(j, &outcome{})
			return
		}
		t.Stop()
	}
}

// endPickUp follows a pick-up job that is over: an answer whose bytes were
// written is gone from the shelf, any other stays for the next word.
func (e *Engine) endPickUp(j *job, given bool) {
	if !j.isPickUp {
		return
	}
	j.mu.Lock()
	key := j.pickup
	j.mu.Unlock()
	if key == "" {
		return
	}
	if given {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		e.cfg.Count(j.push.Service, "picked-up")
		if err := e.cfg.Values.Delete(ctx, key); err != nil {
			// It stays taken until it is gone, or the next word would get it again.
			e.amend(key, func() error { return e.takeAway(key) })
			return
		}
	}
	e.shelf.untake(key)
}

func (e *Engine) takeAway(key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := e.cfg.Values.Delete(ctx, key); err != nil {
		return err
	}
	e.shelf.untake(key)
	return nil
}

// clipText is the first n characters of s, on one line.
func clipText(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
