package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// child is a program that this one has started.
type child struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
}

// build compiles a package of this module.
func build(ctx context.Context, to, pkg string) error {
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", to, pkg).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// run starts a program whose output goes to logFile.
func run(program, logFile string, env ...string) (*child, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, fmt.Errorf("cannot create a log file: %w", err)
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(program)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	apart(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", program, err)
	}
	c := &child{cmd: cmd, gone: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(c.gone)
	}()
	return c, nil
}

// stopWithin is more than the gateway's drain may take.
const stopWithin = 20 * time.Second

// stop asks the child to end, and ends it if it does not.
func (c *child) stop() {
	if c.cmd.Process.Signal(syscall.SIGTERM) != nil {
		c.cmd.Process.Kill()
	}
	select {
	case <-c.gone:
	case <-time.After(stopWithin):
		c.cmd.Process.Kill()
		<-c.gone
	}
}

// answers waits until probe succeeds, c ends or ten seconds have passed.
func answers(ctx context.Context, c *child, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(30 * time.Millisecond):
		case <-c.gone:
			return errors.New("it ended: " + c.cmd.ProcessState.String())
		case <-ctx.Done():
			return err
		}
	}
}

// tail is the end of a log file.
func tail(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	lines := strings.SplitAfter(string(data), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "")
}
