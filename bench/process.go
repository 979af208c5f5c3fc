package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// process is a measured program. It ends with its context.
type process struct {
	cmd  *exec.Cmd
	addr string
	// profiles is the URL of its profiles, "" when it serves none.
	profiles string
	over     bool
}

// start runs cmd, which is to listen on addr and logs into a file of w.
func start(w *world, cmd *exec.Cmd, addr string) (*process, error) {
	said, err := os.CreateTemp(w.dir, "*.log")
	if err != nil {
		return nil, err
	}
	defer said.Close()
	cmd.Stderr = said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s (make build first): %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, addr: addr}
	if err := waitFor(addr); err != nil {
		p.stop()
		text, _ := os.ReadFile(said.Name())
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return p, nil
}

// startBare runs the bare proxy in front of w's backend.
func startBare(ctx context.Context, w *world) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return start(w, exec.CommandContext(ctx, self, "-proxy-to", w.backend, "-listen", addr), addr)
}

// startGateway runs a gateway as s says.
func startGateway(ctx context.Context, w *world, program string, s setup) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if w.profiles {
		if s.internal, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	file, err := os.CreateTemp(w.dir, "*.json")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Write(w.conf(addr, s)); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), "CONF_FILE="+file.Name())
	cmd.Dir = w.dir
	p, err := start(w, cmd, addr)
	if err == nil && w.profiles {
		p.profiles = "http://" + s.internal + pprofPath
	}
	return p, err
}

// stop ends the process. A second call does nothing.
func (p *process) stop() {
	if p.over {
		return
	}
	p.over = true
	// Not an interrupt, which is ignored by what a shell has put into the background.
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.cmd.Wait() // the bare proxy has no handler for the signal
}

func waitFor(addr string) error {
	for range 100 {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("nothing listens on %s", addr)
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
