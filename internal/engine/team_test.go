package engine

import (
	"testing"

	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/internal/fpmode/fpmodetest"
)

// TestWorkerMode runs a worker on threads in other floating-point modes.
func TestWorkerMode(t *testing.T) {
	fpmodetest.Each(t, func(t *testing.T) {
		var (
			owner = team{tasks: 1}
			wake  = make(chan struct{}, 1)
			mode  fpmode.Mode
		)
		owner.task = func(*Engine, step, int, int) {
			mode = fpmode.Enter()
			mode.Leave()
		}
		owner.done.Add(1)
		wake <- struct{}{}
		close(wake)
		owner.serve(1, wake)
		if mode != (fpmode.Mode{}) {
			t.Error("the task runs in the mode of the thread")
		}
	})
}
