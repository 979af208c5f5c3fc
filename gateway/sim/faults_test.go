package sim

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/codec"
)

func TestFaults(t *testing.T) {
	r := newRig(t, Config{Accounts: []Account{{AppID: testApp, Secret: testSecret}, {AppID: "wxOther", Secret: "s"}}})
	token := r.classic()
	info := "cgi-bin/user/info?access_token=" + token + "&openid=" + testUser

	clear := r.Fault(Fault{Path: "cgi-bin/user/info", AppID: testApp, Code: 45009})
	m := r.call(info, "")
	if m["errcode"].(codec.Number) != "45009" || !strings.HasPrefix(m["errmsg"].(string), "reach max api daily quota limit rid: ") {
		t.Errorf("errcode fault: %v", m)
	}
	if got := r.works(token); got != "0" {
		t.Errorf("another call is hurt: %s", got)
	}
	other := r.call("cgi-bin/token?grant_type=client_credential&appid=wxOther&secret=s", "")["access_token"].(string)
	if got := r.code("cgi-bin/user/info?access_token="+other+"&openid="+testUser, ""); got != "0" {
		t.Errorf("another account is hurt: %s", got)
	}
	clear()
	clear() // twice does no harm
	if got := r.code(info, ""); got != "0" {
		t.Errorf("after clear: %s", got)
	}

	defer r.Fault(Fault{Code: 40164, Times: 2})()
	for range 2 {
		if m := r.call(info, ""); m["errmsg"] == nil || !strings.HasPrefix(m["errmsg"].(string), "invalid ip 192.0.2.1 ipv6 ::ffff:192.0.2.1, not in whitelist rid: ") {
			t.Errorf("40164: %v", m)
		}
	}
	if got := r.code(info, ""); got != "0" {
		t.Errorf("after its two times: %s", got)
	}

	clear = r.Fault(Fault{Status: 502, Body: "<html>bad gateway</html>"})
	if w := r.raw(info, ""); w.Code != 502 || w.Body.String() != "<html>bad gateway</html>" {
		t.Errorf("garbage: %d %q", w.Code, w.Body)
	}
	clear()
	clear = r.Fault(Fault{Code: -1, Msg: "system busy"})
	if got := r.raw(info, "").Body.String(); got != `{"errcode":-1,"errmsg":"system busy"}` {
		t.Errorf("own text: %s", got)
	}
	clear()

	// The token call names its account in the body.
	defer r.Fault(Fault{AppID: testApp, Path: "cgi-bin/stable_token", Code: 40243})()
	if _, code := r.stable(false); code != "40243" {
		t.Errorf("stable_token: %s", code)
	}

	codes := []int{}
	for _, c := range r.Calls("cgi-bin/user/info") {
		codes = append(codes, c.Code)
	}
	want := []int{45009, 0, 0, 40164, 40164, 0, 502, -1}
	if len(codes) != len(want) {
		t.Fatalf("codes of the history %v, want %v", codes, want)
	}
	for i := range want {
		if codes[i] != want[i] {
			t.Fatalf("codes of the history %v, want %v", codes, want)
		}
	}
	if n := r.CountCalls("cgi-bin/user/info", testApp); n != len(want)-1 {
		t.Errorf("CountCalls = %d", n)
	}
}

func TestFaultLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{})
		r := &rig{Platform: p, t: t}
		clear := p.Fault(Fault{Latency: 3 * time.Second})
		start := time.Now()
		m := r.call("cgi-bin/token?grant_type=client_credential&appid=a&secret=b", "")
		if took := time.Since(start); took != 3*time.Second || m["access_token"] == nil {
			t.Errorf("late answer after %s: %v", took, m)
		}
		if calls := p.Calls(""); len(calls) != 1 || calls[0].Code != 0 {
			t.Errorf("a late call is noted as %v", calls)
		}
		clear()
		// Close ends the waiting.
		p.Fault(Fault{Latency: time.Hour})
		go func() { time.Sleep(10 * time.Second); p.Close() }()
		start = time.Now()
		r.call("cgi-bin/token?grant_type=client_credential&appid=a&secret=b", "")
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("Close ended the waiting after %s", took)
		}
	})
}

func TestStartAndDrop(t *testing.T) {
	var logs bytes.Buffer
	p := New(Config{Log: slog.New(slog.NewTextHandler(&logs, nil))})
	base, err := p.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Start("127.0.0.1:0"); err == nil || err.Error() != "cannot start the simulator: it runs already" {
		t.Errorf("second Start: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	get := func() (int, string, error) {
		resp, err := client.Get(base + "/cgi-bin/token?grant_type=client_credential&appid=wxLogged&secret=" + testSecret)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), err
	}
	status, body, err := get()
	if err != nil || status != 200 || !strings.Contains(body, "access_token") {
		t.Fatalf("over a socket: %d %q %v", status, body, err)
	}
	p.Fault(Fault{Drop: true, Times: 4}) // net/http repeats a GET on a reused connection
	if _, _, err := get(); err == nil {
		t.Error("a dropped call was answered")
	}
	client.CloseIdleConnections()
	p.Close()
	p.Close()
	if _, _, err := get(); err == nil {
		t.Error("answered after Close")
	}
	if !strings.Contains(logs.String(), "appid=wxLogged path=cgi-bin/token errcode=0") {
		t.Errorf("log: %s", &logs)
	}
	NoSecrets(t, []string{testSecret, p.CurrentToken("wxLogged")}, logs.String())

	if _, err := New(Config{}).Start("127.0.0.1:99999"); err == nil || !strings.HasPrefix(err.Error(), "cannot start the simulator on 127.0.0.1:99999: ") {
		t.Errorf("bad address: %v", err)
	}
}

func TestHistoryBounds(t *testing.T) {
	var h history
	for i := range maxCalls + 5 {
		h.add(Call{Code: i})
	}
	if len(h.list) != maxCalls || h.list[0].Code != 5 {
		t.Errorf("%d calls from %d", len(h.list), h.list[0].Code)
	}
	for range 1000 {
		h.add(Call{Body: make([]byte, maxCallBody)})
	}
	if h.bytes > maxCallBytes {
		t.Errorf("%d bytes of history", h.bytes)
	}
	var o outbox
	for range maxSent + 5 {
		o.add(sentTo{})
	}
	if len(o.list) != maxSent {
		t.Errorf("%d sent messages", len(o.list))
	}
	tab := newTable[int](3)
	for i := range 100 {
		tab.put(string(rune('a'+i%26))+random(2), i)
	}
	if len(tab.m) > 3 || len(tab.order) > 6 {
		t.Errorf("table of %d, %d names", len(tab.m), len(tab.order))
	}
}

func TestControl(t *testing.T) {
	r := newRig(t, Config{Quota: true})
	token, _ := r.stable(false)
	send := "cgi-bin/message/custom/send?access_token=" + token
	r.code("sim/interacted?appid="+testApp+"&openid="+testUser+"&kind=text", "-")
	if got := r.code(send, customText(testUser, "hello")); got != "0" {
		t.Errorf("after sim/interacted: %s", got)
	}
	if got := r.raw("sim/sent?appid="+testApp, "").Body.String(); !strings.Contains(got, `"content":"hello"`) {
		t.Errorf("sim/sent: %s", got)
	}
	if got := r.code("sim/fault", `{"path":"cgi-bin/user/info","code":45009,"latency":"0s"}`); got != "0" {
		t.Errorf("sim/fault: %s", got)
	}
	info := "cgi-bin/user/info?openid=" + testUser + "&access_token="
	if got := r.code(info+token, ""); got != "45009" {
		t.Errorf("with the fault: %s", got)
	}
	w := httptestDelete(r, "sim/fault")
	if got := r.code(info+token, ""); w != 200 || got != "0" {
		t.Errorf("after DELETE: %d, %s", w, got)
	}
	for _, bad := range []string{`{"latency":"soon"}`, `{"status":99}`, `{"times":-1}`} {
		if got := r.code("sim/fault", bad); got != "40097" {
			t.Errorf("%s: %s", bad, got)
		}
	}
	r.code("sim/revoke?appid="+testApp, "-")
	if got := r.works(token); got != "40001" {
		t.Errorf("after sim/revoke: %s", got)
	}
	calls := r.raw("sim/calls", "").Body.String()
	if !strings.Contains(calls, `"path":"cgi-bin/user/info"`) || strings.Contains(calls, "sim/") {
		t.Errorf("sim/calls: %s", calls)
	}
	NoSecrets(t, []string{testSecret, token}, calls)
}
