#!/usr/bin/env bash
# fuzz.sh TIME [FOLDER]   run every fuzz target below FOLDER (default: all) for TIME (go's duration, such as 10s, or a
#                         number of inputs, such as 1000x), one after the other
#
# A time that ends in the middle of a call can end as a fault that is none, "context deadline exceeded" with no input
# kept (go.dev/issue/75804, mended in Go 1.27); on a busy machine a short one may be over before all seeds were tried.
# Then a number of inputs decides, which has no deadline.
set -euo pipefail
cd "$(dirname "$0")/../.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz PACKAGE TARGET TIME
fuzz() {
  echo "fuzz: $1 $2 for $3" >&2
  go test -tags libvirt_dlopen -run '^$' -fuzz "^$2\$" -fuzztime "$3" -fuzzminimizetime 1000x "$1" </dev/null 2>&1 | tee "$log"
}

# ended says of what fuzz has told whether its time was over before it had tried anything, or in the middle of a call.
ended() {
  ! grep -q 'Failing input written' "$log" &&
    { grep -qE '^ +context deadline exceeded$' "$log" || { grep -q '^PASS$' "$log" && ! grep -q 'now fuzzing' "$log"; }; }
}

targets=$(grep -rnoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' "${2:-.}" | sed -E 's|^([^:]*)/[^/]*:[0-9]+:func (.*)|\1 \2|')
while read -r folder target; do
  if fuzz "./${folder#./}" "$target" "$1" && ! ended; then
    continue
  fi
  ended || exit 1
  fuzz "./${folder#./}" "$target" 200x
done <<<"$targets"
