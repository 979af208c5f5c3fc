package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// runner holds what every race needs.
type runner struct {
	ctx context.Context
	w   *world
	o   options
}

// measure runs a race, if it has entrants, and then does what is left to do
// while its programs run.
func (r runner) measure(rep *report, start func() (*race, error), then func(*race) error) error {
	c, err := start()
	if err != nil || c == nil {
		return err
	}
	defer c.close()
	if err := c.run(r.ctx, r.o); err != nil {
		return err
	}
	rep.race(c)
	if err := then(c); err != nil {
		return err
	}
	if r.o.profile != "" {
		if err := c.profile(r.o.profile); err != nil {
			return err
		}
	}
	rep.failures(c)
	return nil
}

// all measures everything.
func (r runner) all(rep *report) error {
	halves := func(c *race) error {
		if !r.o.half {
			return nil
		}
		all, err := c.halfLoad(r.ctx, r.o)
		rep.halves(all)
		return err
	}
	nothing := func(*race) error { return nil }
	memory := func(c *race) error {
		if err := c.fill(r.ctx, r.o); err != nil {
			return err
		}
		return rep.memories(c)
	}
	if err := r.measure(rep, r.plain, halves); err != nil {
		return err
	}
	if err := r.measure(rep, r.sealed, halves); err != nil {
		return err
	}
	if err := files(r.o.many); err != nil {
		fmt.Fprintln(os.Stderr, "left out:", err)
		return nil
	}
	if err := r.measure(rep, r.manyBare, nothing); err != nil {
		return err
	}
	return r.measure(rep, r.manyAccounts, memory)
}

// measures reports whether the line of that name is to be measured.
func (r runner) measures(name string) bool { return strings.Contains(name, r.o.only) }

// build is the race that f fills.
func (r runner) build(f func(*race) error) (*race, error) {
	c := &race{}
	if err := f(c); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// contestant is a program that takes part in a race against the bare proxy.
type contestant struct {
	name    string
	program string
	setup
}

// Names of entrants that more than one place speaks of.
const (
	bareName  = "bare proxy"
	plainName = "plain push"
	storeName = "plain push, with a data-dir"
	logName   = "plain push, a line in the log for each"
)

// plain: plain pushes, in configurations that differ in what the gateway does
// beside forwarding.
func (r runner) plain() (*race, error) {
	a := newAccount(0, false)
	all := []contestant{
		{plainName, r.o.program, setup{accounts: []account{a}}},
		{storeName, r.o.program, setup{accounts: []account{a}, dataDir: filepath.Join(r.w.dir, "data")}},
		{logName, r.o.program, setup{accounts: []account{a}, logs: true}},
		{"plain push, cached user info", r.o.program, setup{accounts: []account{a}, userInfo: true}},
	}
	if r.o.reference != "" {
		all = append(all, contestant{"plain push, reference", r.o.reference, setup{accounts: []account{a}}})
	}
	c, err := r.against(&plain{account: a, ids: &r.w.ids}, all...)
	if c != nil {
		c.compare(storeName, plainName)
		c.compare(logName, plainName)
	}
	return c, err
}

func (r runner) sealed() (*race, error) {
	a := newAccount(0, true)
	s, err := newSealed(a, &r.w.ids)
	if err != nil {
		return nil, err
	}
	return r.against(s, contestant{"sealed push", r.o.program, setup{accounts: []account{a}}})
}

// against is a race of the bare proxy and those of all that are to be
// measured; nil when there is none.
func (r runner) against(l line, all ...contestant) (*race, error) {
	var some []contestant
	for _, c := range all {
		if r.measures(c.name) {
			some = append(some, c)
		}
	}
	if some == nil {
		return nil, nil
	}
	return r.build(func(c *race) error {
		proc, err := startBare(r.ctx, r.w)
		if err != nil {
			return err
		}
		bare, err := c.enter(bareName, proc, nil, r.o.conns, r.o.conns, l)
		if err != nil {
			return err
		}
		for _, s := range some {
			if proc, err = startGateway(r.ctx, r.w, s.program, s.setup); err != nil {
				return err
			}
			if _, err := c.enter(s.name, proc, bare, r.o.conns, r.o.conns, l); err != nil {
				return err
			}
		}
		return nil
	})
}
