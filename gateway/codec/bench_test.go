package codec

import (
	"strings"
	"testing"
)

func BenchmarkUnmarshal(b *testing.B) {
	data := []byte(`{"ToUserName":"gh_7c1d9e0b42af","FromUserName":"oK9gGyX8OAK8aH8Myj6djqSaXI8j","CreateTime":1767000037,"MsgType":"text","Content":"你好，请问营业时间是几点？","MsgId":25032267896477343}`)
	var v struct {
		FromUserName, MsgType string
		CreateTime, MsgId     RawMessage
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Unmarshal(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValid(b *testing.B) {
	data := []byte(`{"list":[` + strings.Repeat(`{"id":25032267896477343,"text":"some text of a usual length","ok":true},`, 100) + `null]}`)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if !Valid(data) {
			b.Fatal("not valid")
		}
	}
}

func BenchmarkAppendString(b *testing.B) {
	s := strings.Repeat("你好，请问营业时间是几点？ plain text ", 20)
	buf := make([]byte, 0, 2*len(s))
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendString(buf[:0], s)
	}
}
