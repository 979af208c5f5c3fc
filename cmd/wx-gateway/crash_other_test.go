//go:build unix && !linux

package main

import "testing"

func testDiskFull(t *testing.T, _ string) { t.Skip("needs prlimit of Linux") }
