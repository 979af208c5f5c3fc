// Command wx-gateway runs the gateway, checks a configuration, or plays WeChat.
//
//	CONF_FILE=conf.json wx-gateway          run
//	CONF_FILE=conf.json wx-gateway check    validate the configuration
//	    check --probe URL                   and try the running gateway as WeChat would
//	wx-gateway sim                          a WeChat platform on this machine
//	wx-gateway -v                           version
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	_ "time/tzdata" // TZ is honoured where the system knows no time zones

	"wx-gateway/conf"
)

// Set by the linker, see the Makefile.
var (
	version   = "dev"
	buildTime = "unknown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second signal kills
	}()
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

const usage = `Usage:
  CONF_FILE=conf.json wx-gateway          run the gateway
  CONF_FILE=conf.json wx-gateway check    validate the configuration
      check --probe URL [--service NAME]  and try the running gateway as WeChat would
  wx-gateway sim [flags]                  a WeChat platform on this machine
  wx-gateway sim push [flags] [file]      send one push as WeChat does
  wx-gateway -v                           version

Without CONF_FILE one account is taken from the environment:
  WECHAT_APP_ID, WECHAT_APP_SECRET, WECHAT_APP_TOKEN, and optionally
  WECHAT_AES_KEY, MSG_PROXY_PASS, WECHAT_SERVICE_PATH, LISTEN_PORT
`

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) (string, bool), stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("wx-gateway", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	showVersion := flags.Bool("v", false, "print the version")
	if err := flags.Parse(args); err != nil {
		if err == flag.ErrHelp {
			return 0
		}
		return 2
	}
	if *showVersion {
		fmt.Fprintf(stdout, "wx-gateway %s (built %s, %s)\n", version, buildTime, runtime.Version())
		return 0
	}
	switch cmd := flags.Arg(0); cmd {
	case "", "run":
		return serve(ctx, getenv, stderr)
	case "check":
		return check(ctx, flags.Args()[1:], getenv, stdout, stderr)
	case "sim":
		return simulate(ctx, flags.Args()[1:], getenv, stdout, stderr)
	default:
		fmt.Fprintf(stderr, "unknown command %q\n\n%s", cmd, usage)
		return 2
	}
}

// load reads the configuration: the file that CONF_FILE names, or one account
// from the environment.
func load(getenv func(string) (string, bool)) (*conf.Config, []conf.Problem, error) {
	if path, ok := getenv("CONF_FILE"); ok && path != "" {
		return conf.Load(path, getenv)
	}
	return conf.FromEnv(getenv)
}

// check validates the configuration like `nginx -t`; with --probe it then plays
// WeChat against the gateway that runs with it.
func check(ctx context.Context, args []string, getenv func(string) (string, bool), stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("wx-gateway check", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	address := flags.String("probe", "", "the URL of 服务器配置")
	service := flags.String("service", "", "name of the service to probe; default the one with the URL's path")
	if err := flags.Parse(args); err != nil {
		if err == flag.ErrHelp {
			return 0
		}
		return 2
	}
	switch {
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "unexpected argument %q\n\n%s", flags.Arg(0), usage)
		return 2
	case *address == "" && *service != "":
		fmt.Fprintf(stderr, "--service needs --probe\n\n%s", usage)
		return 2
	}
	cfg, warnings, err := load(getenv)
	for _, w := range warnings {
		fmt.Fprintf(stdout, "warning: %s\n", w)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stdout, "the configuration is good")
	if *address == "" {
		return 0
	}
	return probe(ctx, cfg, *address, *service, stdout, stderr)
}
