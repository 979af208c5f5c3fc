package conf

import (
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	f := func(s string, want int) {
		t.Helper()
		n, err := parseSize(s)
		if err != nil {
			n = -1
		}
		if n != want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", s, n, err, want)
		}
	}
	f("0", 0)
	f("4096", 4096)
	f("100B", 100)
	f("512KiB", 512<<10)
	f("1 MiB", 1<<20)
	f("1MB", -1)
	f("-1KiB", -1)
	f("1.5MiB", -1)
	f("MiB", -1)
	f("9223372036854775807MiB", -1)
	f("4096MiB", -1)
}

func TestParseDuration(t *testing.T) {
	f := func(s string, want time.Duration) {
		t.Helper()
		d, err := parseDuration(s)
		if err != nil {
			d = -1
		}
		if d != want {
			t.Errorf("parseDuration(%q) = %s, %v, want %s", s, d, err, want)
		}
	}
	f("0", 0)
	f("90", 90*time.Second)
	f("1h30m", 90*time.Minute)
	f("1.5s", 1500*time.Millisecond)
	f("9223372036854775807", -1)
	f("-9223372036854775808", -1)
	f("1.5", -1)
	f("2d", -1)
	f("", -1)
}

func TestSpan(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := span(d); got != want {
			t.Errorf("span(%d) = %s, want %s", d, got, want)
		}
	}
	f(0, "0s")
	f(time.Second, "1s")
	f(10*time.Minute, "10m")
	f(24*time.Hour, "24h")
	f(90*time.Minute, "1h30m")
	f(time.Hour+10*time.Second, "1h0m10s")
}

func TestLoopback(t *testing.T) {
	f := func(host string, want bool) {
		t.Helper()
		if got := loopback(host); got != want {
			t.Errorf("loopback(%q) = %t", host, got)
		}
	}
	f("127.0.0.1", true)
	f("127.9.9.9", true)
	f("::1", true)
	f("::ffff:127.0.0.1", true)
	f("LOCALHOST", true)
	f("", false)
	f("0.0.0.0", false)
	f("10.0.0.1", false)
	f("localhost.example.com", false)
}

func TestOverlap(t *testing.T) {
	f := func(hostA, portA, hostB, portB string, want bool) {
		t.Helper()
		if got := overlap(hostA, portA, hostB, portB); got != want {
			t.Errorf("overlap(%q, %s, %q, %s) = %t", hostA, portA, hostB, portB, got)
		}
	}
	f("127.0.0.1", "1", "127.0.0.1", "1", true)
	f("127.0.0.1", "1", "", "1", true)
	f("0.0.0.0", "1", "10.0.0.1", "1", true)
	f("10.0.0.1", "1", "::", "1", true)
	f("127.0.0.1", "1", "10.0.0.1", "1", false)
	f("127.0.0.1", "1", "127.0.0.1", "2", false)
	f("127.0.0.1", "0", "127.0.0.1", "0", false)
}

func TestCheckListen(t *testing.T) {
	f := func(s string, want bool) {
		t.Helper()
		if err := checkListen(s); (err == nil) != want {
			t.Errorf("checkListen(%q) = %v", s, err)
		}
	}
	f("127.0.0.1:7081", true)
	f("[::1]:0", true)
	f(":7081", true)
	f("localhost:7081", true)
	f("127.0.0.1", false)
	f("127.0.0.1:http", false)
	f("127.0.0.1:-1", false)
	f("127.0.0.1:65536", false)
	f("::1:7081", false)
	f("a b:7081", false)
}

func TestCheckURL(t *testing.T) {
	f := func(s string, want bool) {
		t.Helper()
		if err := checkURL(s); (err == nil) != want {
			t.Errorf("checkURL(%q) = %v", s, err)
		}
	}
	f("http://10.0.0.5:8000", true)
	f("HTTPS://u:p@backend/wx?to=", true)
	f("http://[::1]:80/%20a/", true)
	f("http://后端/wx", true)
	f("http://host:0", false)
	f("//host/wx", false)
	f("http:host", false)
	f("http://host\u00a0/", false)
}

func TestCheckRedisURL(t *testing.T) {
	f := func(s string, want bool) {
		t.Helper()
		if err := checkRedisURL(s); (err == nil) != want {
			t.Errorf("checkRedisURL(%q) = %v", s, err)
		}
	}
	f("redis://10.0.0.9", true)
	f("rediss://:p@cache:6380/1?pool_size=3", true)
	f("unix:///run/redis.sock", true)
	f("unix:", false)
	f("redis://", false)
	f("cache:6379", false)
	f("redis://a b", false)
}

func TestCheckBackendSecrets(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		got := "<nil>"
		if err := checkBackendSecrets(s); err != nil {
			got, _, _ = strings.Cut(err.Error(), ";")
		}
		if got != want {
			t.Errorf("checkBackendSecrets(%q) = %s, want %s", s, got, want)
		}
	}
	f("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "<nil>")
	f("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAA==", "<nil>")
	f("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAA", "<nil>") // some tools leave the padding out
	f(" 0123456789abcdef01234567\twhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "<nil>")
	f("0123456789abcdef0123456", "must be a key of at least 24 bytes, got 23")
	f("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa==", "must be a key of at least 24 bytes, got 22")
	f("whsec_", "must be a key of at least 24 bytes, got 0")
	f("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL-Sw", "must have base64 after whsec_")
	f("0123456789abcdef01234567 x", "secret 2 of 2 must be a key of at least 24 bytes, got 1")
}

func TestNearest(t *testing.T) {
	known := []string{"name", "workerNum", "timeout", "app-id", "app-secret", "aes-key", "msg-proxy-pass", "token", "for"}
	f := func(unknown, want string) {
		t.Helper()
		if got := nearest(unknown, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", unknown, got, want)
		}
	}
	f("appid", "app-id")
	f("AppSecret", "app-secret")
	f("aes_key", "aes-key")
	f("msg-porxy-pass", "msg-proxy-pass")
	f("timeuot", "timeout")
	f("nam", "name")
	f("tokens", "token")
	f("fro", "for")
	f("from", "")
	f("comment", "")
	f("id", "")
	f("menu-handler", "")
	f("", "")
	f("app-idapp-idapp-idapp-idapp-idapp-idapp-idapp-id", "")
}

func TestEscaped(t *testing.T) {
	f := func(url, want string) {
		t.Helper()
		if got := escaped(url); got != want {
			t.Errorf("escaped(%q) = %q, want %q", url, got, want)
		}
	}
	f("", "")
	f("http://h:1/a%20b?x=1&to=", "http://h:1/a%20b?x=1&to=")
	f("http://h/处理?名=é", "http://h/%E5%A4%84%E7%90%86?%E5%90%8D=%C3%A9")
	f("http://例子.cn", "http://例子.cn")
	f("http://例子.cn?é", "http://例子.cn?%C3%A9")
}
