#!/usr/bin/env bash
# Make sure that Debian packages are there: apt.sh PACKAGE…
#
# Does nothing when all are installed. Otherwise installs them as root or through sudo; with neither it prints
# the one line to run by hand and fails. TRACEBUCKET_NO_APT=1 trusts the machine and does nothing at all.
set -euo pipefail

[ "${TRACEBUCKET_NO_APT:-}" != 1 ] || exit 0

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "apt.sh: this is no Debian. Install what these packages hold, then set TRACEBUCKET_NO_APT=1: $*" >&2
  exit 1
fi

missing=()
for package in "$@"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    root=(sudo)
  else
    echo "These packages are missing. Install them as root, then run make again:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends --yes ${missing[*]}" >&2
    exit 1
  fi
fi

apt() {
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

echo "apt: installing ${missing[*]}"
# Package lists may be absent or stale on a fresh machine; they are fetched only when the install needs it.
apt install --no-install-recommends --yes "${missing[@]}" >/dev/null 2>&1 || {
  apt update
  apt install --no-install-recommends --yes "${missing[@]}"
}
