// Package store keeps what must outlive a request: a queue of pushes, in order per user, and small values with an
// expiry. Both exist in memory (Memory: bounded, gone with the process) and in one file (Bolt: on disk when a call
// returns), behind the same interfaces and the same test suite.
//
// It refuses to know what an item means: Data is the owner's business, and so is what a state asks for, how often a
// push is tried and when it is given up.
//
//	s, err := store.OpenBolt(filepath.Join(dataDir, store.FileName), store.BoltConfig{Log: log})
//	...
//	err = s.Queue().Put(ctx, store.Item{ID: id, Service: "shop", OpenID: openID, State: store.Waiting, Due: due, Created: now, Data: data})
//	// on disk now: WeChat may hear success
//	items, err := s.Queue().Claim(ctx, time.Now(), 16, nil)
package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// FileName is what the file of a Bolt store is called inside data-dir.
const FileName = "queue.db"

// Limits of what one call may store, in bytes. They keep a mistake of an owner from filling the disk in one go and
// stay far below what bbolt refuses.
const (
	maxID   = 256
	maxName = 1 << 10 // Service, OpenID, Kind, and the key of a value
	maxData = 64 << 20
)

var (
	// ErrFull says that a store holds as many items as it may; nothing was stored.
	ErrFull = errors.New("the store is full")
	// ErrClosed says that the store was closed before the call was carried out.
	ErrClosed = errors.New("the store is closed")
	// ErrTooLarge says that an id, a name, a key or the data is beyond what a store takes.
	ErrTooLarge = errors.New("too large to store")
)

// State says what an item waits for.
type State uint8

const (
	// Waiting for its next attempt, at Due.
	Waiting State = iota
	// Running: a call for it goes on.
	Running
	// Async: its answer comes from outside, until Due.
	Async
	// Dead: given up, kept for a person until Due.
	Dead
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Waiting:
		return "waiting"
	case Running:
		return "running"
	case Async:
		return "async"
	case Dead:
		return "dead"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Item is one stored push.
type Item struct {
	// ID is the push id, unique in the queue; 1 to 256 bytes, usually 32 hex digits.
	ID string
	// Service and OpenID name the lane: items of one lane are claimed in order. Kind is for List alone.
	Service, OpenID, Kind string
	// Seq is the order of arrival. The first Put of an ID gives it, later ones keep it; what a caller sets is ignored.
	Seq   uint64
	State State
	// Due is a wall clock time: Waiting: when next; Async: when it expires; Dead: when it is forgotten. Times before
	// 1970 and after 2262 are moved to those ends.
	Due time.Time
	// Created is when the push arrived. The first Put of an ID sets it, later ones keep it.
	Created time.Time
	// Data is the owner's business, at most 64 MiB. Items that a queue returns own their Data.
	Data []byte
}

// Filter chooses items; its zero value chooses all. Several conditions must hold together.
type Filter struct {
	Service, OpenID, Kind string        // "": any
	States                []State       // none: any
	OlderThan             time.Duration // more than 0: Created lies at least that far before Now
	Now                   time.Time     // zero: the store's clock; only OlderThan uses it
}

// Counts sums up the items of one service.
type Counts struct {
	Waiting, Running, Async, Dead int
	Bytes                         int64     // of Data, in all states
	Oldest                        time.Time // smallest Created of Waiting, Running and Async; zero when there are none
}

// Queue holds items, in order per lane (Service and OpenID). Its methods may be called at any time from any goroutine.
//
// Times that a caller passes are wall clock times. A clock that was set back never stalls the queue: when the now of
// Claim or Recover, or the store's own at a Put, lies more than ten seconds before an earlier one, what waits is moved
// back with it.
type Queue interface {
	// Put inserts it, or replaces the item of that ID; Seq and Created of the first Put stay. In a durable store the
	// item is on disk when Put returns nil. After an error that stems from ctx or from the disk it may or may not be
	// stored; ErrFull and ErrTooLarge mean that nothing changed.
	Put(ctx context.Context, it Item) error
	// Get returns the item of an ID and whether there is one.
	Get(ctx context.Context, id string) (Item, bool, error)
	// Delete removes the item of an ID; it is no error if there is none.
	Delete(ctx context.Context, id string) error
	// Claim marks up to max items Running and returns them, the longest due first. Only the head of a lane can be
	// claimed, the item with the smallest Seq that is Waiting or Running: if that one is Running or not due at now the
	// lane yields nothing. Async and Dead items do not block their lane. Services for which skip (may be nil) returns
	// true are left out; skip is asked once per service that has something due, without any lock held.
	//
	// A claim is not written to disk: after a crash the item is Waiting again, and due.
	Claim(ctx context.Context, now time.Time, max int, skip func(service string) bool) ([]Item, error)
	// NextDue returns when the first head of a lane is due, and false when no lane has a Waiting head. The time may lie
	// in the past, and stays there while Claim skips that service.
	NextDue(ctx context.Context) (time.Time, bool, error)
	// Recover makes every Running item Waiting and due at now, and returns how many there were. It is for the start,
	// when no call goes on.
	Recover(ctx context.Context, now time.Time) (int, error)
	// List returns up to limit items (100 if limit is not positive) that f chooses and whose Seq is above after, by
	// ascending Seq.
	List(ctx context.Context, f Filter, after uint64, limit int) ([]Item, error)
	// Counts returns the sums of every service that has items. It costs the same however many there are.
	Counts(ctx context.Context) (map[string]Counts, error)
	// Expire returns up to max items that are Dead or Async and past Due. The Dead ones have been removed. The Async
	// ones are still there, unchanged, so that a crash loses none: the owner puts or deletes them, else the next Expire
	// returns them again.
	Expire(ctx context.Context, now time.Time, max int) ([]Item, error)
	// IDs returns the ids of all items, by ascending Seq.
	IDs(ctx context.Context) ([]string, error)
}

// Entry is one value of Values.
type Entry struct {
	Key     string
	Value   []byte
	Expires time.Time
}

// Values holds small values until they expire. Its methods may be called at any time from any goroutine. Whether a
// value has expired is judged by the store's own wall clock.
type Values interface {
	// Put sets the value of key (1 to 1,024 bytes) until expires, which must be set. In a durable store it is on disk
	// when Put returns nil.
	Put(ctx context.Context, key string, value []byte, expires time.Time) error
	// Get returns the value of key; one that has expired is absent.
	Get(ctx context.Context, key string) ([]byte, bool, error)
	// Delete removes key; it is no error if it is absent.
	Delete(ctx context.Context, key string) error
	// List returns up to limit values (100 if limit is not positive) whose key begins with prefix and that have not
	// expired, by ascending key.
	List(ctx context.Context, prefix string, limit int) ([]Entry, error)
	// Expire removes up to max values that have expired at now, the longest expired first, and returns how many.
	Expire(ctx context.Context, now time.Time, max int) (int, error)
}

// defaultLimit is what List returns at most when its caller set no limit.
const defaultLimit = 100

func checkItem(it *Item) error {
	switch {
	case it.ID == "":
		return errors.New("it has no id")
	case len(it.ID) > maxID:
		return fmt.Errorf("an id of %d bytes: %w", len(it.ID), ErrTooLarge)
	case len(it.Service) > maxName:
		return fmt.Errorf("a service of %d bytes: %w", len(it.Service), ErrTooLarge)
	case len(it.OpenID) > maxName:
		return fmt.Errorf("an openid of %d bytes: %w", len(it.OpenID), ErrTooLarge)
	case len(it.Kind) > maxName:
		return fmt.Errorf("a kind of %d bytes: %w", len(it.Kind), ErrTooLarge)
	case len(it.Data) > maxData:
		return fmt.Errorf("data of %d bytes: %w", len(it.Data), ErrTooLarge)
	case it.State > Dead:
		return fmt.Errorf("unknown %v", it.State)
	}
	return nil
}

func checkValue(key string, value []byte, expires time.Time) error {
	switch {
	case key == "":
		return errors.New("it has no key")
	case len(key) > maxName:
		return fmt.Errorf("a key of %d bytes: %w", len(key), ErrTooLarge)
	case len(value) > maxData:
		return fmt.Errorf("a value of %d bytes: %w", len(value), ErrTooLarge)
	case expires.IsZero():
		return errors.New("it has no expiry")
	}
	return nil
}

// nanos is t as the indexes and the records hold it: nanoseconds since 1970, 0 for the zero time. UnixNano is
// undefined outside 1678 to 2262, so far-off times are moved to the ends.
func nanos(t time.Time) int64 {
	const lastSecond = math.MaxInt64 / int64(time.Second)
	switch s := t.Unix(); {
	case t.IsZero():
		return 0
	case s < 0:
		return 1
	case s > lastSecond || s == lastSecond && int64(t.Nanosecond()) > math.MaxInt64%int64(time.Second):
		return math.MaxInt64
	}
	return max(t.UnixNano(), 1)
}

// instant is the time that nanos made n of.
func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
