#!/usr/bin/env bash
# Where the collector spends its time under load, as cmd/hostmeter/default.pgo: the compiler reads it and places
# what runs most together. Usage: benchmarks/profile.sh
#
# Four runs of 5 s, one of each protocol, on loopback. To be made anew when the way of a record has changed; an old
# profile makes nothing wrong, only slower.
set -euo pipefail

cd "$(dirname "$0")/.."
bin=.cache/benchmarks
mkdir -p "$bin"
go build -trimpath -pgo=off -o "$bin/" ./benchmarks/load ./benchmarks/collector
work=$(mktemp -d)
collector=
stop() { [ -z "$collector" ] || kill "$collector" 2>/dev/null || true; rm -rf "$work"; }
trap stop EXIT
profiles=()
for protocol in netflow9 ipfix netflow5 sflow5; do
	mkdir "$work/$protocol"
	"$bin/collector" -listen 127.0.0.1:2955 -data "$work/$protocol" -cpuprofile "$work/$protocol.prof" >"$work/out" 2>"$work/log" &
	collector=$!
	until grep -q "listening for flows" "$work/log"; do kill -0 "$collector" || { cat "$work/log" >&2; exit 1; }; done
	"$bin/load" -to 127.0.0.1:2955 -exporters 4 -protocol "$protocol" -for 5s -rate 0 >/dev/null
	kill -TERM "$collector"
	wait "$collector" || { cat "$work/log" >&2; exit 1; }
	collector=
	profiles+=("$work/$protocol.prof")
done
go run ./benchmarks/profile cmd/hostmeter/default.pgo "${profiles[@]}"
