package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// report is the section of the results that is written. It begins with its title.
type report struct{ strings.Builder }

const title = "# The ledger: booking, and closing a month"

func (r *report) text(format string, args ...any) { fmt.Fprintf(r, format+"\n", args...) }

func (r *report) head(columns ...string) {
	r.row(columns...)
	r.row(strings.Split(strings.Repeat("---,", len(columns)-1)+"---", ",")...)
}

func (r *report) row(cells ...string) { r.text("| %s |", strings.Join(cells, " | ")) }

// preamble says where and with what the figures were made.
func (r *report) preamble(o options) {
	r.text("%s\n", title)
	r.text("Written by `%s` on %s: hostmeter %s, %d cores (%s), %s, Linux %s, %s.", o.command, time.Now().UTC().Format(time.DateOnly),
		o.version, cores(), model(), memory(), strings.TrimSpace(file("/proc/sys/kernel/osrelease")), runtime.Version())
	r.text("Load average before: %s: what else runs makes the wall clock longer, and leaves CPU seconds nearly as they are.\n", loadAverage())
}

func file(name string) string {
	text, _ := os.ReadFile(name)
	return string(text)
}

func loadAverage() string {
	return strings.Join(strings.Fields(file("/proc/loadavg") + " ? ? ?")[:3], " ")
}

func model() string {
	_, rest, _ := strings.Cut(file("/proc/cpuinfo"), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimLeft(line, "\t :")
}

func memory() string {
	fields := strings.Fields(file("/proc/meminfo") + " ? ?")
	kib, _ := strconv.ParseFloat(fields[1], 64)
	return fmt.Sprintf("%.0f GiB", kib/(1<<20))
}

// number writes a count with commas.
func number(n float64) string {
	digits := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 1, 64) }

func gigabytes(n int64) string { return strconv.FormatFloat(float64(n)/1e9, 'f', 2, 64) + " GB" }
