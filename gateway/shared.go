package gateway

import (
	"context"
	"log/slog"
	"maps"
	"sync"

	"wx-gateway/gateway/backend"
	"wx-gateway/gateway/grant"
	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/meter"
	"wx-gateway/gateway/trace"
	"wx-gateway/gateway/weixin"
)

// shared is what all accounts use and no reload touches.
type shared struct {
	backend *httpc.Client // to backends, TLS verified
	grants  *grant.Memory[weixin.Grant]
	log     *slog.Logger
	meter   *meter.Meter
	tracer  *trace.Tracer // nil: there is no tracing
	users   aliases

	mu        sync.Mutex
	accounts  map[accountKey]*account
	audiences map[string]*audience     // by app-id
	lines     map[string]*backend.Line // by service name
}

// account finds a running account or makes one that does not run yet.
func (s *shared) account(k accountKey) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[k]; a != nil {
		return a
	}
	of := s.audiences[k.appID]
	if of == nil {
		of = newAudience(k.appID, s.log)
		s.audiences[k.appID] = of
	}
	return newAccount(k, s, of)
}

// keep registers an account of the site that is about to be served.
func (s *shared) keep(k accountKey, a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[k] = a
}

// running reports whether a is the account that is served.
func (s *shared) running(k accountKey, a *account) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accounts[k] == a
}

// drop forgets an account that no site uses any more.
func (s *shared) drop(k accountKey, a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accounts[k] == a {
		delete(s.accounts, k)
	}
}

// tidy ends the audiences of app-ids that no account uses any more.
func (s *shared) tidy() {
	s.mu.Lock()
	unused := maps.Clone(s.audiences)
	for k := range s.accounts {
		delete(unused, k.appID)
	}
	for appID := range unused {
		delete(s.audiences, appID)
	}
	s.mu.Unlock()
	for _, a := range unused {
		a.close()
	}
}

// line is the line behind a service's backend; its length of service survives
// reloads, so that calls of the old site count too.
func (s *shared) line(service string, workers int) *backend.Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[service]
	if l == nil {
		l = backend.NewLine(workers)
		s.lines[service] = l
	}
	return l
}

// alias is what the log calls a user: a name that cannot be traced back, or
// the openid itself where the log is at debug level.
func (s *shared) alias(openid string) string {
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		return openid
	}
	return s.users.of(openid)
}

func (s *shared) close() {
	for _, a := range s.audiences {
		a.close()
	}
	s.backend.CloseIdle()
}
