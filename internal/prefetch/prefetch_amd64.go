package prefetch

// Line asks for the line of memory at an address.
func Line(address uintptr)

// TwoLines asks for the two lines of memory from an address on.
func TwoLines(address uintptr)
