//go:build race

package blas

import (
	"runtime"
	"unsafe"
)

// raceRead and raceWrite tell the race detector, which cannot see into assembly, what is
// read of op(x), rows×cols, and written.
func raceRead(x matrix, rows, cols int) { eachRow(x, rows, cols, runtime.RaceReadRange) }

func raceWrite(x matrix, rows, cols int) { eachRow(x, rows, cols, runtime.RaceWriteRange) }

func eachRow(x matrix, rows, cols int, access func(p unsafe.Pointer, n int)) {
	rows, cols = x.stored(rows, cols)
	for i := range rows {
		access(unsafe.Pointer(&x.data[i*x.stride]), 4*cols)
	}
}
