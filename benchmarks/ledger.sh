#!/usr/bin/env bash
# The ledger's figures: booking embedded and through Kafka and PostgreSQL, a month's size on disk, sealing and closing.
# Usage: benchmarks/ledger.sh            writes its part of benchmarks/RESULTS.md; minutes, about 12 GB of disk
#
# Starts Kafka and PostgreSQL of its own on loopback, with their data below DIR, and stops them. Where one of them
# cannot be started the distributed way is left out, and says so.
#
#   SECTIONS        of booking,month,days (default: all)
#   ADDRESSES SERVICES MINUTES   of booking and month; of days; booked of each address (20000 100000 240)
#   DIR             where the data goes, emptied in the end (/var/tmp/hostmeter-bench-ledger)
#   KAFKA_PORT PG_PORT   39290 (and the next) and 39292
#   RESULTS         the file to write
set -euo pipefail

cd "$(dirname "$0")/.."
dir=${DIR:-/var/tmp/hostmeter-bench-ledger}
kafka_port=${KAFKA_PORT:-39290} pg_port=${PG_PORT:-39292}
sections=${SECTIONS:-all}
say() { echo "ledger: $*" >&2; }

command=""
for name in SECTIONS ADDRESSES SERVICES MINUTES; do
	[ -z "${!name:-}" ] || command+="$name=${!name} "
done
command+="make bench-ledger"

if [ -e "$dir" ]; then
	say "$dir is there already: remove it, or name another folder by DIR"
	exit 1
fi
mkdir -p "$dir"
chmod 755 "$dir"
servers=()
stop() {
	[ ! -d "$dir/kafka" ] || deploy/testbed/kafka-up.sh --down "$dir/kafka" >&2 || true
	[ ! -d "$dir/postgres" ] || deploy/testbed/pg-up.sh --down "$dir/postgres" >&2 || true
	rm -rf "$dir"
}
trap stop EXIT

distributed=()
if [[ ,$sections, == *,all,* || ,$sections, == *,booking,* ]]; then
	deploy/testbed/install.sh postgres >&2 || true
	if kafka=$(KAFKA_JVM=- deploy/testbed/kafka-up.sh "$dir/kafka" "$kafka_port") && postgres=$(deploy/testbed/pg-up.sh "$dir/postgres" "$pg_port"); then
		servers=("$kafka" "$postgres")
		distributed=(-kafka "127.0.0.1:$kafka_port" -postgres "postgres://meter:meter@127.0.0.1:$pg_port/meter?sslmode=disable" -pids "${servers[0]},${servers[1]}")
	else
		say "Kafka or PostgreSQL cannot be started: booking is measured on SQLite alone"
	fi
fi

bin=.cache/benchmarks
mkdir -p "$bin"
go build -o "$bin/ledger" ./benchmarks/ledger
"$bin/ledger" -dir "$dir/data" -o "${RESULTS:-benchmarks/RESULTS.md}" -command "$command" -version "$(git describe --tags --always --dirty 2>/dev/null || echo unknown)" \
	-sections "$sections" "${distributed[@]}" \
	-addresses "${ADDRESSES:-20000}" -services "${SERVICES:-100000}" -minutes "${MINUTES:-240}"
