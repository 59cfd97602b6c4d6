#!/usr/bin/env bash
# Features of 30 days and 100 nodes beside pandas and Polars
#
#   scripts/bench/features.sh [rounds]        rounds of all three, default 3
#
# Alternates `features build`, features_pandas.py and features_polars.py over the same raw Parquet (a synthetic cluster,
# one sample per 30 s, 8.6 million rows) and prints a Markdown table: medians of CPU seconds (user and system), wall
# clock and peak memory, reading and writing included. Needs `make test-setup`, GNU time and about 4 GB of disk.
# BENCH_DATA names a data root to reuse.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
python="${BERTH_CACHE:-$HOME/.cache/berth}/venv-xgboost/bin/python"
[ -x "$python" ] || { echo "\`$python\` is missing. \`make test-setup\` installs it" >&2; exit 2; }
[ -x /usr/bin/time ] || { echo "GNU time is missing: sudo apt-get install time" >&2; exit 2; }
if [ -z "${BERTH_BIN:-}" ]; then
    cargo build --locked --quiet --workspace --bins
    BERTH_BIN="${CARGO_TARGET_DIR:-target}/debug"
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
data=${BENCH_DATA:-$folder/data}
printf '[collector.synthesize]\nnodes = 100\ndays = 30\nseed = 1\nend = "2026-11-20"\n' >"$folder/berth.toml"
"$BERTH_BIN/collector" --config "$folder/berth.toml" --data "$data" collect --manifest-out "$folder/raw.json" >&2
measure() {
    local who=$1
    shift
    rm -rf "$folder/out"
    /usr/bin/time -o "$folder/time" -f '%U %S %e %M' "$@" >"$folder/count"
    echo "$who $(tail -n 1 "$folder/count") $(tail -n 1 "$folder/time")"
}
for _ in $(seq "$rounds"); do
    measure berth "$BERTH_BIN/features" --data "$data" build --dataset "$folder/raw.json" --rebuild --json
    measure polars "$python" scripts/bench/features_polars.py "$data/raw/node_metrics" "$folder/out"
    measure pandas "$python" scripts/bench/features_pandas.py "$data/raw/node_metrics" "$folder/out"
done | sed "s/^berth } /berth $("$BERTH_BIN/features" list | sed -n 's/ features$//p') /" | tee "$folder/runs.txt" >&2
"$python" - "$folder/runs.txt" <<'PYTHON'
import statistics, sys

runs = {}
for line in open(sys.argv[1], encoding="utf-8"):
    who, count, user, system, wall, memory = line.split()
    runs.setdefault(who, []).append((int(count), float(user) + float(system), float(wall), float(memory) / 1024))
base = statistics.median(run[1] for run in runs["berth"]) / runs["berth"][0][0]
print("| program | features | CPU s (median; all) | wall s | peak memory MiB | CPU ms per feature | Berth's share per feature |")
print("|---|---|---|---|---|---|---|")
for who, all_runs in runs.items():
    count = all_runs[0][0]
    cpu, wall, memory = (statistics.median(run[place] for run in all_runs) for place in (1, 2, 3))
    spread = " ".join(f"{run[1]:.1f}" for run in all_runs)
    print(f"| {who} | {count} | {cpu:.1f}; {spread} | {wall:.1f} | {memory:.0f} | {1000 * cpu / count:.0f} | {base / (cpu / count):.2f} |")
PYTHON
