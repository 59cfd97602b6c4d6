#!/usr/bin/env bash
# Makes docs/placement-results.md and docs/images/placement-learning.svg: trains the agent, compares it with intervals.
#
# Usage: scripts/placement.sh   TRACES: folder with openb and bitbrains-rnd (default: BERTH_TRACES; empty leaves openb out)
#                               SEEDS (default 5), EPISODES (default: that of the trainer), SHARE of openb's nodes and pods
#                               (default 0.25: whole, the learned policies and the oracles take hours)
#                               ROUNDS of the search for weights, 12 clusters each (default 3)
#                               POLICIES to compare (default: below; search-oracle takes more than half of the time)
# An agent that was trained before is taken as it is: BERTH_AGENT=DIR. The work goes to .berth/placement.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${BERTH_PLACEMENT_WORK:-.berth/placement}
binaries=${BERTH_BIN:-${CARGO_TARGET_DIR:-target}/debug}
traces=${TRACES:-${BERTH_TRACES:-}}
seeds=${SEEDS:-5}
rounds=${ROUNDS:-3}
share=${SHARE:-0.25}
mkdir -p "$work"
agent=${BERTH_AGENT:-$work/placement-agent}
if [ -z "${BERTH_AGENT:-}" ]; then
  # A refused agent is compared all the same: its figures are the evidence.
  "$binaries/trainer" --data "$work" train placement --restart --model-out "$agent" --json-out "$work/verdict.json" \
    ${EPISODES:+--episodes "$EPISODES"} | tee "$work/training.txt" || [ "${PIPESTATUS[0]}" = 3 ]
fi

all=random,kube-scheduler,target-load-packing,load-variation-risk-balancing,least-used,predictor,agent,combined,greedy-oracle,search-oracle
policies=${POLICIES:-$all}
"$binaries/trainer" --data "$work" weights --agent "$agent" --rounds "$rounds" > "$work/weights.txt"

compare() { # name, arguments
  local name=$1; shift
  "$binaries/simulator" --data "$work" compare --agent "$agent" --seeds "$seeds" --base kube-scheduler,agent \
    --policies "$policies" \
    --json-out "$work/$name.json" --html-out "$work/$name.html" "$@" | grep -v '^page: ' > "$work/$name.md"
  echo "$name: $work/$name.html" >&2
}
compare synthetic --scenario mixed,misrequested,bursts,memory,pools
policies=kube-scheduler,predictor,agent,combined compare pack --strategy pack --scenario mixed,bursts,memory
compare large --scenario mixed,misrequested --size 120 --days 1
if [ -n "$traces" ]; then compare openb --scenario openb --trace "$traces" --days 7 --share "$share"; fi

{
  cat scripts/placement/preface.md
  if [ "$policies" != "$all" ]; then printf '\nThis page compares only: %s.\n' "$policies"; fi
  if [ -f "$work/training.txt" ]; then printf '\n## Training\n\n```text\n'; grep -v -e '^model ' -e '^report ' -e '^run ' "$work/training.txt"; printf '```\n'; fi
  # The report's chart of learning, as a file of its own.
  if sed -n '/<h2>Learning</,$p' "$agent/report.html" | sed 's/.*<h2>Learning<//' | sed -n '/<svg /,/<\/svg>/p;/<\/svg>/q' | sed 's/.*<svg /<svg xmlns="http:\/\/www.w3.org\/2000\/svg" /; s/<\/svg>.*/<\/svg>/' > "$work/curve.svg" && [ -s "$work/curve.svg" ]; then
    mkdir -p docs/images
    cp "$work/curve.svg" docs/images/placement-learning.svg
    printf '\n![Cost at the looks while learning, against kube-scheduler](images/placement-learning.svg)\n'
  fi
  printf '\n## Weights\n\n```text\n'; cat "$work/weights.txt"; printf '```\n'
  printf '\n## Clusters of twice the size that it learned in\n\n'
  cat "$work/synthetic.md"
  printf '\n## Twice as large again, one day\n\n'
  cat "$work/large.md"
  printf '\n## The strategy pack\n\n'
  cat "$work/pack.md"
  if [ -n "$traces" ]; then printf '\n## openb, 7 days, %s of its nodes and pods\n\n' "$share"; cat "$work/openb.md"; fi
} > docs/placement-results.md
echo "docs/placement-results.md is written"
