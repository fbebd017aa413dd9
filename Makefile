# Needs Go and make; everything else is built from the modules that tools/go.mod
# pins, but for the browser that the pages are tested in. "make" alone lists the
# targets.

GO       ?= go
# Everything is compiled without the paths of this machine, as the programs that are
# handed out are: so tests, linters and builds share what is compiled.
export GOFLAGS += -trimpath
FUZZTIME ?= 10s
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

bin   := bin
tools := .bin
lint  := $(tools)/golangci-lint

# The race detector needs a C compiler. Without one the tests still run.
race := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),$(if $(shell command -v "$$($(GO) env CC)" 2>/dev/null),-race))

.DEFAULT_GOAL := help
.PHONY: help demo build test lint unit around cross dist browser desktop redis wine fleet check-format check-modules fmt fuzz bench vuln docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## start simulator and sidecar, make sample calls, stay up
	@$(GO) build -o $(bin)/ ./cmd/demo && exec $(bin)/demo

build: ## build the programs into bin/
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(bin)/ ./cmd/...

test: check-format check-modules lint cross unit around ## everything that CI checks

lint: $(lint) ## go vet and the linters of .golangci.yml
	$(GO) vet ./...
	$(lint) run
	cd tests && $(GO) vet ./... && ../$(lint) run --config ../.golangci.yml

# Every system that the program is packed for, with what only that system's files
# hold looked at too. Of the builds for other systems it only matters that they
# compile and link, so they are not optimized, which halves the time, and nothing is
# written for a debugger, which saves another sixth.
run_here      := linux/amd64
only_compiled := linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
unoptimized   := -gcflags='all=-N -l -dwarf=false'

cross: ## build for every system, and vet what is of Windows and macOS
	@set -e; \
	build() { \
		platform=$$1; shift; \
		echo "build $$platform"; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO) build "$$@" -o $(bin)/cross/$${platform%/*}-$${platform#*/}/ ./cmd/sidecar; \
	}; \
	for platform in $(run_here); do build $$platform; done; \
	for platform in $(only_compiled); do build $$platform $(unoptimized) -ldflags='-s -w'; done
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) vet $(unoptimized) ./internal/app ./internal/config ./internal/service ./internal/store
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) vet $(unoptimized) ./internal/app ./internal/config ./internal/service ./internal/store

dist: ## archives, checksums and bills of materials in bin/dist, the same bytes each time
	cd tests && $(GO) run ./dist -root .. -out ../$(bin)/dist -version '$(VERSION)'

# Tests that run beside each other mostly wait: for a token to run out, for a lease to
# end. As many at once as a small machine has processors, two, would leave it idle.
parallel := -p 3 -parallel 6
longest  := ./internal/app # begun first, so that it does not end alone

unit: browser desktop redis wine ## the tests alone
	$(if $(race),,@echo 'no C compiler: the tests run without the race detector')
	TEST_ARTIFACTS='$(CURDIR)/$(bin)/artifacts' $(GO) test $(race) $(parallel) -shuffle=on $(longest) ./...

# A module of its own, so that what these tests need is no dependency of the product.
around: redis $(tools)/helm ## test what the product comes in: images, charts, a fleet of processes
	cd tests && TEST_RACE='$(race)' $(GO) test -shuffle=on ./...

# One load after the other, of a minute each, with 20 processes that share a store: a
# steady one, and two in which that is killed, paused and failed over. Figures are
# printed.
FLEET ?= steady killed failover
fleet: redis ## load 20 sidecars whose store dies meanwhile (4 minutes)
	cd tests && $(GO) run ./fleet -build=-trimpath $(FLEET)

# Screenshots are left in bin/artifacts. Where no browser can be installed, its
# test is skipped.
browser: ## install Chromium with apt-get, where it is missing and that can be done
	@missing=''; for program in chromium chromedriver; do \
		command -v $$program >/dev/null || missing="$$missing $$program"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
		echo "not found:$$missing; the pages are not tested in a browser."; \
		echo 'Install both (Debian: sudo apt-get install chromium chromium-driver) to have that done too.'; exit 0; \
	fi; \
	echo "not found:$$missing; installing chromium and chromium-driver"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -q </dev/null && apt-get install -qy --no-install-recommends chromium chromium-driver </dev/null || { \
		echo 'Chromium could not be installed: install the packages chromium and chromium-driver by hand.' >&2; exit 1; }

# Debian's package that a program of the list comes in. Without them, and without
# the right to install them, one test is left out and says so; TEST_KEY_STORE=required
# makes that a failure.
desktop_packages := dbus-run-session:dbus-daemon dbus-send:dbus-bin gnome-keyring-daemon:gnome-keyring

desktop: ## a key store to test with, where apt-get can install it
	@missing="$$(for pair in $(desktop_packages); do command -v "$${pair%%:*}" >/dev/null || echo "$${pair##*:}"; done)"; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -q </dev/null && apt-get install -qy --no-install-recommends $$missing </dev/null || \
			echo "could not install:" $$missing; \
	fi

# What the Windows build is run with: 100 MB to fetch, 700 MB on the disk. Without it
# its test is left out and says so; TEST_WINE=required makes that a failure.
wine: ## Wine, where apt-get can install it and this is an amd64 machine
	@if ! command -v wine >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && [ "$$(uname -m)" = x86_64 ]; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -q </dev/null && apt-get install -qy --no-install-recommends wine wine64 </dev/null || \
			echo 'could not install: wine wine64'; \
	fi

# The shared store is tested against servers of the tests' own; the one that Debian's
# package may start for the machine is not touched. Without the programs those tests
# are left out and say so; TEST_REDIS=required makes that a failure.
redis: ## a Redis server to test with, where apt-get can install it
	@if command -v redis-server >/dev/null && command -v redis-cli >/dev/null || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then exit 0; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -q </dev/null && apt-get install -qy --no-install-recommends redis-server </dev/null || \
		echo 'could not install: redis-server'

check-format:
	@unformatted="$$("$$($(GO) env GOROOT)/bin/gofmt" -l cmd internal tests *.go)" || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not formatted (run make fmt):"; echo "$$unformatted"; exit 1; fi

check-modules:
	$(GO) mod tidy -diff
	$(GO) mod verify
	cd tests && $(GO) mod tidy -diff

fmt: ## format all code
	"$$($(GO) env GOROOT)/bin/gofmt" -w cmd internal tests *.go

fuzz: ## every fuzz target for FUZZTIME (10s)
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' "$$package" | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" || exit 1; \
		done; \
	done

bench: $(tools)/benchstat ## every benchmark, compared with the run before
	@mkdir -p $(bin)
	@if [ -f $(bin)/bench.txt ]; then mv $(bin)/bench.txt $(bin)/bench-before.txt; fi
	$(GO) test -run '^$$' -bench . -benchmem -count 6 ./... > $(bin)/bench.txt
	@$(tools)/benchstat $$(ls $(bin)/bench-before.txt 2>/dev/null) $(bin)/bench.txt

vuln: $(tools)/govulncheck ## known vulnerabilities in what is used (needs the network)
	$(tools)/govulncheck ./...

docs: ## write from the code what of docs/ is made from it
	$(GO) generate ./internal/config ./internal/journal ./internal/proxy ./internal/scale .

clean: ## remove what was built, tools too
	rm -rf $(bin) $(tools)

# A tool is built anew when another version of anything is pinned.
$(tools)/golangci-lint: package := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(tools)/govulncheck:   package := golang.org/x/vuln/cmd/govulncheck
$(tools)/benchstat:     package := golang.org/x/perf/cmd/benchstat
$(tools)/golangci-lint $(tools)/govulncheck $(tools)/benchstat: tools/go.mod tools/go.sum
	@mkdir -p $(tools)
	cd tools && $(GO) build -trimpath -o ../$@ $(package)
	@touch $@

# Of a module of its own: what it needs of Kubernetes would else choose the linters'
# versions too.
$(tools)/helm: tools/helm/go.mod tools/helm/go.sum
	@mkdir -p $(tools)
	cd tools/helm && $(GO) build -trimpath -ldflags '-s -w' -o ../../$@ helm.sh/helm/v4/cmd/helm
	@touch $@
