//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// receiver is a program that takes flows.
type receiver struct {
	name string
	does string // for the report
	// command writes what the receiver needs into the run's folder and returns its command line.
	command func(*execution) ([]string, error)
	// counted says what of the load the receiver has. It is called while it runs if live is set, else
	// after its end. nil: it does not say.
	counted func(*execution) (counts, error)
	live    bool
	stop    syscall.Signal // 0: SIGTERM
	// ours: its log is compared by address.
	ours bool
}

// counts is what a receiver says that it has; -1 is what it does not say.
type counts struct {
	records, octets, packets int64
	datagrams                int64 // the collector only
	// cpu and peak replace what was measured from outside, where the process does more than is to be
	// measured.
	cpu, peak float64
	// lost is what it declares, by unit.
	lost map[string]int64
	log  string // a line for the report; may be empty
}

var receivers = []*receiver{
	{name: "udpfloor", does: "the control: only receives (`recvmmsg`)", command: udpfloor, counted: countFloor},
	{
		name: "collector", ours: true, counted: countCollector, command: collector,
		does: "hostmeter's collector whole: receive, decode, tallies with features, accounts, log on disk, fsync (`benchmarks/collector`: the real package, without what reads the log)",
	},
	{
		name: "run", ours: true, counted: countRun, command: hostmeterRun,
		does: "`hostmeter run`: the collector, the ledger in SQLite, the detector and the pages in one process",
	},
	{name: "nfcapd", does: "nfcapd, sfcapd: store each record in a file", command: nfcapd, counted: countNfcapd},
	{
		name: "nfacctd", does: "nfacctd, sfacctd: sums by source and destination, written every 10 s",
		command: nfacctd, counted: countNfacctd, stop: syscall.SIGINT,
	},
	{
		name: "fastnetmon", does: "FastNetMon: counters of each local address, thresholds every second",
		command: fastnetmon, counted: countFastnetmon, live: true,
	},
	{name: "goflow2", does: "goflow2: protobuf of each record to /dev/null", command: goflow2, counted: countGoflow2},
}

func receiverNames() (names []string) {
	for _, r := range receivers {
		names = append(names, r.name)
	}
	return names
}

func receiverOf(name string) *receiver {
	for _, r := range receivers {
		if r.name == name {
			return r
		}
	}
	panic("no receiver " + name) // names come from receivers
}

func (e *execution) program(name string) string {
	path, err := filepath.Abs(filepath.Join(e.bin, name))
	if err != nil {
		return filepath.Join(e.bin, name)
	}
	return path
}

// write writes a file into the run's folder.
func (e *execution) write(name, format string, values ...any) error {
	return os.WriteFile(e.file(name), []byte(fmt.Sprintf(format, values...)), 0o644)
}

// samplingOf is the collector's setting for a protocol: what a sample tells itself always counts.
func (e *execution) samplingOf() string {
	if e.protocol == "sflow5" {
		return "auto"
	}
	return e.sampling
}

func udpfloor(e *execution) ([]string, error) {
	return []string{e.program("udpfloor"), "-listen", e.address()}, nil
}

func collector(e *execution) ([]string, error) {
	return []string{e.program("collector"), "-listen", e.address(), "-data", e.file("data"),
		"-sampling", e.samplingOf(), "-ledger", e.file("counted.csv")}, nil
}

func hostmeterRun(e *execution) ([]string, error) {
	program, err := filepath.Abs(e.hostmeter)
	if err != nil {
		return nil, err
	}
	return []string{program, "run", "-c", e.file("hostmeter.yaml")}, e.write("hostmeter.yaml", `
data: %s
collector:
  udp: [{listen: "%s"}]
  local: [10.50.0.0/16]
  exporters: [{address: 127.1.0.0/16, sampling: %s}]
http: {listen: "127.0.0.1:%d"}
`, e.file("data"), e.address(), e.samplingOf(), e.http)
}

func nfcapd(e *execution) ([]string, error) {
	program := "nfcapd"
	if e.protocol == "sflow5" {
		program = "sfcapd"
	}
	dir := e.file("flows")
	return []string{program, "-w", dir, "-b", "127.0.0.1", "-p", fmt.Sprint(e.port), "-B", "33554432"}, os.Mkdir(dir, 0o755)
}

func nfacctd(e *execution) ([]string, error) {
	program := "nfacctd"
	if e.protocol == "sflow5" {
		program = "sfacctd"
	}
	return []string{program, "-f", e.file("pmacct.conf")}, e.write("pmacct.conf", `
daemonize: false
%[1]s_ip: 127.0.0.1
%[1]s_port: %[2]d
%[1]s_pipe_size: 33554432
%[1]s_renormalize: true
plugins: print
aggregate: src_host, dst_host
print_refresh_time: 10
print_cache_entries: 524309
plugin_pipe_size: 134217728
plugin_buffer_size: 131072
print_output: csv
print_output_file: %[3]s
print_output_file_append: true
`, program, e.port, e.file("pairs.csv"))
}

func fastnetmon(e *execution) ([]string, error) {
	source := "netflow"
	if e.protocol == "sflow5" {
		source = "sflow"
	}
	if err := e.write("networks", "10.50.0.0/16\n"); err != nil {
		return nil, err
	}
	if err := e.write("white", ""); err != nil {
		return nil, err
	}
	// disable_usage_report: it would call its maker.
	err := e.write("fastnetmon.conf", `
disable_usage_report = on
enable_ban = off
enable_ban_ipv6 = off
process_incoming_traffic = on
process_outgoing_traffic = on
networks_list_path = %[1]s/networks
white_list_path = %[1]s/white
enable_connection_tracking = off
%[2]s = on
%[2]s_port = %[3]d
%[2]s_host = 127.0.0.1
enable_api = off
monitor_local_ip_addresses = off
cli_stats_file_path = %[1]s/fastnetmon.dat
cli_stats_ipv6_file_path = %[1]s/fastnetmon6.dat
prometheus = on
prometheus_host = 127.0.0.1
prometheus_port = %[4]d
`, e.dir, source, e.port, e.http)
	return []string{"fastnetmon", "--configuration_file", e.file("fastnetmon.conf"), "--disable_pid_logic",
		"--log_file", e.file("fastnetmon.log"), "--log_to_console"}, err
}

func goflow2(e *execution) ([]string, error) {
	scheme, format, to := "netflow", "bin", "/dev/null"
	if e.protocol == "sflow5" {
		scheme = "sflow"
	}
	if e.text {
		format, to = "json", e.file("flows.json")
	}
	return []string{e.program("goflow2"), "-format", format, "-transport", "file", "-transport.file", to,
		"-listen", scheme + "://" + e.address(), "-addr", fmt.Sprintf("127.0.0.1:%d", e.http)}, nil
}
