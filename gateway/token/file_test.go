package token

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "cache")
	f := NewFile(dir, "wx1.ticket", "ticket")
	if got, ok, err := f.Load(); ok || err != nil {
		t.Fatalf("without a file: %v, %v, %v", got, ok, err)
	}
	for _, v := range []string{value(1), `a "quoted" \ <value> 中`} {
		want := Token{Value: v, Expires: time.Unix(1700000000, 999)}
		if err := f.Save(want); err != nil {
			t.Fatal(err)
		}
		got, ok, err := f.Load()
		if err != nil || !ok || got.Value != v || got.Expires.UnixNano() != 1700000000e9 {
			t.Errorf("Load() = %v, %v, %v", got, ok, err)
		}
	}
	if err := f.Save(Token{Value: "abc", Expires: time.Unix(1700000000, 0)}); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(filepath.Join(dir, "wx1.ticket"))
	if want := `{"ticket":"abc","expire":1700000000}` + "\n"; string(data) != want {
		t.Errorf("the file holds %s", data)
	}
	mode := func(path string, want os.FileMode) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	mode(filepath.Join(dir, "wx1.ticket"), 0o600)
	mode(dir, 0o700)
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// A file that others may read is replaced by one they may not.
func TestSaveTightensMode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "wx1")
	if err := os.WriteFile(path, []byte(`{"token":"old","expire":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := NewFile(dir, "wx1", "token").Save(Token{Value: "new", Expires: time.Unix(2, 0)}); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestParse(t *testing.T) {
	ok := func(data string) {
		t.Helper()
		got, err := parse([]byte(data), "token")
		if err != nil || got.Value != "v" || got.Expires.Unix() != 1700000000 {
			t.Errorf("parse(%s) = %v, %v", data, got, err)
		}
	}
	ok(`{"token":"v","expire":1700000000}`)
	ok(" {\n \"expire\": 1700000000, \"note\": [1], \"token\": \"v\" }\n") // written by hand

	bad := func(data, want string) {
		t.Helper()
		_, err := parse([]byte(data), "token")
		wantErr(t, err, want)
	}
	const noObject = "not a JSON object"
	bad("", noObject)
	bad("null", noObject)
	bad("[]", noObject)
	bad(`"sEcReT"`, noObject)
	bad(`{"token":"sEcReT","expire":17`, noObject)
	bad("{\"token\":\"sEcReT\xff\",\"expire\":1}", noObject)
	const noValue = `"token" is not a string of 1 to 4096 bytes`
	bad(`{}`, noValue)
	bad(`{"ticket":"sEcReT","expire":1700000000}`, noValue)
	bad(`{"token":"","expire":1700000000}`, noValue)
	bad(`{"token":7,"expire":1700000000}`, noValue)
	bad(`{"token":null,"expire":1700000000}`, noValue)
	bad(`{"token":"`+strings.Repeat("x", 4097)+`","expire":1700000000}`, noValue)
	const noExpire = `"expire" is not a number of unix seconds`
	bad(`{"token":"sEcReT"}`, noExpire)
	bad(`{"token":"sEcReT","expire":null}`, noExpire)
	bad(`{"token":"sEcReT","expire":"1700000000"}`, noExpire)
	bad(`{"token":"sEcReT","expire":1.7e9}`, noExpire)
	bad(`{"token":"sEcReT","expire":-1}`, noExpire)
	bad(`{"token":"sEcReT","expire":99999999999999999999}`, noExpire)
}

func TestFileNames(t *testing.T) {
	dir := t.TempDir()
	f := func(name, want string) {
		t.Helper()
		_, _, err := NewFile(dir, name, "token").Load()
		wantErr(t, err, want)
		wantErr(t, NewFile(dir, name, "token").Save(Token{Value: "v"}), want)
	}
	const why = ": not a file name made of A-Z a-z 0-9 _ . -"
	f("", `cannot use token cache ""`+why)
	f("..", `cannot use token cache ".."`+why)
	f(".hidden", `cannot use token cache ".hidden"`+why)
	f("../wx1", `cannot use token cache "../wx1"`+why)
	f("a/b", `cannot use token cache "a/b"`+why)
	f("wx 1", `cannot use token cache "wx 1"`+why)
	f("微信", `cannot use token cache "微信"`+why)
	f(strings.Repeat("x", 129), `cannot use token cache "`+strings.Repeat("x", 129)+`"`+why)
	dir = ""
	f("wx1", "cannot use token cache: no folder given")
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	load := func(name, want string) {
		t.Helper()
		_, ok, err := NewFile(dir, name, "token").Load()
		if ok {
			t.Error("loaded")
		}
		wantErr(t, err, "cannot read token cache"+want)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Mkdir(path("dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	load("dir", ": "+path("dir")+" is not a regular file")
	if err := syscall.Mkfifo(path("fifo"), 0o600); err != nil {
		t.Skip("no FIFOs here")
	}
	load("fifo", ": "+path("fifo")+" is not a regular file")
	if err := os.WriteFile(path("big"), make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	load("big", ": "+path("big")+" has more than 65536 bytes")
	if err := os.WriteFile(path("torn"), []byte(`{"token":"sEcReT`), 0o600); err != nil {
		t.Fatal(err)
	}
	load("torn", " "+path("torn")+": not a JSON object")
}

func TestSaveFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "wx1"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := NewFile(dir, "wx1", "token").Save(Token{Value: value(1), Expires: time.Now()})
	if err == nil || !strings.HasPrefix(err.Error(), "cannot write token cache: rename ") || strings.Contains(err.Error(), secretMark) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// Readers see a whole file at any moment, whoever writes.
func TestFileIsAlwaysWhole(t *testing.T) {
	dir := t.TempDir()
	f := NewFile(dir, "wx1", "token")
	if err := f.Save(Token{Value: "first", Expires: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for n := range 20 {
				if err := f.Save(Token{Value: strings.Repeat("x", 1+n*100), Expires: time.Unix(1, 0)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		if _, ok, err := f.Load(); !ok || err != nil {
			t.Errorf("Load: %v, %v", ok, err)
		}
	}
	wg.Wait()
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"token":"v","expire":1700000000}`))
	f.Add([]byte(`{"token":"v","expire":1e400}`))
	f.Add([]byte(`{"token":"\ud800","expire":-0}`))
	f.Add([]byte("{\"token\":\"\xff\"}"))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parse(data, "token")
		if err != nil {
			if got != (Token{}) {
				t.Errorf("a value beside the error %v", err)
			}
			return
		}
		if got.Value == "" || len(got.Value) > maxValue || got.Expires.Unix() < 0 {
			t.Errorf("accepted %v", got)
		}
	})
}

// A restarted gateway goes on with the cached value and renews it in time.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m := &platform{}, new(memory)
		withCache := func(c *Config) { c.Cache, c.Eager = m, true }
		k, _ := keeper(t, p, Classic(), withCache)
		k.Start()
		synctest.Wait()
		wantToken(t, k, 1)
		k.Stop()
		if m.saves != 1 || m.t.Value != value(1) || time.Until(m.t.Expires) != 2*time.Hour {
			t.Fatalf("cached %d times, %s", m.saves, time.Until(m.t.Expires))
		}

		time.Sleep(time.Hour)
		k, _ = keeper(t, p, Classic(), withCache)
		k.Start()
		wantToken(t, k, 1)
		if s := k.State(); !s.Have || !s.Fetched.IsZero() || time.Until(s.Expires) != time.Hour {
			t.Errorf("state %+v", s)
		}
		time.Sleep(55 * time.Minute)
		synctest.Wait()
		wantToken(t, k, 2)
		p.wantCalls(t, 2, 0)
		k.Stop()
		if m.t.Value != value(2) {
			t.Error("the renewed value is not cached")
		}

		// Past its end the cached value is not served.
		time.Sleep(3 * time.Hour)
		k, _ = keeper(t, p, Classic(), func(c *Config) { c.Cache = m })
		k.Start()
		wantToken(t, k, 3)
	})
}

// A cache that cannot be read or written is a warning, nothing else.
func TestBrokenCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		m := &memory{loadErr: errors.New("cannot read token cache: torn"), saveErr: errors.New("cannot write token cache: disk full")}
		k, l := keeper(t, p, Classic(), func(c *Config) { c.Cache = m })
		k.Start()
		wantToken(t, k, 1)
		synctest.Wait()
		if l.count("level=WARN msg=\"token cache ignored\"") != 1 || l.count("level=WARN msg=\"token not cached\"") != 1 {
			t.Errorf("log:\n%s", l.buf.String())
		}
	})
}

// What a cache holds is not believed blindly.
func TestOddCaches(t *testing.T) {
	f := func(name string, cached Token, ok bool, want int, until time.Duration) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, m := &platform{n: 1}, &memory{t: cached, ok: ok}
				if !cached.Expires.IsZero() {
					m.t.Expires = time.Now().Add(time.Until(cached.Expires))
				}
				k, _ := keeper(t, p, Classic(), func(c *Config) { c.Cache = m })
				k.Start()
				wantToken(t, k, want)
				if left := time.Until(k.State().Expires); left != until {
					t.Errorf("%s left", left)
				}
			})
		})
	}
	// synctest's clock starts at 2000-01-01 00:00 UTC.
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	f("none", Token{}, false, 2, 2*time.Hour)
	f("good", Token{value(1), start.Add(time.Hour)}, true, 1, time.Hour)
	f("at its end", Token{value(1), start}, true, 2, 2*time.Hour)
	f("no value", Token{"", start.Add(time.Hour)}, true, 2, 2*time.Hour)
	f("no end", Token{value(1), time.Time{}}, true, 2, 2*time.Hour)
	f("written under a wrong clock", Token{value(1), start.AddDate(10, 0, 0)}, true, 1, 2*time.Hour)
}

// An older value never overwrites a newer one in the cache.
func TestSaveOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m := &platform{}, new(memory)
		k, _ := keeper(t, p, Classic(), func(c *Config) { c.Cache = m })
		wantToken(t, k, 1)
		synctest.Wait()
		old := k.cur.Load()
		renew(t, k, value(1), value(2))
		synctest.Wait()
		k.save(old)
		if m.t.Value != value(2) || m.saves != 2 {
			t.Errorf("%d saves, the last is not the newest value", m.saves)
		}
	})
}
