#!/usr/bin/env bash
# Builds the commands, quietly: nothing when it is quick, a line a minute when it takes long, all of it when it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v cargo >/dev/null; then
  echo "cargo is not installed. Install Rust 1.95 or newer, for instance with rustup (https://rustup.rs)" >&2
  exit 1
fi
log=$(mktemp)
cargo build --locked --workspace --bins >"$log" 2>&1 &
build=$!
trap 'kill "$build" 2>/dev/null || true; rm -f "$log"' EXIT
seconds=0
while kill -0 "$build" 2>/dev/null; do
  sleep 1
  seconds=$((seconds + 1))
  if [ "$seconds" = 10 ]; then
    echo "building (the first time takes about 25 minutes on two cores) ..." >&2
  elif [ $((seconds % 60)) = 0 ]; then
    echo "  $((seconds / 60)) min: $(grep -c '^ *Compiling' "$log") crates so far" >&2
  fi
done
if ! wait "$build"; then
  cat "$log" >&2
  exit 1
fi
