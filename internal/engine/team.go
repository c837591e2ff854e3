package engine

import (
	"sync"
	"sync/atomic"

	"github.com/contrastive-go/contrastive/internal/fpmode"
)

// A task is what a worker does about the i'th part of a step. It must write only what
// no other task of the step reads or writes, so that it does not matter which worker
// runs it. A method expression is one, and allocates nothing.
type task func(e *Engine, s step, worker, i int)

// A team is the goroutines that share the work of one evaluation. The
// goroutine that owns the team is its worker 0 and the only one of a team of
// one, which starts none and allocates nothing.
type team struct {
	workers int
	engine  *Engine
	task    task
	step    step
	tasks   int
	next    atomic.Int64 // first task not yet claimed
	wake    []chan struct{}
	done    sync.WaitGroup
	mode    fpmode.Mode // of the owner's thread
}

// Enter sets the standard floating-point mode for the calling goroutine. Run and Show
// are called between Enter and Leave.
func (e *Engine) Enter() { e.team.mode = fpmode.Enter() }

// Leave ends what Enter began.
func (e *Engine) Leave() { e.team.mode.Leave() }

// start makes t a team of n.
func (t *team) start(n int) {
	t.workers = n
	for len(t.wake) < n-1 {
		t.wake = append(t.wake, nil)
	}
	for w := 1; w < n; w++ {
		t.wake[w-1] = make(chan struct{}, 1)
		go t.serve(w, t.wake[w-1])
	}
}

// stop ends the goroutines of t.
func (t *team) stop() {
	for w := 1; w < t.workers; w++ {
		close(t.wake[w-1])
		t.wake[w-1] = nil
	}
	t.workers = 0
}

func (t *team) serve(worker int, wake <-chan struct{}) {
	for range wake {
		mode := fpmode.Enter()
		t.work(worker)
		mode.Leave()
		t.done.Done()
	}
}

func (t *team) work(worker int) {
	for {
		i := int(t.next.Add(1)) - 1
		if i >= t.tasks {
			return
		}
		t.task(t.engine, t.step, worker, i)
	}
}

// each runs n tasks of a step, and returns when all have ended.
func (e *Engine) each(n int, f task, s step) {
	t := &e.team
	t.engine, t.task, t.step, t.tasks = e, f, s, n
	t.next.Store(0)
	helpers := min(t.workers, n) - 1
	if helpers > 0 {
		t.done.Add(helpers)
		for _, wake := range t.wake[:helpers] {
			wake <- struct{}{}
		}
	}
	t.work(0)
	if helpers > 0 {
		t.mode.Leave()
		t.done.Wait()
		t.mode = fpmode.Enter()
	}
}
