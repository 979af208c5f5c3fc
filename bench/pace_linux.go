package main

import (
	"runtime"
	"syscall"
	"time"
)

// exactly makes the sleeps of the calling goroutine end within microseconds
// of their time: it gets a thread of its own for the rest of its life, whose
// timers the kernel does not put off.
func exactly() {
	const prSetTimerSlack = 29 // PR_SET_TIMERSLACK
	runtime.LockOSThread()
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0)
}

// sleepUntil waits for due. time.Sleep would wake up to a millisecond late.
func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		ts := syscall.NsecToTimespec(int64(left))
		syscall.Nanosleep(&ts, nil) // signals of the Go runtime end it early
	}
}
