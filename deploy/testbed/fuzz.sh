#!/usr/bin/env bash
# fuzz.sh TIME     run every fuzz target for TIME (go's duration, such as 10s), one after the other
set -euo pipefail
cd "$(dirname "$0")/../.."
grep -rnoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | while IFS=: read -r file _ name; do
  target=${name#func }
  echo "fuzz: $(dirname "$file") $target for $1" >&2
  go test -tags libvirt_dlopen -run '^$' -fuzz "^$target\$" -fuzztime "$1" "$(dirname "$file")"
done
