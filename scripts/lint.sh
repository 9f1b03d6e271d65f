#!/usr/bin/env bash
# lint.sh - what a reviewer should not have to say: formatting, vet, staticcheck (staticcheck.conf), shellcheck.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
STATICCHECK=honnef.co/go/tools/cmd/staticcheck@v0.8.2

unformatted=$(git ls-files -z '*.go' | xargs -0r gofmt -l)
[[ -z $unformatted ]] || { printf 'lint: not formatted (make fmt):\n%s\n' "$unformatted" >&2; exit 1; }
go vet -tags full ./...
go run "$STATICCHECK" -tags full ./...
git ls-files -z '*.sh' .ci/run | xargs -0r shellcheck -S warning
