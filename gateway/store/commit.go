package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Bounds of one transaction: beyond them the next one begins.
const (
	maxChanges     = 512
	maxChangeBytes = 8 << 20
)

// probeEvery is how often Healthy tries a write while the last one failed, and how long it waits for it.
const probeEvery = time.Second

// probeSize is about what a stored push needs, so that a probe does not succeed where a push would not.
const probeSize = 64 << 10

// disk is a bbolt file with one goroutine that writes to it. While one transaction waits for its fsync the next
// changes gather, and share the one after: a single Put pays no extra delay, many share the cost. This is bbolt's own
// Batch save for three things: no timer, changes take effect in memory in the order of the disk, and a panic or a
// fault on a damaged page ends in an error where Batch, which commits in a goroutine of its own, would end the process.
type disk struct {
	db       *bbolt.DB
	file     *os.File // bbolt's own; held for the lock on it
	log      *slog.Logger
	requests chan *request
	quit     chan struct{} // closed to end the writer
	done     chan struct{} // closed when the writer has gone
	commits  atomic.Int64

	mu      sync.Mutex
	failed  error // of the last write; nil after one that succeeded
	damaged error // the first damage met; stays
	sealed  bool  // no write may be tried again: bbolt's locks or free list may be in any state
	dead    bool  // nor a read
	probed  time.Time
}

type request struct {
	ctx    context.Context
	change change
	done   chan error // capacity 1
}

// do has the writer carry c out, and waits for it until ctx ends.
func (d *disk) do(ctx context.Context, c change) error {
	r := &request{ctx: ctx, change: c, done: make(chan error, 1)}
	select {
	case <-d.quit: // first: the next select would choose at random
		return ErrClosed
	default:
	}
	select {
	case d.requests <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-d.quit:
		return ErrClosed
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-d.done:
	}
	select {
	case err := <-r.done:
		return err
	default:
		return ErrClosed
	}
}

// run is the writer.
func (d *disk) run() {
	defer close(d.done)
	var next *request
	for {
		if next == nil {
			select {
			case next = <-d.requests:
			case <-d.quit:
				return
			}
		}
		var batch []*request
		batch, next = d.gather(next)
		d.commit(batch)
	}
}

// gather adds to first what is waiting and may share its transaction. The second result could not, and comes first in
// the next one.
func (d *disk) gather(first *request) (batch []*request, next *request) {
	batch = append(batch, first)
	key := first.change.key()
	if key == "" {
		return batch, nil
	}
	keys := map[string]bool{key: true}
	size := first.change.size()
	for len(batch) < maxChanges && size < maxChangeBytes {
		select {
		case r := <-d.requests:
			key := r.change.key()
			if key == "" || keys[key] {
				return batch, r
			}
			keys[key] = true
			size += r.change.size()
			batch = append(batch, r)
		default:
			return batch, nil
		}
	}
	return batch, nil
}

func (d *disk) commit(batch []*request) {
	live := batch[:0]
	for _, r := range batch {
		err := context.Cause(r.ctx)
		if err == nil {
			err = r.change.prepare()
		}
		switch err {
		case nil:
			live = append(live, r)
		case errNothing:
			r.done <- nil
		default:
			r.done <- err
		}
	}
	if len(live) == 0 {
		return
	}
	err := d.update(func(tx *bbolt.Tx) error {
		for _, r := range live {
			if err := r.change.write(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		for _, r := range live {
			r.change.apply()
		}
	} else {
		d.settle(live)
	}
	d.note(err)
	for _, r := range live {
		r.done <- err
	}
}

// settle follows a failed transaction. It may still have reached the file: when the last fsync fails, bbolt reports an
// error but goes on with the new state, and so must memory. If even that cannot be found out, nothing may be written
// until a start reads the file anew.
func (d *disk) settle(live []*request) {
	err := d.view(func(tx *bbolt.Tx) error {
		for _, r := range live {
			if err := r.change.settle(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		d.damage(err, true, false)
	}
}

// note keeps the outcome of a write for Healthy, and logs when it changes.
func (d *disk) note(err error) {
	d.mu.Lock()
	before := d.failed
	d.failed = err
	d.mu.Unlock()
	switch {
	case err != nil && before == nil:
		d.log.Error("cannot write to the store; what is stored stays, new pushes cannot be stored", "path", d.file.Name(), "err", err)
	case err == nil && before != nil:
		d.log.Info("the store can be written again", "path", d.file.Name())
	}
}

// damage keeps the first damage and logs it.
func (d *disk) damage(err error, sealed, dead bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sealed = d.sealed || sealed
	d.dead = d.dead || dead
	if already := (*damageError)(nil); !errors.As(err, &already) {
		err = &damageError{err}
	}
	if d.damaged == nil {
		d.damaged = err
		d.log.Error("the store is damaged", "path", d.file.Name(), "err", err)
	}
	return err
}

// damageError says that the file is not what was written to it.
type damageError struct{ err error }

func (e *damageError) Error() string {
	return fmt.Sprintf("the file is damaged (%v): nothing was deleted; stop the gateway, keep a copy of the file, then "+
		"put a good copy back, or move the file away to start with an empty queue", e.err)
}

func (e *damageError) Unwrap() error { return e.err }

// update runs fn in a transaction and commits it. Only the writer calls it.
func (d *disk) update(fn func(*bbolt.Tx) error) (err error) {
	if err := d.usable(true); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a page beyond the end of a cut file
	defer func() {
		// No rollback here: it reads pages too, and bbolt's write lock is lost if it panics.
		if p := recover(); p != nil {
			err = d.damage(panicError(p), true, false)
		}
	}()
	tx, err := d.db.Begin(true)
	if err != nil {
		return closedError(err)
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	d.commits.Add(1)
	return nil
}

// view runs fn in a transaction that reads.
func (d *disk) view(fn func(*bbolt.Tx) error) (err error) {
	if err := d.usable(false); err != nil {
		return err
	}
	begun := false
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = d.damage(panicError(p), false, !begun)
		}
	}()
	tx, err := d.db.Begin(false)
	if err != nil {
		return closedError(err)
	}
	begun = true
	defer tx.Rollback() // a panic must not keep the lock that the next growth of the file needs
	return fn(tx)
}

func (d *disk) usable(write bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead || write && d.sealed {
		return d.damaged
	}
	return nil
}

func closedError(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

func panicError(p any) error {
	if err, ok := p.(error); ok {
		return err
	}
	return fmt.Errorf("%v", p)
}

// healthy is Bolt.Healthy.
func (d *disk) healthy() error {
	d.mu.Lock()
	err := d.failed
	if d.damaged != nil {
		err = d.damaged
	}
	probe := err != nil && d.damaged == nil && time.Since(d.probed) >= probeEvery
	if probe {
		d.probed = time.Now()
	}
	d.mu.Unlock()
	if probe {
		ctx, cancel := context.WithTimeout(context.Background(), probeEvery)
		defer cancel()
		err = d.do(ctx, probeWrite{})
	}
	if err != nil {
		return fmt.Errorf("cannot write to the store: %w", err)
	}
	return nil
}

// probeWrite finds out whether the file can be written.
type probeWrite struct{}

func (probeWrite) key() string            { return "probe" }
func (probeWrite) size() int              { return probeSize }
func (probeWrite) prepare() error         { return nil }
func (probeWrite) apply()                 {}
func (probeWrite) settle(*bbolt.Tx) error { return nil }

func (probeWrite) write(tx *bbolt.Tx) error {
	return tx.Bucket(bucketMeta).Put([]byte("probe"), make([]byte, probeSize))
}
