package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func childJobs() map[string]func(path string) error {
	return map[string]func(path string) error{"put": putUntilKilled, "limit": fillLimit, "tmpfs": fillTmpfs}
}

// fillLimit meets a limit on the size of its files.
func fillLimit(path string) error {
	s, err := OpenBolt(path, BoltConfig{})
	if err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	before := limit.Cur
	limit.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	return full(s, func() error {
		limit.Cur = before
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		return healthyAgain(s)
	})
}

// fillTmpfs meets a full disk. It has a mount namespace of its own.
func fillTmpfs(path string) error {
	dir := filepath.Dir(path)
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		fmt.Println("SKIP: no mount:", err)
		return nil
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 400_000), 0o600); err != nil {
		return err
	}
	s, err := OpenBolt(path, BoltConfig{})
	if err != nil {
		return err
	}
	return full(s, func() error {
		if err := os.Remove(ballast); err != nil {
			return err
		}
		return healthyAgain(s)
	})
}

func TestBoltDiskFull(t *testing.T) {
	t.Parallel()
	t.Run("file size limit", func(t *testing.T) {
		t.Parallel()
		out, err := childCommand("limit", filepath.Join(t.TempDir(), FileName)).Output()
		if err != nil || !strings.Contains(string(out), "file too large") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("tmpfs", func(t *testing.T) {
		t.Parallel()
		cmd := childCommand("tmpfs", filepath.Join(t.TempDir(), FileName))
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.Output()
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || strings.HasPrefix(string(out), "SKIP") {
			t.Skipf("needs leave to mount a small tmpfs: %v %s", err, out)
		}
		if err != nil || !strings.Contains(string(out), "no space left on device") {
			t.Errorf("%v: %s", err, out)
		}
	})
}
