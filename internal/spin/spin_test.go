package spin

import (
	"testing"
	"time"
)

// TestWait looks at clocks that go as those of processors of all kinds do.
func TestWait(t *testing.T) {
	const µs = time.Microsecond
	for _, c := range []struct {
		name  string
		times []time.Duration // after each of the looks at once
		want  int             // of these after which it goes on
	}{
		{"undisturbed", []time.Duration{7 * µs, 8 * µs, 10 * µs, 15 * µs}, 4},
		{"a processor that others have, too", []time.Duration{7 * µs, 8 * µs, 14 * µs, 15 * µs}, 2},
		{"emulated", []time.Duration{7 * µs, 20 * µs, 33 * µs}, 1},
		{"long", []time.Duration{5 * µs, 10 * µs, 15 * µs, 20 * µs, 25 * µs, 30 * µs, 35 * µs, 40 * µs, 45 * µs, 50 * µs, 55 * µs, 60 * µs}, 11},
	} {
		var (
			w     Wait
			clock = time.Now()
			on    = 0
		)
		for _, now := range c.times {
			w.looks += looksAtOnce
			if !w.at(clock.Add(now)) {
				break
			}
			on++
		}
		if on != c.want {
			t.Errorf("%s: goes on %d times, want %d", c.name, on, c.want)
		}
	}
}
