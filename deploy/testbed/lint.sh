#!/usr/bin/env bash
# lint.sh     formatting, vet, staticcheck and shellcheck; exits 1 at the first that complains
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { echo "lint: $*" >&2; }
say gofmt
unformatted=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
[ -z "$unformatted" ] || { say "run gofmt -w on: $unformatted"; exit 1; }
say "go vet"
go vet -tags libvirt_dlopen ./...
say "build without cgo"
CGO_ENABLED=0 go build -o /dev/null ./cmd/hostmeter
say staticcheck
go tool -modfile=tools/go.mod staticcheck -tags libvirt_dlopen ./...
say shellcheck
deploy/testbed/install.sh lint || { [ "${CI:-}" != true ] || exit 1; say "NOT CHECKED: shell scripts (no shellcheck)"; exit 0; }
git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck -S warning
