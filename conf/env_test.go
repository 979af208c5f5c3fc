package conf

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func lookup(vars ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, v := range vars {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
}

var account = []string{"WECHAT_APP_ID=wx5d8f0a3b7c2e9146", "WECHAT_APP_SECRET=hunter2secret", "WECHAT_APP_TOKEN=tok${EN}"}

func TestFromEnv(t *testing.T) {
	c, warnings, err := FromEnv(lookup(account...))
	if err != nil || len(warnings) != 0 {
		t.Fatalf("FromEnv = %v, warnings %v", err, warnings)
	}
	want := &Config{
		ListenPort: 8080,
		Services: []Service{{
			Name: "default", Kind: Official, WorkerNum: 256, Timeout: 300 * time.Second,
			Token: "tok${EN}", AppID: "wx5d8f0a3b7c2e9146", AppSecret: "hunter2secret",
			ServicePath: "/wechat", AppendUserInfo: true,
			LateReply: LateReply{
				Via: ViaCustomerService, MaxWait: 120 * time.Second,
				Keep: 24 * time.Hour, Hold: true, HoldLimit: 30,
			},
			Redeliver: Redeliver{For: 24 * time.Hour, Timeouts: 2, MaxAgeReply: 10 * time.Minute},
		}},
		Endpoints: Endpoints{HealthCheck: "/health"},
		WXAPIBase: "https://api.weixin.qq.com", WXOpenBase: "https://open.weixin.qq.com", WXMPBase: "https://mp.weixin.qq.com",
		TokenAPI: "stable",
		Log:      Log{Format: "text"}, Tracing: Tracing{Sample: 1},
		MaxBody: 1 << 20,
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	c, warnings, err = FromEnv(lookup(append(account, "WECHAT_AES_KEY=q7Rk2mX9vB4nT6yL8cJ1wE3uH5sG0dFaZxPoIiUyTrQ",
		"MSG_PROXY_PASS=http://10.0.0.5:8000/wx", "WECHAT_SERVICE_PATH=/wx", "LISTEN_PORT=80")...))
	if err != nil || len(warnings) != 0 {
		t.Fatalf("FromEnv = %v, warnings %v", err, warnings)
	}
	s := c.Services[0]
	if c.ListenPort != 80 || s.ServicePath != "/wx" || s.MsgProxyPass != "http://10.0.0.5:8000/wx" || !s.RequireEncryption ||
		s.AESKey != "q7Rk2mX9vB4nT6yL8cJ1wE3uH5sG0dFaZxPoIiUyTrQ" {
		t.Errorf("FromEnv = %+v", c)
	}
}

func TestFromEnvRefuses(t *testing.T) {
	f := func(want string, vars ...string) {
		t.Helper()
		c, _, err := FromEnv(lookup(vars...))
		if c != nil || err == nil || err.Error() != want {
			t.Errorf("FromEnv(%q) =\n%v, want\n%s", vars, err, want)
		}
	}
	both := "there is no configuration: set CONF_FILE to a file like sample.conf.json, or, for one account, WECHAT_APP_ID, WECHAT_APP_SECRET and WECHAT_APP_TOKEN"
	f(both)
	f(both, "LISTEN_PORT=80", "WECHAT_APP_ID=")
	f("cannot start one account from the environment: set WECHAT_APP_SECRET too, or CONF_FILE for a configuration file", account[0], account[2])
	f("cannot start one account from the environment: set WECHAT_APP_ID, WECHAT_APP_SECRET and WECHAT_APP_TOKEN too, or CONF_FILE for a configuration file", "WECHAT_AES_KEY=x")
	f("LISTEN_PORT: must be a whole number between 0 and 65535, got http", append(account, "LISTEN_PORT=http")...)
	f("LISTEN_PORT: must be between 0 and 65535, got 99999", append(account, "LISTEN_PORT=99999")...)
	f("WECHAT_AES_KEY: must be 43 characters of base64, got 13; copy EncodingAESKey from the console\nMSG_PROXY_PASS: must start with http:// or https://",
		append(account, "WECHAT_AES_KEY=hunter2secret", "MSG_PROXY_PASS=hunter2secret")...)
	f(`WECHAT_SERVICE_PATH: must start with "/", got "wx"`, append(account, "WECHAT_SERVICE_PATH=wx")...)
	f(`WECHAT_SERVICE_PATH: "/health" is already served by common-endpoints.health-check; choose another path`, append(account, "WECHAT_SERVICE_PATH=/health")...)
	f("WECHAT_APP_TOKEN: is not UTF-8", account[0], account[1], "WECHAT_APP_TOKEN=\xff")
}
