VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILT   := $(shell date -u +%Y-%m-%dT%H:%M:%SZ)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.buildTime=$(BUILT)
FUZZTIME ?= 10s

.PHONY: build run demo test race lint fuzz soak bench check clean deps

build: ## the program, in this folder
	go build -trimpath -ldflags '$(LDFLAGS)' -o wx-gateway ./cmd/wx-gateway

run: build ## the gateway on conf.json, or on $CONF_FILE
	CONF_FILE=$${CONF_FILE:-conf.json} ./wx-gateway

demo: build ## simulator + sample backend + gateway, real pushes, every hop printed
	@mkdir -p tmp && go build -o tmp/demo ./examples/demo
	@exec tmp/demo

NEEDED := python3 node promtool

test: ## the whole suite; needs only Go, and says what it left out
	go test ./...
	@for p in $(NEEDED); do command -v $$p >/dev/null || echo "left out: tests that need $$p (make deps installs it on Debian)"; done

race: ## the suite under the race detector
	go test -race ./...

lint: ## formatting, vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go tool staticcheck ./...

fuzz: ## every fuzz target for FUZZTIME
	@mkdir -p tmp; for pkg in $$(go list ./...); do \
	  dir=$$(go list -f '{{.Dir}}' $$pkg); \
	  for t in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go 2>/dev/null | sed 's/func //'); do \
	    echo "== $$pkg $$t"; \
	    go test -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg >tmp/fuzz.log 2>&1 \
	      && tail -1 tmp/fuzz.log && continue; \
	    : a worker that is late when the time is up has found nothing; \
	    grep -q 'context deadline exceeded' tmp/fuzz.log && ! grep -qE 'Failing input|panic' tmp/fuzz.log && continue; \
	    cat tmp/fuzz.log; exit 1; \
	  done; \
	done

SOAK ?= 10m

soak: ## mixed traffic through every fault for SOAK: nothing lost, memory flat
	go test -run '^TestSoak$$' -count 1 -v -timeout 0 ./cmd/wx-gateway -soak $(SOAK)

bench: build ## micro benchmarks, then the running gateway against a bare proxy; BENCH holds flags of the latter
	go test -run '^$$' -bench . -benchmem ./gateway/... ./conf/...
	go run ./bench $(BENCH)

check: lint test race ## what CI runs
	go test -tags stdjson ./...

deps: ## what the full suite needs on Debian
	apt-get update
	apt-get install --yes --no-install-recommends python3 nodejs
	@# promtool alone: its package would run a server.
	d=$$(mktemp -d) && cd $$d && apt-get download prometheus && \
	  dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x -C /usr/local/bin --strip-components 3 ./usr/bin/promtool && rm -r $$d

clean:
	rm -rf wx-gateway tmp
	go clean -testcache
