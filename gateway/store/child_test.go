package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// childJob names the environment variable that makes the test binary do a child's job instead of testing.
const childJob = "STORE_TEST_CHILD"

// childPath names the one with the store's file.
const childPath = "STORE_TEST_PATH"

func child(job string) int {
	do, ok := childJobs()[job]
	if !ok {
		fmt.Println("no such job:", job)
		return 2
	}
	if err := do(os.Getenv(childPath)); err != nil {
		fmt.Println("FAIL:", err)
		return 1
	}
	return 0
}

func childCommand(job, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childJob+"="+job, childPath+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// putUntilKilled puts items and prints the id of each one that the store has acknowledged.
func putUntilKilled(path string) error {
	s, err := OpenBolt(path, BoltConfig{})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", w, i)
				it := item(id, fmt.Sprint(w), Waiting, t0)
				it.Data = []byte(strings.Repeat(id, 100))
				if s.Queue().Put(bg, it) != nil {
					return
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.New("the store was closed")
}

// Every Put that returned before a kill -9 is there afterwards, whole and in order.
func TestBoltKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	total := 0
	for round := range 3 {
		cmd := childCommand("put", path+fmt.Sprint(round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var acknowledged []string
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			acknowledged = append(acknowledged, lines.Text())
			if len(acknowledged) == 50+100*round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		if last := len(acknowledged) - 1; last < 49 {
			t.Fatalf("the child said %q", acknowledged)
		}
		s := mustOpen(t, path+fmt.Sprint(round), BoltConfig{})
		for _, id := range acknowledged {
			it, ok, err := s.Queue().Get(bg, id)
			if !ok || err != nil || string(it.Data) != strings.Repeat(id, 100) {
				t.Errorf("item %s after the kill: %v, %v, %d bytes", id, ok, err, len(it.Data))
			}
		}
		items, _ := s.Queue().List(bg, Filter{OpenID: "3"}, 0, 10000)
		for i, it := range items {
			if want := fmt.Sprintf("3-%d", i); it.ID != want {
				t.Fatalf("item %d of its lane is %s, want %s", i, it.ID, want)
			}
		}
		total += len(acknowledged)
	}
	t.Logf("%d acknowledged items survived", total)
}

// full is what a store must do when its disk is full and when there is room again: both jobs below end in it.
// room makes room.
func full(s *Bolt, room func() error) error {
	n := 0
	var failure error
	for ; failure == nil && n < 10_000; n++ {
		it := item(fmt.Sprint(n), fmt.Sprint(n), Waiting, t0)
		it.Data = []byte(strings.Repeat(it.ID+" ", 2000))
		failure = s.Queue().Put(bg, it)
	}
	if failure == nil {
		return errors.New("the disk does not get full")
	}
	n-- // the last one was refused
	fmt.Println("refused:", failure)
	if err := s.Healthy(); err == nil {
		return errors.New("healthy on a full disk")
	}
	check := func(when string) error {
		for i := range n {
			it, ok, err := s.Queue().Get(bg, fmt.Sprint(i))
			if !ok || err != nil || string(it.Data) != strings.Repeat(it.ID+" ", 2000) {
				return fmt.Errorf("%s item %d of %d: %v, %v, %d bytes", when, i, n, ok, err, len(it.Data))
			}
		}
		if _, ok, _ := s.Queue().Get(bg, fmt.Sprint(n)); ok {
			return fmt.Errorf("%s the refused item is there", when)
		}
		return nil
	}
	if err := check("full:"); err != nil {
		return err
	}
	for range 20 { // failing again and again harms nothing
		it := item("more", "u", Waiting, t0)
		it.Data = make([]byte, 100_000)
		if s.Queue().Put(bg, it) == nil {
			return errors.New("put on a full disk")
		}
	}
	// The queue goes on: what is stored can be claimed and, once delivered, deleted.
	items, err := s.Queue().Claim(bg, t0, 3, nil)
	if err != nil || len(items) != 3 {
		return fmt.Errorf("full: claimed %d items, %w", len(items), err)
	}
	if err := s.Queue().Delete(bg, "no such item"); err != nil {
		return err
	}
	if err := room(); err != nil {
		return err
	}
	if err := s.Queue().Put(bg, item("after", "u", Waiting, t0)); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if err := s.Healthy(); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if err := check("with room again:"); err != nil {
		return err
	}
	if it, _, _ := s.Queue().Get(bg, items[0].ID); it.State != Running {
		return fmt.Errorf("a claimed item became %v", it.State)
	}
	path := s.file.Name()
	if err := s.Close(); err != nil {
		return err
	}
	s2, err := OpenBolt(path, BoltConfig{})
	if err != nil {
		return err
	}
	s.queue = s2.queue
	if err := check("opened again:"); err != nil {
		return err
	}
	return s2.Close()
}

// Healthy tries for itself, so that ready turns green without a push. On a slow disk one second is too short for a try:
// then the next one finds that it was written.
func healthyAgain(s *Bolt) (err error) {
	for range 60 {
		s.mu.Lock()
		s.probed = time.Time{} // a second has passed
		s.mu.Unlock()
		if err = s.Healthy(); !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	return err
}
