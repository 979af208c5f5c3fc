package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// withQueue names the endpoints of asynchronous backends.
func withQueue() edit {
	return func(c map[string]any) {
		e := c["common-endpoints"].(map[string]any)
		e["reply"], e["queue"] = "/reply", "/queue"
	}
}

// accept has the backend answer 202, and returns the push ids it was given.
func (w *world) accept() <-chan string {
	ids := make(chan string, 16)
	w.backend.on("/msg/text", func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusAccepted)
		ids <- r.Header.Get("X-Wx-Push-Id")
	})
	return ids
}

// reply posts a text for a push and fails unless it is answered so.
func (w *world) reply(push, text string, status int, want string) {
	w.t.Helper()
	got, body := w.post("/reply", "application/json", fmt.Sprintf(`{"s":"main","push":%q,"type":"text","msg":%q}`, push, text))
	if got != status || body != want {
		w.t.Errorf("reply %q: %d %s, want %d %s", text, got, body, status, want)
	}
}

const (
	replyOK        = `{"code":200,"msg":"OK"}`
	replyDuplicate = `{"code":200,"msg":"OK","duplicate":true}`
)

// TestAsyncInline: a reply posted while WeChat's attempt is open is the passive
// answer, sealed as the push was.
func TestAsyncInline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withQueue())
	ids := w.accept()
	posted := make(chan string, 1)
	go func() {
		id := <-ids
		w.reply(id, "posted", 200, replyOK)
		posted <- id
	}()
	wantContains(t, "answer", w.send(sim.Safe, text("question")), "posted", "<MsgType><![CDATA[text]]>")
	id := <-posted
	w.reply(id, "posted", 200, replyDuplicate)
	w.reply(strings.Repeat("0", 32), "posted", 404, fmt.Sprintf(`{"code":404,"msg":"service main has no push %032d that waits for a reply"}`, 0))
	if sent := w.platform.Sent(testAppID, sim.DefaultFrom); len(sent) != 0 {
		t.Errorf("sent besides: %+v", sent)
	}
	if n := len(w.backend.calls("/msg/text")); n != 1 {
		t.Errorf("%d backend calls, want 1", n)
	}
}

// TestAsyncLateOverARestart: a reply that comes when WeChat has heard success,
// and the gateway has been restarted, goes to the user by customer service.
func TestAsyncLateOverARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withQueue(), setTop("data-dir", t.TempDir()), set("late-reply", map[string]any{"hold": false}))
	ids := w.accept()
	if got := w.send(sim.Safe, text("question")); got != "success" {
		t.Fatalf("WeChat heard %q, want success", got)
	}
	id := <-ids
	status, body := w.get("/queue?s=main&state=async")
	if status != 200 {
		t.Errorf("queue: %d %s", status, body)
	}
	wantContains(t, "queue", body, `"push":"`+id+`"`, `"state":"async"`, `"async":1`)
	w.stop()
	w.start()
	w.reply(id, "posted", 200, replyOK)
	eventually(t, "the late reply", func() bool { return len(w.platform.Sent(testAppID, sim.DefaultFrom)) == 1 })
	wantContains(t, "sent", string(w.platform.Sent(testAppID, sim.DefaultFrom)[0].JSON), "posted")
	w.reply(id, "posted", 200, replyDuplicate)
	eventually(t, "an empty queue", func() bool {
		_, body := w.get("/queue")
		return strings.Contains(body, `"items":[]`)
	})
	if sent := w.platform.Sent(testAppID, sim.DefaultFrom); len(sent) != 1 {
		t.Errorf("sent %d times, want once", len(sent))
	}
	if n := len(w.backend.calls("/msg/text")); n != 1 {
		t.Errorf("%d backend calls, want 1", n)
	}
}

// TestAsyncMore: the first of several replies is passive, the rest follows in
// order.
func TestAsyncMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withQueue())
	ids := w.accept()
	go func() {
		id := <-ids
		for i, part := range []string{"one", "two", "three"} {
			status, body := w.post("/reply", "application/json",
				fmt.Sprintf(`{"s":"main","push":%q,"msg":%q,"more":%v}`, id, part, i < 2))
			if status != 200 || body != replyOK {
				t.Errorf("%s: %d %s", part, status, body)
			}
		}
	}()
	wantContains(t, "answer", w.send(sim.Safe, text("question")), "one")
	eventually(t, "the rest", func() bool { return len(w.platform.Sent(testAppID, sim.DefaultFrom)) == 2 })
	for i, want := range []string{"two", "three"} {
		wantContains(t, "sent", string(w.platform.Sent(testAppID, sim.DefaultFrom)[i].JSON), want)
	}
}

// TestQueueEndpoint: a push whose backend failed is listed, shown, retried and
// dropped.
func TestQueueEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withQueue(), setTop("data-dir", t.TempDir()))
	w.backend.on("/event/VIEW", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	push := func(key string) string {
		t.Helper()
		before := len(w.backend.calls("/event/VIEW"))
		if got := w.send(sim.Safe, event("VIEW", key)); got != "success" {
			t.Fatalf("WeChat heard %q, want success", got)
		}
		return w.backend.calls("/event/VIEW")[before].header.Get("X-Wx-Push-Id")
	}
	first := push("http://a/first")
	var list struct {
		Counts map[string]struct{ Waiting, Running, Dead int }
		Items  []struct {
			Push, Service, OpenID, Kind, State, Error string
			Attempts                                  int
			Due                                       time.Time
		}
	}
	status, body := w.get("/queue?kind=event/VIEW")
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != 200 || len(list.Items) != 1 {
		t.Fatalf("queue: %d %s (%v), want one item", status, body, err)
	}
	if it := list.Items[0]; it.Push != first || it.Service != "main" || it.OpenID != sim.DefaultFrom || it.Kind != "event/VIEW" || it.Attempts < 1 || !strings.Contains(it.Error, "500") {
		t.Errorf("listed as %+v", it)
	}
	_, body = w.get("/queue?push=" + first)
	wantContains(t, "show", body, `"body":{`, "http://a/first")

	// A long pause would keep it for minutes; a retry does not wait.
	before := len(w.backend.calls("/event/VIEW"))
	w.backend.answer("/event/VIEW", "success")
	retry := func() (int, string) {
		return w.post("/queue", "application/x-www-form-urlencoded", "action=retry&push="+first)
	}
	status, body = retry()
	if status != 200 && status != 404 && status != 409 { // its own time may have come
		t.Errorf("retry: %d %s", status, body)
	}
	eventually(t, "the redelivery", func() bool { return len(w.backend.calls("/event/VIEW")) > before })
	eventually(t, "an empty queue", func() bool {
		_, body := w.get("/queue")
		return strings.Contains(body, `"items":[]`)
	})
	if status, body = retry(); status != 404 {
		t.Errorf("retry of a push that is done: %d %s, want 404", status, body)
	}

	w.backend.on("/event/VIEW", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	second := push("http://a/second")
	eventually(t, "the drop", func() bool {
		status, body = w.post("/queue", "application/json", fmt.Sprintf(`{"action":"drop","push":%q}`, second))
		return status == 200 && body == `{"code":200,"msg":"OK","count":1}`
	})
	if status, body = w.post("/queue", "application/json", `{"action":"drop"}`); status != 400 {
		t.Errorf("a drop of everything by mistake: %d %s, want 400", status, body)
	}
	if status, body = w.post("/queue", "application/json", `{"action":"drop","all":true}`); status != 200 || !strings.Contains(body, `"count":0`) {
		t.Errorf("a drop of an empty queue: %d %s", status, body)
	}
}

// TestPowerEndpointsAreGuarded: reply and queue are not for whoever reaches the
// internal listener from elsewhere.
func TestPowerEndpointsAreGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withQueue(), setTop("internal", map[string]any{"listen": "127.0.0.1:0", "token": "a-bearer-token-of-some-length"}))
	for _, path := range []string{"/reply", "/queue"} {
		if status, body := w.get(path); status != 401 {
			t.Errorf("%s without a bearer: %d %s, want 401", path, status, body)
		}
	}
	resp, err := http.Get("http://" + w.g.PublicAddr() + "/queue")
	if err != nil {
		t.Fatal(err)
	}
	if status, body := readAll(t, resp); status != 404 {
		t.Errorf("on the public listener: %d %s, want 404", status, body)
	}
}
