# Everything that a developer or CI runs. `make` alone lists the targets.
#
# Needs Rust 1.89 or newer, git, make and gcc, on Debian 12 or 13. The rest is installed when a target needs it: Debian
# packages as root or through sudo (with neither, the one line to run is printed), the rest under target/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Seconds that `make fuzz` spends on each target.
FUZZ_SECONDS ?= 120
export FUZZ_SECONDS

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: deps-build deps-python ## build and start a filled demo: product, Bitbucket stand-in, a shop that crashes
	@sandbox/demo/run.sh

.PHONY: check
check: fmt clippy fuzz-check doc arch deny shell docker-check ## every check that needs no server: style, lints, docs, arrows, licences, docker files

.PHONY: test
test: deps ## every test on SQLite and PostgreSQL, with the real clients and a real browser
	@.ci/test.sh all

.PHONY: test-fast
test-fast: deps-build deps-postgres deps-clients ## the same without the browser, the demo and the image
	@.ci/test.sh fast

.PHONY: test-pg
test-pg: deps-build deps-postgres deps-clients ## the same on PostgreSQL alone
	@.ci/test.sh pg

.PHONY: kill-test
kill-test: deps-build deps-postgres ## kill -9 at random moments during 200 tickets and 500 deliveries
	@.ci/test.sh kill

.PHONY: screens
screens: deps ## take the screenshots of docs/screens anew
	@.ci/test.sh screens

.PHONY: bench
bench: deps-build deps-postgres ## measure throughput, start-up and memory (release build, durable databases)
	@.ci/test.sh bench

.PHONY: fuzz
fuzz: deps-build ## fuzz every target for FUZZ_SECONDS (120)
	@.ci/apt.sh g++ python3 python3-venv
	@.ci/fuzz.sh

.PHONY: docker
docker: ## build the image (needs a Docker engine)
	@docker build -f docker/Dockerfile -t tracebucket .

.PHONY: advisories
advisories: deps-python ## known vulnerabilities in dependencies (fetches the RustSec database by git)
	@"$$(.ci/tool.sh cargo-deny)" --locked check advisories

.PHONY: ci
ci: ## what CI runs: check and test
	@.ci/run

# ---- the parts of `check`

.PHONY: fmt
fmt: ## formatting
	@cargo fmt --all --check

.PHONY: clippy
clippy: deps-build ## lints, warnings are errors
	@cargo clippy --workspace --all-targets --locked -- -D warnings

# The library that a target is linked with is not needed to check it, nor the compiler that builds it.
.PHONY: fuzz-check
fuzz-check: deps-build ## lints of the fuzz targets, which are a workspace of their own
	@cargo fmt --check --manifest-path fuzz/Cargo.toml
	@CUSTOM_LIBFUZZER_PATH=none/libfuzzer.a cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target -- -D warnings

.PHONY: doc
doc: deps-build ## documentation builds without a warning
	@RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --locked --quiet

.PHONY: arch
arch: deps-build ## who may import whom
	@cargo test --locked --test arch

.PHONY: deny
deny: deps-python ## licences, banned crates, sources
	@"$$(.ci/tool.sh cargo-deny)" --locked check licenses bans sources

.PHONY: shell
shell: ## shell scripts
	@.ci/apt.sh shellcheck
	@shellcheck .ci/run .ci/*.sh sandbox/demo/*.sh

.PHONY: docker-check
docker-check: deps-clients ## Dockerfile and Compose file, without an engine
	@eval "$$(.ci/clients.sh)" && "$$TRACEBUCKET_TEST_NODE" .ci/docker-check.mjs

# ---- what the targets above stand on

.PHONY: deps
deps: deps-build deps-postgres deps-clients deps-browser

# libpq is compiled in and takes its TLS from OpenSSL.
.PHONY: deps-build
deps-build:
	@.ci/apt.sh libssl-dev pkg-config

.PHONY: deps-postgres
deps-postgres:
	@.ci/apt.sh postgresql

.PHONY: deps-browser
deps-browser:
	@.ci/apt.sh chromium

.PHONY: deps-python
deps-python:
	@.ci/apt.sh python3 python3-venv

.PHONY: deps-clients
deps-clients: deps-python
	@.ci/clients.sh >/dev/null
