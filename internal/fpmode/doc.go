// Package fpmode keeps the floating-point mode of a thread from changing results.
//
// The mode is that of rounding, of what becomes of subnormal numbers, and of traps. A
// thread keeps what a library in another language has left there: one built with
// -ffast-math takes subnormal numbers for zeros. Go sets no mode, and a goroutine has
// that of whatever thread it runs on.
//
// The mode is set on amd64, on arm64, and on 386 with SSE2. Elsewhere, and with the
// purego tag, Enter and Leave do nothing.
package fpmode
