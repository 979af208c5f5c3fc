package main

import (
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// limitFiles sets how large the running gateway's files may become, in bytes.
func (w *faultWorld) limitFiles(size uint64) {
	w.t.Helper()
	limit := syscall.Rlimit{Cur: size, Max: ^uint64(0)}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(w.p.cmd.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		w.t.Skipf("cannot limit the gateway's files: %v", errno)
	}
}

// TestOverloadWithoutStore: where nothing can be stored, what the backend
// cannot take in time is refused, so that WeChat repeats it; the rest goes on.
func TestOverloadWithoutStore(t *testing.T) {
	t.Parallel()
	w, _ := newOverload(t, func(*faultWorld) {})
	w.limitFiles(1)
	const many = 2 * overloadLine
	heard := w.burst("burst-", many, 0, func(time.Duration) {})
	t.Logf("a burst of %d: %v", many, heard)
	if heard["done"] == 0 || heard["503"] == 0 || heard["done"]+heard["503"] != many {
		t.Errorf("WeChat heard %v, want answers and 503", heard)
	}
	w.quick.Store(true)
	eventually(t, "an empty line", func() bool {
		return w.metric("wxgw_backend_calls_waiting") == 0 && w.metric("wxgw_backend_calls_in_flight") == 0
	})
	if got := w.heard(view("oInline", "inline")); got != "done" {
		t.Errorf("with an unwritable store WeChat heard %q, want the answer", got)
	}
	if got := w.metric("wxgw_store_writable"); got != 0 {
		t.Error("the store counts as writable")
	}

	w.limitFiles(^uint64(0))
	w.net.set(refusing)
	if got := w.heard(view("oKept", "kept")); got != "success" {
		t.Errorf("with room again WeChat heard %q, want success", got)
	}
	if got := w.metric("wxgw_store_writable"); got != 1 {
		t.Error("the store does not count as writable again")
	}
	w.net.set(fair)
	eventually(t, "what was kept", func() bool { return w.backend.calls("kept") > 0 })
	if got := w.heard(view("oInline", "inline again")); got != "done" {
		t.Errorf("with room again WeChat heard %q, want the answer", got)
	}
}
