package main

import (
	"fmt"
	"maps"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// What the console changes over to.
const (
	newToken = "wxgwNextToken"
	newKey   = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
)

// TestRotation: token and aes-key change while pushes flow. From the reload
// that makes the old ones old to the one that drops them both are accepted,
// each reply is sealed as its push was, none is lost, and the metrics tell
// when the old ones can go.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := newFaultWorld(t, func(w *faultWorld) { w.conf["dont-append-userinfo"] = true })
	w.start()
	fields := func(text string) sim.Fields { return sim.Fields{From: "o" + text, Content: text} }
	push := func(text, token, key string) sim.Push {
		p := sealed(w.url+"/wx", fields(text).XML())
		p.Token, p.AESKey = token, key
		return p
	}
	// flow pushes one after the other until it is stopped; each is answered and
	// reaches the backend once.
	flow := func(name, token, key string) (stop func()) {
		halt := make(chan struct{})
		var flowing sync.WaitGroup
		for k := range 2 {
			flowing.Go(func() {
				for i := 0; ; i++ {
					text := fmt.Sprintf("%s-%d-%d", name, k, i)
					if got := w.heardBy(push(text, token, key)); got != "re "+text {
						t.Errorf("push %s heard %q, want the answer", text, got)
					}
					if n := w.backend.calls(text); n != 1 {
						t.Errorf("push %s reached the backend %d times", text, n)
					}
					select {
					case <-halt:
						return
					case <-time.After(5 * time.Millisecond):
					}
				}
			})
		}
		stop = sync.OnceFunc(func() {
			close(halt)
			flowing.Wait()
		})
		t.Cleanup(stop)
		return stop
	}
	verify := func(token string) bool { return push("", token, aesKey).Verify(t.Context()) == nil }
	reload := func(change func(service, params object)) {
		t.Helper()
		service := maps.Clone(w.service)
		params := maps.Clone(service["wx-params"].(object))
		params["token"], params["aes-key"] = newToken, newKey
		service["wx-params"] = params
		change(service, params)
		w.conf["services"] = []any{service}
		writeConf(t, w.file, w.conf)
		w.p.signal(syscall.SIGHUP)
	}
	used := func(what string) float64 {
		t.Helper()
		return w.metric("wxgw_old_secret_last_used_seconds", `service="main"`, `what="`+what+`"`)
	}

	stopOld := flow("old", token, aesKey)
	// One push is with the backend while everything changes.
	called, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.backend.as(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Wx-Openid") == "oopen" {
			once.Do(func() { close(called) })
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		fmt.Fprintf(rw, `{"type":"text","msg":"re %s"}`, r.Header.Get("X-Wx-Openid")[1:])
	})
	open := make(chan string, 1)
	go func() { open <- w.heardBy(push("open", token, aesKey)) }()
	<-called
	if used("token") != 0 || used("aes-key") != 0 {
		t.Error("old secrets are told before there are any")
	}

	began := float64(time.Now().Unix())
	reload(func(service, _ object) {
		service["tokens-old"], service["aes-keys-old"] = []string{token}, []string{aesKey}
	})
	eventually(t, "the new token", func() bool { return verify(newToken) })
	close(release)
	if got := <-open; got != "re open" {
		t.Errorf("the push that was open during the reload heard %q", got)
	}
	stopNew := flow("new", newToken, newKey)
	stopToken, stopKey := flow("oldtoken", token, newKey), flow("oldkey", newToken, aesKey)
	if !verify(token) {
		t.Error("the console cannot verify with the old token")
	}
	time.Sleep(500 * time.Millisecond) // all of them flow
	stopOld()
	stopKey()
	if got := used("aes-key"); got < began {
		t.Errorf("the old aes-key was last used at %.0f, want %.0f at least", got, began)
	}
	stopToken()
	if got := used("token"); got < began {
		t.Errorf("the old token was last used at %.0f, want %.0f at least", got, began)
	}

	// Nobody uses the old ones any more: what is told stays, seconds later too.
	atRest := [2]float64{used("token"), used("aes-key")}
	time.Sleep(1100 * time.Millisecond)
	if got := [2]float64{used("token"), used("aes-key")}; got != atRest {
		t.Errorf("the old ones were last used at %.0f, later at %.0f, though nobody used them", atRest, got)
	}
	if got := w.heardBy(push("straggler", token, newKey)); got != "re straggler" {
		t.Errorf("a straggler heard %q", got)
	}
	if got := used("token"); got <= atRest[0] {
		t.Errorf("after a straggler the old token was last used at %.0f, as before", got)
	}
	if got := used("aes-key"); got != atRest[1] {
		t.Errorf("a straggler with the old token moved the aes-key to %.0f", got)
	}

	reload(func(object, object) {})
	eventually(t, "the end of the old token", func() bool { return !verify(token) })
	for _, p := range []sim.Push{push("late", token, newKey), push("late", token, aesKey)} {
		if got := w.heardBy(p); got != "403" {
			t.Errorf("a push with a dropped token heard %q, want 403", got)
		}
	}
	if got := w.heardBy(push("late", newToken, aesKey)); got != "400" {
		t.Errorf("a push with a dropped aes-key heard %q, want 400", got)
	}
	if n := w.backend.calls("late"); n != 0 {
		t.Errorf("%d pushes with dropped secrets were forwarded", n)
	}
	stopNew()
	w.p.stop()
	sim.NoSecrets(t, []string{token, aesKey, newToken, newKey}, w.p.out.String())
}
