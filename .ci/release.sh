#!/usr/bin/env bash
# Cargo for release builds: release.sh [CARGO_ARGUMENT…], by default the build of the `tracebucket` program.
#
# OpenSSL, which libpq needs, is linked in, so that the program needs nothing but the C library. Every release
# build goes through here: another setting would compile the database crates again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export OPENSSL_STATIC=1
export OPENSSL_INCLUDE_DIR=/usr/include
OPENSSL_LIB_DIR=/usr/lib/$(gcc -print-multiarch)
export OPENSSL_LIB_DIR
# AWS-LC would gather timing noise at every start, which is half of the time that a start takes. The kernel's
# generator is the source of randomness all the same.
export AWS_LC_SYS_NO_JITTER_ENTROPY=1

if [ $# -eq 0 ]; then
  set -- build --release --locked --package tracebucket --bin tracebucket
fi
exec cargo "$@"
