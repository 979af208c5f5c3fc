package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// BoltConfig sets a Bolt store up.
type BoltConfig struct {
	// NoSync leaves out fsync, and with it all that a durable store is for. Only for tests.
	NoSync bool
	// Timeout is how long to wait for another process that has the file open. By default 1 s.
	Timeout time.Duration
	// MaxItems is how many items the queue, and how many values Values, holds; more are refused with ErrFull. An item
	// takes about 0.4 KB of memory, whatever its Data, and its Data and about 150 bytes in the file. By default 1,000,000.
	MaxItems int
	// Log hears of opening, of writes that begin to fail or to succeed again, and of damage. By default nobody does.
	Log *slog.Logger
	// Now is the wall clock. By default time.Now.
	Now func() time.Time
}

// Bolt is a store in one file, which one process may have open. A change is on disk (fsync) when its call returns;
// changes made at the same time share one fsync. The file grows with the most that was ever stored and does not shrink:
// what is deleted leaves room for what comes.
//
// A write that fails (a full disk, say) is reported to its caller and loses nothing that is stored; the next one is
// tried as if nothing had happened.
type Bolt struct {
	disk
	cfg    BoltConfig
	queue  *queue
	values *boltValues

	close    sync.Once
	closeErr error
}

// OpenBolt opens the store in the file path (FileName in data-dir), or creates it with mode 0600 in a folder of mode
// 0700. It reads the whole file, so that a damaged one is noticed before anything relies on it: the error says what to
// do, and the file is left as it is.
func OpenBolt(path string, cfg BoltConfig) (*Bolt, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Second
	}
	if cfg.MaxItems <= 0 {
		cfg.MaxItems = 1_000_000
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	start := time.Now()
	s := &Bolt{cfg: cfg}
	s.disk.log = slog.New(slog.DiscardHandler) // until it is open: what goes wrong before is returned
	s.disk.requests = make(chan *request, maxChanges)
	s.disk.quit, s.disk.done = make(chan struct{}), make(chan struct{})
	s.queue = &queue{keep: s, durable: true, now: cfg.Now, most: cfg.MaxItems, x: newIndex()}
	s.values = &boltValues{disk: &s.disk, now: cfg.Now, most: cfg.MaxItems}
	if err := s.open(path); err != nil {
		return nil, fmt.Errorf("cannot open the store %q: %w", path, err)
	}
	s.disk.log = cfg.Log
	go s.run()
	cfg.Log.Info("store opened", "path", path, "items", len(s.queue.x.byID), "values", s.values.n, "took", time.Since(start))
	return s, nil
}

// Queue returns the queue.
func (s *Bolt) Queue() Queue { return s.queue }

// Values returns the values with expiry.
func (s *Bolt) Values() Values { return s.values }

// Durable reports whether what is stored outlives the process: true.
func (s *Bolt) Durable() bool { return true }

// Healthy returns nil if the store can be written as far as is known: the last write succeeded. While it did not,
// Healthy itself tries one, at most once a second, and waits at most a second for it. Damage stays until the next start.
func (s *Bolt) Healthy() error { return s.healthy() }

// Close waits for the transaction under way and closes the file. Changes that have not begun by then, and all later
// calls, fail with ErrClosed.
func (s *Bolt) Close() error {
	s.close.Do(func() {
		close(s.quit)
		<-s.done
		if err := s.closeFile(); err != nil {
			s.closeErr = fmt.Errorf("cannot close the store: %w", err)
		}
	})
	return s.closeErr
}

func (s *Bolt) closeFile() error {
	if s.usable(true) != nil {
		// bbolt would wait for locks that a panic has left behind. The mapping goes with the process.
		unlock(s.file)
		return s.file.Close()
	}
	return s.db.Close()
}

func (s *Bolt) open(path string) (err error) {
	fresh, err := prepareFile(path)
	if err != nil {
		return err
	}
	if !fresh {
		if err := s.check(path); err != nil {
			return err
		}
	}
	if err := s.openFile(path, false); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeFile())
		}
	}()
	if fresh {
		// The file's name lies in the folder, which has a life of its own.
		if err := syncDir(filepath.Dir(path)); err != nil {
			return err
		}
	}
	if err := s.addBuckets(); err != nil {
		return err
	}
	return s.view(s.read)
}

// prepareFile makes the folder of path and reports whether the file is new. An empty one is: bbolt creates the file
// before it writes to it.
func prepareFile(path string) (fresh bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, os.MkdirAll(filepath.Dir(path), 0o700)
	case err != nil:
		return false, err
	case info.IsDir():
		return false, fmt.Errorf("it is a folder: name the file in it, such as %q", filepath.Join(path, FileName))
	}
	return info.Size() == 0, nil
}

// check looks at the pages while bbolt holds its lock, but before it reads more than the file's head.
func (s *Bolt) check(path string) error {
	if err := s.openFile(path, true); err != nil {
		return err
	}
	info, err := s.file.Stat()
	if err == nil {
		if err = checkPages(s.file, info.Size(), s.db.Info().PageSize); err != nil {
			err = &damageError{err}
		}
	}
	return errors.Join(err, s.db.Close())
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	// Some file systems do not know fsync of a folder; they have no other way to offer either.
	if err := dir.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// openFile has bbolt open the file. Whatever fails, a panic on a damaged page included, leaves it closed.
func (s *Bolt) openFile(path string, readOnly bool) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &damageError{panicError(p)}
			unlock(s.file)
			s.file.Close()
		}
	}()
	s.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      s.cfg.Timeout,
		NoSync:       s.cfg.NoSync,
		ReadOnly:     readOnly,
		FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			s.file, err = os.OpenFile(name, flag, mode)
			return s.file, err
		},
	})
	var errno syscall.Errno
	switch {
	case err == nil, errors.As(err, &errno):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("another gateway has data-dir %q open", filepath.Dir(path))
	default:
		return &damageError{err}
	}
}

// addBuckets writes only to a new file: an old one must open on a full disk.
func (s *Bolt) addBuckets() error {
	var missing [][]byte
	err := s.view(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketItems, bucketValues, bucketExpiry, bucketMeta} {
			if tx.Bucket(name) == nil {
				missing = append(missing, name)
			}
		}
		return nil
	})
	if err != nil || len(missing) == 0 {
		return err
	}
	return s.update(func(tx *bbolt.Tx) error {
		for _, name := range missing {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// read goes through all that the file holds and builds the index.
func (s *Bolt) read(tx *bbolt.Tx) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		s.cfg.Log.Warn("the store can be read by other users: it holds messages", "path", s.file.Name(), "mode", mode.String())
	}
	if err := s.readItems(tx.Bucket(bucketItems)); err != nil {
		return err
	}
	if err := s.values.read(tx); err != nil {
		return err
	}
	return walk(tx)
}

// walk visits every key: one out of order would not be found again.
func walk(tx *bbolt.Tx) error {
	return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		if b == nil {
			return &damageError{fmt.Errorf("%.64q is not a bucket", name)}
		}
		var last []byte
		return b.ForEach(func(k, v []byte) error {
			if last != nil && bytes.Compare(last, k) >= 0 {
				return &damageError{fmt.Errorf("the keys of bucket %q are out of order", name)}
			}
			last = k
			return nil
		})
	})
}

func (s *Bolt) readItems(b *bbolt.Bucket) error {
	now := nanos(s.cfg.Now())
	x := &s.queue.x
	err := b.ForEach(func(k, v []byte) error {
		if len(k) != 8 {
			return &damageError{fmt.Errorf("an item has a key of %d bytes", len(k))}
		}
		var r record
		r.Seq = binary.BigEndian.Uint64(k)
		err := r.decode(v)
		if err == nil && x.byID[r.ID] != nil {
			err = errors.New("its id is there twice")
		}
		if err != nil {
			return recordError("item", fmt.Sprint(r.Seq), err)
		}
		// The clock was set back since: the pause that was meant is kept, not the date.
		if back := r.put - now; back > clockSlack && r.State == Waiting {
			r.Due = r.Due.Add(-time.Duration(back))
		}
		x.put(&r.Item, r.rev, len(r.Data), nil)
		return nil
	})
	x.seq = max(x.seq, b.Sequence())
	return err
}

// recordError makes of a record that cannot be read an error that says which and what to do.
func recordError(kind, name string, err error) error {
	err = fmt.Errorf("cannot read the record of %s %s: %w", kind, name, err)
	if v := (*versionError)(nil); errors.As(err, &v) {
		return err
	}
	return &damageError{err}
}

// load reads the Data of picks.
func (s *Bolt) load(picks []pick) ([]pick, error) {
	if len(picks) == 0 {
		return nil, nil
	}
	kept := make([]pick, 0, len(picks))
	err := s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketItems)
		for _, p := range picks {
			v := b.Get(seqKey(p.Seq))
			if v == nil {
				continue
			}
			r := record{Item: Item{Seq: p.Seq}}
			switch err := r.decode(v); {
			case err != nil:
				p.err = s.damage(recordError("item", fmt.Sprint(p.Seq), err), false, false)
			case r.rev == p.rev: // the index knows better what became of it
				p.Data = r.Data
			default:
				p.Item, p.newer = r.Item, true
			}
			kept = append(kept, p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}
