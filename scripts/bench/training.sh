#!/usr/bin/env bash
# Training the load booster beside Python's xgboost
#
#   scripts/bench/training.sh [rounds]        rounds of both, default 3
#
# Alternates both, one thread each, and prints a Markdown table. CPU seconds are the training alone (data already in
# memory, binning included); the error is on later rows: RMSE for squared, MAE for absolute, mean pinball loss at 0.9 for
# quantile. Needs `make test-setup` (Python's xgboost) and about 2 GB of memory. TRAIN_SPEED names a built example; without
# it cargo builds one.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
python="${BERTH_CACHE:-$HOME/.cache/berth}/venv-xgboost/bin/python"
[ -x "$python" ] || { echo "\`$python\` is missing. \`make test-setup\` installs it" >&2; exit 2; }
if [ -z "${TRAIN_SPEED:-}" ]; then
    cargo build --locked --quiet --workspace --examples
    TRAIN_SPEED="${CARGO_TARGET_DIR:-target}/debug/examples/train_speed"
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" scripts/bench/train_xgboost.py rows "$folder"
for loss in squared absolute quantile; do
    for round in $(seq "$rounds"); do
        echo "$loss berth $("$TRAIN_SPEED" "$folder" "$loss")"
        echo "$loss xgboost $("$python" scripts/bench/train_xgboost.py train "$folder" "$loss")"
    done
done | tee "$folder/runs.txt" >&2
"$python" - "$folder/runs.txt" <<'PYTHON'
import json, statistics, sys

runs = {}
for line in open(sys.argv[1], encoding="utf-8"):
    loss, who, document = line.split(" ", 2)
    runs.setdefault(loss, {}).setdefault(who, []).append(json.loads(document))
print("| loss | rows | Berth CPU s (median; all) | xgboost CPU s (median; all) | ratio | Berth error | xgboost error | difference | Berth ms per 5,000 rows | xgboost |")
print("|---|---|---|---|---|---|---|---|---|---|")
for loss, both in runs.items():
    seconds = {who: [run["cpu_seconds"] for run in both[who]] for who in both}
    median = {who: statistics.median(seconds[who]) for who in seconds}
    error = {who: both[who][-1]["error"] for who in both}
    batch = {who: statistics.median(run["batch_5000_ms"] for run in both[who]) for who in both}
    spread = {who: " ".join(f"{value:.1f}" for value in seconds[who]) for who in seconds}
    print(
        f"| {loss} | {both['berth'][0]['rows']} | {median['berth']:.1f}; {spread['berth']} | {median['xgboost']:.1f}; {spread['xgboost']} "
        f"| {median['berth'] / median['xgboost']:.2f} | {error['berth']:.5f} | {error['xgboost']:.5f} "
        f"| {100 * (error['berth'] / error['xgboost'] - 1):+.2f} % | {batch['berth']:.1f} | {batch['xgboost']:.1f} |"
    )
PYTHON
