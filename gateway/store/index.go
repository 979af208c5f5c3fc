package store

import (
	"slices"
	"sort"
	"time"
	"unique"
)

// clockSlack is how far a caller's now may lie before an earlier one without the clock counting as set back:
// goroutines that read the clock and then wait for the lock arrive out of order.
const clockSlack = int64(10 * time.Second)

// index is all that a queue knows about its items save the bytes of a durable store. It has no lock of its own.
// An item costs about 400 bytes here (TestFootprint), half of that for being the only one of its user.
type index struct {
	byID     map[string]*entry
	bySeq    []*entry // ascending; removed ones stay, marked gone, until half of it is
	gone     int      // of bySeq
	services map[string]*service
	timers   heap[*entry, timerOrder] // Async and Dead, by due
	seq      uint64                   // the last one given
	bytes    int64
	clock    int64 // the now of the last Put, Claim or Recover
}

type entry struct {
	id      string
	kind    unique.Handle[string]
	lane    *lane
	seq     uint64
	rev     uint64 // which write of a durable store this is
	due     int64
	created int64
	size    int
	data    []byte // in memory only
	laneAt  int32
	timerAt int32
	ageAt   int32
	state   State
	gone    bool
}

// lane is the line of one user of one service.
type lane struct {
	key     string // in the service's lanes
	service *service
	openID  string
	live    heap[*entry, laneOrder] // Waiting and Running, by seq
	n       int                     // items in any state
	readyAt int32
}

type service struct {
	name   string
	lanes  map[string]*lane
	ready  heap[*lane, readyOrder] // lanes whose head is Waiting, by the due of that head
	ages   heap[*entry, ageOrder]  // all but Dead, by created
	counts Counts                  // Oldest is left to ages
}

type laneOrder struct{}

func (laneOrder) less(a, b *entry) bool { return a.seq < b.seq }
func (laneOrder) slot(e *entry) *int32  { return &e.laneAt }

type timerOrder struct{}

func (timerOrder) less(a, b *entry) bool { return earlier(a, b) }
func (timerOrder) slot(e *entry) *int32  { return &e.timerAt }

type ageOrder struct{}

func (ageOrder) less(a, b *entry) bool { return a.created < b.created }
func (ageOrder) slot(e *entry) *int32  { return &e.ageAt }

type readyOrder struct{}

func (readyOrder) less(a, b *lane) bool { return earlier(a.live.min(), b.live.min()) }
func (readyOrder) slot(l *lane) *int32  { return &l.readyAt }

func earlier(a, b *entry) bool { return a.due < b.due || a.due == b.due && a.seq < b.seq }

func newIndex() index {
	return index{byID: map[string]*entry{}, services: map[string]*service{}}
}

// put inserts it (its Seq is set) or replaces the item of its ID.
func (x *index) put(it *Item, rev uint64, size int, data []byte) {
	e := x.byID[it.ID]
	if e != nil {
		x.detach(e)
	} else {
		e = &entry{id: it.ID, seq: it.Seq, created: nanos(it.Created)}
		x.byID[it.ID] = e
		x.insert(e)
	}
	e.kind, e.rev, e.size, e.data = unique.Make(it.Kind), rev, size, data
	e.state, e.due = it.State, nanos(it.Due)
	x.attach(e, it.Service, it.OpenID)
}

// insert puts e where it belongs in bySeq: nearly always at the end.
func (x *index) insert(e *entry) {
	x.seq = max(x.seq, e.seq)
	if n := len(x.bySeq); n == 0 || x.bySeq[n-1].seq < e.seq {
		x.bySeq = append(x.bySeq, e)
		return
	}
	x.bySeq = slices.Insert(x.bySeq, x.after(e.seq), e)
}

// after returns the place in bySeq of the first entry above seq.
func (x *index) after(seq uint64) int {
	return sort.Search(len(x.bySeq), func(i int) bool { return x.bySeq[i].seq > seq })
}

func (x *index) remove(id string) {
	e := x.byID[id]
	if e == nil {
		return
	}
	x.detach(e)
	delete(x.byID, id)
	e.gone, e.data, e.lane = true, nil, nil
	x.gone++
	for len(x.bySeq) > 0 && x.bySeq[0].gone { // most items leave in the order in which they came
		x.bySeq[0] = nil
		x.bySeq = x.bySeq[1:]
		x.gone--
	}
	if x.gone > 64 && x.gone > len(x.bySeq)/2 {
		kept := make([]*entry, 0, len(x.byID)+len(x.byID)/4)
		for _, e := range x.bySeq {
			if !e.gone {
				kept = append(kept, e)
			}
		}
		x.bySeq, x.gone = kept, 0
	}
}

// oldest returns the entry with the smallest seq save not, nil if there is none.
func (x *index) oldest(not string) *entry {
	for _, e := range x.bySeq {
		if !e.gone && e.id != not {
			return e
		}
	}
	return nil
}

func (x *index) attach(e *entry, name, openID string) {
	s := x.services[name]
	if s == nil {
		s = &service{name: name, lanes: map[string]*lane{}}
		x.services[name] = s
	}
	// A push that names no user (some of a shop's) has nobody to be in order
	// for: it is a lane of its own, and holds up no other.
	key := "user " + openID
	if openID == "" {
		key = "push " + e.id
	}
	l := s.lanes[key]
	if l == nil {
		l = &lane{service: s, openID: openID, key: key}
		s.lanes[key] = l
	}
	l.n++
	e.lane = l
	s.counts.Bytes += int64(e.size)
	x.bytes += int64(e.size)
	x.link(e)
}

func (x *index) detach(e *entry) {
	x.unlink(e)
	l, s := e.lane, e.lane.service
	s.counts.Bytes -= int64(e.size)
	x.bytes -= int64(e.size)
	if l.n--; l.n == 0 {
		delete(s.lanes, l.key)
	}
	if len(s.lanes) == 0 {
		delete(x.services, s.name)
	}
}

// set gives e, which stays in its lane, another state and due time.
func (x *index) set(e *entry, state State, due int64) {
	x.unlink(e)
	e.state, e.due = state, due
	x.link(e)
}

// link enters e where its state belongs; unlink undoes it.
func (x *index) link(e *entry) {
	s := e.lane.service
	*s.counts.of(e.state)++
	if e.state != Dead {
		s.ages.push(e)
	}
	if e.state == Async || e.state == Dead {
		x.timers.push(e)
		return
	}
	e.lane.live.push(e)
	e.lane.refresh()
}

func (x *index) unlink(e *entry) {
	s := e.lane.service
	*s.counts.of(e.state)--
	s.ages.remove(e)
	x.timers.remove(e)
	if e.laneAt == 0 {
		return
	}
	// The ready heap compares lanes by their heads, so a lane leaves it before its head may go.
	s.ready.remove(e.lane)
	e.lane.live.remove(e)
	e.lane.refresh()
}

// refresh enters the lane among the ready ones, moves it there, or takes it out, after its head may have changed.
func (l *lane) refresh() {
	ready := len(l.live) > 0 && l.live.min().state == Waiting
	switch {
	case !ready:
		l.service.ready.remove(l)
	case l.readyAt == 0:
		l.service.ready.push(l)
	default:
		l.service.ready.fix(l)
	}
}

func (c *Counts) of(s State) *int {
	switch s {
	case Waiting:
		return &c.Waiting
	case Running:
		return &c.Running
	case Async:
		return &c.Async
	default:
		return &c.Dead
	}
}

// tick notes the now of a caller. If the clock was set back, every Waiting item is moved back as far: its owner meant
// a pause from the moment of the Put, and a step of a year must not make a pause of a year. A Put ticks before its item
// is there, since that one knows the new clock.
func (x *index) tick(now int64) {
	step := x.clock - now
	if step <= 0 || now <= 0 {
		x.clock = max(x.clock, now)
		return
	}
	if step <= clockSlack {
		return
	}
	x.clock = now
	for _, e := range x.bySeq {
		if !e.gone && e.state == Waiting {
			e.due -= step // the same for all that a heap compares by due, so every heap keeps its order
		}
	}
}

// dueServices returns the services that have a head due at now.
func (x *index) dueServices(now int64) []string {
	var names []string
	for name, s := range x.services {
		if s.due(now) {
			names = append(names, name)
		}
	}
	return names
}

func (s *service) due(now int64) bool {
	return len(s.ready) > 0 && s.ready.min().live.min().due <= now
}

// claim marks up to max due heads of the named services Running, the longest due first.
func (x *index) claim(now int64, most int, names []string) []*entry {
	var claimed []*entry
	for len(claimed) < most {
		var first *entry
		for _, name := range names {
			// The service may have gone while its name was being judged.
			if s := x.services[name]; s != nil && s.due(now) {
				if e := s.ready.min().live.min(); first == nil || earlier(e, first) {
					first = e
				}
			}
		}
		if first == nil {
			break
		}
		x.set(first, Running, first.due)
		claimed = append(claimed, first)
	}
	return claimed
}

// expired returns up to most Async and Dead entries that are past due at now, the longest due first.
func (x *index) expired(now int64, most int) []*entry {
	var out []*entry
	for len(out) < most && len(x.timers) > 0 && x.timers.min().due <= now {
		e := x.timers.min()
		x.timers.remove(e)
		out = append(out, e)
	}
	for _, e := range out {
		x.timers.push(e)
	}
	return out
}

// item returns e without the bytes that are on disk.
func (e *entry) item() Item {
	return Item{
		ID: e.id, Service: e.lane.service.name, OpenID: e.lane.openID, Kind: e.kind.Value(), Seq: e.seq, State: e.state,
		Due: instant(e.due), Created: instant(e.created), Data: e.data,
	}
}

func (e *entry) matches(f *Filter, before int64) bool {
	return !e.gone &&
		(f.Service == "" || f.Service == e.lane.service.name) &&
		(f.OpenID == "" || f.OpenID == e.lane.openID) &&
		(f.Kind == "" || f.Kind == e.kind.Value()) &&
		(len(f.States) == 0 || slices.Contains(f.States, e.state)) &&
		(f.OlderThan <= 0 || e.created <= before)
}
