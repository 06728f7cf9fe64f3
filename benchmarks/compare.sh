#!/usr/bin/env bash
# hostmeter and its peers side by side, on this machine and under one load of known content.
# Usage: benchmarks/compare.sh BINARY            writes benchmarks/RESULTS.md
#
# Installs the peers (Debian packages as root, goflow2 from the Go module proxy), builds the generator, the
# control and the collector alone, and runs benchmarks/compare. All traffic stays on loopback.
#
#   FULL=1          the figures to publish: 3 rounds of 10 s, 60 s sustained, about an hour; without it about
#                   7 minutes in which every part runs once and briefly, with v9 and sFlow alone
#   SECTIONS        of saturated,lossless,sustained,paced,overload,memory,sums,capture (default: all)
#   RECEIVERS       of udpfloor,collector,run,nfcapd,nfacctd,fastnetmon,goflow2 (default: all that are there)
#   PROTOCOLS       of netflow9,ipfix,netflow5,sflow5 (FULL: all)
#   ROUNDS EACH SUSTAIN SEARCH   runs of each, and lengths as 3s, 1m
#   SAMPLING        the collector's setting of the NetFlow and IPFIX exporters: auto or none
#   RESULTS         the file to write
set -euo pipefail

cd "$(dirname "$0")/.."
binary=$(realpath "${1:?usage: benchmarks/compare.sh BINARY}")
if [ -n "${FULL:-}" ]; then
	rounds=${ROUNDS:-3} each=${EACH:-10s} sustain=${SUSTAIN:-60s} search=${SEARCH:-3s} protocols=netflow9,ipfix,netflow5,sflow5
else
	rounds=${ROUNDS:-1} each=${EACH:-2s} sustain=${SUSTAIN:-5s} search=${SEARCH:-500ms} protocols=netflow9,sflow5
fi
say() { echo "compare: $*" >&2; }

command=""
for name in FULL SECTIONS RECEIVERS PROTOCOLS ROUNDS EACH SUSTAIN SEARCH SAMPLING; do
	[ -z "${!name:-}" ] || command+="$name=${!name} "
done
command+="make bench"

deploy/testbed/install.sh peers || say "some peers are missing and left out"
bin=.cache/benchmarks
mkdir -p "$bin"
say "building"
go build -o "$bin/" ./benchmarks/load ./benchmarks/udpfloor ./benchmarks/compare
go build -pgo=cmd/hostmeter/default.pgo -o "$bin/" ./benchmarks/collector # as the binary is built
(cd benchmarks/goflow2 &&
	go build -o "../../$bin/goflow2" github.com/netsampler/goflow2/v2/cmd/goflow2 &&
	go build -o "../../$bin/decode" ./decode &&
	go list -m -f 'goflow2 {{.Version}}' github.com/netsampler/goflow2/v2 >"../../$bin/goflow2.version")

receivers=${RECEIVERS:-}
if [ -z "$receivers" ]; then
	receivers=udpfloor,collector,run
	for peer in nfcapd:sfcapd nfacctd:sfacctd fastnetmon:fastnetmon; do
		if command -v "${peer%:*}" >/dev/null && command -v "${peer#*:}" >/dev/null; then receivers+=,${peer%:*}; fi
	done
	receivers+=,goflow2
fi
results=${RESULTS:-benchmarks/RESULTS.md}
"$bin/compare" -bin "$bin" -hostmeter "$binary" -o "$results" -command "$command" \
	-sections "${SECTIONS:-all}" -receivers "$receivers" -protocols "${PROTOCOLS:-$protocols}" \
	-rounds "$rounds" -each "$each" -sustain "$sustain" -search "$search" -sampling "${SAMPLING:-auto}"
cat "$results"
