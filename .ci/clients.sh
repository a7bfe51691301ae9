#!/usr/bin/env bash
# Install the real clients of tests/clients and print, as shell assignments, where they are:
#
#   eval "$(.ci/clients.sh)"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD
clients=$root/tests/clients
node_bin=$(.ci/node.sh)
python=$(.ci/python.sh target/.deps/python tests/clients/requirements.txt)

wanted=$(cat "$clients/package.json" "$clients/package-lock.json" | sha256sum)
if [ "$(cat "$clients/node_modules/.wanted" 2>/dev/null)" != "$wanted" ]; then
  # No package needs its install script: sentry-cli's binary is a package of its own.
  (cd "$clients" && PATH=$node_bin:$PATH npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  echo "$wanted" >"$clients/node_modules/.wanted"
fi

sentry_cli=$(find "$clients/node_modules/@sentry" -path '*/cli-linux-*/bin/sentry-cli' | head -n 1)
cat <<EOF
export TRACEBUCKET_TEST_NODE=$node_bin/node
export TRACEBUCKET_TEST_PYTHON=$python
export TRACEBUCKET_TEST_CLIENTS=$clients
export TRACEBUCKET_TEST_NODE_MODULES=$clients/node_modules
export TRACEBUCKET_TEST_SENTRY_CLI=$sentry_cli
export TRACEBUCKET_TEST_CHROMIUM=$(command -v chromium || true)
EOF
