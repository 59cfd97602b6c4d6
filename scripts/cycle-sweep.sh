#!/usr/bin/env bash
# Runs the daily retrain, from history to registered models, on synthetic clusters with several last days and seeds, and says
# who was refused and why. The history repeats itself by last day and seed; every gate is the one of the daily retrain.
#
# usage: scripts/cycle-sweep.sh [--ends N | --end DATE ...] [--seeds "1 2"] [--allow-undecided] [--out FILE] [--work DIR]
#
#   --ends             so many last days, 18 days apart from 2026-01-05 on [default: 20]
#   --end              one last day (YYYY-MM-DD or `today`); may be given several times
#   --seeds            seeds of each [default: 1 2]
#   --allow-undecided  a refusal on incidents too few to decide is no failure; it is said in the summary
#   --out              also write the table, as Markdown, to this file
#   --work             folder of the data roots, each removed after its run [default: a temporary one]
#
# The load predictor and the placement agent train with cheap settings (below) unless BERTH_SWEEP_FULL=1; the anomaly detector
# trains as always. Exit code 1 when a gate refused.
#
# Example: scripts/cycle-sweep.sh --end 2026-11-20 --end today --seeds 1 --allow-undecided
set -euo pipefail
cd "$(dirname "$0")/.."

ends=() count=20 seeds="1 2" allow= out= work=
while [ $# -gt 0 ]; do
  case "$1" in
    --ends) count=$2; shift 2 ;;
    --end) [ "$2" = today ] && ends+=("$(date -u +%F)") || ends+=("$2"); shift 2 ;;
    --seeds) seeds=$2; shift 2 ;;
    --allow-undecided) allow=--allow-undecided; shift ;;
    --out) out=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    -h|--help) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "unknown option \`$1\`; --help tells what there is" >&2; exit 2 ;;
  esac
done
if [ ${#ends[@]} = 0 ]; then
  for step in $(seq 0 $((count - 1))); do ends+=("$(date -u -d "2026-01-05 + $((18 * step)) days" +%F)"); done
fi
bin=${BERTH_BIN:-${CARGO_TARGET_DIR:-target}/debug}
if [ -z "$work" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
if [ -z "${BERTH_SWEEP_FULL:-}" ]; then
  # Few rows and rounds for the predictor, and an agent that hardly searches: their gates are whole, and do not hang on the last percent.
  export BERTH_TRAINER_LOAD_MAX_ROWS=${BERTH_TRAINER_LOAD_MAX_ROWS:-20000} BERTH_TRAINER_BOOSTER_ROUNDS=${BERTH_TRAINER_BOOSTER_ROUNDS:-60}
  export BERTH_TRAINER_LOAD_FOLDS=${BERTH_TRAINER_LOAD_FOLDS:-1} BERTH_PLACEMENT_EPISODES=${BERTH_PLACEMENT_EPISODES:-1}
  export BERTH_PLACEMENT_SEARCH_ROUNDS=${BERTH_PLACEMENT_SEARCH_ROUNDS:-1}
fi

runs=$work/runs.jsonl
: > "$runs"
for end in "${ends[@]}"; do
  for seed in $seeds; do
    data=$work/$end-$seed
    rm -rf "$data"
    status=0
    BERTH_SYNTHESIZE_END=$end BERTH_SYNTHESIZE_SEED=$seed "$bin/pipelines" --data "$data" run \
      --pipeline pipelines/daily-retrain.yaml > "$work/log" 2>&1 || status=$?
    python3 scripts/results/sweep.py record "$data" "$end" "$seed" "$status" "$work/log" | tee -a "$runs" | python3 scripts/results/sweep.py line
    rm -rf "$data"
  done
done
python3 scripts/results/sweep.py table "$runs" > "$work/table.md"
echo
cat "$work/table.md"
[ -z "$out" ] || cp "$work/table.md" "$out"
python3 scripts/results/sweep.py verdict $allow "$runs"
