//go:build cgo && linux && (libvirt_dlopen || libvirt_linked)

package libvirt

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRealPollCost says what a poll costs the daemon, the collector and the clock. With
// HOSTMETER_TEST_LIBVIRT_GUESTS=N it starts N halted guests more, of about 40 MB each.
func TestRealPollCost(t *testing.T) {
	realURI(t)
	more, _ := strconv.Atoi(os.Getenv("HOSTMETER_TEST_LIBVIRT_GUESTS"))
	for i := range more {
		name := fmt.Sprintf("hm-c%d", i)
		create(t, copyOf(t, "halt1", name, 0x20+i), name)
	}
	conn, err := dial(realURI(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	daemon := pidOf(t, "libvirtd.pid")
	host := NewHost("hv1")
	const polls = 20
	for _, kind := range []struct {
		name string
		what extent
	}{{"everything", everything}, {"without monitors", withoutMonitors}} {
		readings, err := conn.readings(kind.what) // learns the interfaces
		if err != nil {
			t.Fatal(err)
		}
		host.Advance(time.Now(), readings)
		daemonBefore, ownBefore := cpuOf(t, daemon), ownCPU(t)
		var took []time.Duration
		for range polls {
			began := time.Now()
			readings, err = conn.readings(kind.what)
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(began))
			host.Advance(time.Now(), readings)
		}
		slices.Sort(took)
		daemonCPU, own := (cpuOf(t, daemon)-daemonBefore)/polls, (ownCPU(t)-ownBefore)/polls
		guests := time.Duration(len(readings))
		t.Logf("%s: a poll of %d guests takes %v (median of %d), %v CPU of the daemon (%v a guest) and %v of the collector (%v a guest)",
			kind.name, len(readings), took[polls/2].Round(100*time.Microsecond), polls,
			daemonCPU.Round(100*time.Microsecond), (daemonCPU / guests).Round(10*time.Microsecond), own.Round(10*time.Microsecond), (own / guests).Round(time.Microsecond))
		// What can be promised on any machine: every ten seconds, 200 guests cost less than half a core.
		if daemonCPU/guests > 25*time.Millisecond || own/guests > 25*time.Millisecond {
			t.Errorf("%s: a guest costs %v of the daemon and %v of the collector, want less than 25ms", kind.name, daemonCPU/guests, own/guests)
		}
	}
}

// cpuOf is the CPU time that a process has used, in steps of 10 ms.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
