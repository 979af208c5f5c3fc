package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// profile writes what go tool pprof shows of each gateway of r: where the
// processor time of a turn under full load went, then what holds its memory.
func (r *race) profile(folder string) error {
	const seconds = 3
	for _, e := range r.entrants {
		if e.proc.profiles == "" {
			continue
		}
		file := filepath.Join(folder, strings.NewReplacer(" ", "-", ",", "").Replace(e.name))
		written := make(chan error, 1)
		go func() {
			written <- fetch(fmt.Sprintf("%s/profile?seconds=%d", e.proc.profiles, seconds), file+".cpu")
		}()
		e.load.prepare(e.likely((seconds + 1) * time.Second))
		e.load.closed((seconds + 1) * time.Second)
		if err := <-written; err != nil {
			return err
		}
		// The text form, since it holds the sizes of stacks and all else too.
		if err := fetch(e.proc.profiles+"/heap?debug=1", file+".heap"); err != nil {
			return err
		}
	}
	return nil
}

// fetch writes what is at url to file.
func fetch(url, file string) error {
	status, body, err := fasthttp.Get(nil, url)
	if err == nil && status != fasthttp.StatusOK {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	if err != nil {
		return fmt.Errorf("cannot read the profile: %w", err)
	}
	return os.WriteFile(file, body, 0o644)
}
