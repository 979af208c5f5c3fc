// Package conf is the configuration file as Go: types, defaults, every fault at once with its JSON path and its
// mend, secrets that no log shows.
//
// The format is that of rosbit/go-wx-gateway with new, optional keys; conf.schema.json describes each one and
// sample.conf.json shows them all. null counts as absent. Unknown keys are tolerated with a warning, since people
// keep notes in them. Inside any string ${ENV_NAME} is replaced; "file:/run/secrets/x" is that file's content,
// trimmed. A number or a switch may be such a string too: "listen-port": "${PORT}".
//
//	c, warnings, err := conf.Load(path, os.LookupEnv)
//
// What conf returns has been validated and has its defaults filled in: nobody checks again. The package knows
// what the keys mean to each other, not what the gateway does with them.
package conf

import (
	"log/slog"
	"net/netip"
	"time"
)

// Kind is what sort of WeChat account a service is.
type Kind string

// The kinds of services[].kind.
const (
	Official    Kind = "official"     // 公众号, subscription and service accounts alike
	MiniProgram Kind = "mini-program" // 小程序
	Shop        Kind = "shop"         // 视频号小店; the same as is-channels-ec: true
)

// The ways of late-reply.via.
const (
	ViaCustomerService = "customer-service" // the late answer follows through message/custom/send
	ViaPickup          = "pickup"           // the user sends a word to get it
	ViaOff             = "off"              // there is no late answer
)

// Config is a whole configuration, validated and with its defaults filled in.
type Config struct {
	ListenHost string // listen-host; "" listens on every address, IPv4 and IPv6
	ListenPort int    // listen-port; 0 takes any free port
	Services   []Service

	TokenCacheDir string // token-cache-dir; "" keeps tokens in memory only
	Endpoints     Endpoints

	WXAPIBase  string // wx-api-base, without trailing slash
	WXOpenBase string // wx-open-base, without trailing slash
	WXMPBase   string // wx-mp-base, without trailing slash
	TokenAPI   string // token-api: "stable" (cgi-bin/stable_token) or "classic" (cgi-bin/token)

	DataDir  string // data-dir, folder of the embedded durable store; "" when there is none
	RedisURL Secret // redis-url, holds a password; never set together with DataDir

	Internal Internal
	Log      Log
	Tracing  Tracing
	MaxBody  int // max-body, bytes of an incoming request's body; 1 MiB by default

	Files []string // the configuration file itself, every file: target and every ca-file, once each, for watching
}

// Service is one account: where its pushes arrive, who answers them, and how.
type Service struct {
	Name      string        // unique
	Kind      Kind          // official by default
	WorkerNum int           // workerNum, the most calls in flight to the backend; 256 by default
	Timeout   time.Duration // timeout, the most a push's timestamp may be off; 0 switches the check off

	Token      Secret   // wx-params.token, signs the pushes
	TokensOld  []Secret // tokens-old, earlier tokens that still count while the console changes over
	AppID      string
	AppSecret  Secret   // "" switches off whatever needs WeChat's API
	AESKey     Secret   // 43 characters of base64, or "" for plaintext pushes
	AESKeysOld []Secret // aes-keys-old, tried after AESKey

	ServicePath  string // where WeChat pushes to; "" when the service takes no pushes
	RedirectPath string // where browsers come back to from web authorization; see RedirectLive

	MsgProxyPass         string // URL that "/msg/<type>" or "/event/<name>" is appended to; "" echoes
	RedirectURL          string // URL that an authorized browser's request is posted to
	RedirectUserInfoFlag string // a request URI that holds it asks for user info by snsapi_userinfo

	RequireEncryption bool   // refuse plaintext pushes; resolved: true by default when there is an AESKey
	BackendSecret     Secret // backend-secret as written: one or more secrets separated by blanks, each valid
	BackendTLS        BackendTLS
	AppendUserInfo    bool // resolved from user-info and dont-append-userinfo; true only for kind official

	LateReply LateReply
	Redeliver Redeliver
}

// RedirectLive reports whether RedirectPath is served: only together with a redirect-url.
func (s *Service) RedirectLive() bool { return s.RedirectPath != "" && s.RedirectURL != "" }

// BackendTLS says how an https backend is verified.
type BackendTLS struct {
	CAFile   string // PEM file of certificate authorities to trust instead of the system's; "" trusts the system's
	Insecure bool   // do not verify at all
}

// LateReply says what happens to an answer that comes after WeChat has stopped waiting.
type LateReply struct {
	Set         bool          // the file has the key
	Via         string        // ViaCustomerService (the default), ViaPickup, ViaOff (the default of a shop, which has no users to answer)
	Ack         string        // text that the user hears meanwhile
	AckSet      bool          // the file has the key: an empty Ack then means none, not the default
	MaxWait     time.Duration // how long a late answer is waited for; 120 s by default
	PickupWords []string      // what a user sends to get it: 继续 by default with ViaPickup; with another way none unless the file has some
	Keep        time.Duration // how long a stored answer waits for its user; 24 h by default
	Hold        bool          // leave WeChat's first attempts open instead of acking them; true by default
	HoldLimit   int           // unanswered attempts per account and minute; 30 by default
}

// Redeliver says how a push that the backend did not take is repeated.
type Redeliver struct {
	For         time.Duration // how long; 24 h by default, 0 not at all
	Timeouts    int           // repeats of a call that timed out after it was written; 2 by default
	MaxAgeReply time.Duration // the reply of an older push is not sent to the user; 10 min by default
}

// Endpoints holds the path of each internal endpoint, "" when it is not served. WxAPI and Pprof are prefixes.
type Endpoints struct {
	HealthCheck            string // health-check
	WxQR                   string // wx-qr
	WxUser                 string // wx-user
	SNSAuth2               string // sns-auth2
	ShortURL               string // short-url
	TmplMsg                string // tmpl-msg
	SignJSAPI              string // sign-jsapi
	ChannelsECOrderDetail  string // channels-ec-order-detail
	ChannelsECRefundDetail string // channels-ec-refund-detail
	AccessToken            string // access-token
	WxAPI                  string // wx-api
	Reply                  string // reply
	Queue                  string // queue
	Metrics                string // metrics
	Ready                  string // ready
	Pprof                  string // pprof
}

// Internal says where the internal endpoints are served and who may call them.
type Internal struct {
	Listen         string         // host:port of their own; "" serves them on the main port
	Token          Secret         // the bearer token every call needs; "" asks for none
	Allow          []netip.Prefix // callers allowed instead of loopback and private addresses
	TrustedProxies []netip.Prefix // peers whose X-Forwarded-For names the caller
}

// Log says what is logged and in which form.
type Log struct {
	Level  slog.Level // info by default
	Format string     // "text" (the default) or "json"
}

// Tracing says where spans are sent to.
type Tracing struct {
	Endpoint string   // base URL of a collector that takes OTLP over HTTP; "" switches tracing off
	Sample   float64  // the part of traces that is kept, 0 to 1; 1 by default
	Headers  []Header // of every call to the collector
}

// Header is an HTTP header whose value may be a secret.
type Header struct {
	Name  string
	Value Secret
}

// NeedsRestart returns the keys whose values differ between c and next and that a running gateway cannot change.
func (c *Config) NeedsRestart(next *Config) []string {
	var keys []string
	for _, k := range []struct {
		key     string
		changed bool
	}{
		{"listen-host", c.ListenHost != next.ListenHost},
		{"listen-port", c.ListenPort != next.ListenPort},
		{"internal.listen", c.Internal.Listen != next.Internal.Listen},
		{"data-dir", c.DataDir != next.DataDir},
		{"redis-url", c.RedisURL != next.RedisURL},
		{"token-cache-dir", c.TokenCacheDir != next.TokenCacheDir},
		{"tracing.endpoint", c.Tracing.Endpoint != next.Tracing.Endpoint},
		{"tracing.sample", c.Tracing.Sample != next.Tracing.Sample},
	} {
		if k.changed {
			keys = append(keys, k.key)
		}
	}
	return keys
}
