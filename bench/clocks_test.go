package main

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	got, err := parseStat("4242 (wx) gate) S 1 4242 4242 0 -1 4194560 17310 0 0 0 250 125 0 0 20 0 8 0 6017 1268981760 17894")
	if err != nil || got != 3750*time.Millisecond {
		t.Errorf("parseStat = %v, %v", got, err)
	}
	if _, err := parseStat("4242 (short) S 1"); err == nil {
		t.Error("a short line is taken")
	}
}

func TestParseIdle(t *testing.T) {
	got, err := parseIdle("cpu  46355 90636 38159 41484 210 0 9640 98 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
	if err != nil || got != 416940*time.Millisecond {
		t.Errorf("parseIdle = %v, %v", got, err)
	}
	if _, err := parseIdle("intr 1 2 3 4 5 6"); err == nil {
		t.Error("another line is taken")
	}
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus("Name:\twx-gateway\nVmPeak:\t 1270000 kB\nVmHWM:\t   65536 kB\nVmRSS:\t   32768 kB\nThreads:\t9\n")
	if err != nil || got != (memory{now: 32 << 20, highest: 64 << 20}) {
		t.Errorf("parseStatus = %+v, %v", got, err)
	}
	if _, err := parseStatus("Name:\twx-gateway\n"); err == nil {
		t.Error("a status without sizes is taken")
	}
}

func TestNoise(t *testing.T) {
	before := clocks{wall: 20 * time.Second, idle: time.Second, program: time.Second, own: time.Second}
	after := clocks{wall: 22 * time.Second, idle: 1200 * time.Millisecond, program: 1600 * time.Millisecond, own: 1700 * time.Millisecond}
	if got := after.minus(before).noise(); got < 0.249 || got > 0.251 {
		t.Errorf("noise = %v, want a quarter", got)
	}
}
