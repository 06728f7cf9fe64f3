package libvirt

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/schemas"
)

// fakeHost answers, fails or hangs, as its script says, one word a call: "ok", "error", "hang"; and
// "stuck", where it hangs only if guests' monitors are asked.
type fakeHost struct {
	dials, reads   []string
	dialed, closed atomic.Int32
	next           atomic.Int32
	sparing        atomic.Int32 // readings that asked no monitor
	changes        chan struct{}
	woken          chan struct{} // closed when what hangs may go on
}

func (f *fakeHost) dial(string, *slog.Logger) (connection, error) {
	n := int(f.dialed.Add(1)) - 1
	if err := f.act(f.dials, n); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *fakeHost) changed() <-chan struct{} { return f.changes }

func (f *fakeHost) readings(what extent) ([]schemas.GuestReading, error) {
	n := int(f.next.Add(1)) - 1
	if what == withoutMonitors {
		f.sparing.Add(1)
		if n < len(f.reads) && f.reads[n] == "stuck" {
			return []schemas.GuestReading{{UUID: "g", VCPUs: uint32(n)}}, nil
		}
	}
	if err := f.act(f.reads, n); err != nil {
		return nil, err
	}
	return []schemas.GuestReading{{UUID: "g", VCPUs: uint32(n)}}, nil
}

func (f *fakeHost) act(script []string, n int) error {
	if n >= len(script) {
		return nil
	}
	switch script[n] {
	case "error":
		return errors.New("client socket is closed")
	case "hang", "stuck":
		<-f.woken
	}
	return nil
}

func (f *fakeHost) close() { f.closed.Add(1) }

// polled runs a poller until it has handed over so many readings.
func polled(t *testing.T, f *fakeHost, want int) (calls []uint32, failures int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	manual := clock.NewManual(begin)
	go func() { // time flies: whoever sleeps is woken
		for ctx.Err() == nil {
			manual.Advance(time.Second)
			time.Sleep(100 * time.Microsecond)
		}
	}()
	var failed atomic.Int32
	p := newPoller(Config{Name: "hv1", URI: "qemu:///system", Every: 10 * time.Second},
		Deps{Clock: manual, Logger: slog.New(slog.DiscardHandler), Failed: func(error) { failed.Add(1) }},
		func(_ time.Time, readings []schemas.GuestReading) {
			calls = append(calls, readings[0].VCPUs)
			if len(calls) == want {
				cancel()
			}
		}, f.dial)
	p.dialDeadline, p.pollDeadline = 20*time.Millisecond, 80*time.Millisecond
	p.patienceLeast, p.patience = 20*time.Millisecond, 20*time.Millisecond
	if err := p.run(ctx); err != nil {
		t.Fatal(err)
	}
	return calls, int(failed.Load())
}

func TestPollConnectsAgain(t *testing.T) {
	f := &fakeHost{dials: []string{"error", "error", "ok"}, reads: []string{"ok", "error", "ok"}}
	calls, failures := polled(t, f, 3)
	if failures != 3 || f.dialed.Load() != 4 || len(calls) != 3 || calls[1] != 2 {
		t.Fatalf("%d failures, %d dials, readings of calls %v", failures, f.dialed.Load(), calls)
	}
}

// A daemon that answers no call is asked with more and more patience, and then less often.
func TestPollBacksOffFromADaemonThatHangs(t *testing.T) {
	f := &fakeHost{reads: []string{"ok", "hang", "hang", "hang", "hang", "ok"}, woken: make(chan struct{})}
	defer close(f.woken)
	calls, failures := polled(t, f, 3)
	if failures != 2 || len(calls) != 3 || f.dialed.Load() != 5 || calls[1] != 5 {
		t.Fatalf("%d failures, %d dials, readings of calls %v", failures, f.dialed.Load(), calls)
	}
}

// Where more guests hang than the daemon has threads to lose, no monitor is asked any more, and the
// poll goes on.
func TestPollSparesMonitorsThatHang(t *testing.T) {
	f := &fakeHost{reads: []string{"ok", "stuck", "stuck", "stuck", "stuck", "stuck", "stuck"}, woken: make(chan struct{})}
	defer close(f.woken)
	calls, failures := polled(t, f, 4)
	if failures > 1 || len(calls) != 4 || calls[3] != 6 || f.sparing.Load() != 3 || f.dialed.Load() != 4 {
		t.Fatalf("%d failures, %d dials, %d readings without monitors, readings of calls %v", failures, f.dialed.Load(), f.sparing.Load(), calls)
	}
}

// A change brings the next poll forward, but not nearer than changeLeast, and the others stay where
// they were.
func TestPollAtOnceAfterAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeHost{changes: make(chan struct{}, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var all []time.Duration
		seen := func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		began := time.Now()
		p := newPoller(Config{Name: "hv1", URI: "qemu:///system", Every: time.Minute}, Deps{Logger: slog.New(slog.DiscardHandler)},
			func(time.Time, []schemas.GuestReading) {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, time.Since(began))
			}, f.dial)
		p.random = func(below time.Duration) time.Duration { return below / 2 } // no poll is due in the first 30 s
		done := make(chan error)
		go func() { done <- p.run(ctx) }()
		synctest.Wait()
		f.changes <- struct{}{}
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		if polls := seen(); len(polls) != 1 {
			t.Fatalf("polls at %v, want one", polls)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if polls := seen(); len(polls) != 2 || polls[1] != time.Second {
			t.Fatalf("polls at %v, want the second at 1s", polls)
		}
		time.Sleep(3 * time.Minute)
		cancel()
		<-done
		polls := seen()
		for i := 3; i < len(polls); i++ {
			if polls[i]-polls[i-1] != time.Minute || polls[2] > time.Minute+time.Second {
				t.Fatalf("polls at %v, want one a minute after the second", polls)
			}
		}
		if len(polls) < 4 {
			t.Fatalf("polls at %v", polls)
		}
	})
}

// Hosts that are connected to at the same time are not polled at the same time ever after.
func TestPollsOfHostsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var mu sync.Mutex
		second := map[time.Duration]bool{}
		var group sync.WaitGroup
		for range 20 {
			n := 0
			p := newPoller(Config{Name: "hv1", URI: "qemu:///system", Every: time.Minute}, Deps{Logger: slog.New(slog.DiscardHandler)},
				func(time.Time, []schemas.GuestReading) {
					mu.Lock()
					defer mu.Unlock()
					if n++; n == 2 {
						second[time.Since(began).Truncate(time.Second)] = true
					}
				}, (&fakeHost{}).dial)
			group.Go(func() { _ = p.run(ctx) })
		}
		time.Sleep(90 * time.Second)
		cancel()
		group.Wait()
		if len(second) < 10 {
			t.Fatalf("the second polls of 20 hosts were in %d seconds", len(second))
		}
	})
}

// A daemon that hangs at the connection or in a call does not stop the poll: it is given up, and a
// connection that comes after all is closed.
func TestPollGivesUpWhatHangs(t *testing.T) {
	f := &fakeHost{dials: []string{"hang", "ok"}, reads: []string{"ok", "hang", "ok"}, woken: make(chan struct{})}
	calls, failures := polled(t, f, 3)
	// The call that hangs is passed by another one, on a connection of its own, and no poll fails.
	if failures != 1 || len(calls) != 3 || f.dialed.Load() != 3 || calls[1] != 2 {
		t.Fatalf("%d failures, %d dials, readings of calls %v", failures, f.dialed.Load(), calls)
	}
	before := f.closed.Load()
	close(f.woken)
	deadline := time.Now().Add(10 * time.Second)
	for f.closed.Load() == before {
		if time.Now().After(deadline) {
			t.Fatal("the connection that came late was not closed")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestHangingCallsAreBounded(t *testing.T) {
	tokens := make(chan struct{}, hungMost)
	woken := make(chan struct{})
	started := atomic.Int32{}
	hang := func() (int, error) { started.Add(1); <-woken; return 0, nil }
	for i := range hungMost + 3 {
		want := ErrDeadline
		if i >= hungMost {
			want = errHanging
		}
		if _, err := withDeadline(t.Context(), tokens, time.Millisecond, hang, nil); !errors.Is(err, want) {
			t.Fatalf("call %d: error %v, want %v", i, err, want)
		}
	}
	if n := started.Load(); n > hungMost {
		t.Fatalf("%d calls hang", n)
	}
	close(woken)
}

func TestConfigValidate(t *testing.T) {
	if err := Poll(t.Context(), Config{}, Deps{}, nil); err == nil {
		t.Fatal("an empty configuration was polled")
	}
}
