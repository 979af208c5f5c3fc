//go:build unix

package store

import (
	"os"
	"syscall"
)

// unlock gives up bbolt's lock on the file: closing it is not enough while it is mapped.
func unlock(file *os.File) { syscall.Flock(int(file.Fd()), syscall.LOCK_UN) }
