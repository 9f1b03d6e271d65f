#!/usr/bin/env bash
# verify.sh - runs every generator on a copy of the checkout, and fails where the copy then differs: a committed file is
# not what its source makes.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git ls-files -z --cached --others --exclude-standard --deduplicate |
  rsync -a --from0 --files-from=- --ignore-missing-args ./ "$work/before/"
cp -a "$work/before" "$work/after"
(cd "$work/after" && go generate ./...)
diff -r "$work/before" "$work/after" >"$work/diff" || {
  grep -E '^(diff|Only)' "$work/diff" | sed "s#$work/##g" >&2
  echo 'verify: generated files are stale: run `make generate` and commit what it changes' >&2
  exit 1
}
