package conf

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// Bounds of a configuration, generous beyond any real one.
const (
	maxFile     = 16 << 20 // bytes of the file
	maxServices = 10_000
)

// Load reads, completes and validates the configuration file at path. The warnings come with a good file and with
// a bad one. The error is a *Faults with everything that is wrong, or says why the file cannot be read.
// getenv looks up the environment for ${NAME}, like os.LookupEnv.
func Load(path string, getenv func(string) (string, bool)) (*Config, []Problem, error) {
	data, err := readUpTo(path, maxFile)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the configuration %s: %w", quote(path), reason(err))
	}
	return Parse(data, path, getenv)
}

// Parse does what Load does after reading; path is only the first of Config.Files, unless it is "".
func Parse(data []byte, path string, getenv func(string) (string, bool)) (*Config, []Problem, error) {
	return newReader(getenv).parse(data, path)
}

func (r *reader) parse(data []byte, path string) (*Config, []Problem, error) {
	data = trimBOM(data)
	if bad := checkSyntax(data); bad != nil {
		line, column := position(data, bad.offset)
		return nil, nil, &Faults{[]Problem{{Path: fmt.Sprintf("line %d, column %d", line, column), Text: bad.text}}}
	}
	raw := bytes.TrimLeft(data, " \t\r\n")
	if raw[0] != '{' {
		return nil, nil, &Faults{[]Problem{{Path: "line 1, column 1", Text: "the configuration must be an object {…}, got " + jsonType(raw)}}}
	}
	c := r.config(raw)
	if path != "" {
		c.Files = append(c.Files, path)
	}
	for _, name := range r.files {
		if name != path {
			c.Files = append(c.Files, name)
		}
	}
	if faults := r.problems(&r.faults); len(faults) > 0 {
		return nil, r.problems(&r.warnings), &Faults{faults}
	}
	return c, r.problems(&r.warnings), nil
}

// config reads the whole file, key by key, then looks at what the keys mean to each other.
func (r *reader) config(raw []byte) *Config {
	o := r.object(raw, "", "")
	o.take("$schema") // for editors
	c := &Config{
		ListenHost:    o.checked("listen-host", checkHost),
		ListenPort:    o.integer("listen-port", 0, 0, 65535),
		TokenCacheDir: o.str("token-cache-dir"),
		WXAPIBase:     o.base("wx-api-base", "https://api.weixin.qq.com"),
		WXOpenBase:    o.base("wx-open-base", "https://open.weixin.qq.com"),
		WXMPBase:      o.base("wx-mp-base", "https://mp.weixin.qq.com"),
		TokenAPI:      o.choice("token-api", "stable", "classic"),
		DataDir:       o.str("data-dir"),
		RedisURL:      Secret(o.hidden("redis-url", checkRedisURL)),
		MaxBody:       o.size("max-body", 1<<20, 4<<10, 64<<20),
	}
	if u, err := url.Parse(c.WXAPIBase); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		o.warn("wx-api-base", "sends app secrets and tokens unencrypted; use https outside a test")
	}
	if !o.has("listen-port") {
		o.warn("listen-port", "is not set, so any free port is taken; set it to the one that WeChat's pushes are passed to")
	}
	if c.DataDir != "" && c.RedisURL != "" {
		o.fault("redis-url", "cannot stand beside data-dir, state has one home; remove one of them")
	}
	if c.RedisURL != "" {
		o.warn("redis-url", "has no effect in this version, pushes are kept in memory only; set data-dir to keep them on disk")
	}
	c.Endpoints = readEndpoints(o.object("common-endpoints"))
	c.Internal = readInternal(o.object("internal"))
	c.Log = readLog(o.object("log"))
	c.Tracing = readTracing(o.object("tracing"))
	withoutUserInfo, _ := o.flag("dont-append-userinfo")

	raws := o.array("services", "objects", maxServices)
	for i, raw := range raws {
		c.Services = append(c.Services, r.readService(raw, i, !withoutUserInfo))
	}
	if len(raws) == 0 && !o.bad("services") && c.Endpoints == (Endpoints{}) {
		o.fault("services", "is empty and there are no common-endpoints, so there is nothing to serve; add a service, see sample.conf.json")
	}
	o.done()
	k := checker{r, c}
	k.all()
	r.warnOfNotes()
	return c
}

func readEndpoints(o *object) Endpoints {
	e := Endpoints{
		HealthCheck:            o.urlPath("health-check"),
		WxQR:                   o.urlPath("wx-qr"),
		WxUser:                 o.urlPath("wx-user"),
		SNSAuth2:               o.urlPath("sns-auth2"),
		ShortURL:               o.urlPath("short-url"),
		TmplMsg:                o.urlPath("tmpl-msg"),
		SignJSAPI:              o.urlPath("sign-jsapi"),
		ChannelsECOrderDetail:  o.urlPath("channels-ec-order-detail"),
		ChannelsECRefundDetail: o.urlPath("channels-ec-refund-detail"),
		AccessToken:            o.urlPath("access-token"),
		WxAPI:                  o.prefix("wx-api"),
		Reply:                  o.urlPath("reply"),
		Queue:                  o.urlPath("queue"),
		Metrics:                o.urlPath("metrics"),
		Ready:                  o.urlPath("ready"),
		Pprof:                  o.prefix("pprof"),
	}
	o.done()
	return e
}

func readInternal(o *object) Internal {
	in := Internal{
		Listen:         o.checked("listen", checkListen),
		Token:          o.secret("token"),
		Allow:          o.prefixes("allow"),
		TrustedProxies: o.prefixes("trusted-proxies"),
	}
	const shortToken = 16
	switch token := in.Token.Reveal(); {
	case strings.ContainsFunc(token, blankOrControl):
		o.fault("token", "must not hold blanks or control characters: it travels in a header")
	case token != "" && len(token) < shortToken:
		o.warn("token", "is shorter than %d characters; make one with: openssl rand -hex 24", shortToken)
	}
	for i, p := range in.Allow {
		if p.Bits() == 0 && in.Token == "" {
			o.warn(fmt.Sprintf("allow[%d]", i), "lets every address in; name the networks of your own machines, or set internal.token")
		}
	}
	o.done()
	return in
}

func readLog(o *object) Log {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	l := Log{
		Level:  levels[o.choice("level", "info", "debug", "warn", "error")],
		Format: o.choice("format", "text", "json"),
	}
	o.done()
	return l
}
