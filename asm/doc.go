// Package asm holds the generated assembly of this module. It promises nothing: names
// and arguments change with any version, lengths are not checked, and a function whose
// instruction set the processor lacks ends the program with SIGILL. Import package
// simd instead.
package asm

//go:generate go run -C ../internal/gen .
