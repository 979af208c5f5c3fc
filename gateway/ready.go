package gateway

import (
	"slices"
	"time"

	"wx-gateway/gateway/endpoint"
	"wx-gateway/gateway/token"
)

// readiness tells whether the gateway works as promised, and of each account
// of the site whether a token could be had.
func (s *site) readiness(g *Gateway) endpoint.Readiness {
	var r endpoint.Readiness
	if err := g.store.Healthy(); err != nil {
		r.Faults = append(r.Faults, "pushes cannot be stored: "+err.Error())
	}
	if g.engine.Draining() {
		r.Faults = append(r.Faults, "the gateway is stopping")
	}
	for name, ep := range s.endpoints {
		r.Accounts = append(r.Accounts, accountState(name, ep.AppID, s.tokens[name]))
	}
	slices.SortFunc(r.Accounts, func(a, b endpoint.AccountState) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return r
}

// accountState is the state of one account's access_token in words; no keeper
// means that the account has no app-secret.
func accountState(name, appID string, k *token.Keeper) endpoint.AccountState {
	a := endpoint.AccountState{Name: name, AppID: appID, OK: true, Token: "off"}
	if k == nil {
		return a
	}
	st := k.State()
	switch {
	case st.Have:
		until := st.Expires.UTC().Truncate(time.Second)
		a.Token, a.Expires = "ok", &until
	case st.Err != nil:
		a.OK, a.Token = false, st.Err.Error()
	default:
		a.OK, a.Token = false, "none yet"
	}
	return a
}
