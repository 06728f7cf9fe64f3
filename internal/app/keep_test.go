package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
)

// noted is a clock whose sleeps are over at once, and remembered.
type noted struct {
	*clock.Manual
	slept []time.Duration
}

func (n *noted) Sleep(ctx context.Context, d time.Duration) error {
	n.slept = append(n.slept, d)
	return ctx.Err()
}

// TestAPartThatFailsBeginsAgain fails a part nine times, the seventh after it had worked for an hour: it is begun again
// after pauses that grow, and anew after the hour.
func TestAPartThatFailsBeginsAgain(t *testing.T) {
	at := &noted{Manual: clock.NewManual(time.Unix(0, 0))}
	var log bytes.Buffer
	a := New(Config{}, Aggregate, at, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, stop := context.WithCancel(t.Context())
	runs := 0
	err := a.keep(ctx, part{"series", func(ctx context.Context) error {
		runs++
		switch runs {
		case 7:
			at.Advance(time.Hour)
		case 10:
			stop()
			return ctx.Err()
		}
		return errors.New("no room")
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{1, 2, 4, 8, 16, 30, 1, 2, 4}
	for i := range want {
		want[i] *= time.Second
		if i >= len(at.slept) || at.slept[i] != want[i] {
			t.Fatalf("pauses %v, want %v", at.slept, want[:i+1])
		}
	}
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "hostmeter_part_restarts_total" {
			continue
		}
		if n := f.GetMetric()[0].GetCounter().GetValue(); n != 9 || len(at.slept) != 9 {
			t.Errorf("counted %v restarts, slept %v; want 9", n, at.slept)
		}
	}
	if n := strings.Count(log.String(), `part=series`); n != 9 {
		t.Errorf("logged %d times:\n%s", n, &log)
	}
}

// TestAPartThatFailsAtTheEndIsAnError: what a stop could not write is told, and nothing is begun again.
func TestAPartThatFailsAtTheEndIsAnError(t *testing.T) {
	a := New(Config{}, Aggregate, clock.Real{}, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	want := errors.New("the last checkpoint was not written")
	if err := a.keep(ctx, part{"detector", func(context.Context) error { stop(); return want }}); !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}
