#!/usr/bin/env bash
# Growing and scoring an isolation forest beside scikit-learn's
#
#   scripts/bench/anomaly.sh [rounds]        rounds of both, default 5, one seed each
#
# Alternates both, one thread each, on 50,000 rows of 20 columns, 100 trees, and prints a Markdown table. CPU seconds have
# the data in memory already; scikit-learn's are the best of three within a round, ours the mean of many. Needs `make
# test-setup`. FOREST_SPEED names a built example; without it cargo builds one.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
python="${BERTH_CACHE:-$HOME/.cache/berth}/venv-xgboost/bin/python"
[ -x "$python" ] || { echo "\`$python\` is missing. \`make test-setup\` installs it" >&2; exit 2; }
if [ -z "${FOREST_SPEED:-}" ]; then
    cargo build --locked --quiet --workspace --examples
    FOREST_SPEED="${CARGO_TARGET_DIR:-target}/debug/examples/forest_speed"
fi
export RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" scripts/bench/anomaly_sklearn.py rows "$folder"
for samples in 256 1024; do
    for seed in $(seq "$rounds"); do
        echo "$samples berth $("$FOREST_SPEED" "$folder" "$samples" "$seed")"
        echo "$samples sklearn $("$python" scripts/bench/anomaly_sklearn.py forest "$folder" "$samples" "$seed")"
        echo "$samples extended $("$FOREST_SPEED" "$folder" "$samples" "$seed" 1)"
    done
done | tee "$folder/runs.txt" >&2
"$python" - "$folder/runs.txt" <<'PYTHON'
import json, statistics, sys

runs = {}
for line in open(sys.argv[1], encoding="utf-8"):
    samples, who, document = line.split(" ", 2)
    runs.setdefault(samples, {}).setdefault(who, []).append(json.loads(document))
names = {"berth": "Berth", "extended": "Berth, extension 1", "sklearn": "scikit-learn"}
print("| rows per tree | forest | fit CPU ms (median; range) | ratio | score 50,000 rows CPU ms (median; range) | ratio | one row µs | ROC-AUC (mean; range) | file KiB |")
print("|---|---|---|---|---|---|---|---|---|")
for samples, all_runs in runs.items():
    of = lambda who, key: [run[key] for run in all_runs[who]]
    median = lambda who, key: statistics.median(of(who, key))
    span = lambda values, form: f"{min(values):{form}}–{max(values):{form}}"
    for who, name in names.items():
        cells = [samples, name]
        for key in ("fit_seconds", "score_seconds"):
            values = [1e3 * value for value in of(who, key)]
            cells.append(f"{statistics.median(values):.1f}; {span(values, '.1f')}")
            cells.append(f"1 / {median('sklearn', key) / median(who, key):.1f}")
        own = who != "sklearn"
        cells.append(f"{median(who, 'row_us'):.1f}" if own else "-")
        cells.append(f"{statistics.mean(of(who, 'auc')):.4f}; {span(of(who, 'auc'), '.4f')}")
        cells.append(f"{median(who, 'bytes') / 1024:.0f}" if own else "-")
        print("| " + " | ".join(cells) + " |")
PYTHON
