# hostmeter: everything a developer or a newcomer types. `make help` lists it.
SHELL       := /bin/bash
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TAGS        := libvirt_dlopen
GOFLAGS_ALL := -tags $(TAGS) -ldflags "-X hostmeter/internal/telemetry.Version=$(VERSION)"
BIN         := bin/hostmeter
FUZZTIME    ?= 10s
CHECKS      ?= 100000
LEDGER_CHECKS ?= 1000
SEEDS       ?= 200
HISTORIES   ?= 100000
SEED        ?= 1
KILLS       ?= 300

# Everywhere the same, so that a build and the tests share what is compiled.
export GOFLAGS += -trimpath

# Without a C compiler everything but the libvirt source is built, and says so when one is configured.
ifeq ($(shell command -v $${CC:-cc} 2>/dev/null),)
export CGO_ENABLED := 0
endif

.DEFAULT_GOAL := help
.PHONY: help build demo test test-unit test-real test-influx2 soak sim reliability catchup lint fuzz properties oracle bench bench-ledger profile generate check-generated clean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the binary, bin/hostmeter
	@mkdir -p bin
	@echo "building $(BIN) $(VERSION) (the first build downloads and compiles its libraries: about 3 minutes)" >&2
	go build $(GOFLAGS_ALL) -o $(BIN).new ./cmd/hostmeter && mv $(BIN).new $(BIN)

demo: build ## a simulated provider through the real pipeline, with its pages on http://127.0.0.1:8080
	$(BIN) demo $(DEMO)

test: ## all tests; those with real servers too where this machine allows
	deploy/testbed/test.sh all

test-unit: ## the tests that need nothing but Go
	deploy/testbed/test.sh unit

test-real: ## real exporters, libvirt, Kafka, PostgreSQL, InfluxDB, a browser: installed, started, proved
	deploy/testbed/test.sh real

test-influx2: ## the series against InfluxDB 2.7 (its first build takes about 10 minutes and needs cargo)
	deploy/testbed/test.sh influx2

soak: ## real processes, brokers, databases are killed KILLS times (default 300: about half an hour); the table goes to test/faults
	deploy/testbed/test.sh soak $(KILLS)

lint: check-generated ## formatting, vet, staticcheck, shellcheck, and whether generated code is stale
	deploy/testbed/lint.sh

fuzz: ## every fuzz target for FUZZTIME each (default 10s)
	deploy/testbed/fuzz.sh $(FUZZTIME)

properties: ## the properties of money, CHECKS random cases each (100000; LEDGER_CHECKS, 1000, where each is a ledger; some minutes)
	go test -timeout 2h -v -run 'Periods|Percentile|Interval|Fractions|Usage|Amount' ./aggregator/rating -rapid.checks=$(CHECKS)
	go test -timeout 2h -v -run 'Revisions' ./aggregator/ledger -rapid.checks=$(CHECKS)
	go test -timeout 2h -v -run 'WhateverComesBetween|ReversalCancel|PermutedInput' ./aggregator/ledger -rapid.checks=$(LEDGER_CHECKS)

oracle: ## what an oracle bills that shares no code: SEEDS months at the ledger (default 200), three demos through the wire
	go test -tags $(TAGS) -timeout 2h -v -run TestOracleAgrees ./aggregator/ledger -oracle.seeds=$(SEEDS)
	go test -tags $(TAGS) -timeout 2h -v -run TestDemoReportEqualsTheOracle ./internal/app -oracle.seeds=3

sim: ## HISTORIES seeded histories of faults from SEED on, into docs/reliability.md (default 100000: about an hour on 2 cores)
	go test -tags $(TAGS) -timeout 24h -v -run Histories ./test/sim -histories $(HISTORIES) -first-seed $(SEED) -table $(CURDIR)/test/faults/simulation.json
	@$(MAKE) --no-print-directory reliability

reliability: ## docs/reliability.md, from the tables of the fault suites in test/faults
	go run ./test/reliability

catchup: ## the ledger was stopped for an hour: how fast it catches up, into benchmarks/CATCHUP.md
	go run -tags $(TAGS) ./benchmarks/catchup $(CATCHUP) >benchmarks/CATCHUP.md.new && mv benchmarks/CATCHUP.md.new benchmarks/CATCHUP.md && cat benchmarks/CATCHUP.md

bench: build ## figures, side by side with the peers, into benchmarks/RESULTS.md (FULL=1: an hour)
	benchmarks/compare.sh $(BIN)

bench-ledger: ## figures of the ledger: booking, a month's size, closing; into benchmarks/RESULTS.md (minutes; needs Kafka and PostgreSQL for one way)
	benchmarks/ledger.sh

profile: ## where the collector spends its time, into cmd/hostmeter/default.pgo, which the compiler reads (half a minute)
	benchmarks/profile.sh

generate: ## code from schemas/*.proto
	go run ./schemas/generate

check-generated:
	@rm -rf .cache/generated && mkdir -p .cache/generated && cp schemas/*.proto .cache/generated/
	@go run ./schemas/generate .cache/generated
	@for f in .cache/generated/*.pb.go; do cmp -s $$f schemas/$$(basename $$f) || { echo "$$(basename $$f) is stale: run make generate" >&2; exit 1; }; done

clean: ## what was built, and the demo's data
	rm -rf bin demo .cache
