package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/httpc"
)

// Mends that several findings share.
const (
	mendElsewhere = "check which host and path the proxy in front passes to the gateway"
	mendQuery     = "let the proxy in front pass the whole query on (nginx: a proxy_pass with $uri in it needs $is_args$args behind that)"
	mendBody      = "let the proxy in front pass bodies through unchanged"
	mendClock     = "let NTP set the clocks of both machines"
)

// pageStart is as much of a page as is looked into, in bytes.
const pageStart = 400

// refusedPlaintext is gateway/push's refusal of a push without encryption.
const refusedPlaintext = "plaintext is not accepted"

// refusals maps what gateway/push, the route table and the server answer to
// what it means for a request that was right when it was sent.
var refusals = map[string]finding{
	"the query lacks signature, timestamp or nonce": {"the query is lost on its way to the gateway", mendQuery},
	"bad signature":     {"the gateway has another token", "compare services[].wx-params.token there with the one here and with the console's Token"},
	"bad msg_signature": {"the body or a part of the query is changed on its way to the gateway", mendQuery + "; " + mendBody},
	"bad timestamp":     {"the timestamp in the query is changed on its way to the gateway", mendQuery},
	"unknown encrypt_type": {
		"encrypt_type in the query is changed on its way to the gateway", mendQuery},
	"the body is encrypted, but the query lacks encrypt_type=aes": {
		"a part of the query is lost on its way to the gateway", mendQuery},
	"the push is encrypted, but the account has no aes-key": {
		"the gateway has no aes-key", "set services[].wx-params.aes-key there to the console's EncodingAESKey, and reload"},
	"cannot find Encrypt in the body": {"the body is changed on its way to the gateway", mendBody},
	"cannot read the message":         {"the body is changed on its way to the gateway", mendBody},
	"sealed for another app-id": {
		"the gateway has another app-id", "compare services[].wx-params.app-id there with the one here and with the console's AppID"},
	"cannot open the envelope": {
		"the gateway has another aes-key", "compare services[].wx-params.aes-key there with the one here and with the console's EncodingAESKey"},
	refusedPlaintext: {
		"the gateway takes no plaintext pushes", "set aes-key here as there, or require-encryption there to false"},
	"not found": {
		"the gateway serves no such path", "compare the path it is called with, letter by letter, with services[].listen-endpoints.service-path there, and see whether the proxy in front changes it"},
	"body too large":        {"the gateway takes the body as too large", "raise max-body there"},
	"headers too large":     {"the headers that reach the gateway are too large", "let the proxy in front add less"},
	"request too slow":      {"the request reaches the gateway too slowly", "look what the proxy in front does with bodies"},
	"malformed request":     {"what reaches the gateway is no proper HTTP request", "let the proxy in front speak plain HTTP/1.1 to the gateway"},
	"internal error":        {"the gateway failed", "look into its log"},
	"method not allowed":    {"the method is changed on its way to the gateway", "let the proxy in front pass GET and POST on as they are"},
	"cannot seal the reply": {"the gateway cannot seal its answer", "look into its log"},
}

// statuses are those of servers in front, by what they mean.
var statuses = map[int]finding{
	401: {"a server in front asks for a password", "let calls to this path through without one"},
	403: {"a server in front refuses the call", "let calls to this path through its firewall (WAF) and address rules: WeChat calls from many addresses"},
	404: {"another server answers there", mendElsewhere},
	407: {"a server in front asks for a password", "let calls to this path through without one"},
	408: {"a server in front finds the request too slow", "look what it does with bodies"},
	413: {"a server in front takes the body as too large", "raise its limit (nginx: client_max_body_size) to that of max-body"},
	429: {"a server in front limits how often it is called", "except this path: WeChat calls as often as users write"},
	502: {"the proxy in front does not reach the gateway", "see that the gateway runs and that the proxy passes to its listen-host and listen-port"},
	503: {"the server in front has no gateway to pass to", "see that the gateway runs and that the proxy passes to its listen-host and listen-port"},
	504: {"the proxy in front gets no answer from the gateway in time", "see that the gateway runs and that the proxy passes to its listen-host and listen-port"},
}

// refusal explains an answer whose status is not 200.
func (p *prober) refusal(method string, a reply) finding {
	text := string(a.body)
	if text == "timestamp out of range" {
		return p.outOfRange(a)
	}
	if f, ok := refusals[text]; ok {
		return f
	}
	lower := strings.ToLower(text[:min(len(text), pageStart)])
	switch {
	case a.status >= 300 && a.status < 400:
		return p.redirect(a)
	case strings.Contains(lower, "http request was sent to https port"), strings.Contains(lower, "http request to an https server"):
		return finding{"that port speaks https", "write https:// in 服务器配置"}
	case a.status == fasthttp.StatusMethodNotAllowed:
		return finding{fmt.Sprintf("a server in front does not take %s (405)", method), "let it pass GET and POST on"}
	}
	if f, ok := statuses[a.status]; ok {
		return finding{fmt.Sprintf("%s (%d)", f.what, a.status), f.mend}
	}
	return finding{fmt.Sprintf("the answer has status %d, WeChat takes 200 only", a.status), "look into the log of the server that answers there"}
}

// outOfRange says whose clock it is, as far as the answer's date tells.
func (p *prober) outOfRange(a reply) finding {
	f := finding{"the gateway takes the timestamp as too old or too far ahead", mendClock + ", or raise services[].timeout there"}
	if !a.date.IsZero() {
		f.what += ": " + apart(a.date.Sub(p.now().Truncate(time.Second)))
	}
	return f
}

// redirect shows where to, without the query: it is WeChat's, and signed.
func (p *prober) redirect(a reply) finding {
	f := finding{fmt.Sprintf("the answer is a redirect (%d), which WeChat does not follow", a.status), "serve the address without one"}
	base, err := url.Parse(p.url)
	if err != nil {
		return f
	}
	to, err := base.Parse(a.location)
	if err != nil || a.location == "" || to.User != nil {
		return f
	}
	to.RawQuery, to.Fragment = "", ""
	f.what = fmt.Sprintf("the answer is a redirect (%d) to %s, which WeChat does not follow", a.status, to)
	f.mend = "enter that address in 服务器配置, or serve this one without a redirect"
	return f
}

// isPage tells a web page from an answer to WeChat.
func isPage(a reply) bool {
	start := bytes.ToLower(bytes.TrimLeft(a.body[:min(len(a.body), pageStart)], " \t\r\n\ufeff"))
	return strings.HasPrefix(a.contentType, "text/html") ||
		bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

// unreached explains a call without an answer.
func unreached(err error, waited time.Duration) finding {
	var (
		dns     *net.DNSError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		timeout net.Error
	)
	switch {
	case strings.Contains(err.Error(), "cannot be reached: proxy "):
		return finding{err.Error(), "mend HTTPS_PROXY of the environment, or name the host in NO_PROXY"}
	case errors.As(err, &dns) && dns.IsNotFound:
		return finding{fmt.Sprintf("the name %q has no address", dns.Name), "create its DNS record, or correct the name"}
	case errors.As(err, &dns):
		return finding{fmt.Sprintf("the name %q cannot be looked up", dns.Name), "see that this machine has a working name server, then try again"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return finding{"nothing listens at that address and port", "start the gateway, and the proxy in front of it"}
	case errors.As(err, &host):
		return finding{"the certificate is for another name", "install one for " + fmt.Sprintf("%q", host.Host)}
	case errors.As(err, &unknown):
		return finding{"the certificate is not signed by an authority that is trusted", "install a public one together with its intermediate certificates (fullchain)"}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return finding{"the certificate has expired, or is not valid yet", "renew it, and see that this machine's clock is right"}
	case errors.As(err, &record):
		return finding{"that port does not speak https", "write http:// in 服务器配置, or set TLS up there"}
	}
	switch httpc.KindOf(err) {
	case httpc.Connect:
		if errors.As(err, &timeout) && timeout.Timeout() {
			return finding{"no connection came about in time", "open the port in the firewall and in the cloud's security group (安全组)"}
		}
		return finding{err.Error(), "mend the connection"}
	case httpc.Reset:
		return finding{"the connection was closed without an answer", "look into the log of the server there; http and https may be mixed up"}
	case httpc.Timeout:
		return finding{fmt.Sprintf("no answer came in %s", waited), "see whether the proxy in front reaches the gateway"}
	case httpc.Cut, httpc.TooLarge:
		return finding{"the answer is no HTTP, or no end of it came", "see which program listens there"}
	}
	return finding{what: err.Error()}
}
