// Command demo shows wx-gateway at work without a WeChat account: it starts a
// simulated WeChat, a sample backend and the gateway on this machine, sends
// real pushes through, plain and sealed, prints every hop, and leaves it all
// running until Ctrl-C.
//
//	make demo                        from the root of the repository
//	go run ./examples/demo --once    ends after the pushes: exit code 0, or 1 if one went wrong
//
//	                   XML                    JSON                     JSON
//	simulated WeChat ──────▶ ./wx-gateway ──────────▶ this program ──────────▶ examples/backend-go
//	 (this program)  ◀──────              ◀──────────  (looks on)  ◀──────────
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"wx-gateway/conf"
	"wx-gateway/gateway/sim"
)

func main() {
	// SIGPIPE too: "make demo | head" must not leave the children behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		<-ctx.Done()
		stop() // a second signal kills
	}()
	o := options{}
	flag.StringVar(&o.conf, "conf", "sample.conf.json", "configuration `file` of the gateway")
	flag.StringVar(&o.gateway, "gateway", "./wx-gateway", "`program` of the gateway, as make build leaves it")
	flag.StringVar(&o.backend, "backend", "127.0.0.1:7072", "`address` of the sample backend")
	flag.BoolVar(&o.once, "once", false, "end after the pushes")
	flag.Parse()
	if err := demo(ctx, o, os.Stdout); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "\nthe demo failed:", err)
		os.Exit(1)
	}
}

type options struct {
	conf, gateway, backend string
	once                   bool
}

// stage is everything that runs, and where.
type stage struct {
	cfg      *conf.Config
	out      io.Writer
	public   string // base URLs
	internal string
	platform *sim.Platform
	recorder *recorder
	gateway  *child
	logFile  string
}

func demo(ctx context.Context, o options, out io.Writer) error {
	if _, err := os.Stat("examples/backend-go"); err != nil {
		return errors.New("run it from the root of the repository: make demo")
	}
	if _, err := os.Stat(o.gateway); err != nil {
		return fmt.Errorf("there is no %s yet: run make build first", o.gateway)
	}
	cfg, _, err := conf.Load(o.conf, os.LookupEnv)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wx-gateway-demo")
	if err != nil {
		return fmt.Errorf("cannot make a temporary folder: %w", err)
	}
	defer os.RemoveAll(dir)

	s := &stage{cfg: cfg, out: out, logFile: filepath.Join(dir, "gateway.log")}
	defer s.stop()
	if err := s.start(ctx, o, dir); err != nil {
		return err
	}
	if err := s.play(ctx); err != nil {
		return s.withLog(err)
	}
	if o.once {
		return nil
	}
	s.invite(o)
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "\nstopped")
		return nil
	case <-s.gateway.gone:
		return s.withLog(errors.New("the gateway ended by itself"))
	}
}

// start brings everything up, from WeChat's side to the gateway.
func (s *stage) start(ctx context.Context, o options, dir string) error {
	platformAddr, err := hostOf(s.cfg.WXAPIBase)
	if err != nil {
		return fmt.Errorf("cannot use wx-api-base of %s: %w", o.conf, err)
	}
	sealed := s.service("demo")
	if sealed == nil || s.service("plain") == nil {
		return fmt.Errorf("%s needs the services demo and plain of sample.conf.json", o.conf)
	}
	proxyAddr, err := hostOf(sealed.MsgProxyPass)
	if err != nil {
		return fmt.Errorf("cannot use msg-proxy-pass of %s: %w", o.conf, err)
	}
	publicAddr := net.JoinHostPort(s.cfg.ListenHost, strconv.Itoa(s.cfg.ListenPort))
	s.public, s.internal = "http://"+publicAddr, "http://"+publicAddr
	needed := []struct{ what, addr string }{
		{"the simulated WeChat", platformAddr}, {"the onlooker before the backend", proxyAddr},
		{"the sample backend", o.backend}, {"the gateway", publicAddr},
	}
	if own := s.cfg.Internal.Listen; own != "" {
		s.internal = "http://" + own
		needed = append(needed, struct{ what, addr string }{"internal.listen of the gateway", own})
	}
	for _, a := range needed {
		if err := free(a.addr); err != nil {
			return fmt.Errorf("%s is needed for %s: stop the program that listens there (%w)", a.addr, a.what, err)
		}
	}

	s.platform = sim.New(sim.Config{Accounts: accounts(s.cfg)})
	if _, err := s.platform.Start(platformAddr); err != nil {
		return err
	}
	backend := filepath.Join(dir, "backend")
	if err := build(ctx, backend, "./examples/backend-go"); err != nil {
		return err
	}
	backendLog := filepath.Join(dir, "backend.log")
	b, err := run(backend, backendLog, "LISTEN="+o.backend)
	if err != nil {
		return err
	}
	s.recorder, err = record(proxyAddr, o.backend)
	if err != nil {
		b.stop()
		return err
	}
	s.recorder.backend = b
	if err := answers(ctx, b, func(context.Context) error { return dial(o.backend) }); err != nil {
		return fmt.Errorf("the sample backend does not come up: %w\n%s", err, tail(backendLog))
	}
	if s.gateway, err = run(o.gateway, s.logFile, "CONF_FILE="+o.conf); err != nil {
		return err
	}
	health := s.public + s.cfg.Endpoints.HealthCheck
	err = answers(ctx, s.gateway, func(ctx context.Context) error {
		_, _, err := call(ctx, "GET", health, "", nil)
		return err
	})
	if err != nil {
		return s.withLog(fmt.Errorf("the gateway does not come up: %w", err))
	}
	fmt.Fprintf(s.out, "started: simulated WeChat on %s, gateway on %s, sample backend on %s\n", platformAddr, publicAddr, o.backend)
	return nil
}

// stop ends whatever start has started, the gateway first: it drains.
func (s *stage) stop() {
	if s.gateway != nil {
		s.gateway.stop()
	}
	if s.recorder != nil {
		s.recorder.close()
	}
	if s.platform != nil {
		s.platform.Close()
	}
}

// withLog adds the end of the gateway's log to err.
func (s *stage) withLog(err error) error {
	return fmt.Errorf("%w\n\nthe end of the gateway's log:\n%s", err, tail(s.logFile))
}

func (s *stage) service(name string) *conf.Service {
	for i := range s.cfg.Services {
		if s.cfg.Services[i].Name == name {
			return &s.cfg.Services[i]
		}
	}
	return nil
}

func accounts(cfg *conf.Config) []sim.Account {
	var list []sim.Account
	for _, s := range cfg.Services {
		list = append(list, sim.Account{
			AppID: s.AppID, Secret: s.AppSecret.Reveal(), Token: s.Token.Reveal(),
			AESKey: s.AESKey.Reveal(), Kind: string(s.Kind),
		})
	}
	return list
}

func hostOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	if u.Scheme != "http" || u.Port() == "" {
		return "", fmt.Errorf("want http://host:port, got %q", address)
	}
	return u.Host, nil
}

// free says whether addr can be listened to.
func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

func dial(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

// invite says what is running and what a reader may try.
func (s *stage) invite(o options) {
	fmt.Fprintf(s.out, `
%s
Everything keeps running until Ctrl-C, and each call to the backend is shown
here. The gateway's log: %s

In another terminal:

  a sealed text      ./wx-gateway sim push --conf %[3]s --app-id %[4]s --to %[5]s%[6]s --content hello
  a plain menu click ./wx-gateway sim push --conf %[3]s --app-id %[7]s --to %[5]s%[8]s --event CLICK --key MENU_1
  a QR code          curl '%[9]s%[10]s?s=demo&t=temp&sceneid=shop-7'
  make WeChat refuse curl %[11]s/sim/fault -d '{"path":"cgi-bin/user/info","code":45009}'

and, in a browser, web authorization:

  %[11]s/connect/oauth2/authorize?appid=%[4]s&redirect_uri=%[12]s&response_type=code&scope=snsapi_userinfo&state=s1#wechat_redirect
`, rule("it works"), s.logFile, o.conf,
		s.service("demo").AppID, s.public, s.service("demo").ServicePath,
		s.service("plain").AppID, s.service("plain").ServicePath,
		s.internal, s.cfg.Endpoints.WxQR, s.cfg.WXAPIBase,
		url.QueryEscape(s.public+s.service("demo").RedirectPath+"?from=login"))
	s.recorder.watch(func(h hop) {
		fmt.Fprintln(s.out)
		s.printCall(h)
	})
}
