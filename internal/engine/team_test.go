package engine

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/internal/fpmode/fpmodetest"
	"github.com/contrastive-go/contrastive/internal/race"
)

// TestWorkerMode runs a worker on threads in other floating-point modes.
func TestWorkerMode(t *testing.T) {
	fpmodetest.Each(t, func(t *testing.T) {
		var (
			owner = team{count: 1, sharing: 2, claims: make([]claim, 2)}
			h     = &helper{wake: make(chan struct{}, 1)}
			mode  fpmode.Mode
		)
		owner.tasks[0] = tasks{1, func(*Engine, step, int, int) {
			mode = fpmode.Enter()
			mode.Leave()
			go func() { // as the owner does, once the task has ended
				for h.state.Load() == busy {
					runtime.Gosched()
				}
				if h.state.Swap(resting) == asleep {
					h.wake <- struct{}{}
				}
			}()
		}}
		h.state.Store(called)
		owner.serve(1, h)
		if mode != (fpmode.Mode{}) {
			t.Error("the task runs in the mode of the thread")
		}
	})
}

// TestTeam has teams of all sizes, on any number of processors, do many short steps, some
// of which are longer than helpers look out for the next, in evaluations that follow each
// other at once, or when helpers have ended: each task is done once, and before the next
// step begins.
func TestTeam(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(procs)
		e := New()
		for _, workers := range []int{1, 2, 3, 16, 64} {
			for run := range 20 {
				e.Enter()
				e.team.start(workers)
				for n := range 40 {
					var done atomic.Int32
					counts := make([]int, n)
					from := func(first int) task { // a kind of tasks
						return func(_ *Engine, s step, worker, i int) {
							if worker >= workers {
								t.Errorf("worker %d of %d", worker, workers)
							}
							if i%16 == 3 && run%8 == 0 {
								time.Sleep(50 * time.Microsecond)
							}
							counts[first+i]++
							done.Add(1)
						}
					}
					e.all(step{}, tasks{n / 3, from(0)}, tasks{}, tasks{n - n/3, from(n / 3)})
					if done.Load() != int32(n) {
						t.Fatalf("%d workers on %d processors: %d of %d tasks are done when the next step begins", workers, procs, done.Load(), n)
					}
					for i, c := range counts {
						if c != 1 {
							t.Fatalf("%d workers on %d processors: task %d is done %d times", workers, procs, i, c)
						}
					}
				}
				e.team.stop()
				e.Leave()
				if run%4 == 1 {
					time.Sleep(200 * time.Microsecond)
				}
			}
		}
	}
}

// TestTeamAllocs holds that helpers are called, and start again when they have ended, without
// an allocation.
func TestTeamAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	e := New()
	for _, pause := range []time.Duration{0, 500 * time.Microsecond} {
		n := testing.AllocsPerRun(20, func() {
			e.Enter()
			e.team.start(3)
			e.started = true
			e.each(8, func(*Engine, step, int, int) {}, step{})
			e.Leave()
			time.Sleep(pause)
		})
		if n > 0 {
			t.Errorf("%v allocations after pauses of %v", n, pause)
		}
	}
}
