//go:build !purego

#include "textflag.h"

// func getControl() word
TEXT ·getControl(SB), NOSPLIT, $0-8
	MRS  FPCR, R0
	MOVD R0, ret+0(FP)
	RET

// func setControl(word)
TEXT ·setControl(SB), NOSPLIT, $0-8
	MOVD arg+0(FP), R0
	MSR  R0, FPCR
	RET
