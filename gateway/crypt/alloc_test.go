//go:build !race

package crypt

import "testing"

func TestAllocations(t *testing.T) {
	box, msg, e := benchBox(t)
	buf, encrypt := make([]byte, 0, 8192), []byte(e.Encrypt)
	f := func(what string, most float64, run func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, run); n > most {
			t.Errorf("%s allocates %v times, at most %v wanted", what, n, most)
		}
	}
	f("Open", 2, func() { box.Open(encrypt) }) // the message, the block mode
	f("Verify", 1, func() { box.Verify(e.MsgSignature, "1", "2") })
	f("VerifyMsg", 1, func() { box.VerifyMsg(e.MsgSignature, "1", "2", encrypt) }) // the joined text
	f("Seal", 7, func() { box.Seal(0, 0, msg, 1767000037, e.Nonce) })
	f("AppendXML", 0, func() { buf = e.AppendXML(buf[:0]) })
	f("AppendJSON", 0, func() { buf = e.AppendJSON(buf[:0]) })
}
