#!/usr/bin/env bash
# Simulating a cluster by its nodes and pods, under kube-scheduler's default profile
#
#   scripts/bench/simulator.sh [MOST_PODS]        most pods of a run, default 100000
#
# One thread, generated clusters, telemetry every 30 s. Prints a Markdown table and draws docs/images/simulator-scale.svg.
# SCALE names a built example; without it cargo builds one.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${SCALE:-}" ]; then
    cargo build --locked --quiet --workspace --examples
    SCALE="${CARGO_TARGET_DIR:-target}/debug/examples/scale"
fi
mkdir -p docs/images
"$SCALE" docs/images/simulator-scale.svg "${1:-100000}"
# A page needs no namespace, a file of its own does.
sed -i '1s/^<svg /<svg xmlns="http:\/\/www.w3.org\/2000\/svg" /' docs/images/simulator-scale.svg
printf '\n![Seconds by pods, a line per number of nodes](images/simulator-scale.svg)\n'
