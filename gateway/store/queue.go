package store

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"
)

// scanStep is how many entries List looks at before it lets others have the lock.
const scanStep = 4096

// queue is Queue over an index, whatever keeps the bytes.
type queue struct {
	keep    keeper
	durable bool // Data is on disk, not in x
	now     func() time.Time
	most    int // items; 0: no limit of the queue's own

	mu sync.Mutex // guards x; never held during I/O
	x  index
}

// keeper keeps the bytes of a queue's items.
type keeper interface {
	// do carries out c, in one order for all callers.
	do(ctx context.Context, c change) error
	// load fills in the Data of what is picked and leaves out what is gone by now.
	load(picks []pick) ([]pick, error)
}

// pick is an item chosen from the index, to be completed by its keeper.
type pick struct {
	Item
	rev   uint64
	newer bool  // a later Put is on disk already, and Item is what it wrote
	err   error // this one cannot be read
}

func (e *entry) pick() pick { return pick{Item: e.item(), rev: e.rev} }

func (q *queue) Put(ctx context.Context, it Item) error {
	err := checkItem(&it)
	if err == nil {
		err = q.keep.do(ctx, q.newPut(it))
	}
	if err != nil {
		return fmt.Errorf("cannot put item %.64q in the queue: %w", it.ID, err)
	}
	return nil
}

func (q *queue) newPut(it Item) *putItem {
	c := &putItem{q: q, it: it, bytes: len(it.Data)}
	if q.durable {
		c.kept = encodeItem(&it)
	} else {
		c.kept = bytes.Clone(it.Data)
	}
	c.it.Data = nil
	return c
}

func (q *queue) Delete(ctx context.Context, id string) error {
	if err := q.keep.do(ctx, &deleteItem{q: q, id: id}); err != nil {
		return fmt.Errorf("cannot delete item %.64q of the queue: %w", id, err)
	}
	return nil
}

func (q *queue) Get(ctx context.Context, id string) (Item, bool, error) {
	if err := ctx.Err(); err != nil {
		return Item{}, false, fmt.Errorf("cannot get item %.64q of the queue: %w", id, err)
	}
	q.mu.Lock()
	e := q.x.byID[id]
	if e == nil {
		q.mu.Unlock()
		return Item{}, false, nil
	}
	p := e.pick()
	q.mu.Unlock()

	picks, err := q.keep.load([]pick{p})
	if err == nil && len(picks) > 0 {
		err = picks[0].err
	}
	if err != nil {
		return Item{}, false, fmt.Errorf("cannot get item %.64q of the queue: %w", id, err)
	}
	if len(picks) == 0 {
		return Item{}, false, nil
	}
	return picks[0].Item, true, nil
}

func (q *queue) Claim(ctx context.Context, now time.Time, max int, skip func(service string) bool) ([]Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot claim items of the queue: %w", err)
	}
	at := nanos(now)
	q.mu.Lock()
	q.x.tick(at)
	due := q.x.dueServices(at)
	q.mu.Unlock()

	names := due[:0]
	for _, name := range due {
		if skip == nil || !skip(name) {
			names = append(names, name)
		}
	}

	q.mu.Lock()
	var picks []pick
	for _, e := range q.x.claim(at, max, names) {
		picks = append(picks, e.pick())
	}
	q.mu.Unlock()
	if len(picks) == 0 {
		return nil, nil
	}

	loaded, err := q.keep.load(picks)
	if err != nil {
		q.release(picks)
		return nil, fmt.Errorf("cannot claim items of the queue: %w", err)
	}
	// One that cannot be read stays Running, so that its lane waits and nothing overtakes it; the keeper has told. One
	// that was put anew meanwhile is what that Put makes of it.
	items := make([]Item, 0, len(loaded))
	for _, p := range loaded {
		if p.err == nil && !p.newer {
			items = append(items, p.Item)
		}
	}
	return items, nil
}

// release takes a claim back.
func (q *queue) release(picks []pick) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range picks {
		if e := q.x.byID[p.ID]; e != nil && e.rev == p.rev && e.state == Running {
			q.x.set(e, Waiting, e.due)
		}
	}
}

func (q *queue) NextDue(ctx context.Context) (time.Time, bool, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, false, fmt.Errorf("cannot tell when the queue is due: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var first *entry
	for _, s := range q.x.services {
		if len(s.ready) > 0 {
			if e := s.ready.min().live.min(); first == nil || earlier(e, first) {
				first = e
			}
		}
	}
	if first == nil {
		return time.Time{}, false, nil
	}
	return instant(first.due), true, nil
}

// Recover touches no disk: an item that is Running in the file was running when a process ended, so every start makes
// the same of it until its owner puts it again.
func (q *queue) Recover(ctx context.Context, now time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("cannot recover the queue: %w", err)
	}
	at := nanos(now)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.x.tick(at)
	n := 0
	for _, e := range q.x.bySeq {
		if !e.gone && e.state == Running {
			q.x.set(e, Waiting, at)
			n++
		}
	}
	return n, nil
}

func (q *queue) List(ctx context.Context, f Filter, after uint64, limit int) ([]Item, error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	if f.Now.IsZero() {
		f.Now = q.now()
	}
	before := nanos(f.Now.Add(-f.OlderThan))
	var picks []pick
	for more := true; more && len(picks) < limit; {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("cannot list the queue: %w", err)
		}
		picks, after, more = q.scan(&f, before, picks, after, limit)
	}
	loaded, err := q.keep.load(picks)
	if err != nil {
		return nil, fmt.Errorf("cannot list the queue: %w", err)
	}
	items := make([]Item, 0, len(loaded))
	for _, p := range loaded {
		if p.err == nil {
			items = append(items, p.Item)
		}
	}
	return items, nil
}

// scan appends to picks what matches among the next scanStep entries above after. It returns where to go on, and
// whether there is more.
func (q *queue) scan(f *Filter, before int64, picks []pick, after uint64, limit int) ([]pick, uint64, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	rest := q.x.bySeq[q.x.after(after):]
	for i, e := range rest {
		if i == scanStep || len(picks) == limit {
			return picks, after, true
		}
		if e.matches(f, before) {
			picks = append(picks, e.pick())
		}
		after = e.seq
	}
	return picks, after, false
}

func (q *queue) Counts(ctx context.Context) (map[string]Counts, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot count the queue: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make(map[string]Counts, len(q.x.services))
	for name, s := range q.x.services {
		c := s.counts
		if len(s.ages) > 0 {
			c.Oldest = instant(s.ages.min().created)
		}
		all[name] = c
	}
	return all, nil
}

func (q *queue) Expire(ctx context.Context, now time.Time, max int) ([]Item, error) {
	c := &expireItems{q: q, now: nanos(now), most: max}
	if err := q.keep.do(ctx, c); err != nil {
		return nil, fmt.Errorf("cannot expire items of the queue: %w", err)
	}
	items := make([]Item, 0, len(c.picks))
	for _, p := range c.picks {
		items = append(items, p.Item)
	}
	return items, nil
}

func (q *queue) IDs(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot list the ids of the queue: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	ids := make([]string, 0, len(q.x.byID))
	for _, e := range q.x.bySeq {
		if !e.gone {
			ids = append(ids, e.id)
		}
	}
	return ids, nil
}
