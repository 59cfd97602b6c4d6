#!/usr/bin/env bash
# Makes docs/anomaly-results.md: every number in it comes from this command.
#
# Usage: scripts/anomaly-results.sh [DATA]   DATA: folder with the traces (default: BERTH_TEST_DATA, else ../shared/data)
#   SEEDS=5                  how many seeds, from 1 on, of injected incidents; those of the synthetic clusters are 200 more
#   LONG_SEEDS=3             how many of them for bitbrains-rnd, whose three months take longest (never more than SEEDS)
#   BERTH_ANOMALY_RESULTS    where the work goes (default .berth/anomaly-results)
# scikit-learn comes from `make test-setup`; without it its lines are left out.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-${BERTH_TEST_DATA:-../shared/data}}
work=${BERTH_ANOMALY_RESULTS:-.berth/anomaly-results}
seeds=$(seq 1 "${SEEDS:-5}")
long_seeds=$(echo "$seeds" | head -n "${LONG_SEEDS:-3}")
python=${BERTH_SKLEARN_PYTHON:-${BERTH_CACHE:-$HOME/.cache/berth}/venv-xgboost/bin/python}
binaries=${BERTH_BIN:-${CARGO_TARGET_DIR:-target}/debug}
# Two of the six kinds come in the test alone, so that nothing has learned them.
late=disk_saturation,noisy_neighbour
berth() { local program=$1; shift; "$binaries/$program" "$@"; }
peer=()
if [ -x "$python" ]; then peer=(--peer-python "$python"); else echo "note: no scikit-learn at $python, its lines are left out (make test-setup installs it)" >&2; fi
mkdir -p "$work/figures"

features() { # data root
  berth collector --data "$1" collect >/dev/null
  berth features --data "$1" build --manifest-out "$1/features.json" >/dev/null
}

injected() { # set, file, mean days between incidents, seeds
  local set=$1 file=$2 days=$3 seeds=$4 seed root
  [ -d "$work/$set" ] || berth collector --data "$work/$set" import csv --mapping "collector/mappings/$set.toml" "$file" >/dev/null
  for seed in $seeds; do
    root=$work/$set-$seed
    rm -rf "$root"
    berth collector --data "$root" inject --from "$work/$set" --seed "$seed" --mean-days-between "$days" --late-kinds "$late"
    features "$root"
    berth trainer --data "$root" anomaly results --set "$set" --features "$root/features.json" --held-out-nodes 0.25 \
      --seed "$seed" --incident-seed "$seed" --out "$work/figures/$set-$seed.json"
    berth trainer --data "$root" anomaly results --set "$set, kinds withheld" --features "$root/features.json" --held-out-nodes 0.25 \
      --withheld-kinds "$late" --seed "$seed" --incident-seed "$seed" --out "$work/figures/$set-withheld-$seed.json"
    rm -rf "$root"
  done
}

synthetic() {
  local seed root
  for seed in $seeds; do
    seed=$((200 + seed))
    root=$work/synthetic-$seed
    berth collector --data "$root" synthesize --nodes 12 --days 35 --seed "$seed" --end 2026-11-01 >/dev/null
    features "$root"
    berth trainer --data "$root" anomaly results --set synthetic --features "$root/features.json" --incident-seed "$seed" \
      --out "$work/figures/synthetic-$seed.json"
    rm -rf "$root"
  done
}

rm -f "$work/figures/"*.json
if [ -d "$data" ]; then
  injected alibaba2018-nodes "$data/alibaba2018-nodes/usage_5min.csv.gz" 0.5 "$seeds"
  injected bitbrains-rnd "$data/bitbrains-rnd/nodes_5min.csv.gz" 2 "$long_seeds"
  berth trainer anomaly results --set smd --pairs "$data/smd" --time t_min --step-minutes 1 "${peer[@]}" --out "$work/figures/smd.json"
  berth trainer anomaly results --set asd --pairs "$data/asd" --time t_5min --step-minutes 5 "${peer[@]}" --out "$work/figures/asd.json"
else
  echo "note: no traces at $data, only the synthetic cluster is measured" >&2
fi
synthetic
{
  python3 scripts/results/anomaly.py "$work/figures"
  # Of `make cycle-sweep SWEEP_ARGS="--out .berth/anomaly-results/sweep.md"`, which takes half an hour of its own.
  if [ -f "$work/sweep.md" ]; then
    printf '## The daily retrain on many last days\n\n'
    printf 'Made by `make cycle-sweep`: the whole daily retrain of the built-in cluster, from history to registered models, on 20 last days\n'
    printf '18 days apart and two seeds each; the load predictor and the placement agent train with cheap settings, every gate is whole.\n\n'
    cat "$work/sweep.md"
  fi
} > docs/anomaly-results.md
echo "docs/anomaly-results.md is written"
