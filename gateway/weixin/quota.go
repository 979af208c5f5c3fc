package weixin

import (
	"log/slog"
	"sync"
	"time"
)

// usedUp is WeChat's "the day's quota of this API is used up".
const usedUp = 45009

// quotas remembers which APIs have no calls left today, so that they are left
// alone until WeChat counts anew.
type quotas struct {
	mu    sync.Mutex
	paths map[string]*spent // by API; the paths are this package's own, a dozen
}

type spent struct {
	refusal *Error
	until   time.Time // 00:00 in Beijing
	probe   time.Time // before then: the next call that goes through
}

// probeEvery is how often a spent API is tried all the same: the operator may
// have given the quota back with clear_quota.
const probeEvery = 10 * time.Minute

// refusal is WeChat's for an API that is left alone at now, nil for any other.
func (q *quotas) refusal(path string, now time.Time) *Error {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.paths[path]
	switch {
	case s == nil || !now.Before(s.until):
		return nil
	case !now.Before(s.probe):
		s.probe = now.Add(probeEvery)
		return nil
	}
	return s.refusal
}

// notice takes the outcome of a call, nil for one that went through.
func (q *quotas) notice(log *slog.Logger, appid, path string, e *Error, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.paths[path]
	switch {
	case e == nil:
		if s != nil {
			delete(q.paths, path)
		}
	case e.Code != usedUp || s != nil && now.Before(s.until):
	default:
		if q.paths == nil {
			q.paths = map[string]*spent{}
		}
		wait := Retry(e, now)
		q.paths[path] = &spent{refusal: e, until: now.Add(wait), probe: now.Add(probeEvery)}
		log.Error("the day's quota of an API is used up: it is left alone until 00:00 in Beijing",
			"appid", appid, "path", path, "wait", wait.Round(time.Second), "err", e)
	}
}
