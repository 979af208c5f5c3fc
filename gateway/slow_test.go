package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// TestSlowBackends proves the clock in real time over real sockets, through
// the simulator's retrying push client. Its parts only wait, so all of them
// run at once; -parallel would let two cores wait for two of them at a time.
func TestSlowBackends(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	f := func(name string, part func(t *testing.T)) {
		all.Go(func() { t.Run(name, part) })
	}
	f("seconds plain", func(t *testing.T) { testSeconds(t, sim.Plain) })
	f("seconds sealed", func(t *testing.T) { testSeconds(t, sim.Safe) })
	f("schedules", testSchedules)
	f("duplicates", testDuplicates)
	f("one MsgId of two users", testOneIDOfTwoUsers)
	f("two orders in one second", testTwoOrders)
	f("clocks apart", testClocksApart)
	f("pick-up", testPickUp)
	f("pick-up after holding", testPickUpHeld)
	f("pick-up cut", testPickUpCut)
	f("no right to send", testNoRightToSend)
	all.Wait()
}

// patient is WeChat with more patience than it has: where the ack at 4.5 s is
// what counts, a busy machine may bring it after 5 s.
func patient() sim.Schedule { return sim.Schedule{Attempts: 3, Cut: 20 * time.Second} }

// slowWorld is a world whose backend takes as long as a text asks for and
// answers with it. A text that ends with "on demand" is answered once release
// is called with it.
func slowWorld(t *testing.T, edits ...edit) (w *world, release func(text string)) {
	gates := map[string]chan struct{}{}
	var mu sync.Mutex
	gate := func(text string) chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		if gates[text] == nil {
			gates[text] = make(chan struct{})
		}
		return gates[text]
	}
	w = newWorld(t, append([]edit{set("late-reply", map[string]any{"hold-limit": 1000})}, edits...)...)
	w.backend.on("/msg/text", func(rw http.ResponseWriter, r *http.Request) {
		delay := 100 * time.Millisecond
		var p struct{ Content string }
		json.NewDecoder(r.Body).Decode(&p)
		if _, text, ok := strings.Cut(p.Content, "takes "); ok {
			delay, _ = time.ParseDuration(text)
		}
		answer := time.After(delay)
		var released chan struct{}
		if strings.HasSuffix(p.Content, "on demand") {
			answer, released = nil, gate(p.Content)
		}
		select {
		case <-answer:
		case <-released:
		case <-r.Context().Done():
		}
		json.NewEncoder(rw).Encode(map[string]string{"type": "text", "msg": "answer to " + p.Content})
	})
	return w, func(text string) { close(gate(text)) }
}

// callsFrom counts the backend calls for a user's pushes.
func (b *testBackend) callsFrom(user string) int {
	n := 0
	for _, c := range b.calls("") {
		if c.header.Get("X-Wx-Openid") == user {
			n++
		}
	}
	return n
}

// openID makes a name one that WeChat would take.
func openID(name string) string { return strings.ReplaceAll(name, ".", "_") }

// sentTo counts the customer-service messages to a user that hold text.
func (w *world) sentTo(user, text string) int {
	n := 0
	for _, s := range w.platform.Sent(testAppID, user) {
		if strings.Contains(string(s.JSON), text) {
			n++
		}
	}
	return n
}

// way sends one slow text and waits for its answer: inline (the attempt that
// carried it) or late (0). It fails the test unless there was exactly one
// backend call and exactly one way.
func (w *world) way(t *testing.T, p sim.Push, s sim.Schedule, user, content string) (attempt int) {
	t.Helper()
	r, err := p.Send(context.Background(), s)
	if err != nil {
		t.Errorf("%s: %v", user, err)
		return -1
	}
	want := "answer to " + content
	if r.Answer != nil && strings.Contains(string(r.Answer.Opened), want) {
		attempt = r.Answer.N
	}
	for wait := 0; attempt == 0 && w.sentTo(user, want) == 0; wait++ {
		if wait == 3000 {
			t.Errorf("%s: no answer within a minute of the last attempt: %+v", user, r.Attempts)
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n := w.backend.callsFrom(user); n != 1 {
		t.Errorf("%s: %d backend calls, want one: %+v", user, n, r.Attempts)
	}
	if late := w.sentTo(user, want); attempt > 0 && late > 0 || late > 1 {
		t.Errorf("%s: answered on attempt %d and sent %d times", user, attempt, late)
	}
	return attempt
}

// onAttempt wants the answer on that attempt. A machine that stood still for two
// seconds may bring it on another, so there are three tries, by a user each.
func (w *world) onAttempt(t *testing.T, user string, want int, try func(user string) int) {
	t.Helper()
	var got []int
	for n := range 3 {
		got = append(got, try(openID(fmt.Sprintf("%s-try%d", user, n))))
		if got[n] == want {
			return
		}
	}
	t.Errorf("%s was answered on attempts %d, want %d (0 is late)", user, got, want)
}

// testSeconds: backends of 0.1 to 12 s are answered inline, on the attempt
// that is open then; one of 17 s by customer-service message.
func testSeconds(t *testing.T, mode sim.Mode) {
	w, _ := slowWorld(t)
	var all sync.WaitGroup
	f := func(takes string, attempt int) {
		all.Go(func() {
			w.onAttempt(t, "oSeconds-"+takes, attempt, func(user string) int {
				content := "takes " + takes
				p := w.push(mode, sim.Fields{From: user, Content: content}.XML())
				return w.way(t, p, sim.WeChat(), user, content)
			})
		})
	}
	f("100ms", 1)
	f("3s", 1)
	f("6.5s", 2)
	f("12s", 3)
	f("17s", 0)
	all.Wait()
}

// testSchedules: however WeChat repeats, a push is one call, and its answer
// arrives once.
func testSchedules(t *testing.T) {
	w, _ := slowWorld(t)
	var all sync.WaitGroup
	for name, s := range sim.Schedules() {
		for _, takes := range []string{"100ms", "3s", "6.5s", "12s", "17s"} {
			all.Go(func() {
				user, content := openID("oSchedule-"+name+"-"+takes), name+" takes "+takes
				p := w.push(sim.Safe, sim.Fields{From: user, Content: content}.XML())
				w.way(t, p, s, user, content)
			})
		}
	}
	all.Wait()
}

// testDuplicates: 50 deliveries of one push at once are one call and 50 equal
// answers.
func testDuplicates(t *testing.T) {
	w, _ := slowWorld(t)
	p := w.push(sim.Safe, sim.Fields{From: "oMany", Content: "takes 1s"}.XML())
	p.At, p.Nonce = time.Now(), "1234567890"
	created := regexp.MustCompile(`<CreateTime>\d+</CreateTime>`) // of the reply: when it was written
	var mu sync.Mutex
	answers := map[string]int{}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			r, err := p.Send(context.Background(), sim.Schedule{Attempts: 1, Cut: 20 * time.Second})
			if err != nil || r.Answer == nil {
				t.Errorf("no answer: %v %+v", err, r)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers[created.ReplaceAllString(string(r.Answer.Opened), "")]++
		})
	}
	all.Wait()
	if n := w.backend.callsFrom("oMany"); n != 1 {
		t.Errorf("%d backend calls, want one", n)
	}
	if len(answers) != 1 {
		t.Errorf("different answers: %v", answers)
	}
	for text, n := range answers {
		if n != 50 {
			t.Errorf("%d equal answers, want 50", n)
		}
		wantContains(t, "answer", text, "answer to takes 1s")
	}
}

// testOneIDOfTwoUsers: a MsgId is one push per user, not per account.
func testOneIDOfTwoUsers(t *testing.T) {
	w, _ := slowWorld(t)
	var all sync.WaitGroup
	for _, user := range []string{"oFirst", "oSecond"} {
		all.Go(func() {
			content := "from " + user
			p := w.push(sim.Safe, sim.Fields{From: user, Content: content, MsgID: "23456789012345678", CreateTime: 1767000000}.XML())
			if got := w.way(t, p, patient(), user, content); got != 1 {
				t.Errorf("%s was answered on attempt %d, want 1", user, got)
			}
		})
	}
	all.Wait()
}

// testTwoOrders: two orders that a buyer pays in one second carry no MsgId and
// differ in the body alone; each is a push of its own, and its repeat is none.
func testTwoOrders(t *testing.T) {
	w := newWorld(t, set("kind", "shop"))
	for range 2 {
		var all sync.WaitGroup
		for _, order := range []string{"3705115058471208928", "3705115058471208929"} {
			all.Go(func() {
				body := `{"ToUserName":"gh_shop","FromUserName":"oBuyer","CreateTime":1767000000,"MsgType":"event","Event":"channels_ec_order_pay","order_info":{"order_id":` + order + `,"pay_time":1767000000}}`
				r, err := w.push(sim.Safe, []byte(body)).Send(context.Background(), sim.WeChat())
				if err != nil || r.Answer == nil || string(r.Answer.Opened) != "success" {
					t.Errorf("order %s: %v %+v", order, err, r)
				}
			})
		}
		all.Wait()
	}
	calls := w.backend.calls("/event/channels_ec_order_pay")
	if len(calls) != 2 {
		t.Fatalf("%d backend calls for two orders told twice, want 2", len(calls))
	}
	both := string(calls[0].body) + string(calls[1].body)
	wantContains(t, "bodies", both, `"order_id":3705115058471208928`, `"order_id":3705115058471208929`)
}

// testClocksApart: a clock of this machine that is minutes off WeChat's, or
// was set a moment ago, neither doubles a call nor loses an answer.
func testClocksApart(t *testing.T) {
	w, _ := slowWorld(t)
	var all sync.WaitGroup
	for _, ahead := range []time.Duration{-200 * time.Second, -10 * time.Second, -5 * time.Second, 5 * time.Second, 200 * time.Second} {
		for _, takes := range []string{"100ms", "6.5s", "12s"} {
			all.Go(func() {
				name, content := fmt.Sprintf("oClock%s-%s", ahead, takes), "takes "+takes
				try := func(user string) int {
					p := w.push(sim.Safe, sim.Fields{From: user, Content: content}.XML())
					p.At = time.Now().Add(ahead)
					return w.way(t, p, sim.WeChat(), user, content)
				}
				// Only a push that looks 4 to 60 s old is taken for a repeat.
				if ahead < 0 && ahead > -time.Minute {
					try(openID(name))
					return
				}
				w.onAttempt(t, name, map[string]int{"100ms": 1, "6.5s": 2, "12s": 3}[takes], try)
			})
		}
	}
	all.Wait()
}

const testWord = "继续"

// picksUp sends the word and wants the answer to question, begun with it; a
// repeat of the same push gets the same. begun is called when the word is on
// its way.
func (w *world) picksUp(t *testing.T, user, question string, begun func()) {
	t.Helper()
	p := w.push(sim.Safe, sim.Fields{From: user, Content: testWord}.XML())
	p.At, p.Nonce = time.Now(), "1234567890"
	var once sync.Once
	p.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		once.Do(func() { time.AfterFunc(300*time.Millisecond, begun) })
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	for range 2 {
		r, err := p.Send(context.Background(), patient())
		if err != nil || r.Answer == nil {
			t.Fatalf("the word was not answered: %v %+v\n%s", err, r, w.logs)
		}
		wantContains(t, "what the word brings", string(r.Answer.Opened), "「"+question+"」\nanswer to "+question)
	}
}

// testPickUp: where nothing can be sent later, the ack names a word, and the
// word brings the answer.
func testPickUp(t *testing.T) {
	w, release := slowWorld(t, set("late-reply", map[string]any{"via": "pickup", "hold": false}))
	ask := func(user, question string) {
		t.Helper()
		p := w.push(sim.Safe, sim.Fields{From: user, Content: question}.XML())
		r, err := p.Send(context.Background(), patient())
		if err != nil || r.Answer == nil {
			t.Fatalf("the question was not acked: %v %+v\n%s", err, r, w.logs)
		}
		wantContains(t, "ack", string(r.Answer.Opened), "「"+testWord+"」")
		if r.Answer.N != 1 || r.Answer.Took < 4*time.Second {
			t.Errorf("acked on attempt %d after %s, want 1 after 4.5 s", r.Answer.N, r.Answer.Took)
		}
	}
	pick := func(user, question string, begun func()) {
		t.Helper()
		w.picksUp(t, user, question, begun)
		if n := w.backend.callsFrom(user); n != 1 {
			t.Errorf("%s: %d backend calls, want one", user, n)
		}
	}
	var all sync.WaitGroup
	all.Go(func() { // asks for it while it is worked on
		const user, question = "oHasty", "hasty on demand"
		ask(user, question)
		pick(user, question, func() { release(question) })
	})
	all.Go(func() { // asks for it when it is there
		const user, question = "oPatient", "patient on demand"
		ask(user, question)
		release(question)
		time.Sleep(time.Second)
		pick(user, question, func() {})
	})
	all.Wait()

	// Without anything to pick up the word is a text like any other.
	p := w.push(sim.Safe, sim.Fields{From: "oNobody", Content: testWord}.XML())
	r, err := p.Send(context.Background(), patient())
	if err != nil || r.Answer == nil {
		t.Fatalf("%v %+v", err, r)
	}
	wantContains(t, "the word as a text", string(r.Answer.Opened), "answer to "+testWord)
	if n := w.sentTo("", ""); n != 0 {
		t.Errorf("%d customer-service messages from an account that picks up", n)
	}
}

// testPickUpHeld: with holding the ack comes on the third attempt.
func testPickUpHeld(t *testing.T) {
	w, release := slowWorld(t, set("late-reply", map[string]any{"via": "pickup"}))
	const user, question = "oHeld", "held on demand"
	s := patient()
	s.Start = []time.Duration{0, 5 * time.Second, 10 * time.Second}
	r, err := w.push(sim.Safe, sim.Fields{From: user, Content: question}.XML()).Send(context.Background(), s)
	if err != nil || r.Answer == nil {
		t.Fatalf("the question was not acked: %v %+v\n%s", err, r, w.logs)
	}
	wantContains(t, "ack", string(r.Answer.Opened), "「"+testWord+"」")
	if r.Answer.N != 3 {
		t.Errorf("acked on attempt %d, want 3", r.Answer.N)
	}
	release(question)
	w.picksUp(t, user, question, func() {})
}

// testPickUpCut: a word whose sender is gone before the answer is there, be it
// after a moment, takes nothing away: the next word gets it.
func testPickUpCut(t *testing.T) {
	w, release := slowWorld(t, set("late-reply", map[string]any{"via": "pickup", "hold": false}))
	const user, question = "oCut", "cut on demand"
	if _, err := w.push(sim.Safe, sim.Fields{From: user, Content: question}.XML()).Send(context.Background(), patient()); err != nil {
		t.Fatal(err)
	}
	r, err := w.push(sim.Safe, sim.Fields{From: user, Content: testWord}.XML()).
		Send(context.Background(), sim.Schedule{Attempts: 1, Cut: 100 * time.Millisecond})
	if err != nil || r.Answer != nil {
		t.Fatalf("the word that was cut: %v %+v", err, r)
	}
	release(question)
	time.Sleep(time.Second) // the answer comes while nobody waits for the word
	w.picksUp(t, user, question, func() {})
}

// testNoRightToSend: an account that counts on customer-service messages and
// may not send any loses no answer silently: a dead letter says what mends it.
func testNoRightToSend(t *testing.T) {
	platform := sim.New(sim.Config{
		Log:      slog.New(slog.DiscardHandler),
		Accounts: []sim.Account{{AppID: testAppID, Secret: testSecret, NoCustomSend: true, NoUserInfo: true}},
	})
	url, err := platform.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(platform.Close)
	w, release := slowWorld(t, set("late-reply", map[string]any{"hold": false}), setTop("wx-api-base", url))
	if got := w.sendBy(patient(), sim.Safe, sim.Fields{Content: "on demand"}.XML()); got != "success" {
		t.Errorf("WeChat heard %q, want success", got)
	}
	release("on demand")
	eventually(t, "a dead letter", func() bool { return strings.Contains(w.logs.String(), "dead letter") })
	wantContains(t, "log", w.logs.String(), "48001", `set late-reply.via to \"pickup\"`)
	// And it has no word that would keep a text from the backend.
	wantContains(t, "the default word", w.send(sim.Safe, text(testWord)), "answer to "+testWord)
}
