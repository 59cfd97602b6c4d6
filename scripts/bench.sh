#!/usr/bin/env bash
# Measures speed and memory and writes the tables into docs/benchmarks.md.
#
#   scripts/bench.sh [SECTION...]  which to measure: features, training, anomaly, simulator, serving, extender, criterion [default: all of them]
#
# A section that is not measured keeps its last table, which names the day and the commit that it was measured on. The
# scripts of scripts/bench run our commands beside their peers and print a Markdown table each; `criterion` measures single
# operations. Needs `make test-setup` and a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."
file=docs/benchmarks.md
sections="features training anomaly simulator serving extender criterion"
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $sections
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

criterion() {
  # The profile of every other command here; Polars gets one thread, as the code that it is measured beside.
  CRITERION_HOME="$work/criterion" POLARS_MAX_THREADS=1 cargo bench --locked --workspace --bench '*' --profile dev --quiet -- --noplot \
    >"$work/criterion.log" 2>&1 || { cat "$work/criterion.log" >&2; return 1; }
  python3 scripts/bench/criterion.py "$work/criterion"
}

machine="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(rustc --version | cut -d ' ' -f 1,2), Linux $(uname -r)"

# What the host gave to others, and all processor time, so far, in ticks.
stolen() { awk '/^cpu / { for (at = 2; at <= 9; at++) all += $at; print $9, all }' /proc/stat; }

title() {
  case "$1" in
    criterion) echo "Single operations: median and 95 % interval" ;;
    *) sed -n '2s/^# *//p' "scripts/bench/$1.sh" ;;
  esac
}
# What was measured last.
last() { awk -v title="## $(title "$1")" '/^## / { inside = $0 == title } inside' "$file"; }

for section in "$@"; do
  case " $sections " in
    *" $section "*) ;;
    *) echo "no section \`$section\`; there are $sections" >&2; exit 2 ;;
  esac
done
for section in "$@"; do
  echo "bench: $section" >&2
  read -r stolen_before all_before < <(stolen)
  command=scripts/bench/$section.sh
  [ "$section" != criterion ] || command="POLARS_MAX_THREADS=1 cargo bench --locked --workspace --bench '*' --profile dev"
  {
    echo "## $(title "$section")"
    echo
    echo "\`$command\`, $(date --utc +%F), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), on $machine"
    echo
    case "$section" in criterion) criterion ;; *) "scripts/bench/$section.sh" ;; esac
    read -r stolen_after all_after < <(stolen)
    echo
    echo "Meanwhile the host gave $(((100 * (stolen_after - stolen_before)) / (all_after - all_before))) % of the processor time to others."
  } >"$work/$section.md"
done

{
  echo "# Benchmarks"
  echo
  echo "Written by \`make bench\`. Each section names its day, commit and machine: compare figures within a section, and none across two."
  for section in $sections; do
    if [ -f "$work/$section.md" ]; then text=$(cat "$work/$section.md"); else text=$(last "$section"); fi
    [ -z "$text" ] || printf '\n%s\n' "$text"
  done
  echo
  cat scripts/bench/reading.md
} >"$work/benchmarks.md"
mv "$work/benchmarks.md" "$file"
echo "bench: wrote $file" >&2
