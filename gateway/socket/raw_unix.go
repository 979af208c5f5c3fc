//go:build unix && (!linux || race)

// The race detector sees what these calls order, and what they write, only
// where package syscall makes them.

package socket

import "syscall"

// Read reads from a socket that does not block. The error is a syscall.Errno:
// EAGAIN where there is nothing to read. 0 bytes of a b that is not empty are
// the end.
func Read(fd uintptr, b []byte) (int, error) { return again(syscall.Read, fd, b) }

// Write writes to a socket that does not block, as much as it takes. The error
// is a syscall.Errno: EAGAIN where it takes nothing.
func Write(fd uintptr, b []byte) (int, error) { return again(syscall.Write, fd, b) }

func again(call func(int, []byte) (int, error), fd uintptr, b []byte) (int, error) {
	for {
		n, err := call(int(fd), b)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR: // a signal came in between
		default:
			return 0, err
		}
	}
}
