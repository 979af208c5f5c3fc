package crypt

import (
	"strings"
	"testing"
)

func benchBox(tb testing.TB) (b *Box, msg []byte, e Envelope) {
	tb.Helper()
	b = mustBox(tb, testAppID, "token", testKey)
	msg = []byte("<xml>" + strings.Repeat("你好，请问营业时间是几点？", 20) + "</xml>")
	e, err := b.Seal(0, 0, msg, 1767000037, "1372623150")
	if err != nil {
		tb.Fatal(err)
	}
	return b, msg, e
}

func BenchmarkVerify(b *testing.B) {
	box, _, e := benchBox(b)
	stamp, nonce := []byte("1767000037"), []byte(e.Nonce)
	signature := []byte(Sign("token", string(stamp), e.Nonce))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.Verify(signature, stamp, nonce); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyMsg(b *testing.B) {
	box, _, e := benchBox(b)
	signature, stamp, nonce, encrypt := []byte(e.MsgSignature), []byte("1767000037"), []byte(e.Nonce), []byte(e.Encrypt)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.VerifyMsg(signature, stamp, nonce, encrypt); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	box, msg, e := benchBox(b)
	encrypt := []byte(e.Encrypt)
	room := make([]byte, 0, len(encrypt))
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.Open(room, encrypt); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendXML(b *testing.B) {
	box, msg, e := benchBox(b)
	buf := make([]byte, 0, 4096)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = box.AppendXML(buf[:0], 0, 0, msg, 1767000037, e.Nonce); err != nil {
			b.Fatal(err)
		}
	}
}
