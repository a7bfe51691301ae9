#!/usr/bin/env bash
# Run tests with what they need around them: test.sh all | fast | pg | kill | screens | bench
#
# Builds once, starts a PostgreSQL cluster of its own, tells the tests by environment where everything is
# (docs/TESTING.md lists the variables), and stops the cluster again however it ends. A step that fails does not
# hide the next one; the end says how long each took and fails if one did.
# shellcheck disable=SC2317 # its functions are called by name, through `step`
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

mode=${1:?usage: test.sh all | fast | pg | kill | screens | bench}
failed=0
report=()

trap '.ci/postgres.sh stop' EXIT
trap 'exit 130' INT TERM

# step NAME COMMAND…
step() {
  local name=$1 began=$SECONDS result=ok
  shift
  echo "==> $name"
  "$@" || { result=FAILED; failed=1; }
  report+=("$(printf '%-44s %6d s  %s' "$name" $((SECONDS - began)) "$result")")
}

finish() {
  echo
  printf '%s\n' "${report[@]}"
  exit "$failed"
}

# Without this one nothing after it makes sense.
must() {
  step "$@"
  [ "$failed" = 0 ] || finish
}

start_postgres() {
  local url
  url=$(.ci/postgres.sh start "$@") || return
  postgres_url=$url
}

clients() {
  local settings
  settings=$(.ci/clients.sh) || return
  eval "$settings"
}

# Screenshots go to a scratch folder, unless they are what was asked for.
export TRACEBUCKET_TEST_SHOTS=$PWD/target/screens

# tests CARGO_ARGUMENT… -- FILTER…: also those marked `ignore` because they need clients. Each test names its
# database: `…::sqlite` or `…::postgres`.
tests() {
  local arguments=()
  while [ "$1" != -- ]; do
    arguments+=("$1")
    shift
  done
  shift
  TEST_DATABASE_URL=$postgres_url cargo test --locked --no-fail-fast "${arguments[@]}" -- --include-ignored "$@"
}

demo_starts() {
  local folder
  folder=$(mktemp -d /tmp/tracebucket-run.XXXXXX)
  DEMO_DATA=$folder/demo DEMO_PORT=18000 DEMO_SANDBOX_PORT=18100 sandbox/demo/run.sh --once
  local result=$?
  rm -rf "$folder"
  return "$result"
}

case $mode in
  all)
    must "clients" clients
    must "build" cargo test --locked --workspace --no-run
    must "PostgreSQL" start_postgres
    step "tests: both databases, clients, browser" tests --workspace --
    step "browser harness" "$TRACEBUCKET_TEST_NODE" tests/clients/browser/smoke.mjs
    step "demo: history and traffic" "$TRACEBUCKET_TEST_PYTHON" sandbox/demo/selftest.py
    step "demo: make run" demo_starts
    step "image: each build step" "$TRACEBUCKET_TEST_NODE" .ci/docker-check.mjs --build
    ;;
  fast)
    must "clients" clients
    must "build" cargo test --locked --workspace --no-run
    must "PostgreSQL" start_postgres
    step "tests: both databases, clients" tests --workspace -- --skip browser
    ;;
  pg)
    must "clients" clients
    must "build" cargo test --locked --package tracebucket --test it --no-run
    must "PostgreSQL" start_postgres
    step "tests: PostgreSQL, clients" tests --package tracebucket --test it -- postgres --skip browser
    ;;
  kill)
    must "build" cargo test --locked --package tracebucket --test it --no-run
    must "PostgreSQL" start_postgres
    export TRACEBUCKET_TEST_KILLS=full
    step "kill -9, both databases" tests --package tracebucket --test it -- kill --nocapture
    ;;
  screens)
    must "clients" clients
    must "build" cargo test --locked --package tracebucket --test it --no-run
    must "PostgreSQL" start_postgres
    export TRACEBUCKET_TEST_SHOTS=$PWD/docs/screens
    step "browser tests, screenshots to docs/screens" tests --package tracebucket --test it -- browser
    ;;
  bench)
    must "build" .ci/release.sh bench --locked --no-run
    must "PostgreSQL, durable" start_postgres --durable
    step "benchmarks" env TEST_DATABASE_URL="$postgres_url" .ci/release.sh bench --locked
    ;;
  *)
    echo "test.sh: unknown: $mode" >&2
    exit 2
    ;;
esac
finish
