package engine

import (
	"runtime"
	"sync/atomic"

	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/internal/spin"
)

// A task is what a worker does about the i'th part of a step. It must write only what
// no other task of the step reads or writes, so that it does not matter which worker
// runs it. A method expression is one, and allocates nothing.
type task func(e *Engine, s step, worker, i int)

// Tasks are n of a kind.
type tasks struct {
	n  int
	do task
}

// kinds is how many kinds of tasks a step has at most.
const kinds = 3

// A team is the goroutines that share the work of one evaluation. The
// goroutine that owns the team is its worker 0 and the only one of a team of
// one, which starts none and allocates nothing.
//
// The owner calls the others for each step, and waits for those that have come: one that
// comes too late is not missed. They look out for a call for some
// microseconds before they sleep, since steps follow each other closely.
//
// A [spin.Crew] is called once and has one word for all its helpers, who take any number. A
// team has tens of steps, in each of which the same thread is the same worker, whose claims
// it finds in its cache.
type team struct {
	workers int
	engine  *Engine
	step    step
	tasks   [kinds]tasks // of the step, in the order in which they are taken
	count   int          // of all
	claims  []claim      // of the tasks of each worker
	sharing int          // workers that share the tasks
	looks   bool         // whether waiting begins with looks and not with a sleep
	mode    fpmode.Mode  // of the owner's thread

	watch func() // instead of the tasks of each step, in tests

	helpers []*helper
	asleep  atomic.Bool   // whether the owner is
	awake   chan struct{} // a token for each time that it was
}

// A claim counts those of a worker's tasks that are taken: its own are every n'th, for n
// workers, so that what it works on is in its caches from the step before. When these are
// taken, it takes those of others.
type claim struct {
	atomic.Int64
	_ [56]byte // one to a cache line
}

// A helper is a worker other than the owner. Its goroutine is started for an evaluation, and
// looks out for the next one when that has ended: the system takes longer to wake a thread
// than a small evaluation has to wait for one.
type helper struct {
	state atomic.Uint32
	wake  chan struct{} // a token for each time that it was asleep
	looks bool          // whether waiting begins with looks
	serve func()        // what the goroutine runs
}

const (
	gone    = iota // without a goroutine
	resting        // between evaluations
	idle           // or not yet started by the system
	asleep
	called
	busy
)

// Enter sets the standard floating-point mode for the calling goroutine. Run and Show
// are called between Enter and Leave.
func (e *Engine) Enter() { e.team.mode = fpmode.Enter() }

// Leave ends what Enter and Start began.
func (e *Engine) Leave() {
	if e.started {
		e.team.stop()
		e.started = false
	}
	e.team.mode.Leave()
}

// start makes t a team of n.
func (t *team) start(n int) {
	t.workers = n
	for len(t.claims) < n {
		t.claims = append(t.claims, claim{})
	}
	if n == 1 {
		return
	}
	t.looks = n <= runtime.GOMAXPROCS(0) // otherwise each would keep another from its work
	if t.awake == nil {
		t.awake = make(chan struct{}, 1)
	}
	for len(t.helpers) < n-1 {
		h := &helper{wake: make(chan struct{}, 1)}
		worker := len(t.helpers) + 1
		h.serve = func() { t.serve(worker, h) }
		t.helpers = append(t.helpers, h)
	}
	started := false
	for _, h := range t.helpers[:n-1] {
		if !h.state.CompareAndSwap(resting, idle) {
			h.looks = t.looks
			h.state.Store(idle)
			go h.serve()
			started = true
		}
	}
	if started {
		spin.Release()
	}
}

// stop ends an evaluation: none of its helpers is at work.
func (t *team) stop() {
	for _, h := range t.helpers[:t.workers-1] {
		if h.state.Swap(resting) == asleep {
			h.wake <- struct{}{}
		}
	}
	t.workers = 0
}

// serve works whenever h is called, and ends when it has not been called for long. Between
// evaluations it can only wake the owner once more, who then waits on.
func (t *team) serve(worker int, h *helper) {
	for w := (spin.Wait{}); ; {
		switch h.state.Load() {
		case called:
			if h.state.CompareAndSwap(called, busy) {
				mode := fpmode.Enter()
				t.work(worker)
				mode.Leave()
				h.state.Store(idle)
				if t.asleep.Swap(false) {
					t.awake <- struct{}{}
				}
				w = spin.Wait{}
			}
		case idle:
			if !(h.looks && w.GoesOn()) && h.state.CompareAndSwap(idle, asleep) {
				<-h.wake
				w = spin.Wait{}
			}
		case resting:
			if !(h.looks && w.GoesOn()) && h.state.CompareAndSwap(resting, gone) {
				return
			}
		}
	}
}

func (t *team) work(worker int) {
	for k := range t.sharing {
		of := (worker + k) % t.sharing
		for {
			i := of + t.sharing*int(t.claims[of].Add(1)-1)
			if i >= t.count {
				break
			}
			k := 0
			for ; i >= t.tasks[k].n; k++ {
				i -= t.tasks[k].n
			}
			t.tasks[k].do(t.engine, t.step, worker, i)
		}
	}
}

// each runs n tasks of a step, and returns when all have ended.
func (e *Engine) each(n int, do task, s step) { e.all(s, tasks{n, do}) }

// all runs the tasks of a step and returns when all have ended. They are taken kind by kind:
// those that take long come first, so that short ones fill what is left of the step.
func (e *Engine) all(s step, of ...tasks) {
	t := &e.team
	if t.workers == 1 && t.watch == nil {
		for _, k := range of {
			for i := range k.n {
				k.do(e, s, 0, i)
			}
		}
		return
	}
	t.engine, t.step, t.count, t.tasks = e, s, 0, [kinds]tasks{}
	for i, k := range of {
		t.tasks[i] = k
		t.count += k.n
	}
	if t.watch != nil {
		t.watch()
		return
	}
	t.sharing = max(1, min(t.workers, t.count))
	for i := range t.claims[:t.sharing] {
		t.claims[i].Store(0)
	}
	helpers := t.helpers[:t.sharing-1]
	for _, h := range helpers {
		h.call()
	}
	t.work(0)
	for _, h := range helpers {
		t.await(h)
	}
}

// call calls h, also before the system has started it.
func (h *helper) call() {
	if h.state.CompareAndSwap(idle, called) {
		return
	}
	if h.state.CompareAndSwap(asleep, called) {
		h.wake <- struct{}{}
	}
}

// await returns when h is not at work. If it has not come, it need not any more.
func (t *team) await(h *helper) {
	h.state.CompareAndSwap(called, idle)
	if h.state.Load() != busy {
		return
	}
	t.mode.Leave()
	for w := (spin.Wait{}); h.state.Load() == busy; {
		if t.looks && w.GoesOn() {
			continue
		}
		t.asleep.Swap(true) // Store will not do: QEMU moves the load before it on arm64
		if h.state.Load() != busy && t.asleep.Swap(false) {
			break
		}
		<-t.awake
		w = spin.Wait{}
	}
	t.mode = fpmode.Enter()
}
