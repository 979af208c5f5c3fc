package store

// order tells a heap how its elements compare and where each keeps its place, so that any element can be moved or
// removed in O(log n). One element may be in several heaps, with a slot for each.
type order[T any] interface {
	less(a, b T) bool
	slot(T) *int32 // index in the heap plus 1; 0: not in it
}

// heap is a binary min-heap; O has no state.
type heap[T any, O order[T]] []T

// min returns the least element; the heap must not be empty.
func (h heap[T, O]) min() T { return h[0] }

func (h *heap[T, O]) push(v T) {
	var o O
	*h = append(*h, v)
	*o.slot(v) = int32(len(*h))
	h.up(len(*h) - 1)
}

// fix restores the order after v changed; v must be in the heap.
func (h heap[T, O]) fix(v T) {
	var o O
	i := int(*o.slot(v)) - 1
	if !h.down(i) {
		h.up(i)
	}
}

// remove takes v out; it does nothing if v is not in the heap.
func (h *heap[T, O]) remove(v T) {
	var o O
	i := int(*o.slot(v)) - 1
	if i < 0 {
		return
	}
	last := len(*h) - 1
	h.swap(i, last)
	var none T
	(*h)[last] = none // let go of it
	*h = (*h)[:last]
	*o.slot(v) = 0
	if i < last && !h.down(i) {
		h.up(i)
	}
}

func (h heap[T, O]) swap(i, j int) {
	var o O
	h[i], h[j] = h[j], h[i]
	*o.slot(h[i]), *o.slot(h[j]) = int32(i+1), int32(j+1)
}

func (h heap[T, O]) up(i int) {
	var o O
	for i > 0 {
		parent := (i - 1) / 2
		if !o.less(h[i], h[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

// down reports whether the element at i moved.
func (h heap[T, O]) down(i int) bool {
	var o O
	start := i
	for {
		least := 2*i + 1
		if least >= len(h) {
			break
		}
		if right := least + 1; right < len(h) && o.less(h[right], h[least]) {
			least = right
		}
		if !o.less(h[least], h[i]) {
			break
		}
		h.swap(i, least)
		i = least
	}
	return i != start
}
