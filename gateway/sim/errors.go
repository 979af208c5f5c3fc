package sim

import "fmt"

// apiError is a refusal in WeChat's own terms.
type apiError struct {
	code int
	msg  string // default: WeChat's text for code
}

func refuse(code int) *apiError { return &apiError{code: code} }

// errText is WeChat's errmsg of a code, before " rid: …".
// Sources: WxJava WxMpErrorMsgEnum, developers.weixin.qq.com "errCode".
func errText(code int, ip string) string {
	switch code {
	case -1:
		return "system error"
	case 40001:
		return "invalid credential, access_token is invalid or not latest"
	case 40002:
		return "invalid grant_type"
	case 40003:
		return "invalid openid"
	case 40004:
		return "invalid media type"
	case 40007:
		return "invalid media_id"
	case 40008:
		return "invalid message type"
	case 40013:
		return "invalid appid"
	case 40014:
		return "invalid access_token"
	case 40016:
		return "invalid button size"
	case 40018:
		return "invalid button name size"
	case 40023:
		return "invalid sub button size"
	case 40025:
		return "invalid sub button name size"
	case 40029:
		return "invalid code"
	case 40030:
		return "invalid refresh_token"
	case 40037:
		return "invalid template_id"
	case 40053:
		return "invalid action info"
	case 40066:
		return "invalid url"
	case 40097:
		return "invalid args"
	case 40125:
		return "invalid appsecret"
	case 40163:
		return "code been used"
	case 40164:
		// The caller's address stands twice in the real text; people copy it from there.
		return fmt.Sprintf("invalid ip %s ipv6 ::ffff:%s, not in whitelist", ip, ip)
	case 40243:
		return "AppSecret has been frozen"
	case 41001:
		return "access_token missing"
	case 41002:
		return "appid missing"
	case 41004:
		return "appsecret missing"
	case 41005:
		return "media data missing"
	case 41008:
		return "missing code"
	case 42001:
		return "access_token expired"
	case 42002:
		return "refresh_token expired"
	case 42003:
		return "code expired"
	case 43001:
		return "require GET method"
	case 43002:
		return "require POST method"
	case 43004:
		return "require subscribe"
	case 44002:
		return "empty post data"
	case 45001:
		return "media size out of limit"
	case 45002:
		return "content size out of limit"
	case 45008:
		return "article size out of limit"
	case 45009:
		return "reach max api daily quota limit"
	case 45011:
		return "api minute-quota reach limit, must slower, retry next minute"
	case 45015:
		return "response out of time limit or subscription is canceled"
	case 45047:
		return "out of response count limit"
	case 45072:
		return "command is invalid"
	case 45080:
		return "need message from user in 30 seconds"
	case 45081:
		return "already in typing"
	case 46003:
		return "menu no exist"
	case 47001:
		return "data format error"
	case 48001:
		return "api unauthorized"
	case 48006:
		return "forbid to clear quota because of reaching the limit"
	}
	return "error"
}
