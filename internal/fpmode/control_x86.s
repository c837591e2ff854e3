//go:build (amd64 || 386.sse2) && !purego

#include "textflag.h"

// func getControl() word
TEXT ·getControl(SB), NOSPLIT, $0-4
	STMXCSR ret+0(FP)
	RET

// func setControl(word)
TEXT ·setControl(SB), NOSPLIT, $0-4
	LDMXCSR arg+0(FP)
	RET
