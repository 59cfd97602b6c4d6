#!/usr/bin/env bash
# Makes docs/gate-results.md: every number in it comes from this command.
#
# Usage: scripts/gate-results.sh [DATA]   DATA: folder with the traces (default: BERTH_TEST_DATA, else ../shared/data)
#   SEEDS=5              how many seeds: of the models on bitbrains-rnd, of the cluster and the models on the synthetic one
#   BERTH_GATE_RESULTS   where the work goes (default .berth/gate-results). Forecasts that are there already are used again.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-${BERTH_TEST_DATA:-../shared/data}}
work=${BERTH_GATE_RESULTS:-.berth/gate-results}
seeds=$(seq 1 "${SEEDS:-5}")
binaries=${BERTH_BIN:-${CARGO_TARGET_DIR:-target}/debug}
berth() { local program=$1; shift; "$binaries/$program" "$@"; }
mkdir -p "$work/figures"

features() { # data root
  [ -f "$1/features.json" ] && return
  berth collector --data "$1" collect >/dev/null
  berth features --data "$1" build --manifest-out "$1/features.json" >/dev/null
}

rm -f "$work/figures/"*.json
if [ -d "$data" ]; then
  root=$work/bitbrains-rnd
  [ -d "$root" ] || berth collector --data "$root" import csv --mapping collector/mappings/bitbrains-rnd.toml "$data/bitbrains-rnd/nodes_5min.csv.gz" >/dev/null
  features "$root"
  for seed in $seeds; do
    berth trainer --data "$root" gate-results --set bitbrains-rnd --seed "$seed" --features "$root/features.json" --out "$work/figures"
  done
else
  echo "note: no traces at $data, only the synthetic cluster is measured" >&2
fi
for seed in $seeds; do
  root=$work/synthetic-$seed
  # A month to learn from, forty-five days to judge on. Other seeds than those of the other documents.
  [ -d "$root" ] || berth collector --data "$root" synthesize --nodes 12 --days 75 --seed $((300 + seed)) --end 2026-11-01 >/dev/null
  features "$root"
  berth trainer --data "$root" gate-results --set synthetic --seed "$seed" --features "$root/features.json" --out "$work/figures"
done
python3 scripts/results/gate.py "$work/figures" > docs/gate-results.md
echo "docs/gate-results.md is written"
