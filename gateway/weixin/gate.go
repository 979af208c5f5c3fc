package weixin

import (
	"log/slog"
	"sync"
	"time"
)

// gate remembers whether WeChat takes calls from this machine's address, so
// that a refusal is logged when it begins and not at every call.
type gate struct {
	mu      sync.Mutex
	refused bool                 // a refusal was logged and no call went through since
	logged  map[string]time.Time // when, by address: machines with several addresses flap
}

const (
	relog      = 10 * time.Minute // the same address is not logged again before
	maxAddress = 16
)

// notice takes the outcome of a call, nil for one that went through.
func (g *gate) notice(log *slog.Logger, appid string, e *Error, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e == nil {
		if g.refused {
			g.refused = false
			log.Info("WeChat takes calls from this machine's address again", "appid", appid)
		}
		return
	}
	if !refusesAddress(e.Code) {
		return
	}
	ip := IP(e)
	if last, ok := g.logged[ip]; ok && now.Sub(last) < relog {
		return
	}
	if g.logged == nil || len(g.logged) >= maxAddress {
		g.logged = map[string]time.Time{}
	}
	g.logged[ip] = now
	g.refused = true
	log.Error("WeChat refuses calls from this machine's address: add it to the IP whitelist (IP白名单) in the account's console",
		"appid", appid, "ip", ip, "path", e.Op, "err", e)
}
