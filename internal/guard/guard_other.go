//go:build !unix

// Package guard allocates float32 slices that fault when touched out of bounds,
// where the system allows it.
package guard

import "testing"

// Float32s returns two ordinary slices of length n.
func Float32s(t testing.TB, n int) (head, tail []float32) {
	return make([]float32, n), make([]float32, n)
}
