#!/usr/bin/env bash
# test.sh [PACKAGE...] - runs the tests and says readably what failed. A skipped test is a failure.
#
# At most two packages run at once: the heavy ones each start a Gerrit, a Postgres, or compilers. Within one, four tests
# do, for those that wait for servers.
# The last line is `N passed, N failed`. Environment: SLUICE_TEST_FULL=1 for the long sizes.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0

[[ $# -gt 0 ]] || set -- ./...
# -count=1: results that depend on real servers are never taken from a cache.
# The packages with the build tag "full" take minutes each: they belong to the long sizes.
tags=()
[[ -z ${SLUICE_TEST_FULL:-} ]] || tags=(-tags full)
go test -json -count=1 -p 2 -parallel 4 -timeout 60m "${tags[@]}" "$@" | go run ./scripts/testreport
