// Package spin is for goroutines that work together for microseconds: how they start at
// once, and how long those that wait for each other look before they sleep.
package spin

import (
	"runtime"
	"time"
)

// A Wait is the looks at a variable before a sleep. Looks take a processor, which others
// may need: so a wait lets other goroutines go first, and ends when it has taken as long as
// it may take to wake a thread, or when a few looks have taken so long that the system, or
// an emulator, must have done something else.
type Wait struct {
	looks       int
	began, last time.Time
}

const (
	looksAtOnce = 64 // which take a tenth of a microsecond
	atOnceLimit = 5 * time.Microsecond
	waitLimit   = 50 * time.Microsecond
)

// GoesOn counts a look, and reports whether there are to be more.
func (w *Wait) GoesOn() bool {
	if w.looks++; w.looks%looksAtOnce != 0 {
		return true
	}
	runtime.Gosched()
	return w.at(time.Now())
}

// at is GoesOn after as many looks as are taken at once.
func (w *Wait) at(now time.Time) bool {
	if w.looks == looksAtOnce {
		w.began, w.last = now, now
	}
	undisturbed := now.Sub(w.last) <= atOnceLimit
	w.last = now
	return undisturbed && now.Sub(w.began) <= waitLimit
}

// Release lets other threads take at once the goroutine that the caller has started last.
// The runtime keeps it for the caller's thread: others sleep before they take it, and a
// sleep of 3 µs is one of 60 on Linux. So Release starts one more, which does nothing.
func Release() { go nothing() }

func nothing() {}
