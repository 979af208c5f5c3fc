package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file, in the byte order of the machine (bbolt's internal/common: meta.go, page.go, inode.go).
const (
	pageHead    = 16 // id u64, kind u16, count u16, overflow u32
	elementSize = 16 // branch: pos, key size u32, page u64; leaf: flags, pos, key size, value size u32
	metaSize    = 64 // magic, version, page size, flags u32, root, sequence, freelist, pages, txid, checksum u64
	bucketHead  = 16 // root, sequence u64

	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageFreelist = 0x10

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	leafBucket  = 0x01
	noFreelist  = 1<<64 - 1
	manyIDs     = 0xFFFF // of a freelist: the count stands in the first id
	maxDepth    = 64     // of the tree; a tree of all possible pages is not half as deep
)

var native = binary.NativeEndian

// pageChecker goes through the pages of a bbolt file without bbolt, which trusts them: a wrong page number or count
// makes it panic, loop or ask for more memory than there is. It reads the heads and the elements, in bounded memory:
// a bit for each page.
type pageChecker struct {
	file     io.ReaderAt
	size     int64 // of the file
	pageSize int64
	pages    uint64   // below this number pages are in use or free
	seen     []uint64 // a bit for each of them
}

// checkPages returns what is wrong with the structure of a bbolt file, nil if nothing is.
func checkPages(file io.ReaderAt, size int64, pageSize int) error {
	c := &pageChecker{file: file, size: size, pageSize: int64(pageSize)}
	meta, err := c.meta()
	if err != nil {
		return err
	}
	root, freelist := native.Uint64(meta[16:]), native.Uint64(meta[32:])
	c.pages = native.Uint64(meta[40:])
	if have := uint64(size / c.pageSize); c.pages > have {
		return fmt.Errorf("it was cut off: %d of %d pages are there", have, c.pages)
	}
	c.seen = make([]uint64, c.pages/64+1)
	if err := c.tree(root, 0); err != nil {
		return err
	}
	if freelist == noFreelist {
		return nil
	}
	return c.freelist(freelist)
}

// meta returns the newer one of the valid metas, as bbolt chooses: one may have been torn while it was written.
func (c *pageChecker) meta() ([]byte, error) {
	var best []byte
	for i := range int64(2) {
		b := make([]byte, metaSize)
		if _, err := c.file.ReadAt(b, i*c.pageSize+pageHead); err != nil {
			continue
		}
		sum := fnv.New64a()
		sum.Write(b[:metaSize-8])
		if native.Uint32(b) == metaMagic && native.Uint32(b[4:]) == metaVersion && native.Uint64(b[56:]) == sum.Sum64() &&
			(best == nil || native.Uint64(b[48:]) > native.Uint64(best[48:])) {
			best = b
		}
	}
	if best == nil {
		return nil, errors.New("it has no valid head")
	}
	return best, nil
}

// page is the start of a page.
type page struct {
	id    uint64
	kind  uint16
	count uint16
	at    int64 // in the file
	room  int64 // bytes, overflow pages and the head included
}

// page reads the head of page id and marks it and its overflow pages as seen; none may be seen twice.
func (c *pageChecker) page(id uint64) (page, error) {
	if id < 2 || id >= c.pages {
		return page{}, fmt.Errorf("page %d is out of range", id)
	}
	var b [pageHead]byte
	p := page{id: id, at: int64(id) * c.pageSize}
	if _, err := c.file.ReadAt(b[:], p.at); err != nil {
		return p, err
	}
	p.kind, p.count = native.Uint16(b[8:]), native.Uint16(b[10:])
	n := uint64(native.Uint32(b[12:])) + 1
	if native.Uint64(b[:]) != id {
		return p, fmt.Errorf("page %d says that it is page %d", id, native.Uint64(b[:]))
	}
	if n > c.pages-id {
		return p, fmt.Errorf("page %d claims %d pages", id, n)
	}
	p.room = int64(n) * c.pageSize
	for i := id; i < id+n; i++ {
		if err := c.mark(i); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (c *pageChecker) mark(id uint64) error {
	if c.seen[id/64]&(1<<(id%64)) != 0 {
		return fmt.Errorf("page %d is used twice", id)
	}
	c.seen[id/64] |= 1 << (id % 64)
	return nil
}

// tree checks page id and all below it.
func (c *pageChecker) tree(id uint64, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d lies too deep", id)
	}
	p, err := c.page(id)
	if err != nil {
		return err
	}
	if p.kind != pageBranch && p.kind != pageLeaf {
		return fmt.Errorf("page %d is of the wrong kind %#x", id, p.kind)
	}
	if p.kind == pageBranch && p.count == 0 {
		return fmt.Errorf("page %d is an empty branch", id)
	}
	elements, err := c.read(p.at+pageHead, int64(p.count)*elementSize, p)
	if err != nil {
		return err
	}
	for i := 0; i < len(elements); i += elementSize {
		e, room := elements[i:i+elementSize], p.room-pageHead-int64(i)
		if p.kind == pageBranch {
			if int64(native.Uint32(e))+int64(native.Uint32(e[4:])) > room {
				return fmt.Errorf("page %d has a key outside of it", id)
			}
			err = c.tree(native.Uint64(e[8:]), depth+1)
		} else {
			err = c.leaf(p, e, p.at+pageHead+int64(i), room, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leaf checks one element of a leaf page. Its key and value lie behind it, at most room bytes away.
func (c *pageChecker) leaf(p page, e []byte, at, room int64, depth int) error {
	flags, pos := native.Uint32(e), int64(native.Uint32(e[4:]))
	key, value := int64(native.Uint32(e[8:])), int64(native.Uint32(e[12:]))
	if pos+key+value > room || flags&^leafBucket != 0 {
		return fmt.Errorf("page %d has an entry outside of it", p.id)
	}
	if flags&leafBucket == 0 {
		return nil
	}
	if value < bucketHead {
		return fmt.Errorf("page %d has a broken bucket", p.id)
	}
	head, err := c.read(at+pos+key, bucketHead, p)
	if err != nil {
		return err
	}
	if root := native.Uint64(head); root != 0 {
		return c.tree(root, depth+1)
	}
	return c.inline(p, at+pos+key+bucketHead, value-bucketHead)
}

// inline checks a bucket that is so small that its only page is the value of an entry of p.
func (c *pageChecker) inline(p page, at, room int64) error {
	broken := fmt.Errorf("page %d has a broken bucket", p.id)
	if room < pageHead {
		return broken
	}
	head, err := c.read(at, pageHead, p)
	if err != nil {
		return err
	}
	count := int64(native.Uint16(head[10:]))
	if native.Uint16(head[8:]) != pageLeaf || pageHead+count*elementSize > room {
		return broken
	}
	elements, err := c.read(at+pageHead, count*elementSize, p)
	if err != nil {
		return err
	}
	for i := 0; i < len(elements); i += elementSize {
		e := elements[i:]
		end := int64(i) + int64(native.Uint32(e[4:])) + int64(native.Uint32(e[8:])) + int64(native.Uint32(e[12:]))
		if end > room-pageHead || native.Uint32(e) != 0 {
			return broken
		}
	}
	return nil
}

// read returns n bytes of p.
func (c *pageChecker) read(at, n int64, p page) ([]byte, error) {
	if at+n > p.at+p.room {
		return nil, fmt.Errorf("page %d holds less than it says", p.id)
	}
	b := make([]byte, n)
	if _, err := c.file.ReadAt(b, at); err != nil {
		return nil, err
	}
	return b, nil
}

// freelist checks that the pages listed as free are not in use: bbolt would write over them.
func (c *pageChecker) freelist(id uint64) error {
	p, err := c.page(id)
	if err != nil {
		return err
	}
	if p.kind != pageFreelist {
		return fmt.Errorf("page %d is of the wrong kind %#x", id, p.kind)
	}
	at, count := p.at+pageHead, int64(p.count)
	if p.count == manyIDs {
		b, err := c.read(at, 8, p)
		if err != nil {
			return err
		}
		if native.Uint64(b) > c.pages {
			return fmt.Errorf("page %d lists %d pages", id, native.Uint64(b))
		}
		at, count = at+8, int64(native.Uint64(b))
	}
	ids, err := c.read(at, count*8, p)
	if err != nil {
		return err
	}
	for ; len(ids) > 0; ids = ids[8:] {
		free := native.Uint64(ids)
		if free < 2 || free >= c.pages {
			return fmt.Errorf("free page %d is out of range", free)
		}
		if err := c.mark(free); err != nil {
			return err
		}
	}
	return nil
}
