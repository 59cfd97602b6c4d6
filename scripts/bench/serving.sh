#!/usr/bin/env bash
# Serving beside KServe's Python model server and onnxruntime behind FastAPI
#
# Needs the models that `make cycle` registered (BERTH_DATA, default .berth). Latencies are those of the client on the same
# machine, one keep-alive connection; at 500 requests a second they count from when a request was due. SECONDS_EACH (default
# 60) is how long the fixed rate lasts.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${BERTH_DATA:-.berth}
cache=${BERTH_CACHE:-$HOME/.cache/berth}
seconds=${SECONDS_EACH:-60}
target=${CARGO_TARGET_DIR:-target}/debug
[ -f "$data/tracking/berth.db" ] || { echo "no registered models below \`$data\`: run \`make cycle\` first" >&2; exit 1; }
cargo build --locked --quiet --workspace --bins --example load --example growth >&2
work=$(mktemp -d)
server=
stop() { [ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; server=; }; }
trap 'stop; rm -rf "$work"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port

# start COMMAND...: runs a server and waits until it is ready; leaves the milliseconds that this took in $ready.
start() {
  local begin
  begin=$(date +%s%N)
  "$@" >"$work/server.log" 2>&1 &
  server=$!
  until curl -sf "$url/v2/health/ready" >/dev/null; do
    kill -0 "$server" || { cat "$work/server.log" >&2; exit 1; }
    sleep 0.01
  done
  ready=$((($(date +%s%N) - begin) / 1000000))
}
resident() { awk '/^VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$server/status"; }
# row NAME ARGUMENTS...: one line of the table.
row() {
  local name=$1
  shift
  "$target/examples/load" --url "$url" --json "$@" | python3 -c '
import json, sys
name, got = sys.argv[1], json.load(sys.stdin)
rate = got["rate"] or "as they come"
print("| {} | {} | {} | {:.2f} | {:.2f} | {:.2f} | {:.0f} | {} |".format(
    name, got["rows"], rate, got["p50_ms"], got["p99_ms"], got["max_ms"], got["per_second"], got["failed"]))' "$name"
}

for nodes in 500 1500 5000; do
  mkdir -p "$work/$nodes"
  cp -r "$data/tracking" "$work/$nodes/"
  "$target/collector" --data "$work/$nodes" synthesize --nodes "$nodes" --days $((nodes > 500 ? 2 : 8)) --step 5m --seed 5 \
    --end 2026-11-20 >"$work/synthesize.log" 2>&1
done
echo "| what | rows or nodes | requests/s | P50 ms | P99 ms | longest ms | answered/s | failed |"
echo "|---|---|---|---|---|---|---|---|"
start "$target/serving" --data "$work/500" run --listen "127.0.0.1:$port" --models load-predictor,placement-agent,anomaly-detector
alone="$ready ms to ready, $(resident) MiB"
growth="0=$(resident)"
stop
start "$target/serving" --data "$work/500" run --listen "127.0.0.1:$port"
models="load-predictor anomaly-detector"
! curl -sf "$url/v2/models/placement-agent/ready" >/dev/null || models="$models placement-agent"
for rows in 1 100; do
  for model in $models; do row "Berth: $model" --ask "$model" --rows "$rows" --seconds 5 --connections 1; done
done
for model in $models; do row "Berth: $model" --ask "$model" --rows 1 --rate 500 --seconds "$seconds"; done
row "Berth: combined, 50 kinds of pods in turn" --ask combined --rows 500 --rate 500 --seconds "$seconds"
five="$(resident) MiB"
stop
# settled NODES: what a server takes once it has read the history of so many nodes and what that took has been given back.
settled() {
  start "$target/serving" --data "$work/$1" run --listen "127.0.0.1:$port"
  until curl -s "$url/metrics" | grep -q 'refreshes_total{outcome="ok"} [2-9]'; do sleep 0.5; done
  # The allocator gives back over ten seconds.
  sleep 15
  growth="$growth $1=$(resident)"
}
settled 500
stop
settled 1500
stop
settled 5000
row "Berth: score, 50 kinds of pods in turn" --ask score --rows 5000 --seconds 5 --connections 1
row "Berth: score, pods of one kind" --ask score --rows 5000 --seconds 5 --connections 1 --kinds 1
# mean NAME: of a histogram of the server.
mean() { curl -s "$url/metrics" | awk -v name="$1" 'index($1, name "_sum") { sum = $2 } index($1, name "_count") { n = $2 } END { printf "%.2f", sum / n }'; }
refresh="features $(mean features_duration_seconds) s, forecasts and readings $(mean view_duration_seconds) s"
most="$(resident) MiB"
stop
artifact=$(dirname "$(find "$data/tracking/artifacts" -name heads.json | head -n 1)")
start "$cache/venv-serving/bin/python" scripts/bench/kserve_peer.py "$artifact" "$port"
kserve="$ready ms to ready, $(resident) MiB"
# peer NAME: measures it and stops it. Ten seconds of the fixed rate, since a peer may not keep up, and what is due is sent all the same.
peer() {
  for rows in 1 100; do row "$1: load-predictor" --ask load-predictor --rows "$rows" --seconds 5 --connections 1; done
  row "$1: load-predictor" --ask load-predictor --rows 1 --rate 500 --seconds 10
  stop
}
peer KServe
"$target/trainer" --data "$data" export load-predictor@champion --out "$work/onnx" >&2
start "$cache/venv-serving/bin/python" scripts/bench/onnx_peer.py "$work/onnx" "$port"
onnx="$ready ms to ready, $(resident) MiB"
peer "onnxruntime"
echo
echo "- Three models without nodes: $alone. KServe's server with one of them: $kserve; FastAPI with onnxruntime: $onnx."
echo "- With nodes from tables, after the load: $five at 500 nodes (a week of history), $most at 5,000 (two days)."
echo "- A refresh of 5,000 nodes: $refresh."
# shellcheck disable=SC2086
"$target/examples/growth" docs/images/serving-memory.svg $growth >&2
sed -i '1s/^<svg /<svg xmlns="http:\/\/www.w3.org\/2000\/svg" /' docs/images/serving-memory.svg
echo
echo "![Memory by nodes, idle](images/serving-memory.svg)"
