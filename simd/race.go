//go:build race

package simd

import (
	"runtime"
	"unsafe"
)

// raceEnabled reports whether the race detector is on. It cannot see into
// assembly: raceRead and raceWrite tell it what that reads and writes.
const raceEnabled = true

func raceRead(s []float32) {
	if len(s) > 0 {
		runtime.RaceReadRange(unsafe.Pointer(&s[0]), 4*len(s))
	}
}

func raceWrite(s []float32) {
	if len(s) > 0 {
		runtime.RaceWriteRange(unsafe.Pointer(&s[0]), 4*len(s))
	}
}
