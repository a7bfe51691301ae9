#!/usr/bin/env bash
# A virtual environment with pinned packages: python.sh FOLDER REQUIREMENTS_FILE [PIP_OPTION…]
#
# Made once and kept until the requirements change. Prints the path of its python. Needs python3 with venv
# (Debian: python3-venv), which `make deps-python` installs.
set -euo pipefail

folder=${1:?usage: python.sh FOLDER REQUIREMENTS_FILE [PIP_OPTION…]}
requirements=${2:?usage: python.sh FOLDER REQUIREMENTS_FILE [PIP_OPTION…]}
shift 2

wanted=$(sha256sum <"$requirements")
if [ "$(cat "$folder/.wanted" 2>/dev/null)" != "$wanted" ] || ! "$folder/bin/python" -c '' 2>/dev/null; then
  rm -rf "$folder"
  mkdir -p "$(dirname "$folder")"
  python3 -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@" -r "$requirements" >&2
  echo "$wanted" >"$folder/.wanted"
fi
echo "$(cd "$folder" && pwd)/bin/python"
