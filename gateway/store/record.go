package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A record is what the file holds of one item or value: a version byte, the CRC-32C of all that follows, then the
// fields, strings as length and bytes. The checksum is there because bbolt has none on its pages. A version that is
// not known is refused, never deleted: an older gateway may have been started on a newer one's file.
const recordVersion = 1

const recordHead = 1 + 4

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errChecksum  = errors.New("its checksum is wrong")
	errTruncated = errors.New("it ends too early")
)

// record is an item on disk.
type record struct {
	Item
	rev uint64 // the transaction that wrote it
	put int64  // when it was written, by the store's clock
}

// Offsets in an encoded record of what is only known when it is written.
const (
	atRev     = recordHead + 1
	atPut     = atRev + 8
	atDue     = atPut + 8
	atCreated = atDue + 8
	atStrings = atCreated + 8
)

// encodeItem makes the record of it, which finish completes. It copies Data, so that the caller of a Put that gave up
// waiting may reuse it.
func encodeItem(it *Item) []byte {
	b := make([]byte, atStrings, atStrings+16+len(it.ID)+len(it.Service)+len(it.OpenID)+len(it.Kind)+len(it.Data))
	b[recordHead] = byte(it.State)
	binary.BigEndian.PutUint64(b[atDue:], uint64(nanos(it.Due)))
	for _, s := range [...]string{it.ID, it.Service, it.OpenID, it.Kind} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return append(b, it.Data...)
}

// finish fills in what encodeItem could not know.
func finish(b []byte, rev uint64, put, created int64) []byte {
	binary.BigEndian.PutUint64(b[atRev:], rev)
	binary.BigEndian.PutUint64(b[atPut:], uint64(put))
	binary.BigEndian.PutUint64(b[atCreated:], uint64(created))
	return seal(b)
}

// decode reads a record; Data is a copy, since b lies in bbolt's mapping. The caller sets Seq.
func (r *record) decode(b []byte) error {
	if err := unseal(b); err != nil {
		return err
	}
	if len(b) < atStrings {
		return errTruncated
	}
	r.State = State(b[recordHead])
	r.rev = binary.BigEndian.Uint64(b[atRev:])
	r.put = decodeTime(b[atPut:])
	r.Due, r.Created = instant(decodeTime(b[atDue:])), instant(decodeTime(b[atCreated:]))
	b = b[atStrings:]
	for _, s := range [...]*string{&r.ID, &r.Service, &r.OpenID, &r.Kind} {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return errTruncated
		}
		*s = string(b[used : used+int(n)])
		b = b[used+int(n):]
	}
	r.Data = append([]byte{}, b...)
	return checkItem(&r.Item)
}

// decodeTime reads what nanos returned, which is never negative.
func decodeTime(b []byte) int64 { return max(int64(binary.BigEndian.Uint64(b)), 0) }

// encodeValue is the record of a value.
func encodeValue(value []byte, expires int64) []byte {
	b := make([]byte, recordHead, recordHead+8+len(value))
	b = binary.BigEndian.AppendUint64(b, uint64(expires))
	return seal(append(b, value...))
}

// decodeValue reads what encodeValue wrote; the value is a copy.
func decodeValue(b []byte) (value []byte, expires int64, err error) {
	if err := unseal(b); err != nil {
		return nil, 0, err
	}
	if len(b) < recordHead+8 {
		return nil, 0, errTruncated
	}
	return append([]byte{}, b[recordHead+8:]...), decodeTime(b[recordHead:]), nil
}

// seal fills in the first recordHead bytes of b.
func seal(b []byte) []byte {
	b[0] = recordVersion
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[recordHead:], castagnoli))
	return b
}

// unseal checks the first recordHead bytes of b.
func unseal(b []byte) error {
	if len(b) < recordHead {
		return errTruncated
	}
	if b[0] != recordVersion {
		return &versionError{b[0]}
	}
	if binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[recordHead:], castagnoli) {
		return errChecksum
	}
	return nil
}

// versionError is a record of another version than this code writes.
type versionError struct{ version byte }

func (e *versionError) Error() string {
	return fmt.Sprintf("it has version %d and this gateway knows version %d: run the gateway that wrote it", e.version, recordVersion)
}
