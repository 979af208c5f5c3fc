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

func BenchmarkVerifyMsg(b *testing.B) {
	box, _, e := benchBox(b)
	encrypt := []byte(e.Encrypt)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.VerifyMsg(e.MsgSignature, "1767000037", e.Nonce, encrypt); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	box, msg, e := benchBox(b)
	encrypt := []byte(e.Encrypt)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.Open(encrypt); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	box, msg, e := benchBox(b)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.Seal(0, 0, msg, 1767000037, e.Nonce); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendXML(b *testing.B) {
	_, _, e := benchBox(b)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendXML(buf[:0])
	}
}
