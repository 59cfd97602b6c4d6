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
    echo "building (the first time takes 25 to 35 minutes on two cores) ..." >&2
  elif [ $((seconds % 60)) = 0 ]; then
    echo "  $((seconds / 60)) min: $(grep -c '^ *Compiling' "$log") crates so far" >&2
  fi
done
status=0
wait "$build" || status=$?
[ "$status" = 0 ] && exit 0
cat "$log" >&2
# Cargo says `error` and why. A process that is ended from outside says nothing.
if grep -q 'signal: 9' "$log" || [ "$status" = 137 ]; then
  echo "the build was ended by SIGKILL, which is what a system does that runs out of memory: $(free -h 2>/dev/null | awk '/^Mem/ { print $7 " of " $2 " are free now" }'). Try CARGO_BUILD_JOBS=1" >&2
elif [ "$status" -gt 128 ]; then
  echo "the build was ended by signal $((status - 128)) ($(kill -l $((status - 128))))" >&2
elif ! grep -q '^error' "$log"; then
  echo "cargo ended with exit code $status after ${seconds} s and gave no reason; free disk: $(df -h --output=avail . | tail -1 | tr -d ' ')" >&2
fi
exit 1
