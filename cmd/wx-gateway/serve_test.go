package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The secret that a configuration names may come after the configuration, and
// the log changes with it.
func TestRefusedReloadIsRepeated(t *testing.T) {
	t.Parallel()
	_, wechat := platform(t)
	conf, service := configuration(wechat, "")
	file := confFile(t, "")
	writeConf(t, file, conf)
	p := start(t, []string{"CONF_FILE=" + file})
	p.url()

	secret := filepath.Join(t.TempDir(), "token")
	service["wx-params"].(object)["token"] = "file:" + secret
	conf["log"] = object{"level": "info", "format": "json"}
	writeConf(t, file, conf)
	p.signal(syscall.SIGHUP)
	p.find(`level=ERROR msg="cannot reload; still serving the previous configuration: [^\n]*\.wx-params\.token: cannot read the file`)
	if err := os.WriteFile(secret, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.find(`level=INFO msg=reloaded services=1`)
	p.signal(syscall.SIGHUP)
	p.find(`"level":"INFO","msg":"reloaded","services":1`)
	p.stop()
	// A look at the file may have come in between: that is another reload.
	if n := strings.Count(p.out.String(), "cannot reload") - strings.Count(p.out.String(), `why="file changed"`); n != 1 {
		t.Errorf("told %d times why the reload was refused, want once:\n%s", n, p.out)
	}
}
