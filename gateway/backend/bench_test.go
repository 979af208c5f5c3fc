package backend

import (
	"log/slog"
	"testing"
	"time"

	"wx-gateway/gateway/httpc"
)

func benchCall(secret string) (*Backend, Call) {
	client := httpc.New(httpc.Config{})
	b := New(Config{HTTP: client, Service: "客服", AppID: "wx5d8f0a3b7c2e9146", Base: "http://127.0.0.1:8080/wx", Secret: secret, Log: slog.New(slog.DiscardHandler)})
	return b, Call{
		Path: "/msg/text", OpenID: "oK9gGyX8OAK8aH8Myj6djqSaXI8j", PushID: [16]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef},
		Body: []byte(`{"MsgType":"text","Content":"x"}`), Attempt: 1, ReplyWithin: 4500 * time.Millisecond, Late: "customer-service",
	}
}

// BenchmarkFill is the request to a backend, without sending it.
func BenchmarkFill(b *testing.B) {
	for name, secret := range map[string]string{"plain": "", "signed": "a-secret-of-24-bytes-at-least"} {
		b.Run(name, func(b *testing.B) {
			be, call := benchCall(secret)
			b.ReportAllocs()
			for b.Loop() {
				p, err := be.send(&call)
				if err != nil {
					b.Fatal(err)
				}
				p.Release()
			}
		})
	}
}

// BenchmarkRead is the answer of a backend, once it has come.
func BenchmarkRead(b *testing.B) {
	be, call := benchCall("")
	resp := &httpc.Response{Status: 200, ContentType: []byte("application/json"), Body: []byte(`{"type":"text","msg":"the answer of the backend"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := be.read(&call, resp); err != nil {
			b.Fatal(err)
		}
	}
}
