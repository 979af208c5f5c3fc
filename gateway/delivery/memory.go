package delivery

import (
	"sync"
	"time"
	"unsafe"

	"wx-gateway/gateway/msg"
)

// Bounds of what is remembered about recent pushes. WeChat repeats within 15 s
// (a shop for hours), so at the bound the oldest keys go first.
const (
	shards       = 64
	maxKeys      = 1 << 19  // keys in all: about 30 MB when full
	maxReplies   = 32 << 20 // bytes of stored replies in all
	replyTTL     = 60 * time.Second
	entryOwnSize = 500 // what a stored reply costs beside its text
)

// memory knows the pushes of the last minutes: those in work, those whose
// reply a repeat may still get, and the bare keys of older ones.
type memory struct {
	start  time.Time
	shards [shards]shard
}

// A shard keeps the many keys, which hold no pointers, apart from the few
// jobs: the collector never looks at them.
type shard struct {
	mu      sync.Mutex
	recent  map[ID]known
	keys    map[ID]uint32 // until when a push is known, in seconds of the memory's age
	order   fifo[dated]   // the keys by first arrival
	replies fifo[kept]
	bytes   int // of stored replies
}

// known is a push whose repeat is not answered by a bare success: its job, or
// once that is over with a reply nothing but that.
type known struct {
	job      *job
	reply    *msg.Reply
	arrivals int // with reply: attempts seen
	service  string
	isPickUp bool
}

// dated is a key and when it is forgotten.
type dated struct {
	id    ID
	until uint32
}

// kept is a stored reply or a job that is over, in the order in which they are
// dropped.
type kept struct {
	id    ID
	until time.Duration
	size  int
}

func newMemory() *memory {
	m := &memory{start: time.Now()}
	for i := range m.shards {
		m.shards[i].recent, m.shards[i].keys = map[ID]known{}, map[ID]uint32{}
	}
	return m
}

// now is the monotonic age of the memory.
func (m *memory) now() time.Duration { return time.Since(m.start) }

func (m *memory) shard(id ID) *shard { return &m.shards[id[0]%shards] }

// seconds rounds up, so that a key is known for at least its time.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// join finds the job of id or makes it. known with a nil job means that the
// push was answered long ago.
func (m *memory) join(id ID, ttl time.Duration, make func() *job) (j *job, fresh, known bool) {
	s, now := m.shard(id), m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy(now)
	switch k, ok := s.recent[id]; {
	case ok && k.job != nil:
		return k.job, false, true
	case ok:
		j = make()
		j.repeats(k)
		k.arrivals++
		s.recent[id] = k
		return j, false, true
	case s.keys[id] > uint32(now/time.Second):
		return nil, false, true
	}
	j = make()
	s.recent[id] = j.known()
	s.remember(id, now+ttl)
	return j, true, false
}

// remember makes id a key. s.mu is held.
func (s *shard) remember(id ID, until time.Duration) {
	s.keys[id] = seconds(until)
	s.order.push(dated{id, seconds(until)})
}

// find returns what is known about id; ok with nothing in it for a bare key.
func (m *memory) find(id ID) (k known, ok bool) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok = s.recent[id]
	return k, ok || s.keys[id] > uint32(m.now()/time.Second)
}

// working reports whether the job of id is not over.
func (m *memory) working(id ID) bool {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recent[id].busy()
}

// busy reports that the job is not over; such a push is never forgotten.
func (k known) busy() bool { return k.job != nil && !k.job.over }

// note makes id known without a job: a push that lies in the store.
func (m *memory) note(id ID, ttl time.Duration) {
	s, now := m.shard(id), m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.keys[id]; !ok {
		s.remember(id, now+ttl)
	}
}

// settle ends a job. For a minute a repeat gets reply, or where there is none
// but keep is set what the job tells it; otherwise the bare key stays.
func (m *memory) settle(id ID, reply *msg.Reply, keep bool) {
	s, now := m.shard(id), m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.recent[id]
	if !k.busy() {
		return
	}
	k.job.over = true
	switch {
	case reply != nil:
		k.job.mu.Lock()
		k.arrivals = k.job.arrivals
		k.job.mu.Unlock()
		k.job, k.reply = nil, reply
		s.recent[id] = k
		s.keep(id, now, entryOwnSize+replySize(reply))
	case keep:
		s.keep(id, now, entryOwnSize+int(unsafe.Sizeof(job{})))
	default:
		delete(s.recent, id)
	}
	s.tidy(now)
}

// keep lets what is recent about id stay for replyTTL. s.mu is held.
func (s *shard) keep(id ID, now time.Duration, size int) {
	s.bytes += size
	s.replies.push(kept{id: id, until: now + replyTTL, size: size})
}

// forget makes id unknown, so that its repeat is a new push.
func (m *memory) forget(id ID) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.recent, id)
	delete(s.keys, id)
}

// busy returns the jobs that are not over.
func (m *memory) busy() []*job {
	var all []*job
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, k := range s.recent {
			if k.busy() {
				all = append(all, k.job)
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
		if !s.recent[k.id].busy() { // it may have come anew after it was forgotten
			delete(s.recent, k.id)
		}
	}
	for looked := 0; s.order.len() > 0 && looked < 64; looked++ {
		d := s.order.first()
		if d.until > uint32(now/time.Second) && s.order.len() <= maxKeys/shards {
			break
		}
		s.order.pop()
		switch {
		case s.keys[d.id] != d.until: // forgotten meanwhile, and perhaps new again
		case s.recent[d.id].busy():
			s.order.push(d)
		default:
			delete(s.keys, d.id)
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
