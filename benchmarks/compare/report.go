//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// preamble says where and with what the figures were made.
func (b *bench) preamble() {
	b.text("# Figures, side by side")
	b.text("")
	b.text("Written by `%s` on %s: %d cores (%s), %s, Linux %s, %s.", b.command, time.Now().UTC().Format(time.DateOnly),
		runtime.NumCPU(), model(), memory(), strings.TrimSpace(file("/proc/sys/kernel/osrelease")), runtime.Version())
	b.text("Load average before: %s. CPU time is measured by %s.", loadAverage(), b.accounting)
	b.text("")
	b.text("One generator (`benchmarks/load`) for all: 50,000 local addresses, half of the records in and half out, 30 / 24 / 20 / 6 records a")
	b.text("datagram (v5, v9, IPFIX, sFlow), 200,000 different records, one flow in eight longer than a second, templates every 10 s. What it")
	b.text("sends is known exactly, of each address. The receivers run in turn, on loopback, with the sender on the same machine.")
	b.text("Compare figures of one run, not of two: neighbours on the machine change them by a quarter and more, rates more than CPU seconds.")
	b.text("")
	b.head("receiver", "version", "does")
	for _, name := range b.receivers {
		b.row(name, b.version(name), receiverOf(name).does)
	}
	b.text("")
	b.text("hostmeter's setting of the exporters is `sampling: %s` (sFlow: `auto`); everything else is the default.", b.sampling)
}

func (b *bench) version(name string) string {
	switch name {
	case "collector", "run":
		return "hostmeter " + commandLine(b.hostmeter, "version")
	case "nfcapd":
		return packageVersion("nfdump")
	case "nfacctd":
		return packageVersion("pmacct")
	case "fastnetmon":
		return packageVersion("fastnetmon")
	case "goflow2":
		return strings.TrimSpace(file(b.bin + "/goflow2.version"))
	}
	return ""
}

func packageVersion(name string) string {
	text, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", name).Output()
	if err != nil {
		return "not of a package"
	}
	return name + " " + string(text)
}

// commandLine is the first line of what a command says.
func commandLine(name string, args ...string) string {
	text, err := exec.Command(name, args...).Output()
	if err != nil {
		return "?"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	_, rest, _ := strings.Cut(line, " ")
	version, _, _ := strings.Cut(rest, ",")
	return version
}

// text appends a line.
func (b *bench) text(format string, values ...any) { fmt.Fprintf(b.report, format+"\n", values...) }

// head begins a table.
func (b *bench) head(columns ...string) {
	b.report.WriteString("\n")
	b.row(columns...)
	b.report.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
}

func (b *bench) row(cells ...string) {
	b.report.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// number writes a count for people: 1,234,567.
func number(value float64) string {
	text := strconv.FormatFloat(value, 'f', 0, 64)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func times(cost, floor float64) string {
	if floor <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", cost/floor)
}

// inside is the share of what the kernel handed over that the receiver's own sums do not have.
func inside(r result, protocol string) string {
	counted := float64(r.counts.records)
	if r.counts.records == unknown {
		if r.counts.packets == unknown {
			return "–"
		}
		counted = float64(r.counts.packets) / packetsOf(protocol)
	}
	lost := 1 - counted/r.handed(protocol)
	if lost > -0.0005 && lost < 0.0005 {
		return "0"
	}
	return fmt.Sprintf("%.1f %%", lost*100)
}

// packetsOf is what a record of the load counts in packets, multiplied by sampling.
func packetsOf(protocol string) float64 {
	if protocol == "sflow5" {
		return 512
	}
	return 10
}

// sumError is the error of the receiver's sum of octets.
func sumError(r result) string { return share(r.counts.octets, r.sent.Octets) }

func share(counted, sent int64) string {
	switch counted {
	case unknown:
		return "–"
	case sent:
		return "0"
	}
	return fmt.Sprintf("%+.4f %%", (float64(counted)/float64(sent)-1)*100)
}

func file(name string) string {
	text, _ := os.ReadFile(name)
	return string(text)
}

func loadAverage() string {
	return strings.Join(strings.Fields(file("/proc/loadavg"))[:3], " ")
}

func model() string {
	_, rest, _ := strings.Cut(file("/proc/cpuinfo"), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimLeft(line, "\t :")
}

func memory() string {
	fields := strings.Fields(file("/proc/meminfo"))
	kib, _ := strconv.ParseFloat(fields[1], 64)
	return fmt.Sprintf("%.0f GiB", kib/(1<<20))
}

func maxBuffer() string { return bytesOf("/proc/sys/net/core/rmem_max") }

func defaultBuffer() string { return bytesOf("/proc/sys/net/core/rmem_default") }

func bytesOf(name string) string {
	n, _ := strconv.ParseFloat(strings.TrimSpace(file(name)), 64)
	return fmt.Sprintf("%.0f KiB", n/1024)
}
