package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clocks are processor times at one moment, or between two.
type clocks struct {
	wall    time.Duration // all processors together
	idle    time.Duration
	program time.Duration // the measured process
	own     time.Duration // this process: load and backend
}

func (c clocks) minus(before clocks) clocks {
	return clocks{wall: c.wall - before.wall, idle: c.idle - before.idle, program: c.program - before.program, own: c.own - before.own}
}

// noise is the share of the processors that others used.
func (c clocks) noise() float64 {
	return max(0, float64(c.wall-c.idle-c.program-c.own)/float64(max(1, c.wall)))
}

const tick = 10 * time.Millisecond // of the clocks in /proc

// clocks reads the processor times while p is measured.
func (p *process) clocks() (c clocks, err error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return c, err
	}
	c.own = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return c, err
	}
	if c.program, err = parseStat(string(text)); err != nil {
		return c, err
	}
	if text, err = os.ReadFile("/proc/stat"); err != nil {
		return c, err
	}
	if c.idle, err = parseIdle(string(text)); err != nil {
		return c, err
	}
	c.wall = time.Duration(time.Now().UnixNano()) * time.Duration(runtime.NumCPU())
	return c, err
}

// parseStat reads the processor time of /proc/PID/stat, see proc_pid_stat(5).
func parseStat(text string) (time.Duration, error) {
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // behind the name, which may hold anything
	if len(f) < 13 {
		return 0, fmt.Errorf("cannot read processor time from %q", text)
	}
	user, err := strconv.Atoi(f[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(f[12])
	return time.Duration(user+system) * tick, err
}

// parseIdle reads the idle time of all processors from /proc/stat, see proc_stat(5).
func parseIdle(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	if len(f) < 6 || f[0] != "cpu" {
		return 0, fmt.Errorf("cannot read idle time from %q", line)
	}
	idle, err := strconv.ParseInt(f[4], 10, 64)
	if err != nil {
		return 0, err
	}
	waiting, err := strconv.ParseInt(f[5], 10, 64)
	return time.Duration(idle+waiting) * tick, err
}

// memory is what a process holds of the machine's.
type memory struct{ now, highest int64 } // bytes

func (p *process) memory() (m memory, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	return parseStatus(string(text))
}

// parseStatus reads VmRSS and VmHWM of /proc/PID/status, see proc_pid_status(5).
func parseStatus(text string) (m memory, err error) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		var into *int64
		switch name {
		case "VmRSS":
			into = &m.now
		case "VmHWM":
			into = &m.highest
		default:
			continue
		}
		if *into, err = strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64); err != nil {
			return m, err
		}
		*into *= 1 << 10
	}
	if m.now == 0 || m.highest == 0 {
		return m, fmt.Errorf("no VmRSS and VmHWM in %q", text)
	}
	return m, nil
}
