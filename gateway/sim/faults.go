package sim

import (
	"net/http"
	"time"
)

// Fault is something that goes wrong on demand.
//
// With only Latency set the call is late and then answered properly. Otherwise
// exactly one of these happens, after Latency: Drop closes the connection, Code
// answers {"errcode":…}, Status and Body answer just those.
type Fault struct {
	AppID   string        // "": any account
	Path    string        // like "cgi-bin/user/info"; "": any call
	Latency time.Duration // at most 10 minutes
	Code    int           // errcode; 40164 carries the caller's address
	Msg     string        // errmsg; default: WeChat's text for Code with a rid
	Status  int           // HTTP status; default 200
	Body    string        // sent as it is: garbage, HTML …
	Drop    bool          // close the connection without an answer
	Times   int           // how often; 0: until cleared
}

const (
	maxFaults  = 1000
	maxLatency = 10 * time.Minute
)

// Fault makes the platform fail as f says until the returned function is
// called. The fault set first wins where several match.
func (p *Platform) Fault(f Fault) (clear func()) {
	own := &f
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addFault(own)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.drop(own)
	}
}

// addFault is Fault for who holds mu.
func (p *Platform) addFault(f *Fault) {
	if len(p.faults) >= maxFaults {
		p.faults = p.faults[1:]
	}
	p.faults = append(p.faults, f)
}

// drop forgets f. Caller holds mu.
func (p *Platform) drop(f *Fault) {
	for i, g := range p.faults {
		if g == f {
			p.faults = append(p.faults[:i:i], p.faults[i+1:]...)
			return
		}
	}
}

// fault takes one turn of the first fault that matches.
func (p *Platform) fault(appid, path string) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		if f.AppID != "" && f.AppID != appid || f.Path != "" && f.Path != path {
			continue
		}
		turn := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				p.drop(f)
			}
		}
		return &turn
	}
	return nil
}

// inject does what f says, reporting whether that was the answer.
func (p *Platform) inject(c *call, f *Fault, record *Call) bool {
	p.wait(c, min(f.Latency, maxLatency))
	if !f.Drop && f.Code == 0 && f.Status == 0 && f.Body == "" {
		return false
	}
	record.At = p.now()
	switch {
	case f.Code != 0:
		record.Code = f.Code
	case f.Status != 0:
		record.Code = f.Status
	}
	p.mu.Lock()
	p.calls.add(*record)
	p.mu.Unlock()

	if f.Drop {
		panic(http.ErrAbortHandler) // net/http's way to close a connection without an answer
	}
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	body := []byte(f.Body)
	if f.Code != 0 {
		body = p.errorBody(f.Code, f.Msg, peerIP(c.r))
		c.w.Header().Set("Content-Type", "application/json; encoding=utf-8")
	}
	c.w.WriteHeader(status)
	c.w.Write(body)
	return true
}

// wait lets d pass, unless the caller leaves or the platform closes.
func (p *Platform) wait(c *call, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.r.Context().Done():
	case <-p.closing:
	}
}
