#!/usr/bin/env bash
# Installs what the tests need, from Debian's packages, from Python's and from Maven Central. Safe to run again; quick when all is there.
#
#   BERTH_CACHE          where the Python environments and Apache Kafka are (default ~/.cache/berth)
#   BERTH_SKIP_SERVERS   set to 1: install nothing, and the tests that need servers say that they are skipped
set -euo pipefail

cache=${BERTH_CACHE:-$HOME/.cache/berth}
here=$(cd "$(dirname "$0")" && pwd)
problems=0

problem() {
  echo "test-setup: $*" >&2
  problems=1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

check_rust() {
  local wanted have
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
  if ! command -v cargo >/dev/null; then
    problem "cargo is not installed. Install Rust $wanted or newer, for instance with rustup (https://rustup.rs)"
    return
  fi
  have=$(rustc --version | awk '{ print $2 }')
  if [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" != "$wanted" ]; then
    problem "Rust is $have, want $wanted or newer: run \`rustup update\`"
  fi
}

# Debian starts servers when it installs them, and makes a PostgreSQL cluster. The tests start their own, on free ports
# and in temporary folders, so both are kept from happening; what is there already is left alone.
install_packages() {
  local missing=() package
  for package in prometheus prometheus-alertmanager postgresql redis-server maven chromium; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
    problem "missing packages and no right to install them. Run: sudo apt-get install --no-install-recommends ${missing[*]}"
    return
  fi
  echo "test-setup: installing ${missing[*]}"
  local policy=/usr/sbin/policy-rc.d made_policy=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    made_policy=1
  fi
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    as_root mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  local log status=0
  log=$(mktemp)
  # The list of packages may be absent or old: one try without refreshing it, one with.
  apt_install "$log" "${missing[@]}" || { as_root apt-get -qq update >>"$log" 2>&1 && apt_install "$log" "${missing[@]}"; } || status=$?
  [ "$made_policy" = 0 ] || as_root rm -f "$policy"
  if [ "$status" != 0 ]; then
    tail -n 20 "$log" >&2
    problem "apt-get could not install ${missing[*]}"
  fi
  rm -f "$log"
}

apt_install() {
  local log=$1
  shift
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
    -o Dpkg::Options::=--force-confold "$@" </dev/null >>"$log" 2>&1
}

# environment NAME REQUIREMENT...: one environment per tool, because their dependencies exclude each other. A stamp
# with the hash of the requirements tells whether it is as wanted; a half-made one has none and is completed.
environment() {
  local name=$1 folder="$cache/venv-$1" hash log
  shift
  hash=$({ python3 --version; printf '%s\n' "$@"; } | sha256sum | cut -d ' ' -f 1)
  [ "$(cat "$folder/.berth-requirements" 2>/dev/null)" != "$hash" ] || return 0
  echo "test-setup: making the Python environment for $name"
  mkdir -p "$cache"
  log=$(mktemp)
  "$folder/bin/python" -c 'import pip' 2>/dev/null || rm -rf "$folder"
  if { [ -d "$folder" ] || python3 -m venv "$folder"; } </dev/null >"$log" 2>&1 &&
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@" </dev/null >>"$log" 2>&1; then
    echo "$hash" >"$folder/.berth-requirements"
  else
    tail -n 20 "$log" >&2
    problem "could not install $* into $folder"
  fi
  rm -f "$log"
}

# Apache Kafka with everything it needs, from Maven Central, for tests that need a broker.
kafka_version=4.1.1
fetch_kafka() {
  local folder="$cache/kafka" log
  [ "$(cat "$folder/.version" 2>/dev/null)" != "$kafka_version" ] || return 0
  command -v mvn >/dev/null || { problem "mvn is absent, so Apache Kafka cannot be fetched"; return; }
  echo "test-setup: fetching Apache Kafka $kafka_version"
  rm -rf "$folder" && mkdir -p "$folder"
  cat >"$folder/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>berth</groupId><artifactId>test-broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$kafka_version</version></dependency>
  </dependencies>
</project>
POM
  log=$(mktemp)
  if (cd "$folder" && mvn --quiet --batch-mode dependency:copy-dependencies -DoutputDirectory=lib -DincludeScope=runtime) </dev/null >"$log" 2>&1; then
    echo "$kafka_version" >"$folder/.version"
  else
    tail -n 20 "$log" >&2
    problem "could not fetch Apache Kafka $kafka_version"
  fi
  rm -f "$log"
}

check_python() {
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    problem "python3 is absent or older than 3.10. Run: sudo apt-get install python3 python3-venv"
  elif ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    problem "python3 has no venv module. Run: sudo apt-get install python3-venv"
  else
    return 0
  fi
  return 1
}

check_rust
if [ "${BERTH_SKIP_SERVERS:-0}" = 1 ]; then
  echo "test-setup: BERTH_SKIP_SERVERS=1: nothing is installed, tests against real servers will be skipped" >&2
else
  install_packages
  # A lock, since two checkouts may share the cache.
  mkdir -p "$cache"
  exec 9>"$cache/setup.lock"
  flock 9
  fetch_kafka
  if check_python; then
    environment mlflow mlflow==3.17.2 xgboost-cpu==3.2.0
    environment kfp kfp==2.17.0
    environment serving kserve==0.21.0 "tritonclient[http]==2.73.0" schemathesis==4.32.5 xgboost-cpu==3.2.0 onnxruntime==1.23.0
    environment xgboost xgboost-cpu==3.2.0 pandas==3.1.1 polars==2.1.0 scikit-learn==1.9.1 pyarrow==26.0.1 onnxruntime==1.23.0
  fi
fi
exit "$problems"
