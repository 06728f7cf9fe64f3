//go:build !amd64

package prefetch

// Line does nothing on this processor.
func Line(uintptr) {}

// TwoLines does nothing on this processor.
func TwoLines(uintptr) {}
