package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"strconv"

	"wx-gateway/gateway/codec"
)

// account is one service of the measured gateway.
type account struct {
	name, path, token, appID string
	aesKey                   string // "" for an account without
	mixed                    bool   // takes plain pushes although it has a key
	calls                    bool   // has an app-secret, so that the gateway keeps a token for it
}

// newAccount invents the n-th account, with a key or without.
func newAccount(n int, key bool) account {
	a := account{
		name:  fmt.Sprintf("bench%04d", n),
		path:  fmt.Sprintf("/wx/%04d", n),
		token: fmt.Sprintf("benchToken%04d", n),
		appID: fmt.Sprintf("wxbench%010d", n),
	}
	if key {
		sum := sha256.Sum256([]byte(a.name))
		a.aesKey = base64.RawStdEncoding.EncodeToString(sum[:])
	}
	return a
}

const pprofPath = "/debug/pprof"

// setup is one configuration of a gateway.
type setup struct {
	accounts []account
	userInfo bool
	dataDir  string
	logs     bool   // a line for each push, as by default
	internal string // host:port of the internal endpoints, "" for none
}

// conf is the configuration file of a gateway that listens on addr. It keeps
// to what rosbit/go-wx-gateway reads too, as far as that can do the same.
func (w *world) conf(addr string, s setup) []byte {
	host, port, _ := net.SplitHostPort(addr)
	number, _ := strconv.Atoi(port)
	services := make([]any, len(s.accounts))
	for i, a := range s.accounts {
		params := map[string]any{"token": a.token, "app-id": a.appID}
		if a.aesKey != "" {
			params["aes-key"] = a.aesKey
		}
		if a.calls || s.userInfo {
			params["app-secret"] = "secret-of-" + a.appID
		}
		service := map[string]any{
			"name": a.name, "wx-params": params,
			"listen-endpoints": map[string]any{"service-path": a.path},
			"msg-proxy-pass":   "http://" + w.backend,
		}
		if a.mixed {
			service["require-encryption"] = false
		}
		services[i] = service
	}
	c := map[string]any{
		"listen-host": host, "listen-port": number,
		"wx-api-base": w.wechat, "wx-open-base": w.wechat, "wx-mp-base": w.wechat,
		"dont-append-userinfo": !s.userInfo,
		"services":             services,
	}
	if !s.logs {
		c["log"] = map[string]any{"level": "warn"}
	}
	if s.dataDir != "" {
		c["data-dir"] = s.dataDir
	}
	if s.internal != "" {
		c["internal"] = map[string]any{"listen": s.internal}
		c["common-endpoints"] = map[string]any{"pprof": pprofPath}
	}
	text, err := codec.Marshal(c)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return text
}
