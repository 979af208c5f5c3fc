package conf

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"wx-gateway/gateway/codec"
)

const hunted = "hunter2secret0123456789AAAAAAAAAAAAAAAAAAAA"

// fill sets every Secret within v to hunted and counts them.
func fill(v reflect.Value) int {
	switch {
	case v.Type() == reflect.TypeFor[Secret]():
		v.SetString(hunted)
		return 1
	case v.Kind() == reflect.Struct:
		n := 0
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				n += fill(v.Field(i))
			}
		}
		return n
	case v.Kind() == reflect.Slice && (v.Type().Elem().Kind() == reflect.Struct || v.Type().Elem() == reflect.TypeFor[Secret]()):
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return fill(v.Index(0))
	}
	return 0
}

func TestNoEncoderShowsASecret(t *testing.T) {
	var c Config
	if n := fill(reflect.ValueOf(&c).Elem()); n != 9 {
		t.Errorf("found %d secrets in Config, want 9", n)
	}
	f := func(how, out string) {
		t.Helper()
		if strings.Contains(out, "hunter") || strings.Contains(out, fmt.Sprintf("%x", hunted)[:12]) || strings.Contains(out, fmt.Sprintf("%X", hunted)[:12]) {
			t.Errorf("%s shows a secret: %s", how, out)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T", "%c", "%U", "% x", "%10.3s"} {
		f(verb, fmt.Sprintf(verb, c))
		f(verb+" of a pointer", fmt.Sprintf(verb, &c))
		f(verb+" of a secret", fmt.Sprintf(verb, c.Internal.Token))
		f(verb+" of a list", fmt.Sprintf(verb, c.Services[0].TokensOld))
	}
	f("Errorf", fmt.Errorf("cannot use %s", c.RedisURL).Error())
	f("Sprint", fmt.Sprint(c, c.RedisURL))
	f("String", c.RedisURL.String()+c.RedisURL.GoString())

	marshal := map[string]func(any) ([]byte, error){
		"encoding/json": json.Marshal,
		"codec":         codec.Marshal,
		"encoding/xml":  func(any) ([]byte, error) { return xml.Marshal(c.RedisURL) },
	}
	for how, fn := range marshal {
		out, err := fn(c)
		if err != nil {
			t.Errorf("%s: %v", how, err)
		}
		f(how, string(out))
	}

	var logged bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		log := slog.New(h)
		log.Info("loaded", "conf", c, "pointer", &c, "secret", c.RedisURL, "list", c.Services[0].AESKeysOld, "services", c.Services)
		log.With("secret", c.Internal.Token).Info("again")
	}
	f("slog", logged.String())
}

// Every string of a file that holds secrets is hunted here: in good and in bad places, none may be told again.
func TestNoProblemShowsASecret(t *testing.T) {
	f := func(service string) {
		t.Helper()
		doc := `{"redis-url": "S", "internal": {"token": "S S"}, "services": [` + strings.ReplaceAll(service, "S", hunted) + `]}`
		_, warnings, err := Parse([]byte(strings.ReplaceAll(doc, `"S`, `"`+hunted)), "", nil)
		if err == nil {
			t.Fatal("was taken for good")
		}
		if all := lines(warnings) + err.Error(); strings.Contains(all, "hunter") {
			t.Errorf("a problem shows a secret:\n%s", all)
		}
	}
	f(`{"wx-params": {"token": "S", "app-secret": "S", "aes-key": "S="}, "aes-keys-old": ["S-"], "tokens-old": ["S", 1]}`)
	f(`{"msg-proxy-pass": "S", "redirect-url": "http://u:S%@h/", "backend-secret": "whsec_S* S"}`)
	f(`{"msg-proxy-pass": "https://u:S@h:0/", "redirect-url": "http://h/?S#", "backend-secret": "S whsec_"}`)
	f(`{"wx-params": {"tokn": "S", "app-secret": ["S"], "aes-key": {"S-": 1}, "token": "S", "token": "S${X}"}}`)
	f(`{"wx-params": {"token": "S`)
	f(`{"wx-params": {"token": "S" "S"}}`)
}
