#!/usr/bin/env bash
# A real trace goes the whole road: CSV -> OpenMetrics -> a real Prometheus -> backfill -> features -> training -> registry.
# Without the trace a synthetic cluster takes the same road.
#
# usage: scripts/real-road.sh [--set bitbrains|alibaba] [--days N] [--nodes N] [--work DIR]
#
#   --set    which trace of BERTH_TEST_DATA (default: ../shared/data beside this repository) [default: bitbrains]
#   --days   only the first N days of it [default: all]
#   --nodes  only N nodes of it [default: all]
#   --work   folder for everything that is made; kept, so that you can look at it [default: a temporary one, removed]
#
# Example: scripts/real-road.sh --set bitbrains --days 10 --nodes 4 --work .berth/real-road
set -euo pipefail
cd "$(dirname "$0")/.."

set_name=bitbrains days=0 nodes=0 work=
while [ $# -gt 0 ]; do
  case "$1" in
    --set) set_name=$2; shift 2 ;;
    --days) days=$2; shift 2 ;;
    --nodes) nodes=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    -h|--help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "unknown option \`$1\`; --help tells what there is" >&2; exit 2 ;;
  esac
done

data=${BERTH_TEST_DATA:-$PWD/../shared/data}
case "$set_name" in
  bitbrains) source=$data/bitbrains-rnd/nodes_5min.csv.gz mapping=collector/mappings/bitbrains-rnd.toml node_column=1 time_column=2 ;;
  alibaba) source=$data/alibaba2018-nodes/usage_5min.csv.gz mapping=collector/mappings/alibaba2018-nodes.toml node_column=1 time_column=2 ;;
  *) echo "no set \`$set_name\`; there are bitbrains and alibaba" >&2; exit 2 ;;
esac
for tool in prometheus promtool; do
  command -v "$tool" >/dev/null || { echo "\`$tool\` is not installed; \`make test-setup\` installs it" >&2; exit 1; }
done

bin=${CARGO_TARGET_DIR:-$PWD/target}/debug
server=
if [ -z "$work" ]; then work=$(mktemp -d); temporary=yes; else mkdir -p "$work"; temporary=; fi
work=$(cd "$work" && pwd)
cleanup() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
  [ -z "$temporary" ] || rm -rf "$work"
}
trap cleanup EXIT
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

rm -rf "$work/trace" "$work/openmetrics" "$work/prometheus"
mkdir -p "$work/openmetrics" "$work/prometheus"
if [ -e "$source" ]; then
  step "cut the trace"
  gzip -dc "$source" | awk -F, -v days="$days" -v nodes="$nodes" -v n="$node_column" -v t="$time_column" '
    NR == 1 { print; next }
    { if (first == "" || $t + 0 < first) first = $t + 0 }
    days > 0 && $t >= first + days * 86400 { next }
    !($n in seen) { if (nodes > 0 && count >= nodes) next; seen[$n] = 1; count++ }
    { print }' > "$work/trace.csv"
  echo "$(($(wc -l < "$work/trace.csv") - 1)) rows"

  step "CSV -> OpenMetrics"
  "$bin/collector" --data "$work/trace" import csv --mapping "$mapping" "$work/trace.csv"
  "$bin/collector" --data "$work/trace" export openmetrics "$work/openmetrics"
else
  step "synthetic cluster -> OpenMetrics"
  echo "NOTE: the trace \`$source\` is not here (BERTH_TEST_DATA names the folder that has it); a synthetic cluster goes instead" >&2
  "$bin/collector" --data "$work/trace" synthesize --nodes $((nodes > 0 && nodes < 6 ? nodes : 6)) --days $((days > 0 ? days : 14)) \
    --seed 1 --step 5m --end 2026-11-01 --openmetrics "$work/openmetrics"
fi

step "OpenMetrics -> Prometheus"
ulimit -n 65536 2>/dev/null || true
for file in "$work"/openmetrics/*; do
  promtool tsdb create-blocks-from openmetrics --quiet "$file" "$work/prometheus" >/dev/null
done
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'global:\n  scrape_interval: 5m\n' > "$work/prometheus.yml"
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" --storage.tsdb.retention.time=100y \
  --web.listen-address="127.0.0.1:$port" > "$work/prometheus.log" 2>&1 &
server=$!
for _ in $(seq 100); do curl -fs "http://127.0.0.1:$port/-/ready" >/dev/null && break; sleep 0.1; done
curl -fs "http://127.0.0.1:$port/-/ready" >/dev/null || { tail "$work/prometheus.log" >&2; exit 1; }
echo "ready on port $port: $(find "$work/prometheus" -name meta.json | wc -l) blocks"

step "Prometheus -> dataset -> features -> model -> registry"
read -r from to < <(python3 - "$work/trace" <<'PY'
import datetime, pathlib, sys
days = sorted(path.name[5:] for path in pathlib.Path(sys.argv[1], "raw/node_metrics").iterdir())
last = datetime.date.fromisoformat(days[-1]) + datetime.timedelta(days=1)
print(f"{days[0]}T00:00:00Z {last}T00:00:00Z")
PY
)
export BERTH_PROMETHEUS_FROM=$from BERTH_PROMETHEUS_TO=$to BERTH_PROMETHEUS_STEP=5m BERTH_PROMETHEUS_SCRAPE_INTERVAL=5m
# The trace has real gaps (hours in which the hoster collected nothing), so the gate stands a little lower than usual.
export BERTH_QUALITY_MIN_COVERAGE=0.80
"$bin/pipelines" --data "$work/berth" run --param prometheus_url="http://127.0.0.1:$port"
step "done"
"$bin/trainer" --data "$work/berth" models
[ -n "$temporary" ] || echo "everything stands in $work"
