#!/usr/bin/env bash
# Build deploy/Dockerfile and try what it made, without an engine and without an image registry.
#
#     sudo deploy/check_image.sh [FOLDER]
#
# Debian's buildah, debootstrap and crun, as root; about five minutes and 6 GB in FOLDER (by default a temporary one,
# removed at the end; a given one is kept, and its base is used again). The base image is replaced: debootstrap makes a
# Debian of the same release, with Debian's python of the same minor version. So this checks every line of the
# Dockerfile and that what it makes runs as its user, not the base image itself, nor its pull.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
missing=()
for tool in buildah debootstrap crun; do command -v "$tool" >/dev/null || missing+=("$tool"); done
[ ${#missing[@]} = 0 ] || { echo "not installed: ${missing[*]}; apt-get install ${missing[*]}" >&2; exit 3; }
[ "$(id -u)" = 0 ] || { echo "to be run as root: debootstrap needs it" >&2; exit 3; }

if [ $# -gt 0 ]; then
  work=$(mkdir -p "$1" && cd "$1" && pwd)
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
printf '{"default": [{"type": "insecureAcceptAnything"}]}' > "$work/policy.json"
run_buildah() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }
policy=(--signature-policy "$work/policy.json")

release=$(sed -n 's/^ARG BASE=.*-slim-\([a-z]*\)$/\1/p' "$here/deploy/Dockerfile")
[ -n "$release" ] || { echo "the Dockerfile's base does not name a Debian release" >&2; exit 1; }
if [ ! -s "$work/rootfs.tar" ]; then
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$release" "$work/rootfs" >"$work/log"
  tar -C "$work/rootfs" -cf "$work/rootfs.tar" .
  rm -rf "$work/rootfs"
fi
printf 'FROM scratch\nADD rootfs.tar /\n' > "$work/base"
run_buildah build "${policy[@]}" -t localhost/base -f "$work/base" "$work"

# The build reaches package indexes as this machine does.
own=()
for path in /etc/ssl/certs /usr/local/share/ca-certificates /etc/pip.conf; do
  [ ! -e "$path" ] || own+=(--volume "$path:$path:ro")
done
run_buildah build "${policy[@]}" --pull=never --build-arg BASE=localhost/base "${own[@]}" \
  -t localhost/crackdask -f "$here/deploy/Dockerfile" "$here"
run_buildah images

container=$(run_buildah from --pull-never "${policy[@]}" localhost/crackdask)
inside() { run_buildah run "$container" -- "$@"; }
trap 'run_buildah rm "$container" >/dev/null; [ $# -gt 0 ] || rm -rf "$work"' EXIT

config=$(run_buildah inspect --type image --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}' localhost/crackdask)
[ "$config" = "10001:10001 [/usr/bin/tini --]" ] || { echo "another user or entry point: $config" >&2; exit 1; }
# shellcheck disable=SC2016
inside bash -euc '
  [ "$(id -u):$(id -g)" = 10001:10001 ]
  writable=$(find / -xdev -type d -writable -not -path "/proc/*" -not -path "/sys/*" -not -path "/dev/*" \
    -not -path "/tmp*" 2>/dev/null | sort | tr "\n" " ")
  [ "$writable" = "/data /run/lock /var/tmp " ] || { echo "may write: $writable" >&2; exit 1; }
  [ -z "$(ls -A /data)" ] && [ ! -e /src ]
  ! command -v pip
  dask scheduler --version; dask worker --version; cat /opt/crackdask/versions.txt
'
# a whole experiment, on worker processes
inside /usr/bin/tini -s -- crackdask demo --store /data/demo.zarr --workers 2
inside crackdask status /data/demo.zarr | grep -F "complete"
echo "the image builds and runs"
