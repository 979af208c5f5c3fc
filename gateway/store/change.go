package store

import (
	"encoding/binary"
	"errors"

	"go.etcd.io/bbolt"
)

// change is one thing to do to a store. The keeper calls prepare, write (on disk only) and apply, each of them in one
// order for all changes, so a change may rely on what earlier ones left behind.
type change interface {
	// key names what is changed. Changes of one key never share a transaction; "" goes alone.
	key() string
	// size is about how many bytes it writes.
	size() int
	// prepare decides what is to be done; its error is this change's alone. errNothing: there is nothing to do.
	prepare() error
	// write does it on disk; it may be undone.
	write(tx *bbolt.Tx) error
	// apply does it in memory, once it is on disk.
	apply()
	// settle makes memory agree with the disk after a transaction whose end is not known.
	settle(tx *bbolt.Tx) error
}

// errNothing is what prepare returns when the caller already has what it wants.
var errNothing = errors.New("nothing to do")

var (
	bucketItems  = []byte("items")  // seq, big endian → record
	bucketValues = []byte("values") // key → record
	bucketExpiry = []byte("expiry") // expires in nanoseconds, big endian, and key → nothing
	bucketMeta   = []byte("meta")   // "probe" → filler
)

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// putItem is Queue.Put.
type putItem struct {
	q     *queue
	it    Item
	bytes int    // of Data
	kept  []byte // in memory: a copy of Data; on disk: the record to be
	fresh bool   // the ID is new
	rev   uint64 // of the write
}

func (c *putItem) key() string { return "item " + c.it.ID }
func (c *putItem) size() int   { return c.bytes + 256 }

func (c *putItem) prepare() error {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	x := &c.q.x
	if e := x.byID[c.it.ID]; e != nil {
		c.it.Seq, c.it.Created = e.seq, instant(e.created)
		return nil
	}
	if c.q.most > 0 && len(x.byID) >= c.q.most {
		return ErrFull
	}
	x.seq++
	c.it.Seq, c.fresh = x.seq, true
	return nil
}

func (c *putItem) write(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketItems)
	b.FillPercent = 0.9 // keys only ever grow: no room is needed for later ones in between
	if c.fresh {
		// Kept apart from the keys, or an emptied queue would give a Seq twice.
		if err := b.SetSequence(max(b.Sequence(), c.it.Seq)); err != nil {
			return err
		}
	}
	c.rev = uint64(tx.ID())
	return b.Put(seqKey(c.it.Seq), finish(c.kept, c.rev, nanos(c.q.now()), nanos(c.it.Created)))
}

func (c *putItem) apply() {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	c.q.x.tick(nanos(c.q.now()))
	if c.q.durable {
		c.q.x.put(&c.it, c.rev, c.bytes, nil)
	} else {
		c.q.x.put(&c.it, 0, c.bytes, c.kept)
	}
}

func (c *putItem) settle(tx *bbolt.Tx) error { return c.q.settle(tx, c.it.ID, c.it.Seq) }

// deleteItem is Queue.Delete.
type deleteItem struct {
	q   *queue
	id  string
	seq uint64
}

func (c *deleteItem) key() string { return "item " + c.id }
func (c *deleteItem) size() int   { return 64 }

func (c *deleteItem) prepare() error {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	e := c.q.x.byID[c.id]
	if e == nil {
		return errNothing
	}
	c.seq = e.seq
	return nil
}

func (c *deleteItem) write(tx *bbolt.Tx) error { return tx.Bucket(bucketItems).Delete(seqKey(c.seq)) }

func (c *deleteItem) apply() {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	c.q.x.remove(c.id)
}

func (c *deleteItem) settle(tx *bbolt.Tx) error { return c.q.settle(tx, c.id, c.seq) }

// expireItems is Queue.Expire. It goes alone, so what prepare saw still holds when it is written: no Put can revive an
// item that is about to be removed.
type expireItems struct {
	q     *queue
	now   int64
	most  int
	picks []pick // what the caller gets
}

func (c *expireItems) key() string { return "" }
func (c *expireItems) size() int   { return 64 }

func (c *expireItems) prepare() error {
	c.q.mu.Lock()
	for _, e := range c.q.x.expired(c.now, c.most) {
		c.picks = append(c.picks, e.pick())
	}
	c.q.mu.Unlock()
	loaded, err := c.q.keep.load(c.picks)
	if err != nil {
		return err
	}
	// What cannot be read is neither returned nor removed: its bytes may still be of use to a person.
	c.picks = c.picks[:0]
	dead := 0
	for _, p := range loaded {
		if p.err == nil {
			c.picks = append(c.picks, p)
			if p.State == Dead {
				dead++
			}
		}
	}
	if dead == 0 {
		return errNothing
	}
	return nil
}

func (c *expireItems) write(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketItems)
	for _, p := range c.picks {
		if p.State != Dead {
			continue
		}
		if err := b.Delete(seqKey(p.Seq)); err != nil {
			return err
		}
	}
	return nil
}

func (c *expireItems) apply() {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	for _, p := range c.picks {
		if p.State == Dead {
			c.q.x.remove(p.ID)
		}
	}
}

func (c *expireItems) settle(tx *bbolt.Tx) error {
	for _, p := range c.picks {
		if err := c.q.settle(tx, p.ID, p.Seq); err != nil {
			return err
		}
	}
	return nil
}

// settle makes the index agree with the disk about one item. An item whose record is the one that the index knows is
// left alone, claimed or not.
func (q *queue) settle(tx *bbolt.Tx, id string, seq uint64) error {
	b := tx.Bucket(bucketItems).Get(seqKey(seq))
	var r record
	if b != nil {
		if err := r.decode(b); err != nil {
			return err
		}
		r.Seq = seq
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.x.byID[id]
	switch {
	case b == nil && e != nil:
		q.x.remove(id)
	case b != nil && (e == nil || e.rev != r.rev):
		q.x.put(&r.Item, r.rev, len(r.Data), nil)
	}
	return nil
}
