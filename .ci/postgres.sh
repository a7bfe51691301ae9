#!/usr/bin/env bash
# A PostgreSQL cluster of our own for tests: postgres.sh start [--durable] | stop | url
#
# The cluster belongs to a user that is not root, lives in a new folder under /tmp, listens on a random free port
# of 127.0.0.1 with a random password, and touches no other cluster. `start` prints its URL (so does `url`), `stop`
# ends it and removes the folder. fsync is off, unless --durable asks for an honest disk (benchmarks).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Which cluster is ours: its folder, the user it runs as, and its URL.
state=${TRACEBUCKET_TEST_PG_STATE:-target/.deps/postgres}

fail() {
  echo "postgres.sh: $*" >&2
  exit 1
}

bin_folder() {
  local newest
  newest=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -name initdb 2>/dev/null | sort -V | tail -n 1)
  [ -n "$newest" ] || newest=$(command -v initdb || true)
  [ -n "$newest" ] || fail "no PostgreSQL here; 'make deps-postgres' installs it"
  dirname "$(readlink -f "$newest")"
}

# PostgreSQL refuses to run as root.
owner() {
  if [ "$(id -u)" != 0 ]; then
    id -un
  elif id postgres >/dev/null 2>&1; then
    echo postgres
  else
    echo nobody
  fi
}

as_owner() {
  local user=$1
  shift
  if [ "$(id -un)" = "$user" ]; then
    (cd / && "$@")
  else
    (cd / && runuser -u "$user" -- "$@")
  fi
}

free_port() {
  local port
  for _ in $(seq 50); do
    port=$((20000 + RANDOM % 10000))
    # A connection that fails means that nobody listens there.
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  fail "no free port between 20000 and 30000"
}

stop() {
  [ -f "$state/folder" ] || return 0
  local folder user
  folder=$(cat "$state/folder")
  user=$(cat "$state/user")
  if [ -f "$folder/data/postmaster.pid" ]; then
    as_owner "$user" "$(cat "$state/bin")/pg_ctl" -D "$folder/data" -m immediate -w -s stop >/dev/null 2>&1 || true
  fi
  case $folder in
    /tmp/tracebucket-pg.*) rm -rf "$folder" ;;
  esac
  rm -rf "$state"
}

start() {
  local durability="fsync=off\nsynchronous_commit=off\nfull_page_writes=off"
  [ "${1:-}" != --durable ] || durability="fsync=on\nsynchronous_commit=on"
  stop

  local bin user folder password port
  bin=$(bin_folder)
  user=$(owner)
  folder=$(mktemp -d /tmp/tracebucket-pg.XXXXXX)
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  mkdir -p "$state"
  echo "$folder" >"$state/folder"
  echo "$user" >"$state/user"
  echo "$bin" >"$state/bin"

  (umask 077 && echo "$password" >"$folder/password")
  [ "$(id -un)" = "$user" ] || chown -R "$user" "$folder"
  as_owner "$user" "$bin/initdb" -D "$folder/data" -U tracebucket --pwfile="$folder/password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$state/initdb.log" 2>&1 ||
    fail "initdb failed: $(cat "$state/initdb.log")"
  {
    echo "listen_addresses = '127.0.0.1'"
    echo "unix_socket_directories = '$folder'"
    echo "max_connections = 300"
    echo "shared_buffers = 128MB"
    printf '%b\n' "$durability"
  } | as_owner "$user" tee -a "$folder/data/postgresql.conf" >/dev/null

  # Somebody may take the port between the look and the start: try a few.
  for _ in 1 2 3 4 5; do
    port=$(free_port)
    if as_owner "$user" "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -o "-p $port" -w -s -t 30 start \
      </dev/null >/dev/null 2>&1; then
      local url=postgres://tracebucket:$password@127.0.0.1:$port
      PGCONNECT_TIMEOUT=10 as_owner "$user" "$bin/psql" -q -X "$url/postgres" -c "CREATE DATABASE tracebucket" ||
        fail "the new cluster does not answer"
      (umask 077 && echo "$url/tracebucket" >"$state/url")
      cat "$state/url"
      return
    fi
  done
  tail -n 20 "$folder/log" >&2 || true
  stop
  fail "the cluster did not start"
}

case ${1:-} in
  start) start "${2:-}" ;;
  stop) stop ;;
  url) cat "$state/url" 2>/dev/null || fail "not started" ;;
  *) fail "usage: postgres.sh start [--durable] | stop | url" ;;
esac
