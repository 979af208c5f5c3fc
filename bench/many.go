package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// many is what the entrants with many connections are called; few, the others.
func (r runner) many(who string) string {
	return fmt.Sprintf("%s, %s connections", who, count(r.o.many))
}
func (r runner) few(who string) string {
	return fmt.Sprintf("%s, %s connections", who, count(r.o.conns))
}

// manyBare shows what the number of connections alone costs the machine.
func (r runner) manyBare() (*race, error) {
	if !r.measures(r.many(bareName)) {
		return nil, nil
	}
	lines, _, err := r.mixed()
	if err != nil {
		return nil, err
	}
	return r.build(func(c *race) error {
		proc, err := startBare(r.ctx, r.w)
		if err != nil {
			return err
		}
		few, err := c.enter(r.few(bareName), proc, nil, r.o.conns, r.o.conns, lines...)
		if err != nil {
			return err
		}
		many, err := c.enter(r.many(bareName), proc, few, r.o.conns, r.o.many, lines...)
		c.pairs = append(c.pairs, [2]*entrant{many, few})
		return err
	})
}

// manyAccounts is one account on few connections against many accounts on
// many. The pushes under way at a time are as many, and half of them sealed,
// for both.
func (r runner) manyAccounts() (*race, error) {
	name := r.many(count(r.o.accounts) + " accounts")
	if !r.measures(name) {
		return nil, nil
	}
	mixed, one, err := r.mixed()
	if err != nil {
		return nil, err
	}
	lines, all, err := r.crowd()
	if err != nil {
		return nil, err
	}
	return r.build(func(c *race) error {
		proc, err := startGateway(r.ctx, r.w, r.o.program, setup{accounts: one})
		if err != nil {
			return err
		}
		few, err := c.enter(r.few("1 account"), proc, nil, r.o.conns, r.o.conns, mixed...)
		if err != nil {
			return err
		}
		if proc, err = startGateway(r.ctx, r.w, r.o.program, setup{accounts: all}); err != nil {
			return err
		}
		many, err := c.enter(name, proc, few, r.o.conns, r.o.many, lines...)
		c.pairs = append(c.pairs, [2]*entrant{many, few})
		return err
	})
}

// mixed is one account that takes plain and sealed pushes.
func (r runner) mixed() ([]line, []account, error) {
	a := newAccount(0, true)
	a.mixed, a.calls = true, true
	s, err := newSealed(a, &r.w.ids)
	return []line{&plain{account: a, ids: &r.w.ids}, s}, []account{a}, err
}

// crowd is many accounts, every other one with a key.
func (r runner) crowd() (lines []line, accounts []account, err error) {
	for i := range r.o.accounts {
		a := newAccount(i, i%2 == 1)
		a.calls = true
		accounts = append(accounts, a)
		if a.aesKey == "" {
			lines = append(lines, &plain{account: a, ids: &r.w.ids})
			continue
		}
		s, err := newSealed(a, &r.w.ids)
		if err != nil {
			return nil, nil, err
		}
		lines = append(lines, s)
	}
	return lines, accounts, nil
}

// fill loads the entrants with many connections until each has answered
// o.pushes in all, so that the gateway remembers as much as it ever does, and
// leaves them a moment of quiet.
func (r *race) fill(ctx context.Context, o options) error {
	for _, e := range r.entrants {
		for e.base != nil && e.sent < int64(o.pushes) {
			if err := ctx.Err(); err != nil {
				return err
			}
			e.load.prepare(e.likely(o.length))
			t := e.load.closed(o.length)
			if t.sent == 0 {
				return fmt.Errorf("%s: no push is answered any more: %w", e.name, t.why)
			}
			const step = 100_000
			if before := e.sent; (before+t.sent)/step > before/step {
				fmt.Fprintf(os.Stderr, "%s: %s pushes answered\n", e.name, count(int(before+t.sent)))
			}
			e.add(t)
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
	}
	return ctx.Err()
}

// files says why a process cannot hold that many connections, if so. The Go
// runtime has raised the soft limit to the hard one already, here as in the
// programs that are measured.
func files(conns int) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	const beside = 1000 // files that are no connection of the load: those to the backend, above all
	if need := uint64(conns + beside); l.Max < need {
		return fmt.Errorf("%s connections need a hard limit of %d open files, it is %d: raise it (ulimit -Hn, LimitNOFILE) or take fewer with -many", count(conns), need, l.Max)
	}
	return nil
}
