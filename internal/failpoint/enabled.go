//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"hostmeter/internal/clock"
)

// Enabled says whether this build has failure points.
const Enabled = true

type armed struct {
	action string
	at     uint64 // 0 is each hit
	hits   atomic.Uint64
}

var points = parse(os.Getenv("HOSTMETER_FAILPOINTS"))

func parse(text string) map[Point]*armed {
	out := map[Point]*armed{}
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			continue
		}
		name, action, ok := strings.Cut(item, "=")
		action, at, counted := strings.Cut(action, "@")
		a := &armed{action: action}
		var err error
		if counted {
			a.at, err = strconv.ParseUint(at, 10, 64)
		} else if action != "fault" {
			a.at = 1
		}
		if !ok || err != nil || action != "kill" && action != "stop" && action != "fault" {
			fmt.Fprintf(os.Stderr, "HOSTMETER_FAILPOINTS: %q is not NAME=kill|stop|fault[@N]\n", item)
			os.Exit(2)
		}
		out[Point(name)] = a
	}
	return out
}

// hit says whether it is this hit that counts.
func (a *armed) hit() bool { return a.hits.Add(1) == a.at || a.at == 0 }

// Hit kills or stops the process where it is told to.
func Hit(p Point) {
	a := points[p]
	if a == nil || a.action == "fault" || !a.hit() {
		return
	}
	if a.action == "stop" {
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
		return
	}
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {} // not a step further
}

// Fault says whether something must go wrong here.
func Fault(p Point) bool {
	a := points[p]
	return a != nil && a.action == "fault" && a.hit()
}

// Clock is the machine's clock, moved by what the file in HOSTMETER_CLOCK says at that moment.
func Clock() clock.Clock {
	if path := os.Getenv("HOSTMETER_CLOCK"); path != "" {
		return stepped{path: path}
	}
	return clock.Real{}
}

type stepped struct {
	clock.Real
	path string
}

// Now reads the file at each call, so that a step is seen at once.
func (s stepped) Now() time.Time {
	text, err := os.ReadFile(s.path)
	if err != nil {
		panic(err)
	}
	by, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		panic(err)
	}
	return s.Real.Now().Add(time.Duration(by))
}
