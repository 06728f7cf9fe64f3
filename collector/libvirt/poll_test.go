package libvirt

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/schemas"
)

// fakeHost answers, fails or hangs, as its script says, one word a call: "ok", "error", "hang".
type fakeHost struct {
	dials, reads   []string
	dialed, closed atomic.Int32
	next           atomic.Int32
	woken          chan struct{} // closed when what hangs may go on
}

func (f *fakeHost) dial(string, *slog.Logger) (connection, error) {
	n := int(f.dialed.Add(1)) - 1
	if err := f.act(f.dials, n); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *fakeHost) readings() ([]schemas.GuestReading, error) {
	n := int(f.next.Add(1)) - 1
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
	case "hang":
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
