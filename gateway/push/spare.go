package push

import "sync"

// spare has buffers for what is gone before its push waits or has been
// answered: opened text, the text of a reply.
var spare = sync.Pool{New: func() any {
	buf := make([]byte, 0, 2048)
	return &buf
}}

// maxSpare bounds a buffer that is kept.
const maxSpare = 32 << 10

// giveBack makes buf, which has become used, spare again. Nothing may point
// into used any more.
func giveBack(buf *[]byte, used []byte) {
	if cap(used) <= maxSpare {
		*buf = used[:0]
		spare.Put(buf)
	}
}
