package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"wx-gateway/gateway/sim"
)

// limitFiles sets how large the running gateway's files may become.
func (p *program) limitFiles(size uint64) {
	p.t.Helper()
	limit := syscall.Rlimit{Cur: size, Max: ^uint64(0)}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.cmd.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		p.t.Skipf("cannot limit the gateway's files: %v", errno)
	}
}

// testDiskFull: when nothing more can be stored, pushes that a backend answers
// go on; one that would have to be stored is not accepted, so that WeChat
// repeats it; what was accepted is delivered.
func testDiskFull(t *testing.T, path string) {
	p := newProgram(t, path, nil)
	p.start()
	// Long texts, so that it is full before so many calls have failed that the
	// backend is left alone.
	text := func(i int) string { return fmt.Sprintf("a:%d %s", i, strings.Repeat("x", 6000)) }
	// A user each: one user's pushes are delivered one after the other.
	body := func(i int) []byte { return sim.Fields{From: fmt.Sprintf("oFull%d", i), Content: text(i)}.XML() }
	p.backend.set(broken)
	if got := p.send("a", body(0)); got != "success" {
		t.Fatalf("WeChat heard %q, want success", got)
	}
	info, err := os.Stat(filepath.Join(p.dataDir, "queue.db"))
	if err != nil {
		t.Fatal(err)
	}
	p.limitFiles(4 * uint64(info.Size()))
	refused := 1
	for ; refused < 1000; refused++ {
		got := p.send("a", body(refused))
		if got == "bad 503" {
			break
		}
		if got != "success" {
			t.Fatalf("WeChat heard %q, want success", got)
		}
	}
	if refused == 1000 {
		t.Fatal("the disk does not get full")
	}
	t.Logf("%d pushes were stored", refused)
	p.backend.set(well)
	if got := p.send("b", sim.Fields{Content: "b:inline"}.XML()); !strings.Contains(got, "re b:inline") {
		t.Errorf("on a full disk WeChat heard %q, want the answer", got)
	}
	p.backend.set(broken)
	again := body(refused + 1)
	if got := p.send("a", again); got != "bad 503" {
		t.Errorf("on a full disk WeChat heard %q, want 503", got)
	}
	// With room again the repeat of what was refused is accepted.
	p.limitFiles(^uint64(0))
	if got := p.send("a", again); got != "success" {
		t.Errorf("with room again WeChat heard %q, want success", got)
	}
	p.kill()
	p.backend.set(well)
	p.start()
	for i := range refused + 2 {
		if i == refused {
			continue // WeChat was told to repeat it, and did not
		}
		wait(t, text(i)[:6]+" delivered", func() bool { return p.backend.has(text(i)) })
	}
	if p.backend.has(text(refused)) {
		t.Error("a refused push was stored")
	}
}
