#!/usr/bin/env bash
# sources.sh - real source packages from this machine's own Debian archive, unpacked.
#
#   scripts/demo/sources.sh OUT PACKAGE...
#
# OUT/PACKAGE is the unpacked source: patches applied, without quilt's .pc, no tarball in it. What is there already is
# kept. The archives, keys, proxies and certificates are those of this machine's apt; its configuration is not changed:
# a private one is derived from it that reads `deb-src` where the machine reads `deb`. Needs dpkg-dev.
set -euo pipefail
export LC_ALL=C.UTF-8

[[ $# -ge 2 ]] || { sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
out=$(realpath -m "$1")
shift
want=()
for package in "$@"; do [[ -d $out/$package ]] || want+=("$package"); done
((${#want[@]} > 0)) || exit 0

apt=$out/.apt
rm -rf "$apt"
mkdir -p "$apt"/{sources,lists/partial,archives/partial,new}
number=0
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  [[ -s $file ]] || continue
  number=$((number + 1))
  sed -E 's/^(Types:).*/\1 deb-src/; s/^deb[[:space:]]/deb-src /' "$file" >"$apt/sources/$number.${file##*.}"
done
((number > 0)) || { echo "sources: this machine has no apt sources" >&2; exit 1; }
options=(-q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/sources" -o "Dir::State::Lists=$apt/lists"
  -o "Dir::Cache=$apt" -o "Dir::Cache::Archives=$apt/archives" -o Acquire::Languages=none
  -o APT::Update::Error-Mode=any -o APT::Sandbox::User=root -o APT::Get::Only-Source=true)

quietly() { "$@" >"$apt/log" 2>&1 || { tail -n 20 "$apt/log" >&2; echo "sources: failed: $*" >&2; exit 1; }; }

quietly apt-get "${options[@]}" update
cd "$apt/new"
quietly apt-get "${options[@]}" source --download-only "${want[@]}"
for package in "${want[@]}"; do
  quietly dpkg-source -x "$package"_*.dsc "$package"
  rm -rf "${package:?}/.pc"
  mv "$package" "$out/$package"
done
rm -rf "$apt"
