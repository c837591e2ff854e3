// Package fpmodetest runs tests on threads in other floating-point modes.
package fpmodetest

import (
	"runtime"
	"testing"

	"github.com/contrastive-go/contrastive/internal/fpmode"
)

// Each runs f as a subtest in every mode that package fpmode keeps from changing
// results, on a thread locked for it. The test fails if f leaves the thread in another
// mode.
func Each(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	modes := fpmode.Foreign()
	if len(modes) == 0 {
		t.Skip("the mode cannot be set here")
	}
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			was := fpmode.Enter()
			defer was.Leave()
			mode.Leave() // sets it
			defer func() {
				if fpmode.Enter() != mode {
					t.Errorf("the thread had mode %s and has another", name)
				}
			}()
			f(t)
		})
	}
}
