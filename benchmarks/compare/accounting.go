//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// accounting measures the CPU time of a process and all that it starts, in a control group of its own,
// of version 1 or 2; where neither can be made, of the process alone by its clock ticks.
type accounting struct {
	dir  string // empty: clock ticks
	file string
	unit time.Duration
}

func newAccounting() (*accounting, error) {
	name := "hostmeter-benchmark-" + strconv.Itoa(os.Getpid())
	for _, kind := range []accounting{
		{"/sys/fs/cgroup/cpuacct", "cpuacct.usage", time.Nanosecond},
		{"/sys/fs/cgroup", "cpu.stat", time.Microsecond},
	} {
		if _, err := os.Stat(filepath.Join(kind.dir, "cgroup.procs")); err != nil {
			continue
		}
		kind.dir = filepath.Join(kind.dir, name)
		if err := os.Mkdir(kind.dir, 0o755); err == nil {
			return &kind, nil
		}
	}
	return &accounting{}, nil
}

func (a *accounting) close() {
	if a.dir != "" {
		_ = os.Remove(a.dir)
	}
}

func (a *accounting) String() string {
	if a.dir == "" {
		return "clock ticks of the process alone"
	}
	return "a control group"
}

// take accounts a process, and what it starts from then on.
func (a *accounting) take(pid int) error {
	if a.dir == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(a.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// used is the time that was used so far; pid is asked where there is no control group.
func (a *accounting) used(pid int) (time.Duration, error) {
	if a.dir == "" {
		return ticks(pid)
	}
	text, err := os.ReadFile(filepath.Join(a.dir, a.file))
	if err != nil {
		return 0, err
	}
	number := strings.TrimSpace(string(text))
	if rest, ok := strings.CutPrefix(number, "usage_usec "); ok {
		number, _, _ = strings.Cut(rest, "\n")
	}
	n, err := strconv.ParseInt(number, 10, 64)
	return time.Duration(n) * a.unit, err
}

// pids are the processes in the group.
func (a *accounting) pids(pid int) []int {
	if a.dir == "" {
		return []int{pid}
	}
	text, err := os.ReadFile(filepath.Join(a.dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var out []int
	for _, line := range strings.Fields(string(text)) {
		if n, err := strconv.Atoi(line); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// peak is the most resident memory that the processes had, each at its own time, in MiB. Memory that they
// share counts in each.
func (a *accounting) peak(pid int) float64 {
	var sum float64
	for _, p := range a.pids(pid) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			continue
		}
		_, rest, ok := strings.Cut(string(status), "VmHWM:")
		if fields := strings.Fields(rest); ok && len(fields) > 0 {
			kib, _ := strconv.ParseFloat(fields[0], 64)
			sum += kib / 1024
		}
	}
	return sum
}

// ticks is what the process used, in steps of 10 ms.
func ticks(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat has another form")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}
