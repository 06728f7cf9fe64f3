// Package faults_test is the fault suite's layer of real processes: it kills, stops and cuts off the real
// binary under load, and checks the house laws to the record afterwards.
package faults_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"hostmeter/internal/failpoint"
)

// window is a failure point that a process is killed at, and what makes it come by.
type window struct {
	point     failpoint.Point
	component string        // empty: the one that books
	hits      int           // it is one of the first hits, by chance
	step      time.Duration // of the clock, before the load
	stop      bool          // the process is told to stop, and comes by then
}

const (
	hour  = time.Hour
	month = 31 * 24 * time.Hour
)

// killAtRandom kills a component after some datagrams.
func (w *world) killAtRandom(component string) error {
	w.sendSome(10 + w.random.IntN(150))
	return w.running[component].End(syscall.SIGKILL, endsWithin)
}

// killAt starts a component anew, with the failure point, and loads it until it has killed itself.
func (w *world) killAt(component string, win window) error {
	hit := 1 + w.random.IntN(win.hits)
	if err := w.start(component, at(win.point, "kill", hit)); err != nil {
		return err
	}
	p := w.running[component]
	if err := w.awaitReady(); err != nil {
		return err
	}
	if err := w.stepClock(win.step); err != nil {
		return err
	}
	if win.stop {
		w.sendSome(10 + w.random.IntN(50))
		_ = p.Signal(syscall.SIGTERM)
	}
	w.sendWhile(15_000, p.Over)
	if !p.Over() {
		return fmt.Errorf("%s did not come by %s %d times within 30 s of load", component, win.point, hit)
	}
	if !p.Killed() {
		return fmt.Errorf("%s ended by itself, not at %s: %w", component, win.point, errOver)
	}
	return nil
}

// again sends some more to nobody, or to the components that are left, and starts a component anew.
func (w *world) again(component string) error {
	w.sendSome(w.random.IntN(30))
	if err := w.start(component); err != nil {
		return err
	}
	return w.awaitReady()
}

// history is one installation from its first start to its closed books: first a kill at a random point, then
// one in each of the windows. It returns how many kills there were.
func (w *world) history(windows []window) (kills int, err error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	victim := w.components[w.random.IntN(len(w.components))]
	if err := w.killAtRandom(victim); err != nil {
		return kills, err
	}
	kills++
	for _, win := range windows {
		component := win.component
		if component == "" || len(w.components) == 1 {
			component = w.books()
		}
		if component != victim {
			if err := w.again(victim); err != nil {
				return kills, err
			}
			if err := w.running[component].End(syscall.SIGTERM, endsWithin); err != nil {
				return kills, err
			}
		}
		victim = component
		if err := w.killAt(component, win); err != nil {
			return kills, err
		}
		kills++
	}
	if err := w.again(victim); err != nil {
		return kills, err
	}
	return kills, w.finish()
}

// begin imports the inventory, starts everything and makes the exporters known.
func (w *world) begin() error {
	if _, err := w.command("import", w.dir+"/inventory.yaml"); err != nil {
		return err
	}
	return errors.Join(w.startAll(), w.warmUp())
}

// beforeMonthEnd is by how much a clock is put forward so that a month ends after a while.
func beforeMonthEnd(random *rand.Rand) time.Duration {
	now := time.Now().UTC()
	end := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	return end.Sub(now) - time.Duration(random.IntN(50*60))*time.Second - 5*time.Second
}

// killsAtRandom kills components at random points, each before one is killed again.
func (w *world) killsAtRandom(n int) (kills int, err error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	for kills < n {
		for _, i := range w.random.Perm(len(w.components)) {
			if err := w.killAtRandom(w.components[i]); err != nil {
				return kills, err
			}
			kills++
			if err := w.again(w.components[i]); err != nil {
				return kills, err
			}
		}
	}
	return kills, w.finish()
}
