package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// boltValues is Values on disk. It keeps nothing in memory but their number.
type boltValues struct {
	disk *disk
	now  func() time.Time
	most int
	n    int // the writer's own once the store is open
}

// expiryKey sorts by expiry, then by key.
func expiryKey(expires int64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(key)), uint64(expires)), key...)
}

// read goes through all values when the store is opened.
func (v *boltValues) read(tx *bbolt.Tx) error {
	expiry := tx.Bucket(bucketExpiry)
	return tx.Bucket(bucketValues).ForEach(func(k, b []byte) error {
		_, expires, err := decodeValue(b)
		if err == nil && expiry.Get(expiryKey(expires, k)) == nil {
			err = errors.New("its expiry is not listed")
		}
		if err != nil {
			return recordError("value", fmt.Sprintf("%.64q", k), err)
		}
		v.n++
		return nil
	})
}

func (v *boltValues) Put(ctx context.Context, key string, value []byte, expires time.Time) error {
	err := checkValue(key, value, expires)
	if err == nil {
		at := nanos(expires)
		err = v.disk.do(ctx, &putValue{v: v, name: []byte(key), record: encodeValue(value, at), expires: at})
	}
	if err != nil {
		return fmt.Errorf("cannot put value %.64q: %w", key, err)
	}
	return nil
}

func (v *boltValues) Get(ctx context.Context, key string) ([]byte, bool, error) {
	err := ctx.Err()
	var value []byte
	var expires int64
	if err == nil {
		err = v.disk.view(func(tx *bbolt.Tx) (err error) {
			value, expires, err = lookup(tx, []byte(key))
			return err
		})
	}
	if err != nil {
		return nil, false, fmt.Errorf("cannot get value %.64q: %w", key, err)
	}
	if expires <= nanos(v.now()) {
		return nil, false, nil
	}
	return value, true, nil
}

// lookup returns the value of key and its expiry, which is 0 if there is none.
func lookup(tx *bbolt.Tx, key []byte) (value []byte, expires int64, err error) {
	b := tx.Bucket(bucketValues).Get(key)
	if b == nil {
		return nil, 0, nil
	}
	value, expires, err = decodeValue(b)
	if err != nil {
		return nil, 0, recordError("value", fmt.Sprintf("%.64q", key), err)
	}
	return value, expires, nil
}

func (v *boltValues) Delete(ctx context.Context, key string) error {
	if err := v.disk.do(ctx, &deleteValue{v: v, name: []byte(key)}); err != nil {
		return fmt.Errorf("cannot delete value %.64q: %w", key, err)
	}
	return nil
}

func (v *boltValues) List(ctx context.Context, prefix string, limit int) ([]Entry, error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	err := ctx.Err()
	var out []Entry
	if err == nil {
		now := nanos(v.now())
		err = v.disk.view(func(tx *bbolt.Tx) error {
			cur := tx.Bucket(bucketValues).Cursor()
			for k, b := cur.Seek([]byte(prefix)); k != nil && len(out) < limit && bytes.HasPrefix(k, []byte(prefix)); k, b = cur.Next() {
				value, expires, err := decodeValue(b)
				if err != nil {
					return recordError("value", fmt.Sprintf("%.64q", k), err)
				}
				if expires > now {
					out = append(out, Entry{Key: string(k), Value: value, Expires: instant(expires)})
				}
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list values: %w", err)
	}
	return out, nil
}

func (v *boltValues) Expire(ctx context.Context, now time.Time, max int) (int, error) {
	c := &expireValues{v: v, now: nanos(now), most: max}
	if err := v.disk.do(ctx, c); err != nil {
		return 0, fmt.Errorf("cannot expire values: %w", err)
	}
	return len(c.past), nil
}

// putValue is Values.Put.
type putValue struct {
	v       *boltValues
	name    []byte
	record  []byte
	expires int64
	old     int64 // expiry of the value before, 0 if there is none
}

func (c *putValue) key() string { return "value " + string(c.name) }
func (c *putValue) size() int   { return len(c.record) + 2*len(c.name) }

func (c *putValue) prepare() error {
	err := c.v.disk.view(func(tx *bbolt.Tx) (err error) {
		_, c.old, err = lookup(tx, c.name)
		return err
	})
	if err == nil && c.old == 0 && c.v.n >= c.v.most {
		err = ErrFull
	}
	return err
}

func (c *putValue) write(tx *bbolt.Tx) error {
	if err := tx.Bucket(bucketValues).Put(c.name, c.record); err != nil {
		return err
	}
	if c.old != 0 {
		if err := tx.Bucket(bucketExpiry).Delete(expiryKey(c.old, c.name)); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketExpiry).Put(expiryKey(c.expires, c.name), nil)
}

func (c *putValue) apply() {
	if c.old == 0 {
		c.v.n++
	}
}

func (c *putValue) settle(tx *bbolt.Tx) error {
	if tx.Bucket(bucketValues).Get(c.name) != nil {
		c.apply()
	}
	return nil
}

// deleteValue is Values.Delete.
type deleteValue struct {
	v    *boltValues
	name []byte
	old  int64
}

func (c *deleteValue) key() string { return "value " + string(c.name) }
func (c *deleteValue) size() int   { return 2 * len(c.name) }

func (c *deleteValue) prepare() error {
	err := c.v.disk.view(func(tx *bbolt.Tx) (err error) {
		_, c.old, err = lookup(tx, c.name)
		return err
	})
	if err == nil && c.old == 0 {
		err = errNothing
	}
	return err
}

func (c *deleteValue) write(tx *bbolt.Tx) error { return removeValue(tx, c.name, c.old) }
func (c *deleteValue) apply()                   { c.v.n-- }

func (c *deleteValue) settle(tx *bbolt.Tx) error {
	if tx.Bucket(bucketValues).Get(c.name) == nil {
		c.apply()
	}
	return nil
}

func removeValue(tx *bbolt.Tx, key []byte, expires int64) error {
	if err := tx.Bucket(bucketValues).Delete(key); err != nil {
		return err
	}
	return tx.Bucket(bucketExpiry).Delete(expiryKey(expires, key))
}

// expireValues is Values.Expire.
type expireValues struct {
	v    *boltValues
	now  int64
	most int
	past [][]byte // keys of bucketExpiry
}

func (c *expireValues) key() string { return "" }
func (c *expireValues) size() int   { return 64 }

func (c *expireValues) prepare() error {
	err := c.v.disk.view(func(tx *bbolt.Tx) error {
		cur := tx.Bucket(bucketExpiry).Cursor()
		for k, _ := cur.First(); k != nil && len(c.past) < c.most; k, _ = cur.Next() {
			if len(k) < 8 || int64(binary.BigEndian.Uint64(k)) > c.now {
				break
			}
			c.past = append(c.past, bytes.Clone(k))
		}
		return nil
	})
	if err == nil && len(c.past) == 0 {
		err = errNothing
	}
	return err
}

func (c *expireValues) write(tx *bbolt.Tx) error {
	for _, k := range c.past {
		if err := removeValue(tx, k[8:], int64(binary.BigEndian.Uint64(k))); err != nil {
			return err
		}
	}
	return nil
}

func (c *expireValues) apply() { c.v.n -= len(c.past) }

func (c *expireValues) settle(tx *bbolt.Tx) error {
	for _, k := range c.past {
		if tx.Bucket(bucketValues).Get(k[8:]) == nil {
			c.v.n--
		}
	}
	return nil
}
