package gateway

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"wx-gateway/gateway/meter"
)

func TestAliases(t *testing.T) {
	t.Parallel()
	one, other := newAliases(), newAliases()
	name := one.of("oUser1")
	if !regexp.MustCompile(`^#[0-9a-f]{12}$`).MatchString(name) {
		t.Errorf("name %q", name)
	}
	if again := one.of("oUser1"); again != name {
		t.Errorf("the same user is %s, then %s", name, again)
	}
	if one.of("oUser2") == name {
		t.Error("two users have one name")
	}
	if other.of("oUser1") == name {
		t.Error("the name does not depend on the process")
	}
	if got := one.of(""); got != "" {
		t.Errorf("nobody is called %q", got)
	}
}

// TestAliasAtDebug: only a log at debug level shows openids.
func TestAliasAtDebug(t *testing.T) {
	t.Parallel()
	f := func(level slog.Level, plain bool) {
		t.Helper()
		log := slog.New(slog.NewTextHandler(&strings.Builder{}, &slog.HandlerOptions{Level: level}))
		s := newShared(log, meter.New("v", "b"))
		t.Cleanup(s.close)
		if got := s.alias("oUser1"); (got == "oUser1") != plain {
			t.Errorf("at %s the user is called %q", level, got)
		}
	}
	f(slog.LevelDebug, true)
	f(slog.LevelInfo, false)
	f(slog.LevelWarn, false)
}
