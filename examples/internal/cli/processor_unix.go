//go:build unix

package cli

import (
	"syscall"
	"time"
)

// ProcessorTime returns the processor time that the process has used, of all its
// threads, in Go code and in the system. Unlike time on the clock, it says
// something on a machine that others use too.
func ProcessorTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
