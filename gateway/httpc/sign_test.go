package httpc

import (
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func TestSign(t *testing.T) {
	t.Parallel()
	// The example of the Standard Webhooks specification's libraries.
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	const id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", `{"test": 2432232314}`
	const signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	const own, ownSignature = "a-string-of-24-bytes-own", "v1,bLBsbe9iooSr1jw2iMD5LDw1PPlXR85mRxsgR1TSeBA="
	now := time.Unix(1614265330, 999)

	f := func(secrets, want string) {
		t.Helper()
		s := NewSigner(secrets)
		for range 2 { // the second time with the hash of the first
			var h fasthttp.RequestHeader
			s.Sign(h.Set, id, now, []byte(body))
			if got := string(h.Peek("webhook-signature")); got != want {
				t.Errorf("%q signs %q, want %q", secrets, got, want)
			}
			if string(h.Peek("webhook-id")) != id || string(h.Peek("webhook-timestamp")) != "1614265330" {
				t.Errorf("id %q, timestamp %q", h.Peek("webhook-id"), h.Peek("webhook-timestamp"))
			}
		}
	}
	f(secret, signature)
	f(own, ownSignature)
	f(" "+secret+"  "+own+" ", signature+" "+ownSignature)
	f("short "+secret, signature)
	f("", "")
}

func TestCheckSecret(t *testing.T) {
	t.Parallel()
	f := func(secrets, want string) {
		t.Helper()
		got := ""
		if err := CheckSecret(secrets); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("CheckSecret(%q) = %q, want %q", secrets, got, want)
		}
	}
	f("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "")
	f("a-string-of-24-bytes-own", "")
	f("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNA==", "")
	f("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNA", "")
	f("a-string-of-24-bytes-own whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "")
	f("", "holds no secret")
	f("  ", "holds no secret")
	f("a-string-of-23-bytes-ow", "secret 1: the key has 23 bytes, at least 24 are needed")
	f("a-string-of-24-bytes-own whsec_!!!", "secret 2: what follows whsec_ is not base64")
	f("whsec_c2hvcnQ=", "secret 1: the key has 5 bytes, at least 24 are needed")
}

func TestKinds(t *testing.T) {
	t.Parallel()
	if KindOf(nil) != 0 || Kind(0).String() != "none" {
		t.Error("no error has a kind")
	}
	seen := map[string]bool{}
	for k := Connect; k <= Canceled; k++ {
		if s := k.String(); s == "none" || seen[s] {
			t.Errorf("kind %d is called %q", k, s)
		} else {
			seen[s] = true
		}
	}
}
