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
	minKeys      = 150_000  // keys in all, of the latest pushes; up to twice as many, about 14 MB
	maxReplies   = 10 << 20 // bytes of stored replies in all
	replyTTL     = 60 * time.Second
	entryOwnSize = 150 // what a stored reply costs beside itself
)

// memory knows the pushes of the last minutes: those in work, those whose
// reply a repeat may still get, and the bare keys of older ones.
type memory struct {
	start  time.Time
	shards [shards]shard
}

// A shard keeps the many keys, which hold no pointers, apart from the few
// pushes of which more is known: the collector never looks at the keys.
type shard struct {
	mu     sync.Mutex
	young  map[ID]entry // the keys by first arrival
	fresh  int          // how many of them came since old was dropped: not those saved from it
	old    map[ID]entry // those before them: dropped all at once, when young takes their place
	recent []known      // where entries point to; 0 is nobody's
	free   []uint32     // unused places of recent
	over   fifo[kept]   // the places of pushes that are over, in the order in which they are dropped
	bytes  int          // of stored replies
}

// entry is one known push.
type entry struct {
	until uint32 // when it is forgotten, in seconds of the memory's age
	at    uint32 // its place in recent, if that still names it
}

// known is a push whose repeat is not answered by a bare success: its job, or
// once that is over with a reply nothing but that.
type known struct {
	id       ID
	job      *job
	reply    *msg.Reply
	text     string // of a reply that is nothing but text, as most are
	arrivals int    // of a job that is over: attempts so far
	service  string
	isPickUp bool
}

// kept is a push that is over.
type kept struct {
	at    uint32
	until time.Duration
	size  int
}

func newMemory() *memory {
	m := &memory{start: time.Now()}
	for i := range m.shards {
		s := &m.shards[i]
		s.young, s.old, s.recent = map[ID]entry{}, map[ID]entry{}, make([]known, 1)
	}
	return m
}

// now is the monotonic age of the memory.
func (m *memory) now() time.Duration { return time.Since(m.start) }

func (m *memory) shard(id ID) *shard { return &m.shards[id[0]%shards] }

// seconds rounds up, so that a key is known for at least its time.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// look finds what is known about id: e only while it is, k only where that is
// more than the bare key. s.mu is held.
func (s *shard) look(id ID, now time.Duration) (e entry, k *known, ok bool) {
	if e, ok = s.young[id]; !ok {
		if e, ok = s.old[id]; !ok {
			return e, nil, false
		}
	}
	if k = &s.recent[e.at]; e.at != 0 && k.id == id {
		return e, k, true
	}
	return e, nil, e.until > uint32(now/time.Second)
}

// join finds the job of id or makes it, for an attempt that came at a time.
// known with a nil job means that the push was answered long ago.
func (m *memory) join(id ID, at time.Time, ttl time.Duration, make func() *job) (j *job, fresh, known bool) {
	s, now := m.shard(id), at.Sub(m.start)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy(now)
	switch _, k, ok := s.look(id, now); {
	case k != nil && k.job != nil:
		return k.job, false, true
	case k != nil:
		j = make()
		j.repeats(k)
		k.arrivals++
		return j, false, true
	case ok:
		return nil, false, true
	}
	j = make()
	j.place = s.place(j.known(id))
	s.remember(id, entry{seconds(now + ttl), j.place})
	return j, true, false
}

// place finds k a place in recent. s.mu is held.
func (s *shard) place(k known) uint32 {
	if n := len(s.free); n > 0 {
		at := s.free[n-1]
		s.free = s.free[:n-1]
		s.recent[at] = k
		return at
	}
	s.recent = append(s.recent, k)
	return uint32(len(s.recent) - 1)
}

// vacate gives a place in recent back. s.mu is held.
func (s *shard) vacate(at uint32) {
	s.recent[at] = known{}
	s.free = append(s.free, at)
}

// remember makes id a key. s.mu is held.
func (s *shard) remember(id ID, e entry) {
	if s.fresh >= minKeys/shards {
		s.age()
	}
	s.young[id] = e
	s.fresh++
}

// age drops the old keys but those of which more is known, and makes the young
// ones old. s.mu is held.
func (s *shard) age() {
	s.young, s.old, s.fresh = s.old, s.young, 0
	kept := make([]entry, 0, len(s.recent))
	for at := range s.recent[1:] {
		at := uint32(at + 1)
		id := s.recent[at].id
		e, ok := s.young[id]
		if _, again := s.old[id]; ok && !again && e.at == at { // again: it ran out and came anew
			kept = append(kept, e)
		}
	}
	clear(s.young)
	for _, e := range kept {
		s.young[s.recent[e.at].id] = e
	}
}

// find returns what is known about id; ok with nothing in it for a bare key.
func (m *memory) find(id ID) (found known, ok bool) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, k, ok := s.look(id, m.now())
	if k != nil {
		found = *k
	}
	return found, ok
}

// working reports whether the job of id is not over.
func (m *memory) working(id ID) bool {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, k, _ := s.look(id, m.now())
	return k != nil && k.busy()
}

// busy reports that the job is not over; such a push is never forgotten.
func (k *known) busy() bool { return k.job != nil && !k.job.over }

// note makes id known without a job: a push that lies in the store.
func (m *memory) note(id ID, ttl time.Duration) {
	s, now := m.shard(id), m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, _, ok := s.look(id, now); !ok {
		s.remember(id, entry{until: seconds(now + ttl)})
	}
}

// settle ends a job, after that many attempts. For a minute a repeat gets reply,
// or where there is none but keep is set what the job tells it; otherwise the
// bare key stays.
func (m *memory) settle(j *job, attempts int, reply *msg.Reply, keep bool) {
	s, now := m.shard(j.push.ID), m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &s.recent[j.place]
	if k.job != j || j.over {
		return
	}
	j.over = true
	switch {
	case reply != nil:
		k.arrivals, k.job = attempts, nil
		size := entryOwnSize + replySize(reply)
		if isText(reply) {
			k.text = reply.Text
		} else {
			k.reply = reply
			size += int(unsafe.Sizeof(*reply))
		}
		s.keep(j.place, now, size)
	case keep:
		p := j.push
		s.keep(j.place, now, entryOwnSize+int(unsafe.Sizeof(job{})+unsafe.Sizeof(*p))+len(p.Body)+len(p.Question))
	default:
		s.vacate(j.place)
	}
	if s.bytes > maxReplies/shards {
		s.tidy(now)
	}
}

// isText reports whether text is all there is to r.
func isText(r *msg.Reply) bool { return r.Type == "text" && r.Text != "" && r.KfAccount == "" }

// answer is what a repeat of a push that is over gets.
func (k *known) answer() *msg.Reply {
	if k.text != "" {
		return &msg.Reply{Type: "text", Text: k.text, Seal: true}
	}
	return k.reply
}

// keep lets what is recent stay for replyTTL. s.mu is held.
func (s *shard) keep(at uint32, now time.Duration, size int) {
	s.bytes += size
	s.over.push(kept{at: at, until: now + replyTTL, size: size})
}

// forget makes the id of a job that is not over unknown, so that its repeat is
// a new push.
func (m *memory) forget(id ID) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, k, _ := s.look(id, m.now()); k != nil && k.busy() {
		s.vacate(e.at)
	}
	delete(s.young, id)
	delete(s.old, id)
}

// busy returns the jobs that are not over.
func (m *memory) busy() []*job {
	var all []*job
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for n := range s.recent {
			if k := &s.recent[n]; k.busy() {
				all = append(all, k.job)
			}
		}
		s.mu.Unlock()
	}
	return all
}

// sweep drops the replies that have expired in every shard.
func (m *memory) sweep() {
	now := m.now()
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.tidy(now)
		s.mu.Unlock()
	}
}

// tidy drops expired replies, and the oldest ones beyond the bound. s.mu is held.
func (s *shard) tidy(now time.Duration) {
	for s.over.len() > 0 {
		k := s.over.first()
		if k.until > now && s.bytes <= maxReplies/shards {
			break
		}
		s.over.pop()
		s.bytes -= k.size
		s.vacate(k.at)
	}
}

// fifo is a queue on a ring, which grows to the next power of two.
type fifo[T any] struct {
	ring []T
	head int
	n    int
}

func (f *fifo[T]) len() int { return f.n }
func (f *fifo[T]) first() T { return f.ring[f.head] }

func (f *fifo[T]) push(v T) {
	if f.n == len(f.ring) {
		grown := make([]T, max(8, 2*len(f.ring)))
		n := copy(grown, f.ring[f.head:])
		copy(grown[n:], f.ring[:f.head])
		f.ring, f.head = grown, 0
	}
	f.ring[(f.head+f.n)&(len(f.ring)-1)] = v
	f.n++
}

func (f *fifo[T]) pop() T {
	v := f.ring[f.head]
	var zero T
	f.ring[f.head] = zero
	f.head = (f.head + 1) & (len(f.ring) - 1)
	f.n--
	return v
}
