package endpoint

import (
	"encoding/json"
	"testing"

	"wx-gateway/gateway/codec"
)

// Whatever a caller posts becomes a message WeChat can read, with a text for
// each value, or is refused.
func FuzzTmplMsg(f *testing.F) {
	for _, body := range []string{
		`{"to":"o","tid":"t","data":{"k":"v"}}`,
		`{"to":"o","tid":"t","url":"u","mp":{"appid":"a","pagepath":"p"},"data":{"a":1,"b":{"value":2.50,"color":"#fff"},"c":null}}`,
		`{"to":"o","tid":"t","data":{"":{"value":{}},"b":[{}]}}`,
		`{"to":"\ud800","tid":"\u0000","data":{"\uffff":"\udfff"}}`,
		`{"to":"o","to":1,"data":{"k":1e999,"k":-0}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var r tmplRequest
		if codec.Unmarshal(body, &r) != nil {
			return
		}
		m, err := r.message()
		if err != nil {
			return
		}
		out, err := codec.Marshal(m)
		if err != nil {
			t.Fatalf("cannot write the message: %v", err)
		}
		var got struct {
			ToUser string                       `json:"touser"`
			Data   map[string]map[string]string `json:"data"`
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("WeChat cannot read %s: %v", out, err)
		}
		if got.ToUser == "" || len(got.Data) != len(r.Data) {
			t.Errorf("%s became %s", body, out)
		}
	})
}
