package delivery

import (
	"sync"
	"time"
)

// Bounds of what is remembered about recent pushes. WeChat repeats within 15 s
// (a shop for hours), so at the bound the oldest keys go first.
const (
	shards       = 64
	maxKeys      = 1 << 19  // keys in all: about 50 MB when full
	maxReplies   = 64 << 20 // bytes of stored replies in all
	replyTTL     = 60 * time.Second
	entryOwnSize = 1300 // what a stored reply costs beside its text: its job above all
)

// memory knows the pushes of the last minutes: those in work, those whose
// reply a repeat may still get, and the bare keys of older ones.
type memory struct {
	start  time.Time
	shards [shards]shard
}

type shard struct {
	mu      sync.Mutex
	entries map[ID]entry
	order   fifo[ID] // by first arrival
	replies fifo[kept]
	bytes   int // of stored replies
}

// entry is one known push. A nil job is a bare key: its repeat hears success.
type entry struct {
	job     *job
	busy    bool // the job is not over; never evicted
	expires time.Duration
}

// kept is a stored reply, in the order in which they are dropped.
type kept struct {
	id    ID
	until time.Duration
	size  int
}

func newMemory() *memory {
	m := &memory{start: time.Now()}
	for i := range m.shards {
		m.shards[i].entries = map[ID]entry{}
	}
	return m
}

// now is the monotonic age of the memory.
func (m *memory) now() time.Duration { return time.Since(m.start) }

func (m *memory) shard(id ID) *shard { return &m.shards[id[0]%shards] }

// join finds the job of id or makes it. known with a nil job means that the
// push was answered long ago.
func (m *memory) join(id ID, ttl time.Duration, make func() *job) (j *job, fresh, known bool) {
	s, now := m.shard(id), m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy(now)
	if e, ok := s.entries[id]; ok && (e.busy || e.job != nil || now < e.expires) {
		return e.job, false, true
	}
	j = make()
	if _, listed := s.entries[id]; !listed {
		s.order.push(id)
	}
	s.entries[id] = entry{job: j, busy: true, expires: now + ttl}
	return j, true, false
}

// find returns the job of id while it is remembered; known as in join.
func (m *memory) find(id ID) (j *job, known bool) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[id]
	return e.job, ok && (e.busy || m.now() < e.expires)
}

// working reports whether the job of id is not over.
func (m *memory) working(id ID) bool {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[id].busy
}

// note makes id known without a job: a push that lies in the store.
func (m *memory) note(id ID, ttl time.Duration) {
	s, now := m.shard(id), m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[id]; !ok {
		s.order.push(id)
		s.entries[id] = entry{expires: now + ttl}
	}
}

// settle ends a job. A reply of size > 0 bytes stays for a repeat; otherwise
// the bare key does.
func (m *memory) settle(id ID, size int) {
	s, now := m.shard(id), m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[id]
	if !ok || !e.busy {
		return
	}
	e.busy = false
	if size > 0 {
		size += entryOwnSize
		s.bytes += size
		s.replies.push(kept{id: id, until: now + replyTTL, size: size})
	} else {
		e.job = nil
	}
	s.entries[id] = e
	s.tidy(now)
}

// forget makes id unknown, so that its repeat is a new push.
func (m *memory) forget(id ID) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, id) // its place in order is skipped when it comes up
}

// busy returns the jobs that are not over.
func (m *memory) busy() []*job {
	var all []*job
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, e := range s.entries {
			if e.busy {
				all = append(all, e.job)
			}
		}
		s.mu.Unlock()
	}
	return all
}

// sweep drops what has expired in every shard.
func (m *memory) sweep() {
	now := m.now()
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.tidy(now)
		s.mu.Unlock()
	}
}

// tidy drops expired replies and keys, and the oldest ones beyond the bounds.
// s.mu is held.
func (s *shard) tidy(now time.Duration) {
	for s.replies.len() > 0 {
		k := s.replies.first()
		if k.until > now && s.bytes <= maxReplies/shards {
			break
		}
		s.replies.pop()
		s.bytes -= k.size
		if e, ok := s.entries[k.id]; ok && !e.busy {
			e.job = nil
			s.entries[k.id] = e
		}
	}
	for looked := 0; s.order.len() > 0 && looked < 64; looked++ {
		id := s.order.first()
		e, ok := s.entries[id]
		if ok && e.expires > now && s.order.len() <= maxKeys/shards {
			break
		}
		s.order.pop()
		switch {
		case ok && e.busy:
			s.order.push(id)
		case ok:
			delete(s.entries, id)
		}
	}
}

// fifo is a queue on one slice.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }
func (f *fifo[T]) push(v T) { f.items = append(f.items, v) }
func (f *fifo[T]) first() T { return f.items[f.head] }

func (f *fifo[T]) pop() T {
	v := f.items[f.head]
	var zero T
	f.items[f.head] = zero
	f.head++
	if f.head > 32 && f.head*2 > len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return v
}
