// Package socket reads and writes TCP connections without telling Go's
// scheduler. Go expects any system call to block: it takes the processor away
// from one that lasts longer than 20 µs, as a write to a busy loopback does, and
// a proxy of small requests spends a twentieth of its time on that alone. A call on a
// socket that does not block needs none of it; what has to wait, waits in Go's
// poller as ever.
package socket
