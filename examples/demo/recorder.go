package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// hop is one call to the backend and its answer.
type hop struct {
	method, path string
	header       http.Header
	request      []byte
	status       int
	answer       []byte
	took         time.Duration
}

// maxRecorded bounds a body that is shown.
const maxRecorded = 1 << 20

// recorder passes calls on to the backend and looks at them.
type recorder struct {
	backend *child // stopped with it
	server  *http.Server

	mu   sync.Mutex // guards what follows
	seen []hop      // since the last take
	show func(hop)  // once set, calls go there instead
}

// record listens on addr and passes everything on to the backend at to.
func record(addr, to string) (*recorder, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot look on before the backend: %w", err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	proxy.Transport = &http.Transport{} // no proxy of the environment
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	r := &recorder{}
	r.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := hop{method: req.Method, path: req.URL.Path, header: req.Header.Clone()}
		h.request, _ = io.ReadAll(io.LimitReader(req.Body, maxRecorded))
		req.Body = io.NopCloser(bytes.NewReader(h.request))
		answer := &tee{ResponseWriter: w, status: http.StatusOK}
		began := time.Now()
		proxy.ServeHTTP(answer, req)
		h.status, h.answer, h.took = answer.status, answer.body.Bytes(), time.Since(began)
		r.add(h) // before the answer leaves: net/http holds a small one back until here
	})}
	go func() {
		if err := r.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Println("the onlooker before the backend ended:", err)
		}
	}()
	return r, nil
}

func (r *recorder) add(h hop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.show != nil {
		r.show(h)
		return
	}
	r.seen = append(r.seen, h)
}

// take returns the calls since the last take.
func (r *recorder) take() []hop {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// watch has every further call shown as it happens, one at a time.
func (r *recorder) watch(show func(hop)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.show = show
}

func (r *recorder) close() {
	r.server.Close()
	r.backend.stop()
}

// tee keeps a copy of what is written.
type tee struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *tee) WriteHeader(status int) {
	t.status = status
	t.ResponseWriter.WriteHeader(status)
}

func (t *tee) Write(p []byte) (int, error) {
	if t.body.Len() < maxRecorded {
		t.body.Write(p)
	}
	return t.ResponseWriter.Write(p)
}
