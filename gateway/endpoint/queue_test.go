package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
	"wx-gateway/gateway/web"
)

const testPush = "44d07c1e16671e894ca58e074c43f8a1"

// fakePushes is a delivery engine that notes how it is called.
type fakePushes struct {
	calls []string
	took  delivery.Accepted
	err   error
	list  []delivery.Stored
	next  uint64
}

func (f *fakePushes) note(format string, args ...any) error {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fakePushes) Reply(service string, id delivery.ID, replies []msg.Reply, more bool) (delivery.Accepted, error) {
	words := fmt.Sprintf("reply %s %s more %v:", service, id, more)
	for _, r := range replies {
		words += " " + r.Type + " " + r.Text + r.MediaID
	}
	return f.took, f.note("%s", words)
}

func (f *fakePushes) Counts(context.Context) (map[string]store.Counts, error) {
	return map[string]store.Counts{
		"demo": {Waiting: 2, Async: 1, Dead: 4, Bytes: 4096, Oldest: time.Unix(1_767_000_000, 123_456_789)},
		"idle": {Dead: 1},
	}, f.err
}

func filterWords(f store.Filter) string {
	return fmt.Sprintf("s=%s o=%s kind=%s states=%v older=%s", f.Service, f.OpenID, f.Kind, f.States, f.OlderThan)
}

func (f *fakePushes) List(_ context.Context, filter store.Filter, after uint64, limit int) ([]delivery.Stored, uint64, error) {
	return f.list, f.next, f.note("list %s after=%d limit=%d", filterWords(filter), after, limit)
}

func (f *fakePushes) Show(_ context.Context, id string) (delivery.Stored, error) {
	if err := f.note("show %s", id); err != nil {
		return delivery.Stored{}, err
	}
	one := f.list[0]
	one.Body = codec.RawMessage(`{"MsgId":"23523453534","n":9007199254740993}`)
	one.Answer = []codec.RawMessage{codec.RawMessage(`{"msgtype":"text"}`)}
	return one, nil
}

func (f *fakePushes) Retry(_ context.Context, id string) error { return f.note("retry %s", id) }
func (f *fakePushes) Drop(_ context.Context, id string) error  { return f.note("drop %s", id) }

func (f *fakePushes) RetryAll(_ context.Context, filter store.Filter, after uint64) (int, uint64, error) {
	return 7, f.next, f.note("retry all %s after=%d", filterWords(filter), after)
}

func (f *fakePushes) DropAll(_ context.Context, filter store.Filter, after uint64) (int, uint64, error) {
	return 7, f.next, f.note("drop all %s after=%d", filterWords(filter), after)
}

// desk is an office whose endpoints are /reply and /queue.
type desk struct {
	*office
	pushes *fakePushes
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{office: &office{wx: &fakeWeChat{}}, pushes: &fakePushes{}}
	log := slog.New(slog.NewTextHandler(d.office, nil))
	set := New(Config{
		Accounts: func(name string) (*Account, bool) { return &Account{Name: name}, name == "demo" },
		Pushes:   d.pushes, Log: log,
	})
	routes := map[string]web.Handler{"/reply": set.Reply, "/queue": set.Queue}
	ln := fasthttputil.NewInmemoryListener()
	srv := web.NewServer(func(ctx *fasthttp.RequestCtx) error { return routes[string(ctx.Path())](ctx) },
		web.Config{Name: "internal", MaxBody: 4 << 20, Log: log})
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }()
	d.web = &http.Client{Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return ln.Dial() },
		DisableKeepAlives: true,
	}}
	t.Cleanup(func() {
		ln.Close()
		srv.Shutdown(context.Background())
		<-done
	})
	return d
}

// did fails unless the engine was called so, and only so, since the last time.
func (d *desk) did(t *testing.T, calls ...string) {
	t.Helper()
	if got, want := strings.Join(d.pushes.calls, "\n"), strings.Join(calls, "\n"); got != want {
		t.Errorf("the engine was asked\n%s\nwant\n%s", got, want)
	}
	d.pushes.calls = nil
}

func TestQueueList(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const counts = `"counts":{"demo":{"waiting":2,"running":0,"async":1,"dead":4,"bytes":4096,"oldest":"2025-12-29T09:20:00.123Z"},` +
		`"idle":{"waiting":0,"running":0,"async":0,"dead":1,"bytes":0,"oldest":null}}`
	d.want(t, "GET /queue", 200, `{"code":200,"msg":"OK",`+counts+`,"items":[],"next":0}`)
	d.did(t, "list s= o= kind= states=[] older=0s after=0 limit=100")

	created := time.Now().Add(-90 * time.Second)
	d.pushes.list = []delivery.Stored{{
		ID: testPush, Service: "demo", OpenID: "oUser1", Kind: "msg/text", State: store.Dead, Due: time.Unix(1_767_600_000, 0),
		Created: created, Attempts: 5, Error: "backend answered 500", Seq: 42,
	}}
	d.pushes.next = 42
	item := `{"push":"` + testPush + `","service":"demo","openid":"oUser1","kind":"msg/text","state":"dead","due":"2026-01-05T08:00:00Z",` +
		`"created":"` + created.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano) + `","age":90,"attempts":5,"error":"backend answered 500","seq":42`
	shows := func(line, body string) {
		t.Helper()
		got := d.call(t, line)
		got.body = regexp.MustCompile(`"age":9\d`).ReplaceAllString(got.body, `"age":90`) // some seconds may have passed
		if got.status != 200 || got.body != body {
			t.Errorf("%s\n got %d %s\nwant 200 %s", line, got.status, got.body, body)
		}
	}
	shows("GET /queue?s=demo&kind=msg/text&o=oUser1&state=dead,async&older=10m&after=7&limit=1",
		`{"code":200,"msg":"OK",`+counts+`,"items":[`+item+`}],"next":42}`)
	d.did(t, "list s=demo o=oUser1 kind=msg/text states=[dead async] older=10m0s after=7 limit=1")
	shows("GET /queue?push="+testPush,
		`{"code":200,"msg":"OK","item":`+item+`,"body":{"MsgId":"23523453534","n":9007199254740993},"answer":[{"msgtype":"text"}]}}`)
	d.did(t, "show "+testPush)

	for query, msg := range map[string]string{
		"state=gone":  "state parameter must be waiting, running, async or dead",
		"older=soon":  `older parameter must be a time span like \"90s\", \"10m\" or \"24h\"`,
		"older=-1s":   `older parameter must be a time span like \"90s\", \"10m\" or \"24h\"`,
		"limit=0":     "limit parameter must be a number from 1 to 1000",
		"limit=1001":  "limit parameter must be a number from 1 to 1000",
		"limit=many":  "limit parameter must be a number from 1 to 1000",
		"after=-1":    "after parameter must be a number: the next of the page before",
		"all=perhaps": "all parameter must be true or false",
	} {
		d.want(t, "GET /queue?"+query, 400, `{"code":400,"msg":"`+msg+`"}`)
	}
	d.did(t)
	d.want(t, "DELETE /queue", 405, `{"code":405,"msg":"method must be GET, POST"}`)
}

func TestQueueChange(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	f := func(body, answer, call string) {
		t.Helper()
		d.want(t, "POST /queue "+body, 200, `{"code":200,"msg":"OK",`+answer+`}`)
		d.did(t, call)
	}
	f("action=retry&push="+testPush, `"count":1`, "retry "+testPush)
	f(`{"action":"drop","push":"`+testPush+`"}`, `"count":1`, "drop "+testPush)
	f("action=retry&s=demo&state=dead", `"count":7,"next":0`, "retry all s=demo o= kind= states=[dead] older=0s after=0")
	d.pushes.next = 99
	f(`{"action":"drop","kind":"event/VIEW","o":"u","older":"24h","after":12}`, `"count":7,"next":99`,
		"drop all s= o=u kind=event/VIEW states=[] older=24h0m0s after=12")
	f("action=drop&all=true", `"count":7,"next":99`, "drop all s= o= kind= states=[] older=0s after=0")
	f(`{"action":"retry","all":true}`, `"count":7,"next":99`, "retry all s= o= kind= states=[] older=0s after=0")

	for body, msg := range map[string]string{
		"action=drop":                      "push parameter expected, or one of s, kind, o, state, older; for the whole queue all=true",
		"action=retry&all=false":           "push parameter expected, or one of s, kind, o, state, older; for the whole queue all=true",
		"push=" + testPush:                 `action parameter must be \"retry\" or \"drop\"`,
		"action=burn&all=true":             `action parameter must be \"retry\" or \"drop\"`,
		`{"action":"drop","state":"gone"}`: "state parameter must be waiting, running, async or dead",
	} {
		d.want(t, "POST /queue "+body, 400, `{"code":400,"msg":"`+msg+`"}`)
	}
	if got := d.call(t, `POST /queue {"action":`); got.status != 400 {
		t.Errorf("broken JSON: %d %s", got.status, got.body)
	}
	if got := d.send(t, "POST", "/queue", form, "action=drop&o="+strings.Repeat("x", maxJSON)); got.status != 413 {
		t.Errorf("a huge form: %d %s", got.status, got.body)
	}
	d.did(t)

	d.pushes.err = delivery.ErrNotStored
	d.want(t, "POST /queue action=drop&push="+testPush, 404, `{"code":404,"msg":"no push `+testPush+` in the queue"}`)
	d.want(t, "GET /queue?push=x", 404, `{"code":404,"msg":"no push x in the queue"}`)
	d.pushes.err = fmt.Errorf("%w: it is running", delivery.ErrNotNow)
	d.want(t, "POST /queue action=retry&push="+testPush, 409, `{"code":409,"msg":"the push cannot be changed: it is running"}`)
	d.pushes.err = errors.New("disk failure of the inside")
	for _, line := range []string{"GET /queue", "GET /queue?push=x", "POST /queue action=drop&all=true", "POST /queue action=drop&push=x"} {
		d.want(t, line, 503, `{"code":503,"msg":"the queue cannot be used just now"}`)
	}
}
