package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// faultWorld is the running program between a simulated WeChat and a backend,
// each behind a proxy that can break.
type faultWorld struct {
	t       *testing.T
	wechat  *sim.Platform
	api     *faultProxy // before WeChat's API
	net     *faultProxy // before the backend
	backend *tally
	conf    object
	service object
	file    string

	p        *process
	url      string
	internal string
}

// tally is a backend that answers each text with "re " and the text, and knows
// what reached it.
type tally struct {
	*httptest.Server

	mu     sync.Mutex
	answer http.HandlerFunc // instead, once the call is counted
	took   map[string]int   // calls by text
	infos  map[string]bool  // texts that came with user info
}

func newTally(t *testing.T) *tally {
	b := &tally{took: map[string]int{}, infos: map[string]bool{}}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(func() {
		b.CloseClientConnections()
		b.Close()
	})
	return b
}

func (b *tally) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	text := textOf(string(body))
	if err != nil || text == "" {
		http.Error(w, "no push", http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	b.took[text]++
	b.infos[text] = strings.Contains(string(body), `"userInfoError":""`)
	answer := b.answer
	b.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	fmt.Fprintf(w, `{"type":"text","msg":"re %s"}`, text)
}

// textOf finds the text, or the event key, in a push's JSON: both are plain
// words in these tests.
func textOf(body string) string {
	for _, name := range []string{`"Content":"`, `"EventKey":"`} {
		if _, rest, ok := strings.Cut(body, name); ok {
			text, _, _ := strings.Cut(rest, `"`)
			return text
		}
	}
	return ""
}

// as makes the backend answer with h from now on; nil: as it should.
func (b *tally) as(h http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = h
}

// calls is how often text reached the backend.
func (b *tally) calls(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.took[text]
}

func (b *tally) informed(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.infos[text]
}

// newFaultWorld prepares the world; change may edit the configuration, in which
// the account has a data-dir and calls end after 5 s.
func newFaultWorld(t *testing.T, change func(w *faultWorld)) *faultWorld {
	t.Helper()
	wechat, base := platform(t)
	b := newTally(t)
	w := &faultWorld{
		t: t, wechat: wechat, backend: b,
		api: newFaultProxy(t, strings.TrimPrefix(base, "http://")),
		net: newFaultProxy(t, strings.TrimPrefix(b.URL, "http://")),
	}
	w.conf, w.service = configuration("http://"+w.api.address, "http://"+w.net.address)
	w.conf["data-dir"] = filepath.Join(t.TempDir(), "data")
	w.conf["common-endpoints"].(object)["metrics"] = "/metrics"
	w.service["late-reply"] = object{"max-wait": "5s", "hold": false}
	w.service["redeliver"] = object{"timeouts": 100}
	if change != nil {
		change(w)
	}
	w.conf["log"] = object{"level": "info"}
	w.file = confFile(t, "")
	writeConf(t, w.file, w.conf)
	return w
}

// start runs the program.
func (w *faultWorld) start() {
	w.t.Helper()
	w.p = start(w.t, []string{"CONF_FILE=" + w.file})
	w.url = w.p.url()
	w.internal = "http://" + w.p.find(`internal=(\S+)`)
}

// metric is the sum of all series of name that hold each of labels.
func (w *faultWorld) metric(name string, labels ...string) float64 {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.internal+"/metrics", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+internalToken)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatalf("the metrics are gone: %v\n%s", err, w.p.out)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("the metrics answered %d, %v", resp.StatusCode, err)
	}
	sum := 0.0
lines:
	for line := range strings.Lines(string(body)) {
		if !strings.HasPrefix(line, name+" ") && !strings.HasPrefix(line, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
		if err != nil {
			w.t.Fatalf("metric %q: %v", line, err)
		}
		sum += v
	}
	return sum
}

// eventually waits for something that has no other sign.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// heard is what WeChat took as the answer to one attempt, "503" and the like
// for one it did not.
func (w *faultWorld) heard(f sim.Fields) string {
	return w.heardAt("/wx", f)
}

// repeated is what WeChat took in the end: like WeChat it sends f again, some
// times, while it hears what is named. Where very many pushes come at once, a
// slow machine makes that necessary: nothing is promised for a push that could not
// be stored in time, or was not sent within the 10 s after its connection.
func (w *faultWorld) repeated(f sim.Fields, while ...string) (got string) {
	f.CreateTime = time.Now().Unix() // the same push
	for range 10 {
		if got = w.heard(f); !slices.Contains(while, got) {
			break
		}
	}
	return got
}

func (w *faultWorld) heardAt(path string, f sim.Fields) string {
	return w.heardBy(sealed(w.url+path, f.XML()))
}

func (w *faultWorld) heardBy(p sim.Push) string {
	// A machine that runs the whole suite may be late: WeChat's 5 s are the
	// clock's own tests.
	r, err := p.Send(w.t.Context(), sim.Schedule{Attempts: 1, Cut: 20 * time.Second})
	switch {
	case err != nil:
		return err.Error()
	case r.Answer == nil && r.Attempts[0].Status != 0:
		return strconv.Itoa(r.Attempts[0].Status)
	case r.Answer == nil:
		return r.Attempts[0].Outcome
	case r.Answer.Outcome == sim.OutcomeSuccess:
		return "success"
	}
	_, rest, _ := strings.Cut(string(r.Answer.Opened), "<Content><![CDATA[")
	text, _, _ := strings.Cut(rest, "]]>")
	return text
}

// view is an event that nobody waits for.
func view(from, key string) sim.Fields {
	return sim.Fields{From: from, Event: "VIEW", EventKey: key}
}
