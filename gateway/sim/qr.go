package sim

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"strconv"
	"time"

	"wx-gateway/gateway/codec"
)

const maxQRLife = 2592000 // seconds: 30 days

// qrTicket is a QR code with parameter that qrcode/create made.
type qrTicket struct {
	appid, scene string
	until        time.Time // zero: permanent
}

// createQR is POST cgi-bin/qrcode/create.
func (p *Platform) createQR(c *call) (any, *apiError) {
	var q struct {
		Expire codec.Number `json:"expire_seconds"`
		Action string       `json:"action_name"`
		Info   struct {
			Scene struct {
				ID  codec.Number `json:"scene_id"`
				Str string       `json:"scene_str"`
			} `json:"scene"`
		} `json:"action_info"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	id, _ := strconv.ParseUint(string(q.Info.Scene.ID), 10, 64)
	str := q.Info.Scene.Str
	scene, temporary, ok := "", false, false
	switch q.Action {
	case "QR_SCENE":
		scene, temporary, ok = string(q.Info.Scene.ID), true, id > 0 && id < 1<<32
	case "QR_LIMIT_SCENE":
		scene, ok = string(q.Info.Scene.ID), id > 0 && id <= 100_000
	case "QR_STR_SCENE":
		scene, temporary, ok = str, true, str != "" && len(str) <= 64
	case "QR_LIMIT_STR_SCENE":
		scene, ok = str, str != "" && len(str) <= 64
	}
	if !ok {
		return nil, refuse(40053)
	}
	expire := int64(60)
	if q.Expire != "" {
		n, err := q.Expire.Int64()
		if err != nil || temporary && (n <= 0 || n > maxQRLife) {
			return nil, refuse(40097)
		}
		expire = n
	}
	t := qrTicket{appid: c.acct.AppID, scene: scene}
	// Real tickets hold base64 with its padding, so whoever shows one must escape it.
	raw := append([]byte{0x81, 0x01, 0xfb, 0xef}, random(48)...)
	ticket := "gQ" + base64.StdEncoding.EncodeToString(raw)
	out := map[string]any{"ticket": ticket, "url": "http://weixin.qq.com/q/" + random(24)}
	if temporary {
		t.until = p.now().Add(time.Duration(expire) * time.Second)
		out["expire_seconds"] = expire
	}
	p.tickets.put(ticket, t)
	return out, nil
}

// Scene returns the scene a QR ticket stands for, "" for an unknown or expired one.
func (p *Platform) Scene(ticket string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, _ := p.liveTicket(ticket)
	return t.scene
}

func (p *Platform) liveTicket(ticket string) (qrTicket, bool) {
	t, ok := p.tickets.get(ticket)
	if !ok || !t.until.IsZero() && !p.now().Before(t.until) {
		return qrTicket{}, false
	}
	return t, true
}

// showQR is GET mp.weixin.qq.com/cgi-bin/showqrcode?ticket=: a small JPEG that
// is the ticket's own, but nothing a phone could read.
func (p *Platform) showQR(c *call) (any, *apiError) {
	ticket := c.q.Get("ticket")
	if _, ok := p.liveTicket(ticket); !ok {
		return blob{status: http.StatusNotFound}, nil
	}
	picture, err := pattern(ticket)
	if err != nil {
		p.log.Error("cannot draw a QR code", "err", err)
		return blob{status: http.StatusInternalServerError}, nil
	}
	return blob{status: http.StatusOK, header: http.Header{"Content-Type": {"image/jpg"}}, body: picture}, nil
}

// pattern draws 16 by 16 squares from the hash of seed.
func pattern(seed string) ([]byte, error) {
	h := hash(seed)
	img := image.NewGray(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			bit := (y/4)*16 + x/4
			if h[bit/8]>>(bit%8)&1 == 0 {
				img.SetGray(x, y, color.Gray{Y: 255})
			}
		}
	}
	var buf bytes.Buffer
	err := jpeg.Encode(&buf, img, nil)
	return buf.Bytes(), err
}
