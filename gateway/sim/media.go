package sim

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Bounds of the stored media.
const (
	mediaLife     = 3 * 24 * time.Hour
	maxMediaItems = 1000
	maxMediaBytes = 64 << 20
)

// medium is one uploaded file.
type medium struct {
	id, kind, name, ctype string
	appid                 string
	token                 string // key of a video's address
	data                  []byte
	until                 time.Time
}

func (m *medium) download() blob {
	return blob{
		status: http.StatusOK,
		header: http.Header{
			"Content-Type":        {m.ctype},
			"Content-Disposition": {mime.FormatMediaType("attachment", map[string]string{"filename": m.name})},
			"Content-Length":      {strconv.Itoa(len(m.data))},
		},
		body: m.data,
	}
}

// mediaStore keeps uploads for three days, the oldest out first when full.
type mediaStore struct {
	list  []*medium
	bytes int
}

func (s *mediaStore) add(m *medium) {
	s.list = append(s.list, m)
	s.bytes += len(m.data)
	for len(s.list) > maxMediaItems || s.bytes > maxMediaBytes {
		s.bytes -= len(s.list[0].data)
		s.list[0] = nil
		s.list = s.list[1:]
	}
}

func (s *mediaStore) get(id string, now time.Time) (*medium, bool) {
	for _, m := range s.list {
		if m.id == id {
			return m, now.Before(m.until)
		}
	}
	return nil, false
}

// mediaLimit is the largest size of a kind, 0 for an unknown kind.
func mediaLimit(kind string) int {
	switch kind {
	case "image", "video":
		return 10 << 20
	case "voice":
		return 2 << 20
	case "thumb":
		return 64 << 10
	}
	return 0
}

// uploadMedia is POST cgi-bin/media/upload?type=, a multipart form with the
// field "media".
func (p *Platform) uploadMedia(c *call) (any, *apiError) {
	kind := c.q.Get("type")
	limit := mediaLimit(kind)
	if limit == 0 {
		return nil, refuse(40004)
	}
	name, ctype, data := mediaPart(c.r.Header.Get("Content-Type"), c.body)
	switch {
	case len(data) == 0:
		return nil, refuse(41005)
	case len(data) > limit:
		return nil, refuse(45001)
	}
	now := p.now()
	m := &medium{
		id: random(64), kind: kind, name: name, ctype: ctype, appid: c.acct.AppID,
		token: random(24), data: data, until: now.Add(mediaLife),
	}
	p.media.add(m)
	key := "media_id"
	if kind == "thumb" {
		key = "thumb_media_id"
	}
	return map[string]any{"type": kind, key: m.id, "created_at": now.Unix()}, nil
}

// mediaPart reads the part named media of a multipart body; no data if there is none.
func mediaPart(contentType string, body []byte) (name, ctype string, data []byte) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return "", "", nil
	}
	form := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for range 10 {
		part, err := form.NextPart()
		if err != nil {
			return "", "", nil
		}
		if part.FormName() != "media" {
			continue
		}
		data, err = io.ReadAll(part) // body is bounded already
		if err != nil {
			return "", "", nil
		}
		name, ctype = part.FileName(), part.Header.Get("Content-Type")
		if name == "" {
			name = "media"
		}
		if ctype == "" {
			ctype = http.DetectContentType(data)
		}
		return name, ctype, data
	}
	return "", "", nil
}

// getMedia is GET cgi-bin/media/get: the bytes, or of a video its address.
func (p *Platform) getMedia(c *call) (any, *apiError) {
	m, ok := p.media.get(c.q.Get("media_id"), p.now())
	if !ok || m.appid != c.acct.AppID {
		return nil, refuse(40007)
	}
	if m.kind == "video" {
		return map[string]any{"video_url": p.videoURL(c, m)}, nil
	}
	return m.download(), nil
}

// rawMedia serves the video behind the video_url of media/get.
func (p *Platform) rawMedia(c *call) (any, *apiError) {
	m, ok := p.media.get(c.q.Get("media_id"), p.now())
	if !ok || m.token != c.q.Get("key") {
		return blob{status: http.StatusNotFound}, nil
	}
	return m.download(), nil
}

func (p *Platform) videoURL(c *call, m *medium) string {
	v := url.Values{"media_id": {m.id}, "key": {m.token}}
	return "http://" + c.r.Host + "/sim/media?" + v.Encode()
}
