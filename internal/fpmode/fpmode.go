//go:build (amd64 || arm64 || 386.sse2) && !purego

package fpmode

import "runtime"

// A Mode is that of a thread before Enter. The zero Mode is the standard one.
type Mode struct{ difference word }

// Enter sets the standard mode: rounding to nearest, subnormal numbers kept, no traps.
// It holds until Leave of what it returns, called by the same goroutine. Pairs may be
// nested. If the mode is the standard one, as nearly always, a pair takes some 15 ns.
//
// In between, the goroutine is locked to its thread: the scheduler preempts a goroutine
// after any instruction and would go on with it on a thread of another mode. So it
// should not wait for other goroutines, as each time the system would switch threads
// twice.
func Enter() Mode {
	runtime.LockOSThread()
	control := getControl()
	difference := control&modeBits ^ standard
	if difference != 0 {
		setControl(control ^ difference)
	}
	return Mode{difference}
}

// Leave gives the thread the mode m back.
func (m Mode) Leave() {
	if m.difference != 0 {
		setControl(getControl()&^modeBits | standard ^ m.difference)
	}
	runtime.UnlockOSThread()
}
