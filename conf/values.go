package conf

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A type of value each: what it may look like, and the words for what is wrong with one.
// The errors name the mend and never the value, which may be a secret.

// maxPath bounds a path of the gateway, in bytes.
const maxPath = 512

// checkPath judges a path that the gateway serves. Routes match the raw request path byte for byte.
func checkPath(path string) error {
	switch {
	case path[0] != '/':
		return errors.New(`must start with "/"`)
	case len(path) > maxPath:
		return fmt.Errorf("must not be longer than %d bytes", maxPath)
	case strings.ContainsAny(path, "?#"):
		return errors.New(`must be a path alone, without "?" and "#"`)
	case strings.ContainsFunc(path, blankOrControl):
		return errors.New("must not hold blanks or control characters")
	}
	return nil
}

// checkURL judges a URL that the gateway calls.
func checkURL(s string) error {
	if strings.ContainsFunc(s, blankOrControl) {
		return errors.New("must not hold blanks or control characters")
	}
	if lower := strings.ToLower(s); !strings.HasPrefix(lower, "http://") && !strings.HasPrefix(lower, "https://") {
		return errors.New("must start with http:// or https://")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil: // the error quotes the URL, which may hold a password
		return errors.New("is not a URL; write it like http://10.0.0.5:8000/wx")
	case u.Hostname() == "":
		return errors.New("has no host; write it like http://10.0.0.5:8000/wx")
	case !validPort(u.Port(), u.Host):
		return errors.New("has a port that is not between 1 and 65535")
	case strings.Contains(s, "#"):
		return errors.New(`must not hold "#": what follows it would never be sent`)
	}
	return nil
}

// escaped is a URL with what is not ASCII behind its host percent-encoded, as net/http sends it: not every server
// takes such bytes in a request line.
func escaped(s string) string {
	var b strings.Builder
	slashes := 0
	for i := range len(s) {
		if s[i] == '/' {
			slashes++
		}
		if s[i] < utf8.RuneSelf || slashes < 3 && !strings.Contains(s[:i], "?") {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// checkBase judges a URL that a path of WeChat's is appended to.
func checkBase(s string) error {
	if err := checkURL(s); err != nil {
		return err
	}
	if strings.Contains(s, "?") {
		return errors.New(`must not hold "?"; a path is appended to it`)
	}
	return nil
}

func validPort(port, host string) bool {
	if port == "" {
		return !strings.HasSuffix(host, ":")
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 1 && n <= math.MaxUint16
}

// checkRedisURL judges a redis-url.
func checkRedisURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("is not a URL; write it like redis://10.0.0.5:6379/0")
	case u.Scheme == "unix" && u.Path != "":
		return nil
	case u.Scheme != "redis" && u.Scheme != "rediss":
		return errors.New("must start with redis://, rediss:// or unix://")
	case u.Hostname() == "":
		return errors.New("has no host; write it like redis://10.0.0.5:6379/0")
	}
	return nil
}

// checkAESKey judges an EncodingAESKey: base64 of 32 bytes without its one "=". WeChat makes them of letters and
// digits at random, so the two spare bits at the end are not judged.
func checkAESKey(s string) error {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	if len(s) != 43 {
		return fmt.Errorf("must be 43 characters of base64, got %d; copy EncodingAESKey from the console", len(s))
	}
	if strings.Trim(s, letters) != "" {
		return errors.New("must be 43 characters of base64, and holds another one; copy EncodingAESKey from the console")
	}
	return nil
}

// checkBackendSecret judges one secret: whsec_ and base64 of a key, or, for those who share a plain string, the key
// itself. The Standard Webhooks specification asks for keys of at least 24 bytes.
func checkBackendSecret(s string) error {
	const minLen, mend = 24, `make one with: echo "whsec_$(openssl rand -base64 32)"`
	key := []byte(s)
	if b64, ok := strings.CutPrefix(s, "whsec_"); ok {
		var err error
		if key, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(b64, "=")); err != nil {
			return errors.New("must have base64 after whsec_; " + mend)
		}
	}
	if len(key) < minLen {
		return fmt.Errorf("must be a key of at least %d bytes, got %d; %s", minLen, len(key), mend)
	}
	return nil
}

// checkHost judges listen-host: an address or a name, without a port.
func checkHost(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	switch {
	case strings.HasPrefix(s, "["):
		return errors.New("must stand without brackets, like ::1")
	case strings.Contains(s, ":"):
		return errors.New("must be an address alone, with the port in listen-port")
	case strings.ContainsFunc(s, blankOrControl) || strings.ContainsAny(s, "/?#@"):
		return errors.New("must be an IP address or a host name, or empty for every address")
	}
	return nil
}

// checkListen judges a host:port to listen on.
func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New(`must be host:port, like "127.0.0.1:7081"`)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("must end in a port between 0 and 65535")
	}
	if host != "" && !strings.Contains(host, ":") {
		return checkHost(host)
	}
	return nil
}

// loopback reports whether only this machine can reach a host to listen on.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// everywhere reports whether a host to listen on stands for every address.
func everywhere(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// parsePrefix reads "10.0.0.0/8" or a single address; IPv4 inside IPv6 is unwrapped.
func parsePrefix(s string) (netip.Prefix, error) {
	errForm := errors.New(`must be an address like "10.1.0.5" or a network like "10.0.0.0/8"`)
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, errForm
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errForm
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, errForm
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// parseDuration reads "120s" or a number of seconds.
func parseDuration(s string) (time.Duration, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n < -math.MaxInt64/int64(time.Second) || n > math.MaxInt64/int64(time.Second) {
			return 0, errors.New("is out of range")
		}
		return time.Duration(n) * time.Second, nil
	}
	return time.ParseDuration(s)
}

// span writes a bound of a time span: 24h rather than 24h0m0s.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// parseSize reads "1MiB", "512KiB", "100B" or a number of bytes.
func parseSize(s string) (int, error) {
	unit := 1
	for _, u := range []struct {
		suffix string
		unit   int
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = strings.TrimRight(rest, " "), u.unit
			break
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n > math.MaxInt32/unit || n < 0 {
		return 0, errors.New("is no size")
	}
	return n * unit, nil
}

func sizeText(n int) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}

func blankOrControl(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r)
}
