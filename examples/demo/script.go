package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wx-gateway/conf"
	"wx-gateway/gateway/sim"
)

// The user and the account of the pushes.
const (
	openID = "oDemoUser00000000000000000_1"
	ghID   = "gh_0123456789ab"
)

// act is one thing that a user does, and what must come of it.
type act struct {
	what  string
	push  sim.Fields
	path  string // where the backend sees it
	reply string // what the reply holds
}

func acts() []act {
	return []act{
		{"a user writes", sim.Fields{Content: "你好"}, "/msg/text", "You said: 你好"},
		{"a user sends a picture", sim.Fields{Type: "image"}, "/msg/image", "<MediaId><![CDATA[sim-image]]></MediaId>"},
		{"a user follows the account", sim.Fields{Event: "subscribe", EventKey: "qrscene_shop-7", Extra: map[string]string{"Ticket": "gQsim"}}, "/event/subscribe", "<Title><![CDATA[Welcome]]></Title>"},
		{"a user taps a menu button", sim.Fields{Event: "CLICK", EventKey: "MENU_1"}, "/event/CLICK", "You clicked MENU_1"},
	}
}

// play sends the pushes and makes the calls, and prints each hop. It fails at
// the first that does not come out as it must.
func (s *stage) play(ctx context.Context) error {
	n := 0
	for _, a := range acts() {
		for _, account := range []string{"plain", "demo"} {
			n++
			svc, how := s.service(account), "plain (明文模式)"
			if account == "demo" {
				how = "sealed (安全模式)"
			}
			fmt.Fprintf(s.out, "\n%s\n", rule(fmt.Sprintf("%d. %s, %s", n, a.what, how)))
			if err := s.push(ctx, svc, a); err != nil {
				return fmt.Errorf("push %d, %s, %s: %w", n, a.what, how, err)
			}
		}
	}
	return s.calls(ctx)
}

// push sends one push and prints its four hops.
func (s *stage) push(ctx context.Context, svc *conf.Service, a act) error {
	f := a.push
	f.To, f.From = ghID, openID
	var sent wiretap
	p := sim.Push{
		URL: s.public + svc.ServicePath, Token: svc.Token.Reveal(), AppID: svc.AppID, AESKey: svc.AESKey.Reveal(),
		Body: f.XML(), Dial: sent.dial,
	}
	s.recorder.take()
	result, err := p.Send(ctx, sim.WeChat())
	if err != nil {
		return err
	}
	uri, body := sent.request()
	sealed := p.AESKey != ""
	s.arrow("WeChat → gateway", "POST "+shortURI(uri))
	s.xml(body)
	if sealed {
		s.note("opened by the gateway:")
		s.xml(p.Body)
	}
	calls := s.recorder.take()
	for _, h := range calls {
		s.printCall(h)
	}
	last := result.Attempts[len(result.Attempts)-1]
	s.arrow("gateway → WeChat", fmt.Sprintf("%d after %s", last.Status, last.Took.Round(time.Millisecond/10)))
	s.xml(last.Body)
	if last.Sealed {
		s.note("opened by WeChat:")
		s.xml(last.Opened)
	}
	switch {
	case result.Answer == nil:
		return errors.New("WeChat took no answer: " + last.Err)
	case len(calls) != 1 || calls[0].path != a.path:
		return fmt.Errorf("the backend saw %d calls, want one at %s", len(calls), a.path)
	case last.Sealed != sealed:
		return fmt.Errorf("the reply is sealed: %t, the push: %t", last.Sealed, sealed)
	case !strings.Contains(string(last.Opened), a.reply):
		return fmt.Errorf("the reply does not hold %q", a.reply)
	}
	return nil
}

// calls shows two of the internal endpoints, which other systems of a company use.
func (s *stage) calls(ctx context.Context) error {
	e := s.cfg.Endpoints
	for _, c := range []struct {
		what, method, path string
		form               url.Values
		want               string
	}{
		{"another system asks who a user is", "GET", e.WxUser + "?s=demo&o=" + openID, nil, "userInfo"},
		{"a web page asks for a JS-SDK signature", "POST", e.SignJSAPI, url.Values{"s": {"demo"}, "u": {"https://www.example.com/page?x=1"}}, "params"},
	} {
		fmt.Fprintf(s.out, "\n%s\n", rule(c.what))
		s.arrow("your system → gateway", c.method+" "+s.internal+c.path)
		if c.form != nil {
			s.note(c.form.Encode())
		}
		status, body, err := call(ctx, c.method, s.internal+c.path, s.cfg.Internal.Token.Reveal(), c.form)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		s.arrow("gateway → your system", fmt.Sprint(status))
		s.json(body)
		var members map[string]json.RawMessage
		if err := json.Unmarshal(body, &members); err != nil {
			return fmt.Errorf("%s: the answer is no JSON: %w", c.what, err)
		}
		if status != http.StatusOK || members[c.want] == nil {
			return fmt.Errorf("%s: status %d, want 200 with %q", c.what, status, c.want)
		}
	}
	return nil
}

var client = &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}

// call makes one HTTP request, with a bearer token where there is one.
func call(ctx context.Context, method, address, token string, form url.Values) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRecorded))
	return resp.StatusCode, body, err
}

// wiretap keeps what is written to the connections it dials: the very bytes
// WeChat sends.
type wiretap struct{ written bytes.Buffer }

func (w *wiretap) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w.written.Reset() // a repeat is identical to the letter
	return &tapped{Conn: c, to: &w.written}, nil
}

// request reads the request back.
func (w *wiretap) request() (uri string, body []byte) {
	req, err := http.ReadRequest(bufio.NewReader(&w.written))
	if err != nil {
		return "", nil
	}
	body, _ = io.ReadAll(req.Body)
	return req.RequestURI, body
}

type tapped struct {
	net.Conn
	to *bytes.Buffer
}

func (t *tapped) Write(p []byte) (int, error) {
	t.to.Write(p)
	return t.Conn.Write(p)
}
