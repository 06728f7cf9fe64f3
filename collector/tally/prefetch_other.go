//go:build !amd64

package tally

func prefetch(uintptr) {}

func prefetch4(uintptr) {}
