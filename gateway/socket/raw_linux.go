//go:build !race

package socket

import (
	"syscall"
	"unsafe"
)

// Read reads from a socket that does not block. The error is a syscall.Errno:
// EAGAIN where there is nothing to read. 0 bytes of a b that is not empty are
// the end.
func Read(fd uintptr, b []byte) (int, error) { return call(syscall.SYS_READ, fd, b) }

// Write writes to a socket that does not block, as much as it takes. The error
// is a syscall.Errno: EAGAIN where it takes nothing.
func Write(fd uintptr, b []byte) (int, error) { return call(syscall.SYS_WRITE, fd, b) }

func call(number, fd uintptr, b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR: // a signal came in between
		default:
			return 0, errno
		}
	}
}
