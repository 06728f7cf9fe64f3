#include "textflag.h"

// func Line(address uintptr)
TEXT ·Line(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ address+0(FP), AX
	PREFETCHT0 (AX)
	RET

// func TwoLines(address uintptr)
TEXT ·TwoLines(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ address+0(FP), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	RET
