#!/usr/bin/env bash
# demo.sh - real changes go from a real Gerrit through the gate into signed repositories; see docs/demo.md.
#
#   DEMO_DIR   where all of it lives (.demo): the Gerrit, the service's data, sources, roots; the next run uses it again
#   DEMO_EXIT  1: end afterwards, instead of staying up until Ctrl-C
#
# Needs root, bin/sluice (make build), and what scripts/install.sh demo installs.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $(id -u) == 0 ]] || { echo "demo: run this as root: roots and sandboxes need it" >&2; exit 1; }
CGO_ENABLED=0 go build -trimpath -o bin/demo ./scripts/demo
exec bin/demo
