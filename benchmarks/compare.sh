#!/usr/bin/env bash
# Side by side on one machine and the same load: hostmeter (receive, book into log and SQLite,
# detect), goflow2 (receive, protobuf to /dev/null) and udpfloor (receive only, the control).
# Usage: benchmarks/compare.sh BINARY            writes benchmarks/RESULTS.md
# RATE (records a second, 50000), SECONDS_EACH (15), CAPTURE_RECORDS (2000000) and ROUNDS (3) set
# the load. Needs curl, jq and Go; all traffic stays on loopback. About five minutes.
set -euo pipefail

cd "$(dirname "$0")/.."
binary=$(realpath "${1:?usage: benchmarks/compare.sh BINARY}")
rate=${RATE:-50000} each=${SECONDS_EACH:-15} captured=${CAPTURE_RECORDS:-2000000} rounds=${ROUNDS:-3}
work=$(mktemp -d)
receiver=
cleanup() {
	[ -z "$receiver" ] || kill "$receiver" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT
port=$((20000 + RANDOM % 10000)) http=$((port + 1))
ticks=$(getconf CLK_TCK)

say() { echo "$*" >&2; }

# field JSON NAME: a number out of one line of JSON.
field() { sed -n "s/.*\"$2\":\([0-9.]*\).*/\1/p" <<<"$1"; }

# cpu PID: the clock ticks it has used.
cpu() { awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$1/stat"; }

# rss PID: the most memory it had, in MiB.
rss() { awk '/^VmHWM/ {printf "%d", $2 / 1024}' "/proc/$1/status"; }

start_hostmeter() {
	rm -rf "$work/data"
	local sampling=none
	[ "$1" != sflow5 ] || sampling=auto
	cat >"$work/hostmeter.yaml" <<-EOF
		data: $work/data
		collector:
		  udp: [{listen: "127.0.0.1:$port"}]
		  local: [10.50.0.0/16]
		  exporters: [{address: 127.0.1.40, sampling: $sampling}]
		http: {listen: "127.0.0.1:$http"}
	EOF
	"$binary" run -c "$work/hostmeter.yaml" 2>"$work/receiver.log" &
	receiver=$!
}

start_goflow2() {
	local scheme=netflow
	[ "$1" != sflow5 ] || scheme=sflow
	"$work/goflow2" -format bin -transport file -transport.file /dev/null \
		-listen "$scheme://127.0.0.1:$port" -addr "127.0.0.1:$http" >"$work/receiver.log" 2>&1 &
	receiver=$!
}

start_udpfloor() {
	"$work/udpfloor" -listen "127.0.0.1:$port" >"$work/floor.json" 2>"$work/receiver.log" &
	receiver=$!
}

# counted NAME PACKETS_PER_RECORD: how many records (hostmeter) or datagrams (the others) arrived.
counted() {
	case $1 in
	hostmeter)
		"$binary" usage -c "$work/hostmeter.yaml" --by meter --format csv \
			--from "$(date -u -d yesterday +%F)" --to "$(date -u -d '2 days' +%F)" |
			awk -F, -v per="$2" 'NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i; next}
				{n += $at["in_packets"] + $at["out_packets"]} END {printf "%d", n / per}'
		;;
	udpfloor) field "$(cat "$work/floor.json")" datagrams ;;
	goflow2) awk '/^goflow2_flow_traffic_packets_total/ {n += $2} END {printf "%d", n}' "$work/metrics" ;;
	esac
}

# ready waits until the receiver has bound its socket.
ready() {
	local hex
	hex=$(printf '0100007F:%04X' "$port")
	for _ in $(seq 100); do
		! grep -q " $hex " /proc/net/udp || return 0
		sleep 0.1
	done
	say "the receiver did not listen:"
	cat "$work/receiver.log" >&2
	return 1
}

# kernel_drops: datagrams that found the receiver's socket buffer full.
kernel_drops() {
	awk -v at="$(printf '0100007F:%04X' "$port")" '$2 == at {n += $NF} END {print n + 0}' /proc/net/udp
}

# drained waits until the receiver has used under 5 % of a core for two seconds, at most 20 s.
drained() {
	local before after quiet=0
	for _ in $(seq 20); do
		before=$(cpu "$receiver")
		sleep 1
		after=$(cpu "$receiver")
		if [ $((after - before)) -lt $((ticks / 20)) ]; then quiet=$((quiet + 1)); else quiet=0; fi
		[ "$quiet" -lt 2 ] || return 0
	done
}

# measure RECEIVER PROTOCOL: "CPU_PER_MILLION LOSS_PERCENT RSS_MIB SENT DROPPED" on stdout.
measure() {
	local name=$1 protocol=$2 before after peak full sent records datagrams per=10 got share
	[ "$protocol" != sflow5 ] || per=1
	"start_$name" "$protocol"
	ready
	sleep 1
	before=$(cpu "$receiver")
	sent=$("$work/load" -to "127.0.0.1:$port" -from 127.0.1.40 -protocol "$protocol" -rate "$rate" -for "${each}s")
	drained
	after=$(cpu "$receiver") peak=$(rss "$receiver") full=$(kernel_drops)
	[ "$name" != goflow2 ] || curl -sf "http://127.0.0.1:$http/metrics" >"$work/metrics"
	kill -TERM "$receiver"
	wait "$receiver" || say "$name ended with $?: $(tail -3 "$work/receiver.log")"
	receiver=
	got=$(counted "$name" "$per") records=$(field "$sent" records) datagrams=$(field "$sent" datagrams)
	if [ "$name" = hostmeter ]; then share=$(awk "BEGIN {printf \"%.9f\", $got / $records}"); else
		share=$(awk "BEGIN {printf \"%.9f\", $got / $datagrams}")
	fi
	say "$protocol $name: sent $sent, arrived $got, $full datagrams dropped by the kernel, CPU $((after - before)) ticks, $peak MiB"
	awk -v cpu=$((after - before)) -v hz="$ticks" -v records="$records" -v share="$share" -v rss="$peak" -v full="$full" \
		'BEGIN {printf "%.3f %.3f %d %d %d\n", cpu / hz / (records * share) * 1e6, (1 - share) * 100, rss, records, full}'
}

# cpu_seconds COMMAND…: user and system time of one run; its output goes to $work/out.
cpu_seconds() {
	local TIMEFORMAT='%U %S'
	{ time "$@" >"$work/out" 2>"$work/errors"; } 2>&1 | awk '{print $1 + $2}'
}

# median of the lines on stdin.
median() { sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

say "building goflow2, the load and the control"
go build -o "$work/load" ./benchmarks/load
go build -o "$work/udpfloor" ./benchmarks/udpfloor
(cd benchmarks/goflow2 && go build -o "$work/goflow2" github.com/netsampler/goflow2/v2/cmd/goflow2 && go build -o "$work/decode" ./decode)

table=$work/table.md
for protocol in netflow9 netflow5 sflow5; do
	read -r floor floor_loss floor_rss floor_sent floor_full <<<"$(measure udpfloor "$protocol")"
	read -r ours ours_loss ours_rss ours_sent ours_full <<<"$(measure hostmeter "$protocol")"
	read -r peer peer_loss peer_rss peer_sent peer_full <<<"$(measure goflow2 "$protocol")"
	awk -v p="$protocol" -v f="$floor" -v fl="$floor_loss" -v fr="$floor_rss" -v o="$ours" -v ol="$ours_loss" \
		-v orss="$ours_rss" -v g="$peer" -v gl="$peer_loss" -v gr="$peer_rss" \
		-v fs="$floor_sent" -v os="$ours_sent" -v gs="$peer_sent" -v fd="$floor_full" -v od="$ours_full" -v gd="$peer_full" 'BEGIN {
		row = "| %s | %s | %d | %.2f | %.2f | %.3f %% | %d | %d |\n"
		printf row, p, "hostmeter", os, o, o / f, ol, od, orss
		printf row, p, "goflow2", gs, g, g / f, gl, gd, gr
		printf row, p, "udpfloor (control)", fs, f, 1, fl, fd, fr
		printf "| %s | **goflow2 / hostmeter** | | **%.1f** | | | | |\n", p, g / o}' >>"$table"
done

say "decoding a capture of $captured v9 records, $rounds rounds"
"$work/load" -file "$work/v9.pcap" -to 127.0.0.1:2055 -protocol netflow9 -records "$captured" >"$work/sent.json"
written=$(field "$(cat "$work/sent.json")" records)
for _ in $(seq "$rounds"); do
	cpu_seconds "$binary" replay --json --local 10.50.0.0/16 "$work/v9.pcap" >>"$work/ours.txt"
	[ "$(jq '[.exporters[].records] | add' "$work/out")" = "$written" ] || { say "replay did not read $written records"; exit 1; }
	cpu_seconds "$work/decode" "$work/v9.pcap" >>"$work/peer.txt"
	[ "$(cat "$work/out")" = "$written" ] || { say "goflow2 did not read $written records"; exit 1; }
done
ours=$(median <"$work/ours.txt") peer=$(median <"$work/peer.txt")

{
	echo "# hostmeter beside goflow2"
	echo
	echo "Written by \`make bench\` (\`benchmarks/compare.sh\`) on $(date -u +%F) in one run: $(nproc) cores"
	echo "($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)), Linux $(uname -r), $(go version | cut -d' ' -f3),"
	echo "$("$binary" version | head -1), goflow2 $(cd benchmarks/goflow2 && go list -m -f '{{.Version}}' github.com/netsampler/goflow2/v2), load average $(cut -d' ' -f1-3 /proc/loadavg) at the end."
	echo
	echo "## Receiving up to $rate records a second for $each s, from one exporter on loopback"
	echo "hostmeter runs whole: it decodes, adds up by address (1,000 local ones), writes its log, books into SQLite"
	echo "and runs the detector. goflow2 decodes and writes protobuf to /dev/null; it keeps no books. udpfloor only receives."
	echo "CPU is user and system time of the process from the load's begin until it is idle again. What hostmeter lost is"
	echo "records sent less records booked in the ledger; for the others it is datagrams sent less datagrams handled."
	echo
	echo "| load | receiver | records sent | CPU s per million records | times the control | lost | kernel drops (datagrams) | peak memory, MiB |"
	echo "|---|---|---|---|---|---|---|---|"
	cat "$table"
	echo
	echo "The receive buffer is the one that each asks for: 32 MiB in hostmeter and udpfloor; goflow2 has no option for it"
	echo "(the default of this kernel: $(cat /proc/sys/net/core/rmem_default) octets). Its losses are those of that buffer when it waits for a core,"
	echo "and change with what else the machine does: they are no limit of its rate."
	echo "The machine did other work too (see the load average): compare figures of one run, not of two."
	echo "The sender does not make up for its own stalls, so the records sent differ between rows; a lower rate costs"
	echo "somewhat more per record, since each datagram then wakes the receiver."
	echo
	echo "## Decoding a capture of $written NetFlow v9 records"
	echo "One process each, started anew, median of $rounds runs. hostmeter's \`replay\` also adds up by address and prints"
	echo "the sums; goflow2's library decodes and counts only."
	echo
	echo "| | CPU s | records per CPU second |"
	echo "|---|---|---|"
	awk -v n="$written" -v o="$ours" -v g="$peer" 'BEGIN {
		printf "| hostmeter replay | %.2f | %.0f |\n| goflow2 library | %.2f | %.0f |\n", o, n / o, g, n / g
		printf "| **hostmeter / goflow2** | | **%.1f** |\n", g / o}'
} >"$work/RESULTS.md"
cp "$work/RESULTS.md" benchmarks/RESULTS.md
cat benchmarks/RESULTS.md
