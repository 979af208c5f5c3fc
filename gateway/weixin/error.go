package weixin

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Error is a refusal by WeChat: an errcode other than 0.
type Error struct {
	Op   string // the API's path, like "cgi-bin/user/info"
	Code int    // errcode
	Msg  string // errmsg with its rid, WeChat's support handle; free of secrets
}

// Error reads like "cgi-bin/user/info: 40003 invalid openid rid: …".
func (e *Error) Error() string { return fmt.Sprintf("%s: %d %s", e.Op, e.Code, e.Msg) }

// busy is WeChat's "system error, try again".
const busy = -1

// Code is the errcode of the *Error inside err, 0 when there is none.
func Code(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// InvalidToken reports whether code says that the access_token is not, or no
// longer, the account's (40001, 40014, 42001: those WxJava renews on too).
func InvalidToken(code int) bool {
	return code == 40001 || code == 40014 || code == 42001
}

// refusesAddress reports whether code says that the caller's address is not
// whitelisted: 40164, for shops and platforms 61004 and 45035.
func refusesAddress(code int) bool {
	return code == 40164 || code == 61004 || code == 45035
}

// IP is the caller's address inside the errmsg of a refusal for want of a
// whitelist entry, "" for any other error.
func IP(err error) string {
	var e *Error
	if !errors.As(err, &e) || !refusesAddress(e.Code) {
		return ""
	}
	// "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: …"
	words := strings.FieldsFunc(e.Msg, func(r rune) bool {
		hex := '0' <= r && r <= '9' || 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F'
		return !hex && r != '.' && r != ':'
	})
	for _, w := range words {
		w = strings.TrimRight(w, ".")
		if ip, err := netip.ParseAddr(w); err == nil && !ip.IsUnspecified() {
			return ip.Unmap().String()
		}
	}
	return ""
}

// Retry says how long to leave the API of err alone after it was refused at
// now; 0 when err gives no reason to. Codes and waits: WeChat's "global return
// codes", the stable_token page, and WxJava's WxOpenErrorMsgEnum.
func Retry(err error, now time.Time) time.Duration {
	var e *Error
	if !errors.As(err, &e) {
		return 0
	}
	switch e.Code {
	case busy:
		return 5 * time.Second
	case 45009: // the day's quota, given out anew at 00:00 in Beijing
		t := now.In(time.FixedZone("Beijing", 8*60*60))
		return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, t.Location()).Sub(t)
	case 45011: // the minute's quota
		return now.Truncate(time.Minute).Add(time.Minute).Sub(now)
	case 40164, 61004, 45035, // address not whitelisted
		89501, 89503, 89505: // the account's administrator is asked about the address
		return 5 * time.Minute
	case 89507: // refused by the administrator, for an hour
		return time.Hour
	case 89506: // and after the second time for a day
		return 24 * time.Hour
	case 40002, 40013, 40125, 40243, 41002, 41004: // app-id or app-secret wrong, missing or frozen
		return 10 * time.Minute
	case 40001:
		// Where tokens are issued there is none to be invalid: it means the secret.
		if IssuesTokens(err) {
			return 10 * time.Minute
		}
	}
	return 0
}

// IssuesTokens reports whether the refusal in err is that of an API that issues
// access_tokens.
func IssuesTokens(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Op == pathToken || e.Op == pathStableToken)
}
