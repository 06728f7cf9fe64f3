package faults_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostmeter/internal/failpoint"
	"hostmeter/test/processtest"
)

// TestMigrationsAreKilled kills hostmeter run while it makes its ledger, and again while it goes on with that.
func TestMigrationsAreKilled(t *testing.T) {
	t.Parallel()
	fault{name: "SIGKILL of hostmeter run in a migration",
		windows: []window{{point: failpoint.StoreMigrating}, {point: failpoint.StoreMigrated}}}.run(t, 1, func(dir string, random *rand.Rand) (int, error) {
		w, err := newWorld(dir, random, setting{begin: beforeMonthEnd(random)})
		if err != nil {
			return 0, err
		}
		defer w.close()
		return told(w)(w.migrates())
	})
}

func (w *world) migrates() (kills int, err error) {
	for range 2 {
		for _, p := range []failpoint.Point{failpoint.StoreMigrating, failpoint.StoreMigrated} {
			if err := w.start("run", at(p, "kill", 1+w.random.IntN(2))); err != nil {
				return kills, err
			}
			select {
			case <-w.running["run"].Ended:
			case <-time.After(time.Minute):
				return kills, fmt.Errorf("hostmeter did not come by %s", p)
			}
			if !w.running["run"].Killed() {
				return kills, errOver
			}
			kills++
		}
	}
	if err := w.begin(); err != nil {
		return kills, err
	}
	w.sendSome(100)
	return kills, w.finish()
}

// TestTheClockSteps moves the clock of a running process by up to 40 days, forward and back, with a kill
// between the steps: nothing is in two months or in none. The ledger begins before all of them: a month before
// its first is never closed.
func TestTheClockSteps(t *testing.T) {
	t.Parallel()
	fault{name: "clock steps of an hour to 40 days, forward and back, and SIGKILL"}.run(t, 1, func(dir string, random *rand.Rand) (int, error) {
		w, err := newWorld(dir, random, setting{begin: beforeMonthEnd(random)})
		if err != nil {
			return 0, err
		}
		defer w.close()

		return told(w)(w.steps())
	})
}

func (w *world) steps() (steps int, err error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	if err := w.stepClock(45 * 24 * time.Hour); err != nil {
		return 0, err
	}
	sizes := []time.Duration{hour, -hour, 26 * hour, -26 * hour, 40 * 24 * hour, -40 * 24 * hour}
	for i, k := range w.random.Perm(len(sizes)) {
		w.sendSome(60)
		if err := w.stepClock(sizes[k]); err != nil {
			return steps, err
		}
		steps++
		w.sendSome(60)
		if i%2 == 0 {
			if err := w.killAtRandom("run"); err != nil {
				return steps, err
			}
			if err := w.again("run"); err != nil {
				return steps, err
			}
		}
	}
	return steps, w.finish()
}

// TestTheDiskIsFull fills the disk under a running process, which draws series too, once under all its data and
// once under the log alone; the process goes on, or is killed then and started again, before there is room or after.
// When there is room again nothing is missing but what the kill cost, and nobody had to start it once more.
func TestTheDiskIsFull(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: a file system of its own takes root")
	}
	for _, c := range []struct {
		name string
		of   string // below the world's folder
		kill bool
		full bool // it is started again before there is room
	}{
		{"disk of log and ledger full, then free", "data", false, false},
		{"disk of log and ledger full, SIGKILL, then free", "data", true, false},
		{"disk of log and ledger full, SIGKILL, start, then free", "data", true, true},
		{"disk of the log full, then free", "data/log", false, false},
		{"disk of the log full, SIGKILL, start, then free", "data/log", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			fault{name: c.name}.run(t, 1, func(dir string, random *rand.Rand) (int, error) {
				path := filepath.Join(dir, c.of)
				if err := os.MkdirAll(path, 0o750); err != nil {
					return 0, err
				}
				if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=64m"); err != nil {
					return 0, fmt.Errorf("mount a file system: %w", err)
				}
				defer func() { _ = unix.Unmount(path, unix.MNT_DETACH) }()
				influx := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
				defer influx.Close()
				w, err := newWorld(dir, random, setting{begin: beforeMonthEnd(random), influx: influx.URL})
				if err != nil {
					return 0, err
				}
				defer w.close()
				return told(w)(w.fills(path, c.kill, c.full))
			})
		})
	}
}

func (w *world) fills(path string, kill, startFull bool) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	w.sendSome(50)
	filler := filepath.Join(path, "filler")
	if err := fill(filler); err != nil {
		return 0, err
	}
	refused := func() bool {
		return strings.Contains(w.running["run"].Said.String(), "the log does not take what was counted")
	}
	w.sendWhile(10_000, refused)
	if !refused() {
		return 0, errors.New("the log took everything: the disk was not full")
	}
	w.sendSome(200)
	w.sendWhile(5_000, func() bool { return w.running["run"].Over() }) // the series write each few seconds
	if w.running["run"].Over() {
		return 0, errors.New("the process ended: its exporters' datagrams are lost")
	}
	if kill {
		if err := w.killAtRandom("run"); err != nil {
			return 1, err
		}
	}
	if startFull {
		if err := w.startOnFullDisk(filler); err != nil {
			return 1, err
		}
	}
	if err := os.Remove(filler); err != nil {
		return 1, err
	}
	switch {
	case startFull:
		if err := w.awaitReady(); err != nil {
			return 1, err
		}
	case kill:
		if err := w.again("run"); err != nil {
			return 1, err
		}
	}
	w.sendSome(200)
	if w.running["run"].Over() {
		return 1, errors.New("the process ended")
	}
	return 1, w.finishWithout(!kill)
}

// startOnFullDisk starts what was killed while the disk is still full, and waits until it says so.
func (w *world) startOnFullDisk(filler string) error {
	if err := fill(filler); err != nil {
		return err
	}
	if err := w.start("run"); err != nil {
		return err
	}
	p := w.running["run"]
	waits := func() bool { return strings.Contains(p.Said.String(), "the disk is full; the start waits") }
	w.sendWhile(10_000, func() bool { return waits() || p.Over() })
	if p.Over() || !waits() {
		return fmt.Errorf("the start does not wait for room; it is over: %v", p.Over())
	}
	w.sendSome(200)
	return nil
}

// finishWithout is finish; where nothing was killed, nothing may be lost either.
func (w *world) finishWithout(loss bool) error {
	if err := w.finish(); err != nil || !loss {
		return err
	}
	b, err := w.readBooks()
	if err != nil {
		return err
	}
	for _, e := range w.exporters {
		if n := b.lost(e); n != 0 {
			return fmt.Errorf("%s: %d %s are declared as lost", e.protocol, n, e.unit)
		}
	}
	return nil
}

// fill writes a file until the disk has no octet left.
func fill(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			return err
		}
	}
	return nil
}

// TestAPlannedRestartLosesNothing stops and starts hostmeter under load while a service manager, which is the
// test, holds the flows' socket: every datagram is counted, also those of exporters that do not send
// their templates again.
func TestAPlannedRestartLosesNothing(t *testing.T) {
	t.Parallel()
	fault{name: "restart under load with the socket held by the service manager: nothing lost"}.run(t, 1, func(dir string, random *rand.Rand) (int, error) {
		w, err := newWorld(dir, random, setting{begin: beforeMonthEnd(random)})
		if err != nil {
			return 0, err
		}
		defer w.close()
		return told(w)(w.restarts(3))
	})
}

func (w *world) restarts(n int) (restarts int, err error) {
	address, err := net.ResolveUDPAddr("udp4", w.flows)
	if err != nil {
		return 0, err
	}
	socket, err := net.ListenUDP("udp4", address)
	if err != nil {
		return 0, err
	}
	defer socket.Close()
	if w.activated, err = socket.File(); err != nil {
		return 0, err
	}
	defer w.activated.Close()
	if err := w.begin(); err != nil {
		return 0, err
	}
	for _, e := range w.exporters {
		e.taught = true
	}
	for range n {
		w.sendSome(200)
		p := w.running["run"]
		_ = p.Signal(syscall.SIGTERM)
		w.sendWhile(100_000, p.Over)
		w.sendSome(200) // nobody is there
		if err := w.start("run"); err != nil {
			return restarts, err
		}
		w.sendWhile(100_000, func() bool { return processtest.Ready(w.listen) == nil })
		restarts++
	}
	w.sendSome(200)
	return restarts, w.finishWithout(true)
}
