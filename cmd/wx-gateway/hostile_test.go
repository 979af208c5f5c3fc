package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"wx-gateway/gateway/crypt"
	"wx-gateway/gateway/sim"
)

// TestHostileSenders: what does not come from WeChat, or not as WeChat sent it.
func TestHostileSenders(t *testing.T) {
	t.Parallel()
	w := newHostileWorld(t)
	var attacks []attack
	send := func(name, target, body, want string) {
		attacks = append(attacks, attack{name, lastPost(target, body), []string{want}})
	}
	text := sim.Fields{Content: "hostile"}.XML()
	build := func(p sim.Push, change func(p *sim.Push)) (target, body string) {
		if change != nil {
			change(&p)
		}
		return w.build(p)
	}
	const (
		unsigned    = "403 the query lacks signature, timestamp or nonce"
		signature   = "403 bad signature"
		stamp       = "403 bad timestamp"
		tooOld      = "403 timestamp out of range"
		plaintext   = "403 plaintext is not accepted"
		lacksType   = "400 the body is encrypted, but the query lacks encrypt_type=aes"
		unknownType = "400 unknown encrypt_type"
		noEncrypt   = "400 cannot find Encrypt in the body"
		msgSign     = "403 bad msg_signature"
		noKey       = "400 the push is encrypted, but the account has no aes-key"
		appID       = "403 sealed for another app-id"
		envelope    = "400 cannot open the envelope"
	)
	target, body := build(w.push("/wx", text), nil)
	query := func(target string, change ...string) string { // names and values; of "" the name is removed
		path, q, _ := strings.Cut(target, "?")
		values, err := url.ParseQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(change); i += 2 {
			if values.Set(change[i], change[i+1]); change[i+1] == "" {
				values.Del(change[i])
			}
		}
		return path + "?" + values.Encode()
	}
	signed, err := url.ParseQuery(target[len("/wx?"):])
	if err != nil {
		t.Fatal(err)
	}

	// Forged.
	for _, path := range []string{"/wx", "/mixed", "/open"} {
		target, body := build(w.push(path, text), func(p *sim.Push) { p.Token = "another" })
		send("another token at "+path, target, body, signature)
		target, body = build(w.push(path, text), nil)
		send("no query at "+path, path, body, unsigned)
		for _, name := range []string{"signature", "timestamp", "nonce"} {
			send("no "+name+" at "+path, query(target, name, ""), body, unsigned)
		}
		send("another nonce at "+path, query(target, "nonce", "1"), body, signature)
		send("another timestamp at "+path, query(target, "timestamp", "1700000000"), body, signature)
	}
	send("signature in upper case", query(target, "signature", strings.ToUpper(signed.Get("signature"))+"A"), body, signature)
	send("signature cut short", query(target, "signature", signed.Get("signature")[:39]), body, signature)
	send("100 signatures", "/wx?"+strings.Repeat("signature=0&", 100)+target[len("/wx?"):], body, signature)
	send("no msg_signature", query(target, "msg_signature", ""), body, msgSign)
	send("signature as msg_signature", query(target, "msg_signature", signed.Get("signature")), body, msgSign)
	attacks = append(attacks,
		attack{"forged verification", "GET " + query(target, "signature", "0") + "&echostr=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []string{signature}},
		attack{"another method", "PUT " + target + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", []string{"405 method not allowed"}})

	// Replayed when it is too old, or made for later.
	for _, path := range []string{"/wx", "/mixed", "/open"} {
		for name, shift := range map[string]time.Duration{"an hour old": -time.Hour, "of tomorrow": 24 * time.Hour} {
			target, body := build(w.push(path, text), func(p *sim.Push) { p.At = time.Now().Add(shift) })
			send(name+" at "+path, target, body, tooOld)
		}
	}
	// The signature covers timestamp and nonce as one text in sorted order.
	digits := func(name, timestamp, nonce string) {
		send(name, "/open?"+url.Values{"timestamp": {timestamp}, "nonce": {nonce}, "signature": {crypt.Sign(token, timestamp, nonce)}}.Encode(), string(text), stamp)
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	digits("a digit moved to the timestamp", now+"1", "5")
	digits("a digit moved from the timestamp", now[:9], now[9:]+"5")
	digits("a negative timestamp", "-"+now[1:], "5")
	digits("a timestamp with blanks", " "+now[1:], "5")
	digits("no digits", "yesterday!", "5")

	// Downgraded.
	plainTarget, plainBody := build(w.push("/wx", text), func(p *sim.Push) { p.Mode = sim.Plain })
	send("plaintext", plainTarget, plainBody, plaintext)
	send("plaintext under a sealed push's query", query(target, "encrypt_type", "", "msg_signature", ""), plainBody, plaintext)
	send("plaintext called sealed", query(target), plainBody, noEncrypt)
	for _, path := range []string{"/wx", "/mixed"} {
		for _, content := range []struct {
			format string
			body   []byte
		}{{"XML", text}, {"JSON", sim.Fields{Content: "hostile"}.JSON()}} {
			for _, mode := range []sim.Mode{sim.Safe, sim.Compatible} {
				target, body := build(w.push(path, content.body), func(p *sim.Push) { p.Mode = mode })
				name := fmt.Sprintf("%s %s at %s: ", mode, content.format, path)
				send(name+"encrypt_type removed", query(target, "encrypt_type", ""), body, lacksType)
				send(name+"encrypt_type raw", query(target, "encrypt_type", "raw"), body, lacksType)
				send(name+"encrypt_type des", query(target, "encrypt_type", "des"), body, unknownType)
				send(name+"encrypt_type AES", query(target, "encrypt_type", "AES"), body, unknownType)
				send(name+"two encrypt_types", strings.Replace(target, "?", "?encrypt_type=raw&", 1), body, lacksType)
			}
		}
	}
	compatible, both := build(w.push("/wx", text), func(p *sim.Push) { p.Mode = sim.Compatible })
	send("the sealed copy cut out", compatible, both[:strings.Index(both, "<Encrypt>")]+"</xml>", noEncrypt)
	send("an empty sealed copy", compatible, both[:strings.Index(both, "<Encrypt>")]+"<Encrypt></Encrypt></xml>", noEncrypt)

	// Crossed.
	f := func(name, path, want string, change func(p *sim.Push)) {
		target, body := build(w.push(path, text), change)
		send(name, target, body, want)
	}
	f("sealed for another app-id", "/wx", appID, func(p *sim.Push) { p.AppID = twinAppID })
	f("sealed for no app-id it could be", "/wx", appID, func(p *sim.Push) { p.AppID = "../../etc/passwd" })
	f("sealed for a longer app-id", "/wx", appID, func(p *sim.Push) { p.AppID += "0" })
	f("sealed with another key", "/wx", envelope, func(p *sim.Push) { p.AESKey = otherKey })
	f("sealed for another account", "/twin", appID, func(p *sim.Push) { p.AppID = w.push("/wx", nil).AppID })
	f("sealed, to an account without a key", "/open", noKey, func(p *sim.Push) { p.Mode = sim.Safe })
	_, another := build(w.push("/wx", sim.Fields{Content: "another"}.XML()), nil)
	send("the body of another push", target, another, msgSign)
	send("sent on to another account", "/twin?"+target[len("/wx?"):], body, appID)

	// Rotten, behind signatures that are right.
	for name, encrypt := range rotten(string(text)) {
		target, body := signEnvelope("/wx", encrypt)
		want := envelope
		if name == "no app-id" {
			want = appID
		}
		send(name, target, body, want)
	}

	w.attack(attacks)
	w.forwardsNothing()

	// Only what is sealed counts, and a replay within the window is taken for
	// WeChat's own repeat: the backend hears of the push once.
	altered := strings.Replace(both, "hostile", "altered", 1)
	replays := []attack{{"altered beside the sealed copy", lastPost(compatible, altered), []string{"200 a reply"}}}
	for i := range 5 {
		replays = append(replays, attack{fmt.Sprint("replay ", i), lastPost(target, body), []string{"200 a reply"}})
	}
	w.attack(replays)
	if calls := w.prey.calls(); len(calls) != 1 || !strings.Contains(calls[0], `"Content":"hostile"`) {
		t.Errorf("the backend got %q, want the sealed text once", calls)
	}

	for _, mend := range []string{
		"account wx sends plaintext: choose 安全模式 in the console, or set require-encryption to false",
		`found \"` + twinAppID + `\", expected \"`,
		"compare services[].wx-params.aes-key with the console's EncodingAESKey",
		"compare services[].wx-params.token with the console's Token",
	} {
		w.p.find("level=WARN [^\n]*" + strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`).Replace(mend))
	}
	w.unhurt(hostileMost)
}

// hostileMost bounds what the process takes while strangers send small things.
const hostileMost = 200 << 20

// signEnvelope makes a push to path of any Encrypt text, signed as WeChat does.
func signEnvelope(path, encrypt string) (target, body string) {
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	q := url.Values{
		"timestamp": {stamp}, "nonce": {"1"}, "signature": {crypt.Sign(token, stamp, "1")},
		"encrypt_type": {"aes"}, "msg_signature": {crypt.Sign(token, stamp, "1", encrypt)},
	}
	return path + "?" + q.Encode(), "<xml><ToUserName>gh_1</ToUserName><Encrypt>" + encrypt + "</Encrypt></xml>"
}

// rotten are envelopes that no account should open, by what is wrong.
func rotten(text string) map[string]string {
	secret, _ := base64.StdEncoding.DecodeString(aesKey + "=")
	block, _ := aes.NewCipher(secret)
	lock := func(plain string) string {
		b := []byte(plain)
		cipher.NewCBCEncrypter(block, secret[:aes.BlockSize]).CryptBlocks(b, b)
		return base64.StdEncoding.EncodeToString(b)
	}
	// seal lays an envelope out: size is what its length field says, pad the
	// bytes at its end, to whole blocks of 32.
	seal := func(size int, id string, pad func(n int) string) string {
		plain := string(binary.BigEndian.AppendUint32([]byte("0123456789abcdef"), uint32(size))) + text + id
		return lock(plain + pad(32-len(plain)%32))
	}
	even := func(n int) string { return strings.Repeat(string(rune(n)), n) }
	last := func(c byte) func(n int) string {
		return func(n int) string { return strings.Repeat("\x01", n-1) + string([]byte{c}) }
	}
	whole := seal(len(text), appID, even)
	return map[string]string{
		"padding 0":                         seal(len(text), appID, last(0)),
		"padding 33":                        seal(len(text), appID, last(33)),
		"padding 255":                       seal(len(text), appID, last(255)),
		"uneven padding":                    seal(len(text), appID, func(n int) string { return strings.Repeat("\x02", n+31) + "\x20" }),
		"a length one too large":            seal(len(text)+len(appID)+1, appID, even),
		"a length of 4 GB":                  seal(1<<32-1, appID, even),
		"a length of 2 GB":                  seal(1<<31, appID, even),
		"no app-id":                         seal(len(text), "", even),
		"padding alone":                     lock(even(32)),
		"padding and half a header":         lock(strings.Repeat("x", 16) + even(16)),
		"cut after a block":                 whole[:64],
		"cut within a block":                whole[:68],
		"cut within a group":                whole[:len(whole)-1],
		"a byte of base64":                  "A",
		"not base64":                        "%%%%" + whole[4:],
		"base64 for URLs":                   "-_-_" + whole[4:],
		"base64 behind its end":             whole + "====",
		"padding of base64 alone":           "=",
		"noise":                             base64.StdEncoding.EncodeToString([]byte(strings.Repeat("noise of 16 byte", 1000))),
		"3 MB of noise":                     strings.Repeat("A", 3<<20),
		"3 MB of line ends":                 "A" + strings.Repeat("\n", 3<<20) + "A",
		"two envelopes one after the other": whole + whole,
	}
}
