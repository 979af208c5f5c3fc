//go:build !race

package crypt

import "testing"

func TestAllocations(t *testing.T) {
	box, msg, e := benchBox(t)
	buf := make([]byte, 0, 8192)
	f := func(what string, most float64, run func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, run); n > most {
			t.Errorf("%s allocates %v times, at most %v wanted", what, n, most)
		}
	}
	sign, nonce, encrypt := []byte(e.MsgSignature), []byte(e.Nonce), []byte(e.Encrypt)
	f("Open", 0, func() { box.Open(buf, encrypt) })
	f("Verify", 0, func() { box.Verify(sign, nonce, nonce) })
	f("VerifyMsg", 0, func() { box.VerifyMsg(sign, nonce, nonce, encrypt) })
	f("Seal", 3, func() { box.Seal(0, 0, msg, 1767000037, e.Nonce) }) // the room to encrypt in, two texts
	f("AppendXML", 0, func() { buf, _ = box.AppendXML(buf[:0], 0, 0, msg, 1767000037, e.Nonce) })
	f("AppendJSON", 0, func() { buf, _ = box.AppendJSON(buf[:0], 0, 0, msg, 1767000037, e.Nonce) })
}
