#!/usr/bin/env bash
# The scheduler extender's webhook beside the same policy in a plain Python extender
#
# Needs the models that `make cycle` registered (BERTH_DATA, default .berth). Calls come one at a time over one connection, as
# kube-scheduler sends them; scores are embedded, the deadline is out of the way so that each call is measured. Latencies are the
# client's; the processor time is the extender's alone, with all that it does after the answer.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${BERTH_DATA:-.berth}
cache=${BERTH_CACHE:-$HOME/.cache/berth}
pods=${PODS_EACH:-2000}
target=${CARGO_TARGET_DIR:-target}/debug
[ -f "$data/tracking/berth.db" ] || { echo "no registered models below \`$data\`: run \`make cycle\` first" >&2; exit 1; }
cargo build --locked --quiet --workspace --bins --example webhook --example crowd >&2
work=$(mktemp -d)
server=
stop() { [ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; server=; }; }
trap 'stop; rm -rf "$work"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port

# start PATH COMMAND...: runs a server and waits until PATH is answered.
start() {
  local path=$1
  shift
  "$@" >"$work/server.log" 2>&1 &
  server=$!
  until curl -sf "$url$path" >/dev/null; do
    kill -0 "$server" || { cat "$work/server.log" >&2; exit 1; }
    sleep 0.05
  done
}

spent() { awk '{ print $14 + $15 }' "/proc/$server/stat"; }
# row NODES CANDIDATES ANSWER [ARGUMENTS...]: measures the server that runs.
row() {
  local before
  before=$(spent)
  "$target/examples/webhook" --url "$url" --names "$work/names" --nodes "$2" --pods "$pods" --json "${@:4}" >"$work/row.json"
  python3 - "$1" "$3" "$(($(spent) - before))" "$(getconf CLK_TCK)" "$work/row.json" <<'END'
import json, sys
nodes, answer, ticks, rate, file = sys.argv[1:]
got = json.load(open(file))
cpu = 1000 * int(ticks) / int(rate) / (got["pods"] + got["warm"])
print("| {} | {} | {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {} |".format(
    nodes, got["nodes"], answer, got["p50_ms"], got["p99_ms"], got["max_ms"], cpu, got["neutral"]))
END
}

echo 'mode = "active"' >"$work/active.toml"
printf 'mode = "active"\nkill = true\n' >"$work/killed.toml"
"$target/trainer" --data "$data" export placement-agent@champion --out "$work/agent" >&2
echo "| nodes known | candidates | answer | P50 ms | P99 ms | longest ms | CPU ms a pod | neutral |"
echo "|---|---|---|---|---|---|---|---|"
for nodes in 500 5000; do
  root=$work/$nodes
  mkdir -p "$root"
  cp -r "$data/tracking" "$root/"
  "$target/collector" --data "$root" synthesize --nodes "$nodes" --days 2 --step 5m --seed 5 --end 2026-11-20 >"$work/synthesize.log" 2>&1
  start /v2/health/ready "$target/serving" --data "$root" run --listen "127.0.0.1:$port"
  until curl -s "$url/metrics" | grep -q 'refreshes_total{outcome="ok"} [1-9]'; do sleep 0.2; done
  curl -sf "$url/v1/nodes" | python3 -c 'import json, sys; print("\n".join(node["node"] for node in json.load(sys.stdin)["nodes"]))' >"$work/names"
  stop
  for rules in active killed; do
    start /readyz "$target/scheduler-extender" --data "$root" run --listen "127.0.0.1:$port" --rules "$work/$rules.toml" --deadline 2s --follow never
    for candidates in 10 100 500 5000; do
      [ "$candidates" -le "$nodes" ] || continue
      case $rules in
        active)
          row "$nodes" "$candidates" "scores, 50 workloads in turn"
          row "$nodes" "$candidates" "scores, one workload" --workloads 1
          ;;
        killed) row "$nodes" "$candidates" neutral ;;
      esac
    done
    [ "$rules" = killed ] || resident="${resident:-}$(awk '/^VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$server/status") MiB at $nodes nodes; "
    stop
  done
  start /readyz "$cache/venv-serving/bin/python" scripts/bench/python_extender.py "$work/agent" "$port" "$work/names"
  for candidates in 100 500 5000; do
    [ "$candidates" -le "$nodes" ] || continue
    row "$nodes" "$candidates" "scores, Python"
  done
  stop
done
# A large cluster followed, its scores from elsewhere: 5,000 nodes, 100,000 pods, a thousand of them bound just now.
crowd_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$target/examples/crowd" --listen "127.0.0.1:$crowd_port" --nodes 5000 --pods 100000 &
crowd=$!
trap 'kill "$crowd" 2>/dev/null || true; stop; rm -rf "$work"' EXIT
cat >"$work/kubeconfig" <<END
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "http://127.0.0.1:$crowd_port"}}]
users: [{name: u, user: {token: none}}]
END
start /readyz "$target/scheduler-extender" --data "$work/followed" run --listen "127.0.0.1:$port" --rules "$work/active.toml" \
  --scoring "http://127.0.0.1:$crowd_port" --kubeconfig "$work/kubeconfig" --deadline 2s
until curl -s "$url/metrics" | grep -q 'scheduler_extender_reserved_pods 1000'; do sleep 0.1; done
seq 0 4999 | sed 's/^/node-/' >"$work/names"
"$target/examples/webhook" --url "$url" --names "$work/names" --nodes 500 --pods "$pods" --json >"$work/followed.json"
followed=$(awk '/^VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$server/status")
stop
kill "$crowd"

echo
echo "- Following 5,000 nodes and 100,000 pods, scores of a serving elsewhere: $followed MiB at most, $pods pods with 500 candidates included."
echo "- In memory after the load, windows and models included: ${resident%; }."
