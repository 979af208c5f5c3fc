package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// root is the folder of the repository.
const root = "../.."

// freeAddrs returns n loopback addresses that nobody listens on right now.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		addrs = append(addrs, "127.0.0.1:"+strconv.Itoa(freePort(t)))
	}
	return addrs
}

// buildExample compiles a folder of examples/.
func buildExample(t *testing.T, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-o", program, "./examples/"+name)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build examples/%s: %v\n%s", name, err, out)
	}
	return program
}

// The sample backends, each behind the real gateway, answer the same pushes
// the same way.
func TestSampleBackends(t *testing.T) {
	t.Parallel()
	f := func(name string, command func(t *testing.T) []string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			argv := command(t)
			addr := freeAddrs(t, 1)[0]
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = append(os.Environ(), "LISTEN="+addr)
			backend := startCommand(t, cmd)
			listening(t, backend, addr)
			// A balancer's look at it does it no harm.
			if resp, err := http.Get("http://" + addr); err == nil {
				resp.Body.Close()
			}
			_, wechat := platform(t)
			conf, _ := configuration(wechat, "http://"+addr)
			file := confFile(t, "")
			writeConf(t, file, conf)
			p := start(t, []string{"CONF_FILE=" + file})
			url := p.url() + "/wx"
			reply := func(want string, fields sim.Fields) {
				t.Helper()
				if got := answer(t, sealed(url, fields.XML())); !strings.Contains(got, want) {
					t.Errorf("the reply to %+v is %q, want %q in it", fields, got, want)
				}
			}
			reply("<Content><![CDATA[You said: 你好 <&> \"'\\]]></Content>", sim.Fields{Content: "你好 <&> \"'\\"})
			reply("<Image><MediaId><![CDATA[sim-image]]></MediaId></Image>", sim.Fields{Type: "image"})
			reply("<Content><![CDATA[You clicked MENU_1]]></Content>", sim.Fields{Event: "CLICK", EventKey: "MENU_1"})
			reply("success", sim.Fields{Event: "VIEW", EventKey: "https://example.com/"})
			p.stop()
			if log := p.out.String(); strings.Contains(log, "level=ERROR") {
				t.Errorf("the gateway complains about the backend:\n%s", log)
			}
		})
	}
	installed := func(program, script string) func(t *testing.T) []string {
		return func(t *testing.T) []string {
			path, err := exec.LookPath(program)
			if err != nil {
				t.Skipf("%s is not installed, so %s is left out", program, script)
			}
			return []string{path, filepath.Join(root, script)}
		}
	}
	f("go", func(t *testing.T) []string { return []string{buildExample(t, "backend-go")} })
	f("python", installed("python3", "examples/backend-python/backend.py"))
	f("node", installed("node", "examples/backend-node/backend.js"))
}

// listening waits until somebody listens on addr.
func listening(t *testing.T, p *process, addr string) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
		select {
		case <-look.C:
		case <-p.exited:
			t.Fatalf("it ended without listening on %s:\n%s", addr, p.out)
		case <-late:
			t.Fatalf("it does not listen on %s:\n%s", addr, p.out)
		}
	}
}

// demoOn writes sample.conf.json with other addresses and returns the
// arguments of a demo that uses it.
func demoOn(t *testing.T, addrs []string) []string {
	t.Helper()
	sample, err := os.ReadFile(filepath.Join(root, "sample.conf.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addrs[2])
	if err != nil {
		t.Fatal(err)
	}
	content := string(sample)
	for _, change := range [][2]string{
		{"127.0.0.1:7090", addrs[0]}, {"127.0.0.1:7070", addrs[1]}, {`"listen-port": 7080`, `"listen-port": ` + port}, {"127.0.0.1:7081", addrs[3]},
	} {
		if !strings.Contains(content, change[0]) {
			t.Fatalf("sample.conf.json does not hold %s", change[0])
		}
		content = strings.ReplaceAll(content, change[0], change[1])
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--conf", confFile(t, content), "--gateway", self, "--backend", addrs[4]}
}

// startDemo runs the demo in the root of the repository; its gateway is this
// test binary.
func startDemo(t *testing.T, program string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), actAsProgram+"=1")
	return startCommand(t, cmd)
}

// startDemoAnywhere runs the demo on free addresses until its pushes are
// through. Another program may take an address before the demo does: then it
// is run on others.
func startDemoAnywhere(t *testing.T, program string, args ...string) (p *process, addrs []string) {
	t.Helper()
	for range 3 {
		addrs = freeAddrs(t, 5)
		p = startDemo(t, program, append(demoOn(t, addrs), args...)...)
		if p.find(`"params": {"nonce":|the demo failed|address already in use`) != "address already in use" {
			break
		}
	}
	return p, addrs
}

// What "make demo" shows is true: every hop is there, and nothing is left
// behind when it has ended.
func TestDemo(t *testing.T) {
	t.Parallel()
	program := buildExample(t, "demo")
	t.Run("once", func(t *testing.T) {
		t.Parallel()
		p, _ := startDemoAnywhere(t, program, "--once")
		if code := p.wait(); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, p.out)
		}
		got := p.out.String()
		for _, want := range []string{
			"1. a user writes, plain", "2. a user writes, sealed", "8. a user taps a menu button, sealed",
			"<Encrypt><![CDATA[", "<Content><![CDATA[你好]]></Content>", `"Content": "你好"`, "<Content><![CDATA[You said: 你好]]></Content>",
			"POST /msg/text   X-Wx-Service: plain", "POST /msg/text   X-Wx-Service: demo", "POST /msg/image", "POST /event/subscribe", "POST /event/CLICK",
			"GET http://", "/user?s=demo", "/sign-jsapi", `"params": {"nonce":`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("the demo does not show %q", want)
			}
		}
		if t.Failed() {
			t.Log(got)
		}
	})
	t.Run("until interrupted", func(t *testing.T) {
		t.Parallel()
		p, addrs := startDemoAnywhere(t, program)
		try := p.find(`a sealed text +\./wx-gateway (sim push .*)`)
		if code, stdout, stderr := runWith(t, nil, strings.Fields(try)...); code != 0 || !strings.Contains(stdout, "You said: hello") {
			t.Errorf("%s: exit code %d, %s%s", try, code, stdout, stderr)
		}
		p.find(`"Content": "hello"`)
		p.signal(os.Interrupt)
		if code := p.wait(); code != 0 {
			t.Errorf("exit code %d:\n%s", code, p.out)
		}
		for _, addr := range addrs {
			if c, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("somebody still listens on %s: %v", addr, err)
				if c != nil {
					c.Close()
				}
			}
		}
	})
	t.Run("taken address", func(t *testing.T) {
		t.Parallel()
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		addrs := freeAddrs(t, 5)
		addrs[3] = taken.Addr().String()
		p := startDemo(t, program, demoOn(t, addrs)...)
		if code := p.wait(); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		p.find("the demo failed: " + addrs[3] + " is needed for internal.listen of the gateway: stop the program that listens there")
	})
}
