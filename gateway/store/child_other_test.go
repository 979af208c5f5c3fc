//go:build !linux

package store

func childJobs() map[string]func(path string) error {
	return map[string]func(path string) error{"put": putUntilKilled}
}
