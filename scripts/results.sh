#!/usr/bin/env bash
# Makes docs/results.md: every number in it comes from this command.
#
# Usage: scripts/results.sh [DATA]   DATA: folder with the traces (default: BERTH_TEST_DATA, else ../shared/data)
# The work goes to .berth/results; Python's xgboost comes from `make test-setup`.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-${BERTH_TEST_DATA:-../shared/data}}
work=${BERTH_RESULTS:-.berth/results}
python=${BERTH_XGBOOST_PYTHON:-${BERTH_CACHE:-$HOME/.cache/berth}/venv-xgboost/bin/python}
binaries=${BERTH_BIN:-${CARGO_TARGET_DIR:-target}/debug}
berth() { local program=$1; shift; "$binaries/$program" "$@"; }
peer=()
if [ -x "$python" ]; then peer=(--peer-python "$python"); else echo "note: no xgboost at $python, the peer's lines are left out (make test-setup installs it)" >&2; fi

one() { # set, days between retrainings
  local set=$1 days=$2 root=$work/$1
  berth collector --data "$root" collect >/dev/null
  berth features --data "$root" build --manifest-out "$root/features.json" >/dev/null
  berth trainer --data "$root" results --set "$set" --features "$root/features.json" --out "$work" --retrain-days "$days" --held-out-nodes 0.25 "${peer[@]}" >/dev/null
  berth trainer --data "$root" compare --features "$root/features.json" --out "$work/$set-compare" >/dev/null
  echo "$set: $work/$set.html $work/$set-compare/comparison.html"
}

if [ -d "$data" ]; then
  berth collector --data "$work/alibaba2018-nodes" import csv --mapping collector/mappings/alibaba2018-nodes.toml "$data/alibaba2018-nodes/usage_5min.csv.gz"
  one alibaba2018-nodes 1
  berth collector --data "$work/bitbrains-rnd" import csv --mapping collector/mappings/bitbrains-rnd.toml "$data/bitbrains-rnd/nodes_5min.csv.gz"
  one bitbrains-rnd 7
else
  echo "note: no traces at $data, only the synthetic cluster is measured" >&2
fi
berth collector --data "$work/synthetic" synthesize --nodes 12 --days 21 --seed 7 --end 2026-11-01
one synthetic 7

{
  cat scripts/results/preface.md
  echo && python3 scripts/results/targets.py "$work"
  echo && cat scripts/results/reading.md
  for set in alibaba2018-nodes bitbrains-rnd synthetic; do
    [ -f "$work/$set.md" ] || continue
    echo && cat "$work/$set.md"
    echo && sed "1s/.*/## $set: learners and variants/; 2,\$s/^## /### /" "$work/$set-compare/comparison.md"
  done
} > docs/results.md
echo "docs/results.md is written"
