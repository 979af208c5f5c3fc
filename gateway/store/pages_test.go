package store

import (
	"bytes"
	"hash/fnv"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// TestCheckPages breaks one thing at a time in a file that is well otherwise.
func TestCheckPages(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	whole := fill(t, path, 300)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	size := db.Info().PageSize
	db.Close()
	check := func(b []byte) error { return checkPages(bytes.NewReader(b), int64(len(b)), size) }
	if err := check(whole); err != nil {
		t.Fatal(err)
	}

	head := func(b []byte) []byte { // the newer meta
		m0, m1 := b[pageHead:pageHead+metaSize], b[size+pageHead:size+pageHead+metaSize]
		if native.Uint64(m0[48:]) > native.Uint64(m1[48:]) {
			return m0
		}
		return m1
	}
	reseal := func(m []byte) {
		sum := fnv.New64a()
		sum.Write(m[:metaSize-8])
		native.PutUint64(m[56:], sum.Sum64())
	}
	at := func(b []byte, id uint64) []byte { return b[int(id)*size:] }
	root := native.Uint64(head(whole)[16:])
	free := native.Uint64(head(whole)[32:])
	// The first page of a kind that is in use, found from the root down.
	branch := uint64(0)
	c := pageChecker{file: bytes.NewReader(whole), size: int64(len(whole)), pageSize: int64(size), pages: native.Uint64(head(whole)[40:])}
	c.seen = make([]uint64, c.pages/64+1)
	if err := c.tree(root, 0); err != nil {
		t.Fatal(err)
	}
	for id := uint64(2); id < c.pages; id++ {
		if c.seen[id/64]&(1<<(id%64)) != 0 && native.Uint64(at(whole, id)) == id && native.Uint16(at(whole, id)[8:]) == pageBranch {
			branch = id
		}
	}
	if branch == 0 {
		t.Fatal("the file has no branch page")
	}

	f := func(want string, change func(b []byte)) {
		t.Helper()
		b := bytes.Clone(whole)
		change(b)
		if err := check(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("checkPages = %v, want %q", err, want)
		}
	}
	f("it has no valid head", func(b []byte) { b[pageHead]++; b[size+pageHead]++ })
	f("is out of range", func(b []byte) { native.PutUint64(head(b)[16:], 1<<40); reseal(head(b)) })
	f("it was cut off", func(b []byte) { native.PutUint64(head(b)[40:], 1<<40); reseal(head(b)) })
	f("says that it is page", func(b []byte) { at(b, root)[0]++ })
	f("claims 4294967296 pages", func(b []byte) { native.PutUint32(at(b, root)[12:], 1<<32-1) })
	f("is of the wrong kind 0x4", func(b []byte) { native.PutUint16(at(b, root)[8:], 4) })
	f("holds less than it says", func(b []byte) { native.PutUint16(at(b, root)[10:], 60_000) })
	f("has an entry outside of it", func(b []byte) { native.PutUint32(at(b, root)[pageHead+12:], 1<<31) })
	f("has a broken bucket", func(b []byte) { native.PutUint32(at(b, root)[pageHead+12:], 3) })
	f("is an empty branch", func(b []byte) { native.PutUint16(at(b, branch)[10:], 0) })
	f("has a key outside of it", func(b []byte) { native.PutUint32(at(b, branch)[pageHead:], 1<<31) })
	f("is used twice", func(b []byte) { native.PutUint64(at(b, branch)[pageHead+8:], branch) }) // a circle
	f("is out of range", func(b []byte) { native.PutUint64(at(b, branch)[pageHead+8:], 1) })
	f("is of the wrong kind 0x2", func(b []byte) { native.PutUint16(at(b, free)[8:], pageLeaf) })
	f("holds less than it says", func(b []byte) { native.PutUint16(at(b, free)[10:], 60_000) })
	f("lists 1099511627776 pages", func(b []byte) {
		native.PutUint16(at(b, free)[10:], manyIDs)
		native.PutUint64(at(b, free)[pageHead:], 1<<40)
	})
	f("is used twice", func(b []byte) { native.PutUint64(at(b, free)[pageHead:], branch) })
	f("free page 1 is out of range", func(b []byte) { native.PutUint64(at(b, free)[pageHead:], 1) })

	// One torn head is what bbolt is made for: the older state holds.
	older := bytes.Clone(whole)
	head(older)[0]++
	if err := check(older); err != nil && !strings.Contains(err.Error(), "page") {
		t.Errorf("with the older head: %v", err)
	}
}

// FuzzCheckPages: whatever the bytes, it ends with an error or without.
func FuzzCheckPages(f *testing.F) {
	// The smallest pages that bbolt's tools make keep the seed small.
	path := filepath.Join(f.TempDir(), FileName)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024, NoSync: true})
	if err != nil {
		f.Fatal(err)
	}
	db.Update(func(tx *bbolt.Tx) error {
		a, _ := tx.CreateBucket([]byte("a"))
		tx.CreateBucket([]byte("inline"))
		for i := range uint64(40) {
			a.Put(seqKey(i), make([]byte, 100))
		}
		return nil
	})
	var b bytes.Buffer
	db.View(func(tx *bbolt.Tx) error { _, err := tx.WriteTo(&b); return err })
	db.Close()
	if err := checkPages(bytes.NewReader(b.Bytes()), int64(b.Len()), 1024); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 2048 {
			return
		}
		for _, m := range [][]byte{b[pageHead : pageHead+metaSize], b[1024+pageHead : 1024+pageHead+metaSize]} {
			sum := fnv.New64a() // or no change of a head would come through
			sum.Write(m[:metaSize-8])
			native.PutUint64(m[56:], sum.Sum64())
		}
		checkPages(bytes.NewReader(b), int64(len(b)), 1024)
	})
}
