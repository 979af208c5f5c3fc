package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wx-gateway/conf"
)

// loaded is what the gateway makes of a generated configuration.
func loaded(t *testing.T, s setup) *conf.Config {
	t.Helper()
	w := &world{backend: "127.0.0.1:8081", wechat: "http://127.0.0.1:8082"}
	file := filepath.Join(t.TempDir(), "conf.json")
	if err := os.WriteFile(file, w.conf("127.0.0.1:7080", s), 0o600); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := conf.Load(file, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range warnings {
		t.Logf("warning: %s", warning)
	}
	return c
}

func TestConfigurationsAreGood(t *testing.T) {
	plainOnly, both := newAccount(0, false), newAccount(1, true)
	both.mixed, both.calls = true, true
	c := loaded(t, setup{accounts: []account{plainOnly, both}, dataDir: "data"})
	if c.ListenHost != "127.0.0.1" || c.ListenPort != 7080 || c.DataDir != "data" || len(c.Services) != 2 {
		t.Errorf("read %+v", c)
	}
	if s := c.Services[0]; s.AppendUserInfo || s.RequireEncryption || s.AppSecret != "" || s.ServicePath != "/wx/0000" {
		t.Errorf("plain account: %+v", s)
	}
	if s := c.Services[1]; s.AppendUserInfo || s.RequireEncryption || s.AppSecret == "" || s.AESKey == "" {
		t.Errorf("account of both kinds: %+v", s)
	}
	c = loaded(t, setup{accounts: []account{newAccount(0, true)}, userInfo: true})
	if s := c.Services[0]; !s.AppendUserInfo || !s.RequireEncryption || s.AppSecret == "" {
		t.Errorf("sealed account with user info: %+v", s)
	}
}

// The ages that delivery reads as a repeat begin at 4 s.
func TestTurnsAreShorterThanWeChatsPause(t *testing.T) {
	o := options{conns: 1, many: 1, accounts: 1, rounds: 1, length: 4 * time.Second}
	if err := o.check(); err == nil {
		t.Error("turns of 4 s are taken")
	}
	o.length = time.Second
	if err := o.check(); err != nil {
		t.Error(err)
	}
}

func TestTooManyConnections(t *testing.T) {
	if err := files(1); err != nil {
		t.Error(err)
	}
	if err := files(1 << 40); err == nil || !strings.Contains(err.Error(), "ulimit -Hn") {
		t.Errorf("2^40 connections: %v", err)
	}
}
