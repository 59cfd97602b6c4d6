# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Data root; the default of every command.
DATA ?= .berth
# Prometheus server for `make cycle`; empty takes the built-in synthetic cluster.
PROMETHEUS_URL ?=
# Folder of the public traces for `make simulate`; empty leaves them out.
TRACES ?=
# Seeds of `make simulate`.
SEEDS ?= 5
# Further arguments for `serving run`, such as SERVE_ARGS="--listen 0.0.0.0:8080".
SERVE_ARGS ?=
# Further arguments for `pipelines run`, such as PIPELINE_ARGS="--from train-load".
PIPELINE_ARGS ?=
# Arguments for `make cycle-sweep`; scripts/cycle-sweep.sh --help lists them.
SWEEP_ARGS ?=
# Seconds for each target of `make fuzz`.
FUZZ_SECONDS ?= 60
# How long `make soak` attacks.
SOAK_SECONDS ?= 3600
# Which end-to-end tests `make e2e` runs, as `go test -run` takes it.
E2E_RUN ?= .

BINARIES = $${CARGO_TARGET_DIR:-target}/debug

.PHONY: help build cycle cycle-sweep serve load-serving test test-setup e2e-setup e2e e2e-full lint deny fuzz soak bench results anomaly-results gate-results simulate placement docs real-road clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  DATA=DIR             data root of make cycle (default .berth)"
	@echo "  TRACES=DIR SEEDS=N   make simulate on openb as well; how many seeds (default 5)"
	@echo "  PROMETHEUS_URL=URL   make cycle on the history of a real cluster"

build: ## Build all commands
	@scripts/build.sh

cycle: build ## Run the daily retrain, from history to a registered model (DATA=, PROMETHEUS_URL=)
	@DATA="$(DATA)" PROMETHEUS_URL="$(PROMETHEUS_URL)" scripts/cycle.sh $(PIPELINE_ARGS)

cycle-sweep: build ## Run the daily retrain on 20 last days x 2 seeds and say who was refused (SWEEP_ARGS="--ends 5")
	@scripts/cycle-sweep.sh $(SWEEP_ARGS)

serve: build ## Serve the registered models and scores of nodes on 127.0.0.1:8080 (DATA=, PROMETHEUS_URL=, SERVE_ARGS=)
	@$(BINARIES)/serving --data "$(DATA)" run $(if $(PROMETHEUS_URL),--prometheus "$(PROMETHEUS_URL)") $(SERVE_ARGS)

load-serving: build ## Measure the server beside KServe's and onnxruntime behind FastAPI, into docs/benchmarks.md
	@scripts/bench.sh serving

test: test-setup ## Install what the tests need, then run every test, those against real servers included
	cargo test --locked --workspace

test-setup: ## Install what the tests need: Prometheus, PostgreSQL, Redis, Python environments
	@scripts/test-setup.sh

e2e-setup: test-setup ## Build the control plane of the end-to-end tests into the cache: etcd, kube-apiserver, kube-scheduler, kwok
	@scripts/e2e-setup.sh >/dev/null

e2e: cycle e2e-setup ## Prove the extender against a real control plane, all but load (E2E_RUN=)
	@cargo build --locked --quiet --workspace --example agreement
	cd deploy/e2e && BERTH_DATA=$(abspath $(DATA)) CGO_ENABLED=0 go test -vet=off -p 1 -count 1 -timeout 30m -run '$(E2E_RUN)' ./...

e2e-full: cycle e2e-setup ## The same, all groups: 500 and 5,000 nodes, rolling restarts
	@cargo build --locked --quiet --workspace --example agreement
	cd deploy/e2e && BERTH_E2E_FULL=1 BERTH_DATA=$(abspath $(DATA)) CGO_ENABLED=0 go test -vet=off -p 1 -count 1 -timeout 120m -v -run '$(E2E_RUN)' ./...

lint: ## Check formatting and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

deny: ## Check licences, sources and bans of all dependencies; wants cargo-deny (cargo install --locked cargo-deny)
	cargo deny --locked check bans licenses sources

fuzz: ## Feed every parser of bodies with what a fuzzer makes up (FUZZ_SECONDS= per target); wants nightly Rust and cargo-fuzz
	@FUZZ_SECONDS="$(FUZZ_SECONDS)" scripts/fuzz.sh

soak: build ## Attack serving and the extender for an hour; ends with 1 when memory or liveness breaks (SOAK_SECONDS=)
	@cargo run --quiet -p scheduler-extender --example soak -- --serving $(BINARIES)/serving \
		--extender $(BINARIES)/scheduler-extender --seconds $(SOAK_SECONDS)

bench: test-setup ## Measure speed and memory beside pandas, Polars and XGBoost, into docs/benchmarks.md
	@scripts/bench.sh

results: build test-setup ## Compute the figures of docs/results.md on the public traces
	@scripts/results.sh

anomaly-results: build test-setup ## Compute the figures of docs/anomaly-results.md on traces, labelled sets and synthetic clusters (SEEDS=)
	@SEEDS="$(SEEDS)" scripts/anomaly-results.sh $(TRACES)

gate-results: build ## Compute how often gate and rollouts err, into docs/gate-results.md, from stored forecasts (SEEDS=)
	@SEEDS="$(SEEDS)" scripts/gate-results.sh $(TRACES)

simulate: build ## Compare placement policies with intervals on made-up clusters, and on openb where TRACES= names it
	@mkdir -p "$(DATA)/reports"
	@$(BINARIES)/simulator --data "$(DATA)" compare --scenario mixed,misrequested,bursts,memory,pools --seeds $(SEEDS) \
		--html-out "$(DATA)/reports/compare.html" --json-out "$(DATA)/reports/compare.json"
	@$(if $(TRACES),$(BINARIES)/simulator --data "$(DATA)" compare --scenario openb --trace "$(TRACES)" --days 7 --seeds $(SEEDS) \
		--html-out "$(DATA)/reports/compare-openb.html" --json-out "$(DATA)/reports/compare-openb.json",\
		echo "openb left out: TRACES=DIR names the folder of the public traces")

placement: build ## Train the placement agent and compare it with intervals, into docs/placement-results.md (TRACES=, SEEDS=)
	@TRACES="$(TRACES)" SEEDS="$(SEEDS)" scripts/placement.sh

docs: build ## Write the feature reference, with the distributions of DATA when it has features
	@$(BINARIES)/features --data "$(DATA)" docs --out docs/features.md

real-road: build test-setup ## Take a public trace the whole road: OpenMetrics, Prometheus, backfill, features, training, registry
	@scripts/real-road.sh

clean: ## Remove what was built, and the default data root
	cargo clean
	rm -rf .berth
