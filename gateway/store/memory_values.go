package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// memoryValues is Values in memory. What is bounded to some thousands needs no index by expiry.
type memoryValues struct {
	now      func() time.Time
	most     int
	mostSize int64

	mu   sync.Mutex
	m    map[string]memoryValue
	keys []string // of m, sorted
	size int64    // of keys and values
}

type memoryValue struct {
	value   []byte
	expires int64
}

func newMemoryValues(cfg MemoryConfig) *memoryValues {
	return &memoryValues{now: cfg.Now, most: cfg.MaxItems, mostSize: cfg.MaxBytes, m: map[string]memoryValue{}}
}

func (v *memoryValues) Put(ctx context.Context, key string, value []byte, expires time.Time) error {
	err := checkValue(key, value, expires)
	if err == nil && int64(len(key)+len(value)) > v.mostSize {
		err = ErrTooLarge
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("cannot put value %.64q: %w", key, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.remove(key)
	// Room is made before the new value is in, or it might be the one to go.
	for len(v.m)+1 > v.most || v.size+int64(len(key)+len(value)) > v.mostSize {
		v.remove(v.soonest())
	}
	i, _ := slices.BinarySearch(v.keys, key)
	v.keys = slices.Insert(v.keys, i, key)
	v.m[key] = memoryValue{value: append([]byte{}, value...), expires: nanos(expires)}
	v.size += int64(len(key) + len(value))
	return nil
}

func (v *memoryValues) soonest() string {
	return slices.MinFunc(v.keys, func(a, b string) int { return cmp.Compare(v.m[a].expires, v.m[b].expires) })
}

func (v *memoryValues) remove(key string) {
	old, ok := v.m[key]
	if !ok {
		return
	}
	delete(v.m, key)
	v.size -= int64(len(key) + len(old.value))
	i, _ := slices.BinarySearch(v.keys, key)
	v.keys = slices.Delete(v.keys, i, i+1)
}

func (v *memoryValues) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, fmt.Errorf("cannot get value %.64q: %w", key, err)
	}
	now := nanos(v.now())
	v.mu.Lock()
	defer v.mu.Unlock()
	x, ok := v.m[key]
	if !ok || x.expires <= now {
		return nil, false, nil
	}
	return bytes.Clone(x.value), true, nil
}

func (v *memoryValues) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cannot delete value %.64q: %w", key, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.remove(key)
	return nil
}

func (v *memoryValues) List(ctx context.Context, prefix string, limit int) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot list values: %w", err)
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	now := nanos(v.now())
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []Entry
	i, _ := slices.BinarySearch(v.keys, prefix)
	for ; i < len(v.keys) && len(out) < limit && strings.HasPrefix(v.keys[i], prefix); i++ {
		if x := v.m[v.keys[i]]; x.expires > now {
			out = append(out, Entry{Key: v.keys[i], Value: bytes.Clone(x.value), Expires: instant(x.expires)})
		}
	}
	return out, nil
}

func (v *memoryValues) Expire(ctx context.Context, now time.Time, max int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("cannot expire values: %w", err)
	}
	at := nanos(now)
	v.mu.Lock()
	defer v.mu.Unlock()
	var past []string
	for _, key := range v.keys {
		if v.m[key].expires <= at {
			past = append(past, key)
		}
	}
	if len(past) > max {
		slices.SortStableFunc(past, func(a, b string) int { return cmp.Compare(v.m[a].expires, v.m[b].expires) })
		past = past[:max]
	}
	for _, key := range past {
		v.remove(key)
	}
	return len(past), nil
}
