package tally

// prefetch asks the processor for the line of memory at an address, and waits for nothing. The address need not be of
// anything, and is no reference to what is there.
func prefetch(address uintptr)

// prefetch4 asks for the four lines from an address on.
func prefetch4(address uintptr)
