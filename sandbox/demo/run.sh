#!/usr/bin/env bash
# What `make run` does: build both programs, then start and fill a demo (demo.py says with what).
#
#   run.sh [--once]     --once stops as soon as everything is there, for a test
#
# A development build: on two cores it is there in half the time of a release build, and a demo is not a benchmark.
# DEMO_PORT (8000), DEMO_SANDBOX_PORT (8100) and DEMO_DATA (data/demo) may be set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cargo build --locked --package tracebucket --package bitbucket-sandbox --bins
python=$(.ci/python.sh target/.deps/python tests/clients/requirements.txt)
exec "$python" sandbox/demo/demo.py --programs "${CARGO_TARGET_DIR:-target}/debug" "$@"
