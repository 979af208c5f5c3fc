package delivery

import (
	"context"
	"sync"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/msg"
)

// shelf coordinates the pick-up jobs of this process: an answer is offered to
// one push at a time.
type shelf struct {
	mu    sync.Mutex
	taken map[string]*job // by key: on its way to a user, not yet written
	news  chan struct{}   // closed and replaced when an answer was stored
}

func newShelf() *shelf {
	return &shelf{taken: map[string]*job{}, news: make(chan struct{})}
}

// changed is closed when the next answer is stored or comes back.
func (s *shelf) changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

func (s *shelf) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.news)
	s.news = make(chan struct{})
}

// takeFirst takes the user's oldest answer that nobody else is being given.
// Where it takes none, busy says that another push is being given one, which
// may come back.
func (s *shelf) takeFirst(e *Engine, p *Push, j *job) (key string, reply *msg.Reply, busy, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	entries, err := e.cfg.Values.List(ctx, pickupPrefix(p.Service, p.OpenID), maxPickups)
	if err != nil {
		e.cfg.Log.Error("cannot read stored answers", "service", p.Service, "err", err)
		return "", nil, false, false
	}
	for _, entry := range entries {
		var answer shelved
		if err := codec.Unmarshal(entry.Value, &answer); err != nil {
			e.cfg.Log.Error("a stored answer cannot be read", "service", p.Service, "err", err)
			continue
		}
		if !s.take(entry.Key, j) {
			busy = true
			continue
		}
		// Another push may have been given it since the list was made.
		if _, there, err := e.cfg.Values.Get(ctx, entry.Key); err != nil || !there {
			s.untake(entry.Key)
			continue
		}
		r := answer.Reply
		if r.Type == "text" && answer.Question != "" {
			r.Text = "「" + answer.Question + "」\n" + r.Text
		}
		return entry.Key, &r, false, true
	}
	return "", nil, busy, false
}

// take reserves an answer for j; false when another push is being given it.
func (s *shelf) take(key string, j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[key] != nil {
		return false
	}
	s.taken[key] = j
	return true
}

// untake makes an answer available again, or forgets one that was given out.
func (s *shelf) untake(key string) {
	s.mu.Lock()
	delete(s.taken, key)
	s.mu.Unlock()
	s.announce()
}
