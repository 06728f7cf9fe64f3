#!/usr/bin/env bash
# test.sh unit|real|all|influx2|soak     run the tests, with real servers where this machine can have them
#
#   unit     what needs nothing but Go; says which servers were not there
#   real     only the packages that talk to real servers
#   all      everything; the default of `make test`
#   influx2  the series against InfluxDB 2.7 (built from source: about 10 minutes the first time)
#   soak N   the fault suite's processes with at least N kills; its table is test/faults/processes.json
#
# Servers are installed by install.sh, started with fresh data in a folder of their own on loopback
# ports, and stopped at the end. With CI=true a server that is missing is a failure; else the tests
# that need it are left out and named at the end.
# Environment: HOSTMETER_TEST_PORTS (first of ten ports, default 39100), GOTESTFLAGS, KAFKA_VERSION (4.3.1; 4.1.1 works too).
set -euo pipefail
cd "$(dirname "$0")/../.."
MODE=${1:-all}
PORT=${HOSTMETER_TEST_PORTS:-39100}
STATE=$(mktemp -d /var/tmp/hostmeter-test.XXXXXX)
chmod 755 "$STATE"
BED=deploy/testbed
missing=()
say() { echo "test: $*" >&2; }

stop_all() {
  local status=$?
  [ ! -d "$STATE/pg" ] || $BED/pg-up.sh --down "$STATE/pg" >/dev/null 2>&1 || true
  [ ! -d "$STATE/kafka" ] || $BED/kafka-up.sh --down "$STATE/kafka" >/dev/null 2>&1 || true
  [ ! -d "$STATE/influx" ] || $BED/influx-up.sh --down "$STATE/influx" >/dev/null 2>&1 || true
  [ ! -d "$STATE/lv" ] || $BED/libvirt-up.sh down --state "$STATE/lv" --netns hmlv >/dev/null 2>&1 || true
  rm -rf "$STATE"
  exit $status
}
trap stop_all EXIT

# server NAME COMMAND...: start it, or remember that it is missing.
server() {
  local name=$1 began=$SECONDS
  shift
  if "$@" >"$STATE/$name.log" 2>&1; then
    say "$name is up ($((SECONDS - began)) s)"
    return 0
  fi
  say "$name is NOT there: $(tail -n 3 "$STATE/$name.log" | tr '\n' ' ')"
  missing+=("$name")
  return 1
}
postgres() { $BED/install.sh postgres && $BED/pg-up.sh "$STATE/pg" "$PORT"; }
kafka() { $BED/install.sh kafka && KAFKA_SECURE_PORT=$((PORT + 7)) $BED/kafka-up.sh "$STATE/kafka" $((PORT + 1)); }
influx() { INFLUX_VERSION=$1 $BED/influx-up.sh "$STATE/influx" $((PORT + 3)); }
libvirt() { $BED/install.sh libvirt && mkdir -p "$STATE/lv" && $BED/libvirt-up.sh up --state "$STATE/lv" --netns hmlv --spin 1 --halt 2 --talk 1; }
netlab() { $BED/install.sh netlab && [ "$(id -u)" = 0 ] && ip netns add hmprobe && ip netns del hmprobe; }
browser() { $BED/install.sh browser; }
files() { $BED/install.sh files; }
alertmanager() { $BED/install.sh alertmanager; }

start_influx() { # version
  server "influxdb $1" influx "$1" || return 0
  export HOSTMETER_TEST_INFLUX=http://127.0.0.1:$((PORT + 3))
  case $1 in
    1.*) export HOSTMETER_TEST_INFLUX_ORG="" HOSTMETER_TEST_INFLUX_BUCKET=test/autogen HOSTMETER_TEST_INFLUX_TOKEN=test:test ;;
    *) export HOSTMETER_TEST_INFLUX_ORG=test HOSTMETER_TEST_INFLUX_BUCKET=test HOSTMETER_TEST_INFLUX_TOKEN=test-token ;;
  esac
  export HOSTMETER_TEST_INFLUX_DATA=$STATE/influx HOSTMETER_TEST_INFLUX_VERSION=$1 HOSTMETER_TEST_INFLUX_PORT=$((PORT + 3))
}
start_servers() {
  server postgres postgres && export HOSTMETER_TEST_POSTGRES="postgres://meter:meter@127.0.0.1:$PORT/meter?sslmode=disable" || true
  server kafka kafka && export HOSTMETER_TEST_KAFKA=127.0.0.1:$((PORT + 1)) \
    HOSTMETER_TEST_KAFKA_SECURE=127.0.0.1:$((PORT + 7)) HOSTMETER_TEST_KAFKA_CA=$STATE/kafka/ca.pem || true
  start_influx "${INFLUX_VERSION:-1.8.3}"
  if server libvirt libvirt; then
    HOSTMETER_TEST_LIBVIRT=$($BED/libvirt-up.sh env --state "$STATE/lv" --netns hmlv | sed -n 's/^URI=//p' | tr -d "\"'")
    export HOSTMETER_TEST_LIBVIRT HOSTMETER_TEST_LIBVIRT_STATE=$STATE/lv HOSTMETER_TEST_LIBVIRT_NETNS=hmlv
  fi
  server netlab netlab && export HOSTMETER_TEST_NETLAB=1 || true
  server alertmanager alertmanager || true
  server browser browser && export HOSTMETER_TEST_BROWSER=1 || true
  server files files && export HOSTMETER_TEST_FILES=1 || true # LibreOffice, qpdf, poppler
}
report_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  say "NOT TESTED on this machine, because these are missing: ${missing[*]}"
  [ "${CI:-}" != true ] || { say "in CI that is a failure"; exit 1; }
}
# go_test PACKAGES...: one package at a time has the real servers' attention, so that loads do not meet.
go_test() {
  # shellcheck disable=SC2086 # GOTESTFLAGS is a list of flags
  go test -tags libvirt_dlopen -timeout 25m ${GOTESTFLAGS:-} "$@"
}

case $MODE in
  unit)
    missing=("postgres kafka influxdb libvirt netlab browser files (make test-real has them)")
    CI='' go_test ./...
    report_missing
    ;;
  real | all)
    start_servers
    report_missing
    if [ "$MODE" = real ]; then
      mapfile -t packages < <(grep -rlE 'HOSTMETER_TEST_|storetest\.|streamtest\.|testbed\.' --include='*_test.go' . | xargs -n1 dirname | sort -u)
    else
      packages=(./...)
    fi
    go_test "${packages[@]}"
    report_missing
    ;;
  influx2)
    start_influx 2.7.12
    [ ${#missing[@]} -eq 0 ] || exit 1
    go_test -v ./aggregator/series/...
    ;;
  soak)
    server postgres postgres && export HOSTMETER_TEST_POSTGRES="postgres://meter:meter@127.0.0.1:$PORT/meter?sslmode=disable"
    server kafka kafka && export HOSTMETER_TEST_KAFKA=127.0.0.1:$((PORT + 1))
    report_missing
    HOSTMETER_FAULTS_KILLS=${2:-300} HOSTMETER_FAULTS_RESULTS=$PWD/test/faults/processes.json \
      go test -tags libvirt_dlopen -count=1 -timeout 6h -v ./test/faults
    ;;
  *)
    sed -n '2,14p' "$0"
    exit 2
    ;;
esac
