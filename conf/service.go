package conf

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of one service.
const (
	maxName    = 128          // characters of a name
	maxWorkers = 100_000      // workerNum
	maxOldKeys = 16           // entries of tokens-old and of aes-keys-old
	maxTimeout = 365 * 86_400 // seconds
	maxCAFile  = 4 << 20      // bytes of ca-file
	maxWords   = 20           // entries of pickup-words
	maxWord    = 20           // characters of one
	maxAck     = 2047         // bytes: what a text reply may hold

	week = 7 * 24 * time.Hour
)

// readService reads services[i].
func (r *reader) readService(raw []byte, i int, appendUserInfo bool) Service {
	o := r.object(raw, index("services", i), "services[]")
	if !o.present {
		return Service{}
	}
	s := Service{Name: o.checked("name", checkName)}
	switch {
	case s.Name != "":
		r.names[o.path] = s.Name
	case !o.bad("name"):
		o.fault("name", "is missing; give each service a name of its own")
	}
	s.Kind = readKind(o)
	if s.WorkerNum = o.integer("workerNum", 0, 0, maxWorkers); s.WorkerNum == 0 {
		s.WorkerNum = 256
	}
	timeout := 300
	if s.Kind == Shop {
		timeout = 0 // WeChat repeats shop pushes for hours
	}
	timeout = o.integer("timeout", timeout, -maxTimeout, maxTimeout)
	if timeout < 0 { // as the reference takes it
		o.warn("timeout", "is negative, which means off; write 0")
		timeout = 0
	}
	s.Timeout = time.Duration(timeout) * time.Second
	if s.Kind == Shop && timeout > 0 {
		o.warn("timeout", "refuses the pushes that WeChat repeats for hours to a shop; remove it or set it to 0")
	}

	w := o.object("wx-params")
	s.Token, s.AppID, s.AppSecret = w.secret("token"), w.checked("app-id", checkAppID), w.secret("app-secret")
	s.AESKey = Secret(w.hidden("aes-key", checkAESKey))
	w.done()
	l := o.object("listen-endpoints")
	s.ServicePath, s.RedirectPath = l.urlPath("service-path"), l.urlPath("redirect-path")
	l.done()
	s.TokensOld = o.secrets("tokens-old", maxOldKeys, checkFilled)
	s.AESKeysOld = o.secrets("aes-keys-old", maxOldKeys, checkAESKey)

	s.MsgProxyPass = escaped(o.hidden("msg-proxy-pass", checkURL))
	s.RedirectURL = escaped(o.hidden("redirect-url", checkURL))
	s.RedirectUserInfoFlag = o.str("redirect-userinfo-flag")
	s.BackendSecret = Secret(o.hidden("backend-secret", checkBackendSecrets))
	s.BackendTLS = readBackendTLS(o.object("backend-tls"))
	if userInfo := o.optional("user-info", "append", "off"); userInfo != "" {
		appendUserInfo = userInfo == "append"
		if appendUserInfo && s.Kind != Official {
			o.warn("user-info", "has no effect: only official accounts have user info to append")
		}
	}
	s.AppendUserInfo = appendUserInfo && s.Kind == Official
	s.LateReply = readLateReply(o.object("late-reply"), s.Kind)
	s.Redeliver = readRedeliver(o.object("redeliver"))
	readEncryption(o, w, &s)
	judgeService(o, w, &s)
	o.done()
	return s
}

// readKind reads kind and its older form is-channels-ec.
func readKind(o *object) Kind {
	shop, shopSet := o.flag("is-channels-ec")
	kind := Kind(o.optional("kind", string(Official), string(MiniProgram), string(Shop)))
	switch {
	case kind == "" && shop:
		return Shop
	case kind == "":
		return Official
	case shopSet && shop != (kind == Shop):
		o.fault("kind", "%q contradicts is-channels-ec: %t; remove is-channels-ec", string(kind), shop)
	}
	return kind
}

// readEncryption resolves require-encryption.
func readEncryption(o, w *object, s *Service) {
	sealed := s.AESKey != ""
	required, set := o.flag("require-encryption")
	if !set {
		required = sealed
	}
	switch {
	case sealed && !set:
		o.warn("require-encryption", "is not set, so plaintext pushes are refused because aes-key is filled; choose 安全模式 in the console and set it to true, or to false if the account sends plaintext")
	case required && !sealed && !w.bad("aes-key"):
		o.fault("require-encryption", "needs wx-params.aes-key; fill it or set this to false")
	}
	s.RequireEncryption = required
}

// judgeService looks at what the keys of one service mean to each other.
func judgeService(o, w *object, s *Service) {
	if s.ServicePath != "" && s.Token == "" && !w.bad("token") {
		w.fault("token", "is empty, but listen-endpoints.service-path needs it to verify pushes; copy Token from the console")
	}
	switch sealed := s.AESKey != "" || len(s.AESKeysOld) > 0; {
	case s.AppID != "" || w.bad("app-id"):
	case sealed && s.ServicePath != "":
		w.fault("app-id", "is not set, but aes-key needs it to check sealed pushes; copy it from the console")
	case s.AppSecret != "":
		w.warn("app-id", "is not set, so WeChat's API cannot be called; copy it from the console")
	}
	if s.AppSecret == "" && !w.bad("app-secret") {
		w.warn("app-secret", "is not set, so whatever calls WeChat's API is off for this service: user info, customer-service messages, web authorization, tokens; fill it to use them")
	}
	if s.Kind == Shop && s.AESKey == "" && !w.bad("aes-key") {
		w.warn("aes-key", "is not set, so orders and addresses travel in plaintext; choose 安全模式 in the shop's console and copy EncodingAESKey")
	}
	if strings.HasSuffix(s.MsgProxyPass, "/") {
		o.warn("msg-proxy-pass", `ends in "/" and is concatenated, so calls go to "…//msg/text"; remove the slash at the end unless you mean it`)
	}
	if s.RedirectURL != "" && s.RedirectPath == "" {
		o.warn("redirect-url", "has no effect without listen-endpoints.redirect-path; set that too")
	}
	if s.LateReply.Set && s.LateReply.Via != ViaOff && s.WorkerNum < 16 {
		o.warn("workerNum", "is only %d beside late-reply: a slow backend keeps as many waiting; remove it for 256", s.WorkerNum)
	}
}

func readBackendTLS(o *object) BackendTLS {
	t := BackendTLS{CAFile: o.hidden("ca-file", checkCAFile)}
	if t.CAFile != "" {
		o.r.watch(t.CAFile)
	}
	t.Insecure, _ = o.flag("insecure")
	if t.Insecure {
		o.warn("insecure", "lets anyone on the way pose as the backend; name its authority in ca-file instead")
	}
	o.done()
	return t
}

func readLateReply(o *object, kind Kind) LateReply {
	vias := []string{ViaCustomerService, ViaPickup, ViaOff}
	if kind == Shop {
		vias = []string{ViaOff, ViaCustomerService, ViaPickup}
	}
	ack := o.text("ack")
	l := LateReply{
		Set:       o.present,
		Via:       o.choice("via", vias...),
		Ack:       ack.value,
		AckSet:    ack.set,
		MaxWait:   o.duration("max-wait", 120*time.Second, time.Second, 24*time.Hour),
		Keep:      o.duration("keep", 24*time.Hour, time.Minute, week),
		HoldLimit: o.integer("hold-limit", 30, 0, 10_000),
	}
	hold, set := o.flag("hold")
	l.Hold = hold || !set
	if len(l.Ack) > maxAck {
		o.fault("ack", "must not be longer than %d bytes, got %d", maxAck, len(l.Ack))
	}
	switch {
	case kind == Shop && l.Via != ViaOff:
		o.warn("via", "has no effect: a shop has no users to answer")
		l.Via = ViaOff
	case kind == MiniProgram && l.Via == ViaPickup:
		o.fault("via", `"pickup" needs passive replies, which a mini program does not have; use %q`, ViaCustomerService)
	case l.Via == ViaPickup && l.AckSet && l.Ack == "":
		o.warn("ack", "is empty, so nobody tells the user which word to send; remove it for the usual sentence")
	}
	if words := readPickupWords(o); words != nil {
		l.PickupWords = words
	} else if l.Via == ViaPickup {
		l.PickupWords = []string{"继续"}
	}
	o.done()
	return l
}

// readPickupWords returns nil when the file has none.
func readPickupWords(o *object) []string {
	var words []string
	for i, t := range o.list("pickup-words", maxWords) {
		word := strings.TrimSpace(t.value)
		switch n := utf8.RuneCountInString(word); {
		case !t.set:
		case n == 0 || n > maxWord:
			o.r.fault(index(o.at("pickup-words"), i), "must be a word of 1 to %d characters, got %d", maxWord, n)
		default:
			words = append(words, word)
		}
	}
	return words
}

func readRedeliver(o *object) Redeliver {
	r := Redeliver{
		For:         o.duration("for", 24*time.Hour, 0, week),
		Timeouts:    o.integer("timeouts", 2, 0, 100),
		MaxAgeReply: o.duration("max-age-reply", 10*time.Minute, 0, 48*time.Hour), // WeChat takes customer-service messages for 48 h
	}
	o.done()
	return r
}

func checkName(s string) error {
	switch {
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("must not hold control characters")
	case strings.TrimSpace(s) != s:
		return errors.New("must not begin or end with a blank")
	case utf8.RuneCountInString(s) > maxName:
		return fmt.Errorf("must not be longer than %d characters", maxName)
	}
	return nil
}

// checkAppID keeps what is no name of a file out: the token cache has one named after each app-id.
func checkAppID(s string) error {
	if len(s) > maxName || s == "." || s == ".." || strings.ContainsAny(s, `/\:`) || strings.ContainsFunc(s, blankOrControl) {
		return errors.New("must be an app-id like wx5d8f0a3b7c2e9146 from the console")
	}
	return nil
}

func checkFilled(s string) error {
	if s == "" {
		return errors.New("must not be empty; remove it")
	}
	return nil
}

func checkBackendSecrets(s string) error {
	list := strings.Fields(s)
	if len(list) == 0 {
		return errors.New("holds only blanks; fill or remove it")
	}
	if len(list) > maxOldKeys {
		return fmt.Errorf("must not hold more than %d secrets", maxOldKeys)
	}
	for i, one := range list {
		if err := checkBackendSecret(one); err != nil {
			if len(list) == 1 {
				return err
			}
			return fmt.Errorf("secret %d of %d %w", i+1, len(list), err)
		}
	}
	return nil
}

func checkCAFile(name string) error {
	data, err := readUpTo(name, maxCAFile)
	if err != nil {
		return fmt.Errorf("cannot read the file %s: %w", quote(name), reason(err))
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return fmt.Errorf("the file %s holds no certificate in PEM form", quote(name))
	}
	return nil
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
