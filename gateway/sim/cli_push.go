package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

const maxFile = 1 << 20 // of a push read from a file

// pushFlags is the command line of "sim push" before it becomes a Push.
type pushFlags struct {
	push     Push
	fields   Fields
	mode     string
	format   string
	schedule string
	attempts int
	verify   bool
	stamp    int64
	content  bool // --content was given
}

func runPush(ctx context.Context, args []string, accounts []Account, stdout, stderr io.Writer) int {
	var f pushFlags
	f.fields.Extra = make(map[string]string)
	fs := newFlags("wx-gateway sim push", stderr)
	fs.StringVar(&f.push.URL, "to", "", "the server's `URL`, as 服务器配置 names it")
	fs.StringVar(&f.push.Token, "token", "", "the account's token")
	fs.StringVar(&f.push.AppID, "app-id", "", "the account's app-id; chooses one of --conf")
	fs.StringVar(&f.push.AESKey, "aes-key", "", "the account's EncodingAESKey: the push is sealed")
	fs.StringVar(&f.mode, "mode", "", "plain, compatible or safe; default safe with an aes-key, else plain")
	fs.StringVar(&f.format, "format", "xml", "of a built message: xml or json")
	fs.StringVar(&f.fields.Type, "type", "", "MsgType of a built message; default text, or event with --event")
	fs.StringVar(&f.fields.Content, "content", "你好", "text of a built message")
	fs.StringVar(&f.fields.Event, "event", "", "event name, such as CLICK or subscribe")
	fs.StringVar(&f.fields.EventKey, "key", "", "EventKey of the event")
	fs.StringVar(&f.fields.From, "from", "", "the user's openid")
	fs.StringVar(&f.fields.To, "original-id", "", "the account's gh_… id")
	fs.StringVar(&f.fields.MsgID, "msg-id", "", "MsgId; default a new one")
	fs.Int64Var(&f.stamp, "timestamp", 0, "of the query, in seconds; default now")
	fs.StringVar(&f.push.Nonce, "nonce", "", "of the query")
	fs.StringVar(&f.schedule, "schedule", "wechat", "how it is repeated: "+strings.Join(scheduleNames(), ", "))
	fs.IntVar(&f.attempts, "attempts", 0, "how many attempts; default the schedule's")
	fs.BoolVar(&f.verify, "verify", false, "only the GET with echostr that the console sends")
	fs.Func("set", "another element as `Name=value`; repeatable", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok || !elementName(name) {
			return errors.New("must be Name=value")
		}
		f.fields.Extra[name] = value
		return nil
	})
	// The file may stand before the flags as well as behind them.
	var files []string
	for rest := args; ; {
		if code, done := parse(fs, rest); done {
			return code
		}
		if fs.NArg() == 0 {
			break
		}
		files = append(files, fs.Arg(0))
		rest = fs.Args()[1:]
	}
	fs.Visit(func(g *flag.Flag) { f.content = f.content || g.Name == "content" })
	p, s, err := f.settle(files, accounts)
	if err != nil {
		fmt.Fprintf(stderr, "%v\n", err)
		return exitUsage
	}
	if f.verify {
		if err := p.Verify(ctx); err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailed
		}
		fmt.Fprintln(stdout, "verified: the server echoed the echostr")
		return exitOK
	}
	result, err := p.Send(ctx, s)
	report(stdout, result)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	if result.Answer == nil {
		return exitFailed
	}
	return exitOK
}

// settle turns the flags into a push and its schedule.
func (f *pushFlags) settle(files []string, accounts []Account) (Push, Schedule, error) {
	p := f.push
	if p.URL == "" {
		return p, Schedule{}, errors.New("--to is needed: the URL of the server to push to")
	}
	if a := chosen(accounts, p.AppID); a != nil {
		p.AppID = a.AppID
		p.Token = or(p.Token, a.Token)
		if f.mode != string(Plain) {
			p.AESKey = or(p.AESKey, a.AESKey)
		}
		f.fields.To = or(f.fields.To, a.OriginalID)
		if a.Kind == KindShop && len(files) == 0 {
			f.format = "json" // shops know nothing else
		}
	}
	if p.Token == "" {
		return p, Schedule{}, errors.New("--token is needed, or an account that has one")
	}
	p.Mode = Mode(f.mode)
	switch p.Mode {
	case "", Plain, Compatible, Safe:
	default:
		return p, Schedule{}, fmt.Errorf("--mode %q is none of plain, compatible, safe", f.mode)
	}
	sealed := p.Mode == Compatible || p.Mode == Safe || p.Mode == "" && p.AESKey != ""
	if sealed && (p.AppID == "" || p.AESKey == "") {
		return p, Schedule{}, errors.New("a sealed push needs --app-id and --aes-key")
	}
	if f.stamp != 0 {
		p.At = time.Unix(f.stamp, 0)
	}
	s, ok := allSchedules()[f.schedule]
	if !ok {
		return p, s, fmt.Errorf("--schedule %q is none of %s", f.schedule, strings.Join(scheduleNames(), ", "))
	}
	if f.attempts != 0 {
		s.Attempts = f.attempts
	}
	if _, err := s.settled(); err != nil {
		return p, s, err
	}
	var err error
	p.Body, err = f.body(files)
	return p, s, err
}

func (f *pushFlags) body(files []string) ([]byte, error) {
	switch {
	case len(files) > 1:
		return nil, fmt.Errorf("one file at a time, got %d", len(files))
	case len(files) == 1:
		return readPush(files[0])
	}
	if !f.content && (f.fields.Event != "" || f.fields.Type != "" && f.fields.Type != "text") {
		f.fields.Content = "" // the default text belongs to text messages
	}
	switch f.format {
	case "xml":
		return f.fields.XML(), nil
	case "json":
		return f.fields.JSON(), nil
	}
	return nil, fmt.Errorf("--format %q is neither xml nor json", f.format)
}

func readPush(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the push: %w", err)
	}
	defer file.Close()
	body, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the push %s: %w", name, err)
	}
	if len(body) > maxFile {
		return nil, fmt.Errorf("cannot read the push %s: more than %d bytes", name, maxFile)
	}
	return body, nil
}

// report prints what happened, and the reply as the user gets it.
func report(w io.Writer, r Result) {
	for _, a := range r.Attempts {
		fmt.Fprintf(w, "attempt %d  at %.1fs  took %.2fs  ", a.N, a.Started.Seconds(), a.Took.Seconds())
		if a.Status != 0 {
			fmt.Fprintf(w, "status %d  ", a.Status)
		}
		fmt.Fprint(w, a.Outcome)
		if a.Sealed {
			fmt.Fprint(w, " (sealed)")
		}
		if a.Err != "" {
			fmt.Fprintf(w, ": %s", a.Err)
		}
		fmt.Fprintln(w)
	}
	switch {
	case r.Answer == nil:
		fmt.Fprintln(w, "no attempt was answered: the user sees 该公众号暂时无法提供服务，请稍后再试")
	case r.Answer.Outcome == OutcomeSuccess:
		fmt.Fprintln(w, "taken without a reply")
	default:
		fmt.Fprintf(w, "the reply:\n%s\n", r.Answer.Opened)
	}
}

// chosen is the account of that app-id, or the only one there is.
func chosen(accounts []Account, appid string) *Account {
	for i := range accounts {
		if accounts[i].AppID == appid || appid == "" && len(accounts) == 1 {
			return &accounts[i]
		}
	}
	return nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// elementName keeps --set from writing markup.
func elementName(s string) bool {
	return validOpenID(s) && (s[0] < '0' || s[0] > '9') && s[0] != '-'
}

func allSchedules() map[string]Schedule {
	all := Schedules()
	all["shop"] = Shop()
	return all
}

func scheduleNames() []string { return slices.Sorted(maps.Keys(allSchedules())) }
