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
	// Not held: should so many calls fail before it is full that the backend is
	// left alone, success takes its 4.5 s.
	p := newProgram(t, path, map[string]map[string]any{"a": {"hold": false}})
	p.start()
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
	// refused pushes from number first on until one is not accepted.
	refused := func(first int) int {
		t.Helper()
		for i := first; i < first+1000; i++ {
			switch got := p.send("a", body(i)); got {
			case "bad 503":
				return i
			case "success":
			default:
				t.Fatalf("WeChat heard %q, want success", got)
			}
		}
		t.Fatal("the disk does not get full")
		return 0
	}
	lost := refused(1)
	t.Logf("%d pushes were stored", lost)
	if got := p.send("b", sim.Fields{Content: "b:anyway"}.XML()); !strings.Contains(got, "re b:anyway") {
		t.Errorf("on a full disk WeChat heard %q, want the answer", got)
	}
	// What is written again meanwhile may have made a little room.
	again := refused(lost + 1)
	// With room again the repeat of what was refused is accepted.
	p.limitFiles(^uint64(0))
	if got := p.send("a", body(again)); got != "success" {
		t.Errorf("with room again WeChat heard %q, want success", got)
	}
	p.kill()
	p.backend.set(well)
	p.start()
	for i := range again + 1 {
		if i == lost {
			continue // WeChat was told to repeat it, and did not
		}
		wait(t, text(i)[:6]+" delivered", func() bool { return p.backend.has(text(i)) })
	}
	if p.backend.has(text(lost)) {
		t.Error("a refused push was stored")
	}
}
