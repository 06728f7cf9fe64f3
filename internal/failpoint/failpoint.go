//go:build !failpoints

// Package failpoint marks the windows in which a fault hurts most, so that the fault suite (test/faults)
// can kill a real process exactly there.
//
// In an ordinary build its functions are empty and inlined: nothing of it is left in the program. With the
// build tag `failpoints` they do what HOSTMETER_FAILPOINTS says: a list, apart by commas, of
// NAME=ACTION[@N], where N is the hit at which it happens (1 is the first, and the default). Actions:
//
//	kill   the process kills itself (SIGKILL)
//	stop   the process stops itself (SIGSTOP) until somebody wakes it (SIGCONT)
//	fault  Fault returns true, at the hit N, or at each where N is not given
//
// HOSTMETER_CLOCK names a file that holds by how many nanoseconds Clock is ahead of the machine's. Both
// are the suite's: a binary with them is never shipped.
package failpoint

import "hostmeter/internal/clock"

// Enabled says whether this build has failure points.
const Enabled = false

// Hit is the process coming by a window.
func Hit(Point) {}

// Fault says whether something must go wrong here.
func Fault(Point) bool { return false }

// Clock is the machine's clock.
func Clock() clock.Clock { return clock.Real{} }
