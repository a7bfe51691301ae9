#!/usr/bin/env bash
# Fuzz each target of fuzz/ for FUZZ_SECONDS (120). A stable compiler takes the sanitizer's flags by RUSTC_BOOTSTRAP.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export RUSTC_BOOTSTRAP=1
# cargo finds `cargo fuzz` by its path, wherever it came from.
PATH=$(dirname "$(.ci/tool.sh cargo-fuzz)"):$PATH
seconds=${FUZZ_SECONDS:-120}

targets=$(cargo fuzz list)
for target in $targets; do
  echo "==> $target, $seconds s"
  # The corpus that grows, and what it starts from.
  folders=("fuzz/corpus/$target")
  mkdir -p "${folders[0]}"
  [ ! -d "fuzz/seeds/$target" ] || folders+=("fuzz/seeds/$target")
  cargo fuzz run "$target" "${folders[@]}" -- -max_total_time="$seconds" -rss_limit_mb=512 -malloc_limit_mb=64 -timeout=10 -print_final_stats=1
done
