#!/usr/bin/env bash
# Runs every fuzz target for a while, from seeds that are well-formed; ends with 1 at the first input that breaks one.
#
#   FUZZ_SECONDS   for each target (default 60)
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
target=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
  echo "nightly Rust and cargo-fuzz are wanted. Run: rustup toolchain install nightly && cargo install cargo-fuzz" >&2
  exit 1
fi

# Without a sanitizer: there is no unsafe code here, so what a fuzzer can find is a panic, a hang or too much memory.
fuzz() { cargo +nightly fuzz "$1" --dev --sanitizer none --target-dir "$target" "${@:2}"; }

seeds=$(mktemp -d)
log=$(mktemp)
trap 'rm -rf "$seeds" "$log"' EXIT
echo '{"pods":[{"namespace":"shop","name":"a","workload":"shop/Deployment/cart","cpu_request_cores":0.5}],"nodes":["n1"],"in_flight":{"n1":{"cpu_cores":1}},"explain":true}' >"$seeds/score"
echo '{"id":"7","inputs":[{"name":"features","shape":[2,1],"datatype":"FP32","data":[[0.5],[null]]}],"outputs":[{"name":"cpu-1h-p50"}]}' >"$seeds/infer"
echo '{"specversion":"1.0","type":"org.kubeflow.serving.inference.request","source":"s","id":"7","data":{"inputs":[]}}' >"$seeds/event"

for crate in serving scheduler-extender; do
  echo "building the targets of $crate (some minutes the first time) ..." >&2
  (cd "$crate" && fuzz build) >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
  for name in $(cd "$crate" && cargo +nightly fuzz list); do
    mkdir -p "$crate/fuzz/corpus/$name"
    (cd "$crate" && fuzz run "$name" "fuzz/corpus/$name" "$seeds" "$OLDPWD/scheduler-extender/tests/golden" -- \
      -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1) >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    awk -v target="$crate/$name" '/stat::number_of_executed_units/ { units = $2 } /stat::peak_rss_mb/ { memory = $2 }
      / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") edges = $(i + 1) }
      END { printf "%-30s %12d inputs, %6d edges reached, %4d MB at most, nothing broke\n", target, units, edges, memory }' "$log"
  done
done
