#include "textflag.h"

// func prefetch(address uintptr)
TEXT ·prefetch(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ address+0(FP), AX
	PREFETCHT0 (AX)
	RET

// func prefetch4(address uintptr)
TEXT ·prefetch4(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ address+0(FP), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	PREFETCHT0 128(AX)
	PREFETCHT0 192(AX)
	RET
