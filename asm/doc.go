// Package asm holds the generated assembly. Import package simd instead: it
// checks lengths and picks the instruction set. This package has no promise of
// stability, and calling a function whose instruction set the processor lacks
// ends the program with SIGILL.
package asm

//go:generate go run -C ../internal/gen .
