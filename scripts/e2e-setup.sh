#!/usr/bin/env bash
# Builds what the end-to-end tests start: etcd, kube-apiserver, kube-scheduler and kwok, unmodified, from the Go module
# proxy. Safe to run again; done in well under a second when all is there. Prints the folder of the binaries.
#
#   VERSION       Kubernetes to build, such as 1.35.4 (default: the one that deploy/e2e/control-plane/go.mod names)
#   BERTH_CACHE   the binaries go to $BERTH_CACHE/e2e/VERSION/bin (default ~/.cache/berth)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
module=$here/../deploy/e2e/control-plane
cache=${BERTH_CACHE:-$HOME/.cache/berth}/e2e
pinned=$(sed -n 's|^\tk8s.io/kubernetes v\([0-9.]*\).*|\1|p' "$module/go.mod")
version=${VERSION:-$pinned}
folder=$cache/$version

if [ "${BERTH_SKIP_SERVERS:-0}" = 1 ]; then
  echo "e2e-setup: BERTH_SKIP_SERVERS=1: nothing is built, the end-to-end tests will be skipped" >&2
  exit 0
fi

fail() {
  echo "e2e-setup: $*" >&2
  exit 1
}

# What the binaries were made from; a half-made folder has no stamp and is completed.
hash=$(cat "$module/go.mod" "$module/go.sum" | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$folder/.stamp" 2>/dev/null)" = "$hash" ] && [ -s "$folder/stages.yaml" ]; then
  echo "$folder/bin"
  exit 0
fi
command -v go >/dev/null || fail "go is not installed. Install Go 1.26 or newer (https://go.dev/doc/install); 1.21 or newer fetches the right one itself"

mkdir -p "$cache"
# A lock, since two checkouts may share the cache.
exec 9>"$cache/setup.lock"
flock 9

control_plane=$module
if [ "$version" != "$pinned" ]; then
  # Another release: the same module with that release's versions, and without kwok, which would ask for newer libraries.
  # Its go.sum is made anew and checked against the public checksum database.
  control_plane=$(mktemp -d)
  trap 'rm -rf "$control_plane"' EXIT
  sed -e '/kwok/d' -e '/ \/\/ indirect$/{/k8s.io\/kubernetes /!d}' -e "s|k8s.io/kubernetes v$pinned|k8s.io/kubernetes v$version|" \
    -e "s|v0.${pinned#*.}\$|v0.${version#*.}|" "$module/go.mod" >"$control_plane/go.mod"
  (cd "$control_plane" && GOFLAGS=-mod=mod ${GO:-go} mod tidy) >&2 || fail "the modules of Kubernetes $version could not be resolved"
fi

# program NAME MODULE PACKAGE
program() {
  echo "e2e-setup: building $1 for Kubernetes $version" >&2
  # The release build sets the version in the same way; without it /version would say v0.0.0-master.
  (cd "$2" && CGO_ENABLED=0 ${GO:-go} build -mod=readonly -o "$folder/bin/$1" \
    -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$version" "$3") >&2 || fail "could not build $3"
}

mkdir -p "$folder/bin"
program etcd "$control_plane" go.etcd.io/etcd/server/v3
program kube-scheduler "$control_plane" k8s.io/kubernetes/cmd/kube-scheduler
program kube-apiserver "$control_plane" k8s.io/kubernetes/cmd/kube-apiserver
program kwok "$module" sigs.k8s.io/kwok/cmd/kwok
# How fake nodes become ready, and pods on them run: as kwok ships it.
stages=$(cd "$module" && go list -m -f '{{.Dir}}' sigs.k8s.io/kwok)/kustomize/stage
for stage in "$stages"/node/fast/node-initialize.yaml "$stages"/pod/fast/pod-{ready,complete,delete}.yaml; do
  echo "---"
  cat "$stage"
done >"$folder/stages.yaml"
echo "$hash" >"$folder/.stamp"
echo "$folder/bin"
