#!/usr/bin/env bash
# Measures speed and memory and writes the tables into docs/benchmarks.md.
#
#   scripts/bench.sh [FILE]        where to write [default: docs/benchmarks.md]
#
# First our commands beside their peers: every script of scripts/bench prints one Markdown table, and its first comment
# line is the table's heading. Then criterion's benches of single operations. Needs `make test-setup` and a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."
file=${1:-docs/benchmarks.md}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

{
  echo "# Benchmarks"
  echo
  echo "Written by \`make bench\` on $(date --utc +%F), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown),"
  echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(rustc --version | cut -d ' ' -f 1,2), Linux $(uname -r)."
  echo "CPU seconds are compared rather than wall clocks, since other programs may run on the machine."
  for script in scripts/bench/*.sh; do
    echo "bench: $script" >&2
    echo
    echo "## $(sed -n '2s/^# *//p' "$script")"
    echo
    echo "\`$script\`"
    echo
    "$script"
  done
  echo "bench: criterion" >&2
  CRITERION_HOME="$work/criterion" cargo bench --workspace --quiet -- --noplot >"$work/criterion.log" 2>&1 || { cat "$work/criterion.log" >&2; exit 1; }
  echo
  echo "## Single operations"
  echo
  echo "\`cargo bench --workspace\`: median and 95 % interval."
  echo
  python3 - "$work/criterion" <<'PYTHON'
import json
import pathlib
import sys


def time(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.2f} {unit}"
    return f"{nanoseconds:.1f} ns"


print("| bench | median | interval |")
print("|---|---|---|")
for estimates in sorted(pathlib.Path(sys.argv[1]).rglob("new/estimates.json")):
    name = json.loads((estimates.parent / "benchmark.json").read_text())["full_id"]
    median = json.loads(estimates.read_text())["median"]
    interval = median["confidence_interval"]
    print(f"| {name} | {time(median['point_estimate'])} | {time(interval['lower_bound'])} to {time(interval['upper_bound'])} |")
PYTHON
} >"$work/benchmarks.md"
mv "$work/benchmarks.md" "$file"
echo "bench: wrote $file" >&2
