//go:build !unix

package store

import "os"

// unlock does nothing: closing the file gives up bbolt's lock.
func unlock(*os.File) {}
