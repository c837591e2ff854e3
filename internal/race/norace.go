//go:build !race

// Package race says whether the race detector is on, and tells it what assembly does.
package race

// Enabled reports whether the race detector is on. It allocates, and makes sync.Pool
// drop what it holds.
const Enabled = false

// Read and Write tell the race detector what assembly reads and writes, which it cannot
// see.
func Read([]float32)  {}
func Write([]float32) {}

// ReadRows and WriteRows are Read and Write of the rows of a matrix.
func ReadRows(s []float32, stride, rows, dim int)  {}
func WriteRows(s []float32, stride, rows, dim int) {}
