package sim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"wx-gateway/gateway/codec"
)

// Kinds of accounts, as services[].kind names them.
const (
	KindOfficial    = "official"
	KindMiniProgram = "mini-program"
	KindShop        = "shop"
)

// Account is one account of the platform.
type Account struct {
	AppID      string
	Secret     string // AppSecret; empty: any secret is accepted
	Token      string // of 服务器配置; only the push client needs it
	AESKey     string // EncodingAESKey; only the push client needs it
	OriginalID string // gh_…, the ToUserName of its pushes
	Kind       string // KindOfficial, KindMiniProgram, KindShop; empty: everything is allowed

	// NoCustomSend answers 48001 to message/custom/*, NoUserInfo to user/info:
	// what an unverified subscription account meets.
	NoCustomSend, NoUserInfo bool
}

// Config sets up a Platform. The zero value is a platform that accepts every
// app-id and secret.
type Config struct {
	// Accounts are the only ones known. Empty: any app-id with any secret is
	// accepted and becomes an account when first seen.
	Accounts []Account

	// Log gets one line per call, without tokens or secrets. Default: none.
	Log *slog.Logger

	// Now is the platform's clock. Default: time.Now.
	Now func() time.Time

	// TokenLife is how long access_tokens and tickets live. Default: 7200 s.
	TokenLife time.Duration

	// Overlap is how long the token before still works after a renewal, and how
	// long before its end stable_token hands out the next one. Default: 5 min.
	Overlap time.Duration

	// Quota makes message/custom/* obey the windows that Interacted opens:
	// 45015 outside of one, 45047 when it is used up, 45080 for typing.
	Quota bool

	// KnownUsersOnly makes user/info answer subscribe 0 for every openid that
	// SetUser has not named. Default: unknown ones are invented as followers.
	KnownUsersOnly bool
}

// Bounds of what a Platform remembers.
const (
	maxAccounts = 1000    // accounts of a list beyond that are not known
	maxUsers    = 100_000 // per account
	maxCodes    = 10_000
	maxGrants   = 10_000
	maxTickets  = 10_000
)

// Platform is WeChat's API server, authorize page and QR code page in one
// http.Handler. It is safe for concurrent use.
type Platform struct {
	log      *slog.Logger
	now      func() time.Time
	life     time.Duration
	overlap  time.Duration
	quota    bool
	known    bool
	anybody  bool // no account list: accounts appear when first seen
	routes   map[string]route
	closing  chan struct{} // closed by Close: ends the waiting of faults
	closeOne sync.Once

	mu       sync.Mutex // guards everything below
	accounts map[string]*account
	tokens   map[string]*issued // every access_token remembered, dead or alive
	codes    *table[*code]
	grants   *table[*grant] // by sns access_token
	renewals *table[*grant] // by refresh_token
	tickets  *table[qrTicket]
	media    mediaStore
	calls    history
	sent     outbox
	faults   []*Fault
	lastID   uint64

	server   *http.Server
	listener net.Listener
	served   chan struct{} // closed when the server has gone
}

// account is the platform's side of an Account.
type account struct {
	Account
	classic tokenLine
	stable  tokenLine
	tickets map[string]jsTicket // by type: jsapi, wx_card
	users   *table[map[string]any]
	windows *table[*windows] // by openid
	menu    codec.RawMessage

	quotaClears tally // per month
}

// New returns a platform that answers as cfg says. It holds no goroutine until Start.
func New(cfg Config) *Platform {
	p := &Platform{
		log:      cfg.Log,
		now:      cfg.Now,
		life:     cfg.TokenLife,
		overlap:  cfg.Overlap,
		quota:    cfg.Quota,
		known:    cfg.KnownUsersOnly,
		anybody:  len(cfg.Accounts) == 0,
		closing:  make(chan struct{}),
		accounts: make(map[string]*account),
		tokens:   make(map[string]*issued),
		codes:    newTable[*code](maxCodes),
		grants:   newTable[*grant](maxGrants),
		renewals: newTable[*grant](maxGrants),
		tickets:  newTable[qrTicket](maxTickets),
		lastID:   1 << 53, // ids a float64 cannot hold: whoever rounds them is found out
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.life <= 0 {
		p.life = 7200 * time.Second
	}
	if p.overlap <= 0 {
		p.overlap = 5 * time.Minute
	}
	p.routes = p.table()
	for _, a := range cfg.Accounts[:min(len(cfg.Accounts), maxAccounts)] {
		p.accounts[a.AppID] = newAccount(a)
	}
	return p
}

func newAccount(a Account) *account {
	return &account{
		Account: a,
		tickets: make(map[string]jsTicket),
		users:   newTable[map[string]any](maxUsers),
		windows: newTable[*windows](maxUsers),
	}
}

// account finds appid, inventing it where everybody is welcome. Caller holds mu.
func (p *Platform) account(appid string) *account {
	if a := p.accounts[appid]; a != nil {
		return a
	}
	if !p.anybody || appid == "" || len(appid) > 64 || len(p.accounts) >= maxAccounts {
		return nil
	}
	a := newAccount(Account{AppID: appid})
	p.accounts[appid] = a
	return a
}

// nextID returns an id that no float64 holds exactly. Caller holds mu.
func (p *Platform) nextID() uint64 {
	p.lastID += 1_000_002 // even, so that the id stays odd
	return p.lastID + 1
}

// random returns n characters of base64url noise.
func random(n int) string {
	b := make([]byte, (n*3+3)/4)
	rand.Read(b) // never fails: crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

// hash is the source of everything invented: the same parts give the same value.
func hash(parts ...string) []byte {
	h := sha256.New()
	for _, s := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return h.Sum(nil)
}

// invent returns an id of n characters in WeChat's alphabet, prefix included.
func invent(prefix string, n int, parts ...string) string {
	s := base64.RawURLEncoding.EncodeToString(hash(append(parts, prefix)...))
	return (prefix + s)[:n]
}

// rid is the support handle that ends WeChat's error messages.
func (p *Platform) rid() string {
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], uint32(p.now().Unix()))
	rand.Read(b[4:])
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:16] + "-" + s[16:]
}

// table is a map that forgets its oldest entries beyond max.
type table[V any] struct {
	max   int
	m     map[string]V
	order []string // oldest first; may name deleted keys
}

func newTable[V any](max int) *table[V] { return &table[V]{max: max, m: make(map[string]V)} }

func (t *table[V]) get(k string) (V, bool) { v, ok := t.m[k]; return v, ok }

func (t *table[V]) put(k string, v V) {
	if _, ok := t.m[k]; !ok {
		t.order = append(t.order, k)
	}
	t.m[k] = v
	for len(t.m) > t.max || len(t.order) > 2*t.max {
		delete(t.m, t.order[0])
		t.order = t.order[1:]
	}
}
