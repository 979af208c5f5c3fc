package conf

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"wx-gateway/gateway/codec"
)

// FromEnv makes the configuration of one account, the service "default", from the environment: WECHAT_APP_ID,
// WECHAT_APP_SECRET and WECHAT_APP_TOKEN, and optionally WECHAT_AES_KEY, MSG_PROXY_PASS, WECHAT_SERVICE_PATH
// (/wechat) and LISTEN_PORT (8080). It is enough to enable 服务器配置 in the console and to try things.
// Faults and warnings name the variable to mend.
func FromEnv(getenv func(string) (string, bool)) (*Config, []Problem, error) {
	r := newReader(getenv)
	for _, name := range []string{"WECHAT_APP_ID", "WECHAT_APP_SECRET", "WECHAT_APP_TOKEN", "WECHAT_AES_KEY", "MSG_PROXY_PASS", "WECHAT_SERVICE_PATH", "LISTEN_PORT"} {
		if v, _ := r.getenv(name); !utf8.ValidString(v) {
			return nil, nil, &Faults{[]Problem{{Path: name, Text: "is not UTF-8"}}}
		}
	}
	value := func(name, def string) string {
		if v, _ := r.getenv(name); v != "" {
			return v
		}
		return def
	}
	var missing []string
	needed := []string{"WECHAT_APP_ID", "WECHAT_APP_SECRET", "WECHAT_APP_TOKEN"}
	for _, name := range needed {
		if value(name, "") == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == len(needed) && value("WECHAT_AES_KEY", "") == "" {
		return nil, nil, errors.New("there is no configuration: set CONF_FILE to a file like sample.conf.json, or, for one account, WECHAT_APP_ID, WECHAT_APP_SECRET and WECHAT_APP_TOKEN")
	}
	if len(missing) > 0 {
		return nil, nil, fmt.Errorf("cannot start one account from the environment: set %s too, or CONF_FILE for a configuration file", enumerate(missing))
	}

	type object = map[string]any
	aesKey := value("WECHAT_AES_KEY", "")
	doc, err := codec.Marshal(object{
		"listen-port":      value("LISTEN_PORT", "8080"),
		"common-endpoints": object{"health-check": "/health"},
		"services": []any{object{
			"name": "default",
			"wx-params": object{
				"app-id":     value("WECHAT_APP_ID", ""),
				"app-secret": value("WECHAT_APP_SECRET", ""),
				"token":      value("WECHAT_APP_TOKEN", ""),
				"aes-key":    aesKey,
			},
			"listen-endpoints":   object{"service-path": value("WECHAT_SERVICE_PATH", "/wechat")},
			"msg-proxy-pass":     value("MSG_PROXY_PASS", ""),
			"require-encryption": aesKey != "",
		}},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the account from the environment: %w", err)
	}
	r.verbatim = true // what a variable holds is meant as it stands
	c, warnings, err := r.parse(doc, "")
	if f, ok := errors.AsType[*Faults](err); ok {
		nameVariables(f.List)
	}
	nameVariables(warnings)
	return c, warnings, err
}

// nameVariables replaces the paths of a file that does not exist by the variables they were made of.
func nameVariables(list []Problem) {
	const service = "services[0]."
	variables := map[string]string{
		"listen-port":                             "LISTEN_PORT",
		service + "wx-params.app-id":              "WECHAT_APP_ID",
		service + "wx-params.app-secret":          "WECHAT_APP_SECRET",
		service + "wx-params.token":               "WECHAT_APP_TOKEN",
		service + "wx-params.aes-key":             "WECHAT_AES_KEY",
		service + "listen-endpoints.service-path": "WECHAT_SERVICE_PATH",
		service + "msg-proxy-pass":                "MSG_PROXY_PASS",
	}
	for i, p := range list {
		if name, ok := variables[p.Path]; ok {
			list[i].Path, list[i].Service = name, ""
		}
	}
}

func enumerate(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
