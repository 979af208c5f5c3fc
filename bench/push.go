package main

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"wx-gateway/gateway/crypt"
)

// line makes the pushes of one account, each as a whole HTTP request with a
// MsgId of its own: a repeated push would not be forwarded.
type line interface {
	// prepare is called before each turn with its time and how many pushes it
	// is likely to take.
	prepare(now time.Time, pushes int)

	// next is the next request. It may be kept until the next call with this
	// buf, which it may use. Any number of goroutines may call it.
	next(buf []byte) []byte
}

const (
	firstID = 25381771430000000 // MsgId, 17 digits
	users   = 100               // of each account
	nonce   = "1409735669"
)

// text is what WeChat sends for a text message.
func text(n int64) []byte {
	return fmt.Appendf(nil, "<xml><ToUserName><![CDATA[gh_7c1d9e0b42af]]></ToUserName>\n<FromUserName><![CDATA[oBench%022d]]></FromUserName>\n<CreateTime>%d</CreateTime>\n<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[你好，请问今天几点开门？]]></Content>\n<MsgId>%d</MsgId>\n</xml>",
		n%users, 1767000000, firstID+n)
}

// request is the POST that carries body to a, signed with the time given.
func (a account) request(now time.Time, query string, body []byte) []byte {
	ts := strconv.FormatInt(now.Unix(), 10)
	return fmt.Appendf(nil, "POST %s?signature=%s&timestamp=%s&nonce=%s&openid=oBench%s HTTP/1.1\r\nUser-Agent: Mozilla/4.0\r\nAccept: */*\r\nHost: wx.example.com\r\nPragma: no-cache\r\nContent-Length: %d\r\nContent-Type: text/xml\r\n\r\n%s",
		a.path, crypt.Sign(a.token, ts, nonce), ts, nonce, query, len(body), body)
}

// plain is a line of plain pushes: one request of which the digits change.
type plain struct {
	account
	ids      *atomic.Int64
	template []byte
	user, id int // where their last digits are
}

func (p *plain) prepare(now time.Time, _ int) {
	p.template = p.request(now, "", text(0))
	p.user = bytes.Index(p.template, []byte("]]></FromUserName>")) - 1
	p.id = bytes.Index(p.template, []byte("</MsgId>")) - 1
}

func (p *plain) next(buf []byte) []byte {
	n := p.ids.Add(1)
	b := append(buf[:0], p.template...)
	putDigits(b, p.user, n%users)
	putDigits(b, p.id, firstID+n)
	return b
}

// putDigits writes n in decimal so that its last digit is at b[end].
func putDigits(b []byte, end int, n int64) {
	for ; n > 0; n /= 10 {
		b[end] = '0' + byte(n%10)
		end--
	}
}

// sealed is a line of encrypted pushes. They are made before each turn, so
// that the load's own encryption is not what is measured.
type sealed struct {
	account
	ids   *atomic.Int64
	box   *crypt.Box
	now   time.Time
	stock [][]byte
	used  atomic.Int64
}

func newSealed(a account, ids *atomic.Int64) (*sealed, error) {
	box, err := crypt.New(crypt.Config{AppID: a.appID, Tokens: []string{a.token}, Keys: []string{a.aesKey}})
	return &sealed{account: a, ids: ids, box: box}, err
}

func (s *sealed) prepare(now time.Time, pushes int) {
	const at = 2 // goroutines
	s.now, s.stock = now, make([][]byte, pushes)
	s.used.Store(0)
	var wg sync.WaitGroup
	for first := range at {
		wg.Go(func() {
			for i := first; i < pushes; i += at {
				s.stock[i] = s.seal()
			}
		})
	}
	wg.Wait()
}

func (s *sealed) next([]byte) []byte {
	if i := s.used.Add(1) - 1; i < int64(len(s.stock)) {
		return s.stock[i]
	}
	return s.seal()
}

func (s *sealed) seal() []byte {
	env, err := s.box.Seal(0, 0, text(s.ids.Add(1)), s.now.Unix(), nonce)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	body := fmt.Appendf(nil, "<xml><ToUserName><![CDATA[gh_7c1d9e0b42af]]></ToUserName><Encrypt><![CDATA[%s]]></Encrypt></xml>", env.Encrypt)
	return s.request(s.now, "&encrypt_type=aes&msg_signature="+env.MsgSignature, body)
}
