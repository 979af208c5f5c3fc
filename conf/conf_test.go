package conf

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

// environment is what the files of testdata may ask for.
func environment(name string) (string, bool) {
	v, ok := map[string]string{
		"PORT":           "7080",
		"SECRET":         "environment-secret ${PORT} file:testdata/token.secret",
		"OLD_TOKEN":      "file:testdata/none",
		"REDIS_PASSWORD": "hunter2secret",
		"INSECURE":       "false",
		"NO_NUMBER":      "seven",
		"HUNTER":         "hunter2secret",
	}[name]
	return v, ok
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs, -want +got:\n%s", name, diff)
	}
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil || len(list) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return list
}

func lines(list []Problem) string {
	var b strings.Builder
	for _, p := range list {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// Each good.*.json has its warnings and its configuration, secrets masked, beside it.
func TestGoodFiles(t *testing.T) {
	for _, name := range files(t, "testdata/good.*.json") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			c, warnings, err := Load(name, environment)
			if err != nil {
				t.Fatal(err)
			}
			dump, err := json.MarshalIndent(c, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(name, ".json")+".txt", lines(warnings)+string(dump)+"\n")
		})
	}
}

// Each bad.<reason>.json has the exact text of its error beside it.
func TestBadFiles(t *testing.T) {
	for _, name := range files(t, "testdata/bad.*.json") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			c, _, err := Load(name, environment)
			if err == nil {
				t.Fatal("was taken for good")
			}
			if c != nil {
				t.Error("a refused file has a configuration")
			}
			if _, ok := errors.AsType[*Faults](err); !ok {
				t.Errorf("the error is a %T, want *Faults", err)
			}
			if strings.Contains(err.Error(), "hunter") {
				t.Errorf("the error shows a secret: %v", err)
			}
			golden(t, strings.TrimSuffix(name, ".json")+".txt", err.Error()+"\n")
		})
	}
}

func TestSecretsAreTakenWhole(t *testing.T) {
	c, _, err := Load("testdata/good.everything.json", environment)
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, got Secret, want string) {
		t.Helper()
		if got.Reveal() != want {
			t.Errorf("%s = %q, want %q", what, got.Reveal(), want)
		}
	}
	s := c.Services[0]
	// a file: target, trimmed
	f("token", s.Token, "file-token-0123456789")
	f("internal.token", c.Internal.Token, "file-token-0123456789")
	// a variable's text is not looked into again
	f("app-secret", s.AppSecret, "environment-secret ${PORT} file:testdata/token.secret")
	f("tokens-old[1]", s.TokensOld[1], "file:testdata/none")
	f("redis-url", c.RedisURL, "rediss://gateway:hunter2secret@10.0.0.9:6380/2")
	f("aes-keys-old[0]", s.AESKeysOld[0], "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")
	f("tracing.headers", c.Tracing.Headers[0].Value, "Bearer hunter2secret")
	f("backend-secret", s.BackendSecret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw 0123456789abcdef01234567")
}

func TestLoadNamesTheFile(t *testing.T) {
	_, _, err := Load("testdata/none.json", environment)
	want := `cannot read the configuration "testdata/none.json": no such file or directory`
	if err == nil || err.Error() != want || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load = %v, want %q", err, want)
	}
}

func TestParseWithoutFileOrEnvironment(t *testing.T) {
	c, _, err := Parse([]byte(`{"services":[{"name":"a"}]}`), "", nil)
	if err != nil || c.Files != nil {
		t.Errorf("Parse = %+v, %v", c, err)
	}
	_, _, err = Parse([]byte(`{"services":[{"name":"${HOME}"}]}`), "", nil)
	if want := "services[0].name: the environment variable HOME is not set"; err == nil || err.Error() != want {
		t.Errorf("Parse = %v, want %q", err, want)
	}
}

// A file with many notes is told of them in one short line.
func TestNotesAreNamedOnce(t *testing.T) {
	_, warnings, err := Parse([]byte(`{"listen-port": 1, "services": [{"name": "a", "wx-params": {"app-secret": "s", "app-id": "w"},
		"一": 1, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "seven eight": {"app-id": 1}}]}`), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `taken for notes, ignored: services[0].一, services[0].二, services[0].三, services[0].四, services[0].五 and 2 more` + "\n"
	if diff := cmp.Diff(want, lines(warnings)); diff != "" {
		t.Error(diff)
	}
}

// The file of authorities is watched like the targets of file:, once however many name it.
func TestFilesToWatch(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	service := func(name string) string {
		return `{"name": "` + name + `", "backend-tls": {"ca-file": ` + strconv.Quote(ca) + `}, "wx-params": {"token": "file:testdata/token.secret"}}`
	}
	c, _, err := Parse([]byte(`{"services": [`+service("a")+`,`+service("b")+`]}`), "conf.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"conf.json", "testdata/token.secret", ca}, c.Files); diff != "" {
		t.Error(diff)
	}
}

func TestNeedsRestart(t *testing.T) {
	base := func() *Config { return &Config{ListenPort: 1} }
	f := func(change func(*Config), want ...string) {
		t.Helper()
		next := base()
		change(next)
		if diff := cmp.Diff(want, base().NeedsRestart(next)); diff != "" {
			t.Error(diff)
		}
	}
	f(func(c *Config) {})
	f(func(c *Config) {
		c.Services, c.Endpoints.WxQR, c.Internal.Token, c.MaxBody = []Service{{Name: "a"}}, "/qr", "t", 5
	})
	f(func(c *Config) { c.ListenHost = "::" }, "listen-host")
	f(func(c *Config) { c.ListenPort = 2 }, "listen-port")
	f(func(c *Config) { c.Internal.Listen = "127.0.0.1:1" }, "internal.listen")
	f(func(c *Config) { c.DataDir, c.TokenCacheDir = "d", "t" }, "data-dir", "token-cache-dir")
	f(func(c *Config) { c.RedisURL = "redis://h" }, "redis-url")
	f(func(c *Config) { c.Tracing.Endpoint, c.Tracing.Sample = "http://h:4318", 0.5 }, "tracing.endpoint", "tracing.sample")
	f(func(c *Config) { c.Tracing.Headers = []Header{{"a", "b"}} })
}

func TestRedirectLive(t *testing.T) {
	f := func(path, url string, want bool) {
		t.Helper()
		if got := (&Service{RedirectPath: path, RedirectURL: url}).RedirectLive(); got != want {
			t.Errorf("RedirectLive(%q, %q) = %t", path, url, got)
		}
	}
	f("/r", "http://h/", true)
	f("/r", "", false)
	f("", "http://h/", false)
}
