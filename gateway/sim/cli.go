package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `usage:
  wx-gateway sim [--listen 127.0.0.1:7090] [--conf conf.json] [--account app-id:secret[:token[:aes-key]]]...
      serves WeChat's API, authorize page and QR code page until interrupted;
      without accounts any app-id with any secret is accepted
  wx-gateway sim push --to URL [--token T] [--app-id ID] [--aes-key K] [--conf conf.json] [message | file]
      sends one push as WeChat does and shows the answer

"wx-gateway sim -h" and "wx-gateway sim push -h" list all flags.
`

// Exit codes of the command.
const (
	exitOK     = 0 // served to the end, or the push was answered
	exitFailed = 1 // cannot listen, or nobody answered the push
	exitUsage  = 2
)

// Main is the command line of "wx-gateway sim": args without these words. It
// serves until SIGINT or SIGTERM. WECHAT_APP_ID, WECHAT_APP_SECRET,
// WECHAT_APP_TOKEN and WECHAT_AES_KEY, where set, name an account, so that
// secrets need not stand on the command line.
func Main(args []string, stdout, stderr io.Writer, getenv func(string) (string, bool)) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, args, envAccounts(getenv), stdout, stderr)
}

func envAccounts(getenv func(string) (string, bool)) []Account {
	value := func(name string) string { v, _ := getenv(name); return v }
	a := Account{
		AppID: value("WECHAT_APP_ID"), Secret: value("WECHAT_APP_SECRET"),
		Token: value("WECHAT_APP_TOKEN"), AESKey: value("WECHAT_AES_KEY"),
	}
	if a.AppID == "" {
		return nil
	}
	return []Account{a}
}

// SplitConf takes "--conf file" out of args. Run does not read configuration
// files: the caller loads file and passes its accounts.
func SplitConf(args []string) (file string, rest []string) {
	for i := 0; i < len(args); i++ {
		name, value, has := strings.Cut(args[i], "=")
		switch {
		case name != "-conf" && name != "--conf":
			rest = append(rest, args[i])
		case has:
			file = value
		case i+1 < len(args):
			i++
			file = args[i]
		default:
			rest = append(rest, args[i]) // no value: let the flag parser say so
		}
	}
	return file, rest
}

// Run is Main until ctx ends, with the accounts of a configuration. It returns
// the exit code: 0 when it was served to the end or the push was answered, 1
// when not, 2 for a wrong command line.
func Run(ctx context.Context, args []string, accounts []Account, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "push" {
		return runPush(ctx, args[1:], accounts, stdout, stderr)
	}
	return runServer(ctx, args, accounts, stdout, stderr)
}

func newFlags(name string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, usage, "\n")
		fs.PrintDefaults()
	}
	return fs
}

// parse reads args; done means that the command ends here with that code.
func parse(fs *flag.FlagSet, args []string) (code int, done bool) {
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK, true
	case err != nil:
		return exitUsage, true // the flag set has said why
	}
	return 0, false
}

func runServer(ctx context.Context, args []string, accounts []Account, stdout, stderr io.Writer) int {
	fs := newFlags("wx-gateway sim", stderr)
	listen := fs.String("listen", "127.0.0.1:7090", "`address` to serve on")
	life := fs.Duration("token-life", 7200*time.Second, "how long access_tokens and tickets live")
	overlap := fs.Duration("overlap", 5*time.Minute, "how long the token before still works")
	quota := fs.Bool("quota", false, "obey the windows of customer-service messages")
	// Read after parsing: the flag package repeats a refused value, secret and all.
	var named []string
	fs.Func("account", "an account as `app-id:secret[:token[:aes-key]]`; repeatable", func(s string) error {
		named = append(named, s)
		return nil
	})
	if code, done := parse(fs, args); done {
		return code
	}
	accounts = slices.Clone(accounts)
	for _, s := range named {
		a, err := parseAccount(s)
		if err != nil {
			fmt.Fprintf(stderr, "--account %v\n", err)
			return exitUsage
		}
		accounts = append(accounts, a)
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "unknown argument %q\n%s", fs.Arg(0), usage)
		return exitUsage
	}
	p := New(Config{
		Accounts: accounts, TokenLife: *life, Overlap: *overlap, Quota: *quota,
		Log: slog.New(slog.NewTextHandler(stderr, nil)),
	})
	base, err := p.Start(*listen)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	defer p.Close()
	fmt.Fprintf(stdout, "simulated WeChat on %s\n", base)
	fmt.Fprintf(stdout, "  in conf.json:  \"wx-api-base\": %q, \"wx-open-base\": %[1]q, \"wx-mp-base\": %[1]q\n", base)
	if len(accounts) == 0 {
		fmt.Fprintln(stdout, "  accounts:      any app-id with any secret")
	}
	for _, a := range accounts {
		fmt.Fprintf(stdout, "  account:       %s\n", a.AppID)
	}
	fmt.Fprintln(stdout, "  send a push:   wx-gateway sim push --to http://127.0.0.1:8080/wx --token … --content 你好")
	fmt.Fprintf(stdout, "  set a fault:   curl %s/sim/fault -d '{\"path\":\"cgi-bin/user/info\",\"code\":45009}'  (-X DELETE clears)\n", base)
	<-ctx.Done()
	return exitOK
}

// parseAccount reads app-id:secret[:token[:aes-key]]. The value is never
// repeated in an error: it holds the secret.
func parseAccount(s string) (Account, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 4 || parts[0] == "" {
		return Account{}, errors.New("must be app-id:secret[:token[:aes-key]]")
	}
	parts = append(parts, "", "")
	return Account{AppID: parts[0], Secret: parts[1], Token: parts[2], AESKey: parts[3]}, nil
}
