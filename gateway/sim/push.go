package sim

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"wx-gateway/gateway/crypt"
)

// Mode is how an account's pushes are protected (消息加解密方式).
type Mode string

// The modes of 服务器配置.
const (
	Plain      Mode = "plain"      // signature only
	Compatible Mode = "compatible" // plain fields and the sealed copy
	Safe       Mode = "safe"       // sealed only
)

const (
	maxReply  = 1 << 20 // of an answer WeChat reads
	verifyCut = 5 * time.Second
)

// Push is one message or event on its way to a server.
type Push struct {
	URL    string // the server's address as 服务器配置 names it
	Token  string
	AppID  string // of the account; sealed pushes need it
	AESKey string // EncodingAESKey, 43 characters; sealed pushes need it
	Mode   Mode   // default: Safe with an AESKey, else Plain

	Body   []byte    // XML or JSON of the opened push, sent as it is
	OpenID string    // openid of the query; default: the body's FromUserName
	At     time.Time // timestamp of the query; default: now
	Nonce  string    // default: some digits

	// Dial opens the connections, for servers in memory. Default: TCP from the
	// schedule's source address.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// wire is a push ready to be sent.
type wire struct {
	url   string
	body  []byte
	facts facts
	mode  Mode
	box   *crypt.Box // nil when plain
}

// Build returns the address with its signed query and the request body of p,
// for tests that tamper with either.
func (p Push) Build() (url string, body []byte, err error) {
	w, err := p.seal()
	return w.url, w.body, err
}

// seal signs p and, as its mode asks, seals it.
func (p Push) seal() (wire, error) {
	w := wire{body: p.Body, facts: look(p.Body), mode: p.Mode}
	if w.mode == "" {
		w.mode = Plain
		if p.AESKey != "" {
			w.mode = Safe
		}
	}
	if p.At.IsZero() {
		p.At = time.Now()
	}
	if p.Nonce == "" {
		p.Nonce = newNonce()
	}
	if p.OpenID == "" {
		p.OpenID = w.facts.from
	}
	stamp := strconv.FormatInt(p.At.Unix(), 10)
	query := "signature=" + crypt.Sign(p.Token, stamp, p.Nonce) +
		"&timestamp=" + stamp + "&nonce=" + url.QueryEscape(p.Nonce)
	if p.OpenID != "" {
		query += "&openid=" + url.QueryEscape(p.OpenID)
	}
	switch w.mode {
	case Plain:
	case Compatible, Safe:
		box, err := crypt.New(crypt.Config{AppID: p.AppID, Tokens: []string{p.Token}, Keys: []string{p.AESKey}})
		if err != nil {
			return wire{}, fmt.Errorf("cannot seal the push: %w", err)
		}
		e, err := box.Seal(0, 0, p.Body, p.At.Unix(), p.Nonce)
		if err != nil {
			return wire{}, fmt.Errorf("cannot seal the push: %w", err)
		}
		query += "&encrypt_type=aes&msg_signature=" + e.MsgSignature
		w.box = box
		if w.mode == Safe {
			w.body = safeBody(w.facts, e.Encrypt)
		} else if w.body, err = compatibleBody(w.facts, p.Body, e.Encrypt); err != nil {
			return wire{}, err
		}
	default:
		return wire{}, fmt.Errorf("cannot build the push: mode %q is none of plain, compatible, safe", w.mode)
	}
	var err error
	w.url, err = withQuery(p.URL, query)
	return w, err
}

// withQuery appends query to an address that may have one already.
func withQuery(address, query string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("cannot read the server's address %q: not a URL", address)
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("cannot read the server's address %q: it must start with http:// or https://", address)
	}
	address, _, _ = strings.Cut(address, "#")
	if strings.Contains(address, "?") {
		return address + "&" + query, nil
	}
	return address + "?" + query, nil
}

// safeBody is the envelope of the safe mode: who it is for, and the sealed push.
func safeBody(f facts, encrypt string) []byte {
	if f.json {
		return []byte(`{"ToUserName":` + string(quote(f.to)) + `,"Encrypt":` + string(quote(encrypt)) + `}`)
	}
	return []byte("<xml>\n    <ToUserName>" + cdata(f.to) + "</ToUserName>\n    <Encrypt>" + cdata(encrypt) + "</Encrypt>\n</xml>\n")
}

// compatibleBody puts the sealed copy behind the plain fields.
func compatibleBody(f facts, body []byte, encrypt string) ([]byte, error) {
	end, add := "</xml>", "<Encrypt>"+cdata(encrypt)+"</Encrypt>\n"
	if f.json {
		end, add = "}", `,"Encrypt":`+string(quote(encrypt))
		if inner := bytes.Trim(body, " \t\r\n{}"); len(inner) == 0 {
			add = add[1:]
		}
	}
	at := bytes.LastIndex(body, []byte(end))
	if at < 0 {
		return nil, fmt.Errorf("cannot build the push: no %s to put the sealed copy before", end)
	}
	out := append([]byte(nil), body[:at]...)
	out = append(out, add...)
	return append(out, body[at:]...), nil
}

func newNonce() string {
	var b [4]byte
	rand.Read(b[:])
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[:]))|1<<30, 10)
}

// BuildVerify returns the address of the signed GET that the console sends when
// 服务器配置 is saved, and the echostr that must come back as it is.
func (p Push) BuildVerify() (address, echostr string, err error) {
	if p.At.IsZero() {
		p.At = time.Now()
	}
	if p.Nonce == "" {
		p.Nonce = newNonce()
	}
	stamp := strconv.FormatInt(p.At.Unix(), 10)
	echostr = newMsgID()
	address, err = withQuery(p.URL, "signature="+crypt.Sign(p.Token, stamp, p.Nonce)+
		"&echostr="+echostr+"&timestamp="+stamp+"&nonce="+url.QueryEscape(p.Nonce))
	return address, echostr, err
}

// Verify does what the console does when 服务器配置 is saved: a signed GET whose
// echostr must come back as it is.
func (p Push) Verify(ctx context.Context) error {
	address, echo, err := p.BuildVerify()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, verifyCut)
	defer cancel()
	status, body, err := p.roundTrip(ctx, http.MethodGet, wire{url: address}, nil)
	switch {
	case err != nil:
		return fmt.Errorf("cannot verify the server: %w", err)
	case status != http.StatusOK:
		return fmt.Errorf("cannot verify the server: it answered status %d", status)
	case string(body) != echo:
		return fmt.Errorf("cannot verify the server: it answered %q instead of the echostr %s", clipText(body), echo)
	}
	return nil
}

// roundTrip sends one request on a connection of its own and reads the whole
// answer. Redirects are an answer like any other.
func (p Push) roundTrip(ctx context.Context, method string, w wire, local net.IP) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.url, bytes.NewReader(w.body))
	if err != nil {
		return 0, nil, fmt.Errorf("cannot build the request: %w", err)
	}
	// As seen in servers' logs; the Content-Type of pushes is documented nowhere.
	req.Header.Set("User-Agent", "Mozilla/4.0")
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Pragma", "no-cache")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/xml")
		if w.facts.json {
			req.Header.Set("Content-Type", "application/json")
		}
	}
	dial := p.Dial
	if dial == nil {
		dialer := &net.Dialer{}
		if local != nil {
			dialer.LocalAddr = &net.TCPAddr{IP: local}
		}
		dial = dialer.DialContext
	}
	// A transport of its own per attempt: every attempt is a new connection, and
	// net/http never repeats a request on one that was not reused.
	transport := &http.Transport{DialContext: dial, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	return resp.StatusCode, body, err
}

// clipText is the beginning of an answer, for messages.
func clipText(b []byte) string {
	const limit = 80
	if len(b) > limit {
		return strings.ToValidUTF8(string(b[:limit]), "") + "…"
	}
	return string(b)
}
