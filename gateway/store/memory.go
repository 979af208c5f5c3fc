package store

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"
)

// MemoryConfig bounds a Memory store.
type MemoryConfig struct {
	// MaxItems is how many items the queue, and how many values Values, holds. By default 10,000.
	MaxItems int
	// MaxBytes is how much Data the queue, and how many bytes Values, holds. By default 64 MiB.
	MaxBytes int64
	// Dropped hears of every item that had to go for a newer one: the oldest, whatever its state. It is called by the
	// goroutine of the Put, without a lock. By default nobody hears.
	Dropped func(Item)
	// Now is the wall clock. By default time.Now.
	Now func() time.Time
}

// Memory is a store that lives and dies with the process. Beyond its bounds the oldest items of the queue, and the
// values that expire first, make room for new ones.
type Memory struct {
	cfg    MemoryConfig
	queue  *queue
	values *memoryValues

	mu     sync.Mutex // held over prepare and apply of a change
	closed bool
}

// NewMemory returns an empty store.
func NewMemory(cfg MemoryConfig) *Memory {
	if cfg.MaxItems <= 0 {
		cfg.MaxItems = 10_000
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := &Memory{cfg: cfg, values: newMemoryValues(cfg)}
	m.queue = &queue{keep: m, now: cfg.Now, x: newIndex()}
	return m
}

// Queue returns the queue.
func (m *Memory) Queue() Queue { return m.queue }

// Values returns the values with expiry.
func (m *Memory) Values() Values { return m.values }

// Durable reports whether what is stored outlives the process: false.
func (m *Memory) Durable() bool { return false }

// Healthy returns nil: memory can always be written.
func (m *Memory) Healthy() error { return nil }

// Close ends the use of the queue; it returns nil.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (m *Memory) do(ctx context.Context, c change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	put, _ := c.(*putItem)
	if put != nil && int64(put.bytes) > m.cfg.MaxBytes {
		return fmt.Errorf("data of %d bytes: %w", put.bytes, ErrTooLarge)
	}
	dropped, err := m.change(c, put)
	if m.cfg.Dropped != nil {
		for _, it := range dropped {
			m.cfg.Dropped(it)
		}
	}
	return err
}

// change carries c out and returns what it pushed out; put is c if it is a Put.
func (m *Memory) change(c change, put *putItem) ([]Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	switch err := c.prepare(); err {
	case nil:
		c.apply()
	case errNothing:
		return nil, nil
	default:
		return nil, err
	}
	if put == nil {
		return nil, nil
	}
	return m.evict(put.it.ID), nil
}

// evict removes the oldest items, save the one just put, until the rest is within bounds.
func (m *Memory) evict(id string) []Item {
	m.queue.mu.Lock()
	defer m.queue.mu.Unlock()
	x := &m.queue.x
	var dropped []Item
	for len(x.byID) > m.cfg.MaxItems || x.bytes > m.cfg.MaxBytes {
		e := x.oldest(id)
		if e == nil {
			break
		}
		dropped = append(dropped, e.item())
		x.remove(e.id)
	}
	return dropped
}

// load gives each pick a copy of its Data: the entry keeps the original.
func (m *Memory) load(picks []pick) ([]pick, error) {
	for i := range picks {
		picks[i].Data = bytes.Clone(picks[i].Data)
	}
	return picks, nil
}
