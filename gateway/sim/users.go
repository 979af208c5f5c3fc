package sim

import (
	"maps"
	"math/big"
	"slices"
	"strings"

	"wx-gateway/gateway/codec"
)

// SetUser sets what the platform says of u["openid"] to appid: the fields of
// user/info ({"openid":…,"subscribe":0} has left) and, where they share names,
// of sns/userinfo. "is_snapshotuser": 1 makes web authorization answer the
// placeholder of a snapshot page. Fields left out are invented.
func (p *Platform) SetUser(appid string, u map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.account(appid)
	openid, _ := u["openid"].(string)
	if a == nil || openid == "" {
		return
	}
	a.users.put(openid, maps.Clone(u))
}

// validOpenID holds what WeChat's openids look like.
func validOpenID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
			return false
		}
	}
	return true
}

// following says whether openid follows a.
func (p *Platform) following(a *account, openid string) bool {
	u, ok := a.users.get(openid)
	if !ok {
		return !p.known
	}
	switch v := u["subscribe"].(type) {
	case nil:
		return true
	case int:
		return v != 0
	case codec.Number:
		return v != "0"
	case float64:
		return v != 0
	case bool:
		return v
	}
	return true
}

// follower is what user/info says of openid. Nickname and head image have not
// been given out since 2021-12-27.
func (p *Platform) follower(a *account, openid string) map[string]any {
	set, _ := a.users.get(openid)
	if !p.following(a, openid) {
		u := map[string]any{"subscribe": 0, "openid": openid}
		maps.Copy(u, set)
		delete(u, "is_snapshotuser")
		return u
	}
	h := hash(a.AppID, openid)
	u := map[string]any{
		"subscribe":       1,
		"openid":          openid,
		"language":        "zh_CN",
		"subscribe_time":  1700000000 + int(h[0])*86400 + int(h[1])*60,
		"unionid":         invent("o6", 28, "union", openid),
		"remark":          "",
		"groupid":         0,
		"tagid_list":      []int{},
		"subscribe_scene": "ADD_SCENE_QR_CODE",
		"qr_scene":        int(h[2]),
		"qr_scene_str":    "",
	}
	maps.Copy(u, set)
	delete(u, "is_snapshotuser")
	return u
}

func (p *Platform) userInfo(c *call) (any, *apiError) {
	if c.acct.NoUserInfo {
		return nil, refuse(48001)
	}
	openid := c.q.Get("openid")
	if !validOpenID(openid) {
		return nil, refuse(40003)
	}
	return p.follower(c.acct, openid), nil
}

func (p *Platform) userBatch(c *call) (any, *apiError) {
	if c.acct.NoUserInfo {
		return nil, refuse(48001)
	}
	var q struct {
		List []struct {
			OpenID string `json:"openid"`
		} `json:"user_list"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	if len(q.List) == 0 || len(q.List) > 100 {
		return nil, refuse(40097)
	}
	list := make([]map[string]any, 0, len(q.List))
	for _, u := range q.List {
		if !validOpenID(u.OpenID) {
			return nil, refuse(40003)
		}
		list = append(list, p.follower(c.acct, u.OpenID))
	}
	return map[string]any{"user_info_list": list}, nil
}

// userList is GET cgi-bin/user/get: the followers SetUser named, or three
// invented ones, by pages of 10,000.
func (p *Platform) userList(c *call) (any, *apiError) {
	if c.acct.NoUserInfo {
		return nil, refuse(48001)
	}
	var ids []string
	for id := range c.acct.users.m {
		if p.following(c.acct, id) {
			ids = append(ids, id)
		}
	}
	if len(c.acct.users.m) == 0 && !p.known {
		for _, n := range []string{"1", "2", "3"} {
			ids = append(ids, invent("o", 28, c.acct.AppID, n))
		}
	}
	slices.Sort(ids)
	total, next := len(ids), c.q.Get("next_openid")
	if next != "" {
		at, found := slices.BinarySearch(ids, next)
		if !found {
			return nil, refuse(40003)
		}
		ids = ids[at+1:]
	}
	ids = ids[:min(len(ids), 10_000)]
	out := map[string]any{"total": total, "count": len(ids), "next_openid": ""}
	if len(ids) > 0 {
		out["data"] = map[string]any{"openid": ids}
		out["next_openid"] = ids[len(ids)-1]
	}
	return out, nil
}

// shortURL is POST cgi-bin/shorturl. The real one has stopped; set a Fault for that.
func (p *Platform) shortURL(c *call) (any, *apiError) {
	var q struct {
		Action  string `json:"action"`
		LongURL string `json:"long_url"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	if q.Action != "long2short" {
		return nil, refuse(40097)
	}
	if !strings.Contains(q.LongURL, "://") || len(q.LongURL) > 4096 {
		return nil, refuse(40066)
	}
	n := new(big.Int).SetBytes(hash(q.LongURL)[:8])
	return map[string]any{"errcode": 0, "errmsg": "ok", "short_url": "https://w.url.cn/s/A" + n.Text(62)}, nil
}
