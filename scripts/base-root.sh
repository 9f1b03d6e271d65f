#!/usr/bin/env bash
# base-root.sh - a minimal Debian root, made from this machine's own apt configuration.
#
#   scripts/base-root.sh OUT [PACKAGE...]
#
# OUT is a directory, or a tarball if its name says so (.tar, .tar.zst). Nothing of the machine's repositories is
# written anywhere but into the root's own apt sources: the archives, their keys, proxies and certificates are those that
# apt-get uses here. Environment: VARIANT (minbase), SUITE (this machine's own). Needs root, and mmdebstrap.
set -euo pipefail
export LC_ALL=C.UTF-8

[[ $# -ge 1 ]] || { sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
out=$(realpath -m "$1")
shift
# shellcheck source=/dev/null
suite=${SUITE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}

mirrors=()
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  [[ ! -s $file ]] || mirrors+=("$file")
done
((${#mirrors[@]} > 0)) || { echo "base-root: this machine has no apt sources" >&2; exit 1; }

# How apt gets files here: proxies, certificates, checks. Hooks of this machine's own apt stay out.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
apt-config dump --format '%F "%v";%n' Acquire >"$work/acquire.conf"

IFS=, include="$*"
mkdir -p "${out%/*}"
mmdebstrap --quiet --variant="${VARIANT:-minbase}" ${include:+--include="$include"} \
  --aptopt="$work/acquire.conf" "$suite" "$out" "${mirrors[@]}"
