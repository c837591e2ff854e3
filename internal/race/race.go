//go:build race

// Package race says whether the race detector is on, and tells it what assembly does.
package race

import (
	"runtime"
	"unsafe"
)

// Enabled reports whether the race detector is on. It allocates, and makes sync.Pool
// drop what it holds.
const Enabled = true

// Read and Write tell the race detector what assembly reads and writes, which it cannot
// see.
func Read(s []float32) {
	if len(s) > 0 {
		runtime.RaceReadRange(unsafe.Pointer(&s[0]), 4*len(s))
	}
}

func Write(s []float32) {
	if len(s) > 0 {
		runtime.RaceWriteRange(unsafe.Pointer(&s[0]), 4*len(s))
	}
}

// ReadRows and WriteRows are Read and Write of the rows of a matrix.
func ReadRows(s []float32, stride, rows, dim int) {
	for r := range rows {
		Read(s[r*stride:][:dim])
	}
}

func WriteRows(s []float32, stride, rows, dim int) {
	for r := range rows {
		Write(s[r*stride:][:dim])
	}
}
