package main

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// actAsProgram makes the test binary behave as the program itself, so that
// tests can start it as a process of its own without building it.
const actAsProgram = "WX_GATEWAY_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(actAsProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(leakMain{m}, mayStay...)
}

// mayStay are fasthttp's own goroutines.
var mayStay = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
}

// leakMain gives what is ending more than the half second that goleak does: the
// machine may be busy.
type leakMain struct{ *testing.M }

func (m leakMain) Run() int {
	code := m.M.Run()
	for range 60 {
		if code != 0 || goleak.Find(mayStay...) == nil {
			break
		}
	}
	return code
}

// runWith runs the command in this process with only the variables of env.
func runWith(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, lookup(env), &out, &err)
	return code, out.String(), err.String()
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func confFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "conf.json")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestTimeZonesAreBuiltIn: containers often have none, and would show UTC.
func TestTimeZonesAreBuiltIn(t *testing.T) {
	list, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(list), "\ntime/tzdata\n") {
		t.Error("the program does not bring time/tzdata")
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := runWith(t, nil, "-v")
	if code != 0 || !strings.HasPrefix(stdout, "wx-gateway dev (built unknown, go1.") || stderr != "" {
		t.Errorf("-v: exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	f := func(wantCode int, wantStderr string, args ...string) {
		t.Helper()
		code, stdout, stderr := runWith(t, nil, args...)
		if code != wantCode || stdout != "" || stderr != wantStderr {
			t.Errorf("%q: exit code %d, want %d\nstdout %q\nstderr %q\n  want %q", args, code, wantCode, stdout, stderr, wantStderr)
		}
	}
	f(0, usage, "-h")
	f(2, "unknown command \"start\"\n\n"+usage, "start")
	f(2, "flag provided but not defined: -c\n"+usage, "-c", "conf.json")

	// no configuration at all: both ways to give one are named
	const none = "there is no configuration: set CONF_FILE to a file like sample.conf.json, or, for one account, WECHAT_APP_ID, WECHAT_APP_SECRET and WECHAT_APP_TOKEN\n"
	f(1, none)
	f(1, none, "run")
	f(1, none, "check")
}

func TestHalfAnEnvironmentIsRefused(t *testing.T) {
	t.Parallel()
	code, _, stderr := runWith(t, map[string]string{"WECHAT_APP_ID": "wx5d8f0a3b7c2e9146", "WECHAT_APP_SECRET": "s"})
	want := "cannot start one account from the environment: set WECHAT_APP_TOKEN too, or CONF_FILE for a configuration file\n"
	if code != 1 || stderr != want {
		t.Errorf("exit code %d, %q, want 1, %q", code, stderr, want)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	f := func(content string, wantCode int, wantStdout, wantStderr string) {
		t.Helper()
		code, stdout, stderr := runWith(t, map[string]string{"CONF_FILE": confFile(t, content)}, "check")
		if code != wantCode || stdout != wantStdout || stderr != wantStderr {
			t.Errorf("check of %s\nexit code %d, want %d\nstdout %q\n  want %q\nstderr %q\n  want %q", content, code, wantCode, stdout, wantStdout, stderr, wantStderr)
		}
	}
	const a = `{"name": "a", "wx-params": {"app-id": "wx0", "app-secret": "x"}}`
	// good
	f(`{"listen-port": 7080, "services": [`+a+`]}`, 0, "the configuration is good\n", "")

	// good, with doubts
	f(`{"listen-port": 7080, "log": {"levle": "debug"}, "services": [`+a+`]}`, 0,
		"warning: log.levle: unknown key, ignored; did you mean \"level\"?\nthe configuration is good\n", "")

	// several faults at once, and a doubt beside them
	f(`{"listen-port": 7080, "servces": [], "services": [`+a+`, {"name": "a", "wx-params": {"app-id": "wx1", "app-secret": "x"}, "listen-endpoints": {"service-path": "/wx"}}]}`, 1,
		"warning: servces: unknown key, ignored; did you mean \"services\"?\n",
		`services[1].wx-params.token: is empty, but listen-endpoints.service-path needs it to verify pushes; copy Token from the console (service "a")
services[1].name: "a" is already the name of services[0]; rename one of them (service "a")
`)

	// no JSON
	f(`{"listen-port": }`, 1, "", "line 1, column 17: expected a value, found '}'\n")

	// no file
	code, _, stderr := runWith(t, map[string]string{"CONF_FILE": "no/such.json"}, "check")
	if want := "cannot read the configuration \"no/such.json\": no such file or directory\n"; code != 1 || stderr != want {
		t.Errorf("check without the file: exit code %d, %q, want 1, %q", code, stderr, want)
	}

	// the environment is checked as well
	env := map[string]string{"WECHAT_APP_ID": "wx5d8f0a3b7c2e9146", "WECHAT_APP_SECRET": "s", "WECHAT_APP_TOKEN": "t", "LISTEN_PORT": "eighty"}
	if code, _, stderr := runWith(t, env, "check"); code != 1 || !strings.HasPrefix(stderr, "LISTEN_PORT: ") {
		t.Errorf("check of a bad LISTEN_PORT: exit code %d, %q", code, stderr)
	}
	env["LISTEN_PORT"] = "8080"
	if code, stdout, stderr := runWith(t, env, "check"); code != 0 || !strings.HasSuffix(stdout, "the configuration is good\n") {
		t.Errorf("check of the environment: exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestSimulateRefusesABadConfiguration(t *testing.T) {
	t.Parallel()
	code, _, stderr := runWith(t, nil, "sim", "--conf", confFile(t, "{"))
	if code != 1 || !strings.HasPrefix(stderr, "line 1, ") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// A change is reported once, and only after it has stayed the same for one look.
func TestWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := []string{filepath.Join(dir, "conf.json"), filepath.Join(dir, "secret")}
	write := func(i int, content string) {
		t.Helper()
		if err := os.WriteFile(names[i], []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(0, "one")
	write(1, "s1")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		changed := watch(ctx, func() []string { return names })
		look := func(what string, want bool) {
			t.Helper()
			time.Sleep(watchEvery)
			synctest.Wait()
			select {
			case <-changed:
				if !want {
					t.Errorf("%s: reported", what)
				}
			default:
				if want {
					t.Errorf("%s: not reported", what)
				}
			}
		}
		time.Sleep(watchEvery / 2) // between two looks
		synctest.Wait()
		look("nothing", false)
		write(0, "tw")
		look("half written", false)
		write(0, "two")
		look("written", false)
		look("unchanged since", true)
		look("reported already", false)
		write(1, "s2")
		look("a secret changed", false)
		look("a secret stayed", true)
		if err := os.Remove(names[1]); err != nil {
			t.Fatal(err)
		}
		look("a file is gone", false)
		look("a file stays away", true)
		write(1, "s3")
		look("and is back", false)
		write(1, "s4")
		look("and changes", false)
		look("and stays", true)
		cancel()
		synctest.Wait()
	})
}

// The usage and the environment that load reads do not drift apart.
func TestUsageNamesTheVariables(t *testing.T) {
	t.Parallel()
	asked := map[string]bool{}
	load(func(name string) (string, bool) {
		asked[name] = true
		return "", false
	})
	if len(asked) < 8 {
		t.Errorf("only %q were looked up", slices.Sorted(maps.Keys(asked)))
	}
	for name := range asked {
		if !strings.Contains(usage, name) {
			t.Errorf("the usage does not name %s", name)
		}
	}
}
