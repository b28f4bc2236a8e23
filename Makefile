# Everything is reached from here. A fresh Debian needs Go 1.26, Python 3.11 and
# make; the rest is set up below .cache on first use.
#
#   make run         the product on this machine, until Ctrl-C
#   make test        everything, the real Crossbar.io node included
#   make test-short  unit tests only, within a minute once they are compiled
#   make lint        gofmt, vet, golangci-lint
#   make packages    debs and snap of this commit, in dist
#   make image       container image of the relay, in the Docker Engine at hand
#
# CFC_WITHOUT=crossbar leaves out, by name, what needs the real node,
# CFC_WITHOUT=docker what needs a Docker Engine, and CFC_WITHOUT=packages what
# installs the packages, which takes root; a comma between for several.
# CFC_CROSSBAR=/path/to/crossbar uses that node instead of .cache/venv, and
# CFC_AUTOBAHN_JS=/path/to/node_modules the autobahn-js there.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:

GO      ?= go
PORT    ?= 8080
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CACHE   := $(CURDIR)/.cache
ARCHS   ?= amd64 arm64
IMAGE   ?= cfc-relay
BIN     := bin
CMDS    := $(patsubst %/,%,$(wildcard relay/cmd/*/ agent/cmd/*/))

GOLANGCI_VERSION := v2.6.2
GOLANGCI         := $(CACHE)/bin/golangci-lint-$(GOLANGCI_VERSION)
NFPM_VERSION     := v2.45.0
NFPM             := $(CACHE)/bin/nfpm-$(NFPM_VERSION)

export CFC_WITHOUT
export GOFLAGS := -buildvcs=false $(filter-out -buildvcs=%,$(GOFLAGS))

# Packages under a directory named e2e drive built binaries; those whose path
# ends with it, e2e/driver and e2e/readme need the real node as well, those in
# e2e/docker a Docker Engine, those in e2e/debian root.
without = $(if $(findstring $(1),$(CFC_WITHOUT)),| grep -vE '$(2)',)
LIST  = $(GO) list ./...
UNIT  = $$($(LIST) | grep -vE '/e2e(/|$$)')
WHOLE = $$($(LIST) | grep -E '/e2e(/|$$)' $(call without,crossbar,/e2e(/driver|/readme)?$$) $(call without,docker,/e2e/docker$$) $(call without,packages,/e2e/debian$$))

.PHONY: build packages image test test-boot test-short lint docs bench run venv js docker debian snap clean go-version

# The same flags for all that is built: what is compiled once serves them all.
BUILD := CGO_ENABLED=0 $(GO) build -trimpath

build: go-version
	@mkdir -p $(BIN)
	@echo "building the programs (from nothing it takes a minute or two)" >&2
	@for cmd in $(CMDS); do \
	  $(BUILD) -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/ ./$$cmd; \
	done
	@ls $(BIN)

# The programs are those of `make build`: the flags and the source are the same,
# and so is every byte.
packages: go-version snap $(NFPM)
	@rm -rf dist
	@for arch in $(ARCHS); do \
	  export ARCH=$$arch BIN=.cache/packages/$$arch DESCRIPTION='$(VERSION)'; \
	  GOOS=linux GOARCH=$$arch $(MAKE) --no-print-directory build BIN=$$BIN >/dev/null; \
	  packaging/build.sh debs; packaging/build.sh snap; \
	done
	@ls dist

image: build
	@DESCRIPTION='$(VERSION)' IMAGE='$(IMAGE)' packaging/build.sh image

test: go-version debian venv js $(if $(findstring packages,$(CFC_WITHOUT)),,snap $(NFPM)) build
	$(GO) vet ./...
	$(GO) test -race -timeout 10m $(UNIT)
	CFC_BIN=$(CURDIR)/bin $(GO) test -count=1 -p 3 -timeout 20m -skip '^TestBoot$$' $(WHOLE)

# Boots a copy of this machine by systemd-nspawn, which not every place that runs
# the tests may do: see packaging/README.md.
test-boot: go-version venv $(NFPM) build
	CFC_BIN=$(CURDIR)/bin $(GO) test -count=1 -timeout 15m -run '^TestBoot$$' ./packaging/e2e/debian

test-short: go-version
	$(GO) test -vet=off -timeout 55s $(UNIT)

lint: go-version $(GOLANGCI)
	@out=$$(gofmt -l agent relay shared packaging systemd 2>/dev/null || true); \
	if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GOLANGCI) run ./...

$(GOLANGCI):
	@mkdir -p $(@D)
	GOBIN=$(@D) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(@D)/golangci-lint $@

$(NFPM):
	@mkdir -p $(@D)
	GOBIN=$(@D) $(GO) install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION)
	@mv $(@D)/nfpm $@

# The generated pages: a test fails when one of them is stale.
docs: go-version
	$(GO) generate ./...

# The relay's path against a bare router, then the whole way against
# Crossbar.io's own master, a command's output against `docker exec`, and what a
# client that does not read costs the others.
bench: go-version venv docker build
	$(GO) run ./relay/bench
	CFC_BIN=$(CURDIR)/bin $(GO) run ./shared/e2e/bench
	CFC_BIN=$(CURDIR)/bin $(GO) test -count=1 -run '^$$' -bench . -benchtime 1x ./shared/e2e/docker ./shared/e2e/rights

# Built, not `go run`, which would not pass SIGTERM on.
run: go-version venv build
	@$(BUILD) -o $(CACHE)/e2e/demo ./shared/e2e/demo
	@CFC_BIN=$(CURDIR)/bin exec $(CACHE)/e2e/demo -port "$(PORT)"

venv:
	@shared/e2e/setup.sh venv

js:
	@shared/e2e/setup.sh js

docker:
	@shared/e2e/setup.sh debian docker

debian:
	@shared/e2e/setup.sh debian race crossbar docker packages

snap:
	@shared/e2e/setup.sh debian pack
	@shared/e2e/setup.sh snap

go-version:
	@v=$$($(GO) env GOVERSION 2>/dev/null || true); \
	case "$$v" in \
	  go1.2[6-9]*|go1.[3-9][0-9]*|go[2-9]*|devel*) ;; \
	  '') echo "cannot build: no 'go' command found; install Go 1.26 and put it on PATH" >&2; exit 1;; \
	  *) echo "cannot build: this is $$v, Go 1.26 or newer is needed" >&2; exit 1;; \
	esac

clean:
	rm -rf bin dist .cache
