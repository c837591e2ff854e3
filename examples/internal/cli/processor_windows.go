package cli

import (
	"syscall"
	"time"
)

// ProcessorTime returns the processor time that the process has used, of all its
// threads, in Go code and in the system. Unlike time on the clock, it says
// something on a machine that others use too.
func ProcessorTime() (time.Duration, error) {
	self, err := syscall.GetCurrentProcess()
	if err != nil {
		return 0, err
	}
	var created, exited, kernel, user syscall.Filetime
	if err := syscall.GetProcessTimes(self, &created, &exited, &kernel, &user); err != nil {
		return 0, err
	}
	return ticks(kernel) + ticks(user), nil
}

// ticks converts a duration in units of 100 ns, which Filetime.Nanoseconds would
// take for a date.
func ticks(f syscall.Filetime) time.Duration {
	return time.Duration(int64(f.HighDateTime)<<32|int64(f.LowDateTime)) * 100
}
