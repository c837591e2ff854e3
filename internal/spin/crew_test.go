package spin

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestCrew has callers at the same time, whose work follows other work at once or after a
// pause that some helpers wait for and some do not.
func TestCrew(t *testing.T) {
	var wait sync.WaitGroup
	for caller := range uint64(4) {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(1, caller))
			for range 200 {
				helpers := r.IntN(4)
				const parts = 100
				var next, ended atomic.Int64
				var done [parts]atomic.Int32
				var at [5]atomic.Int32
				work := func(_ *Crew, worker int) {
					if worker < 0 || worker > helpers || at[worker].Add(1) != 1 {
						t.Errorf("worker %d of %d helpers, not for the first time", worker, helpers)
						return
					}
					for i := next.Add(1); i <= parts; i = next.Add(1) {
						done[i-1].Add(1)
					}
					ended.Add(1)
				}
				c := Call(helpers, work)
				work(c, 0)
				c.Dismiss()
				came := ended.Load()
				for i := range done {
					if n := done[i].Load(); n != 1 {
						t.Errorf("part %d is done %d times", i, n)
						return
					}
				}
				time.Sleep(time.Duration(r.IntN(3)) * 30 * time.Microsecond)
				if now := ended.Load(); now != came {
					t.Errorf("%d helpers have ended work after Dismiss", now-came)
					return
				}
			}
		})
	}
	wait.Wait()
}

// TestCrewEnds holds that helpers end when nobody calls, and that their number is bounded.
func TestCrewEnds(t *testing.T) {
	c := crews.New().(*Crew)
	for range 100 {
		var came atomic.Int64
		c.work = func(*Crew, int) { came.Add(1) }
		c.call(3)
		c.Await(func() bool { return came.Load() == 3 })
		// One that is about to end may be replaced, and stay.
		if n := c.helpers.Load(); n > 2*3 {
			t.Fatalf("%d helpers of 3 seats", n)
		}
		c.close()
	}
	for limit := time.Now().Add(time.Minute); c.helpers.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d helpers have not ended", c.helpers.Load())
		}
	}
}

// TestCrewAwaits has a caller and a helper wait for each other longer than they look.
func TestCrewAwaits(t *testing.T) {
	var called, turn atomic.Int64
	pass := func(c *Crew, me int64) {
		for range 3 {
			c.Await(func() bool { return turn.Load()%2 == me })
			time.Sleep(2 * waitLimit)
			turn.Add(1)
			c.Wake()
		}
	}
	c := Call(1, func(c *Crew, _ int) { called.Add(1); pass(c, 1) })
	pass(c, 0)
	c.Await(func() bool { return turn.Load() == 6 })
	c.Dismiss()
	if turn.Load() != 6 || called.Load() != 1 {
		t.Errorf("%d turns, %d helpers", turn.Load(), called.Load())
	}
}

// TestCrewAllocs holds that the steady state allocates nothing.
func TestCrewAllocs(t *testing.T) {
	var n atomic.Int64
	work := func(*Crew, int) { n.Add(1) }
	if got := testing.AllocsPerRun(100, func() { Call(2, work).Dismiss() }); got != 0 {
		t.Errorf("%v allocations a call", got)
	}
}

// TestDismiss holds that Dismiss waits for a helper at work, also for longer than it looks.
func TestDismiss(t *testing.T) {
	for _, long := range []time.Duration{0, 100 * waitLimit} {
		began := make(chan struct{})
		var ended atomic.Bool
		c := Call(1, func(*Crew, int) {
			close(began)
			time.Sleep(long)
			ended.Store(true)
		})
		<-began
		c.Dismiss()
		if !ended.Load() {
			t.Errorf("work of %v has not ended after Dismiss", long)
		}
	}
}
