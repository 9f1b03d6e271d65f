# Everything that is done with this checkout. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export CGO_ENABLED := 0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
CONFIG ?= /etc/sluice/sluice.yaml

.PHONY: help
help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## build the one static binary, bin/sluice
	go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/sluice ./cmd/sluice

.PHONY: demo
demo: ## watch real changes go from a real Gerrit into signed repositories (DEMO_EXIT=1: end afterwards)
	scripts/install.sh demo
	$(MAKE) --no-print-directory build
	scripts/demo.sh

.PHONY: run
run: build ## run the service (CONFIG=/etc/sluice/sluice.yaml: the site file, where every command looks for it)
	bin/sluice serve --config $(CONFIG)

.PHONY: test
test: ## install what tests need, lint, look for stale files, run every test against real parts
	scripts/install.sh test
	$(MAKE) --no-print-directory lint verify
	scripts/test.sh

.PHONY: test-full
test-full: ## the same, with the long sizes of the tests
	SLUICE_TEST_FULL=1 $(MAKE) --no-print-directory test

.PHONY: bench
bench: ## run the benchmarks
	scripts/install.sh test
	go test -run '^$$' -bench . -benchmem -p 1 -timeout 60m ./...

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, shellcheck
	scripts/lint.sh

.PHONY: fmt
fmt: ## format the Go sources
	git ls-files -z '*.go' | xargs -0 gofmt -w

.PHONY: generate
generate: ## make the generated files anew (API, page)
	go generate ./...

.PHONY: verify
verify: ## fail if a generated file is not what its source makes
	scripts/verify.sh

.PHONY: clean
clean: ## remove what was built; caches and the demo's state stay
	rm -rf bin
