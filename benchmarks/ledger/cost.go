package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// cost is what something took: wall clock, CPU time of this process and of those that serve it, in seconds,
// and the most memory that this process's heap had.
type cost struct {
	wall, cpu, servers float64
	heap               uint64
}

// measure runs f and says what it took. pids are processes whose CPU time, and that of their children, counts as
// the servers'.
func measure(pids string, f func() error) (cost, error) {
	runtime.GC()
	peak, stop := watchHeap()
	served, begun, began := cpuOf(pids), ownCPU(), time.Now()
	err := f()
	c := cost{wall: time.Since(began).Seconds(), cpu: ownCPU() - begun, servers: cpuOf(pids) - served}
	stop()
	c.heap = peak.Load()
	return c, err
}

// watchHeap samples the heap until stop is called.
func watchHeap() (peak *atomic.Uint64, stop func()) {
	peak = new(atomic.Uint64)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return peak, func() { close(done); <-ended }
}

func ownCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// ticksPerSecond is the kernel's USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// cpuOf is the CPU time of processes and their children, those that ended too.
func cpuOf(pids string) float64 {
	wanted := map[string]bool{}
	for _, pid := range strings.FieldsFunc(pids, func(r rune) bool { return r == ',' || r == ' ' }) {
		wanted[pid] = true
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	total := 0.0
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest) // from the state on, which is field 3 of proc(5)
		pid := filepath.Base(filepath.Dir(name))
		if len(fields) < 15 || !wanted[pid] && !wanted[fields[1]] {
			continue
		}
		used := fields[11:13] // user and system
		if wanted[pid] {
			used = fields[11:15] // and of children that have ended
		}
		for _, ticks := range used {
			n, _ := strconv.ParseFloat(ticks, 64)
			total += n / ticksPerSecond
		}
	}
	return total
}

// diskUse is the size of all files in a folder.
func diskUse(dir string) (int64, error) {
	var size int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", dir, err)
	}
	return size, nil
}
