#!/usr/bin/env bash
# The daily retrain and, whatever its end, what works now: `make cycle`.
#
# usage: DATA=DIR [PROMETHEUS_URL=URL] scripts/cycle.sh [arguments of `pipelines run`]
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-.berth}
bin=${CARGO_TARGET_DIR:-target}/debug
parameters=()
[ -z "${PROMETHEUS_URL:-}" ] || parameters=(--param "prometheus_url=$PROMETHEUS_URL")
status=0
"$bin/pipelines" --data "$data" run --pipeline pipelines/daily-retrain.yaml "${parameters[@]}" "$@" || status=$?

echo
echo "What is registered: $bin/trainer --data $data models"
# A registry that cannot be asked says so itself; the retrain's own end is what counts.
registered=$("$bin/trainer" --data "$data" models || true)
echo "$registered"
[ "$status" = 0 ] && exit 0

echo
echo "The retrain did not end well (exit code $status). What that means for serving and the extender:"
for model in "load-predictor:30 %:forecasts of node load" "placement-agent:40 %:the value of a placement" "anomaly-detector:30 %:whether a node behaves oddly"; do
  IFS=: read -r name weight what <<< "$model"
  if grep -q "$name" <<< "$registered"; then
    echo "  $name is registered; its newest accepted version serves on ($weight of a score: $what)"
  else
    echo "  $name is not registered; the other parts of a score count for its $weight ($what), and nothing waits for it"
  fi
done
if [ "$status" = 3 ]; then
  latest=$(ls -d "$data"/pipeline/*Z 2>/dev/null | tail -1)
  echo "A gate said no; that is its job when new figures are worse or too few to tell (\"undecided\")."
  echo "  Why, as a page with every rule: the \"page\" of the refused step above, in $latest/<step>/page.html"
  echo "  What to do: nothing, if the history is young: the next retrain has more of it. Otherwise read the page, mend the history"
  echo "  (\"collector quality\" says what is missing), and run \"make cycle PIPELINE_ARGS=--resume\"."
else
  echo "A step failed; the end of its log is above. Mend it and go on with: make cycle PIPELINE_ARGS=--resume"
fi
exit "$status"
