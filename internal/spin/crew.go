package spin

import (
	"sync"
	"sync/atomic"
)

// A Crew is goroutines that help one that has work for them, and does not wait for those
// that have not come when it is done. After that they look for more, from the next who
// calls, before they end: work that takes microseconds often follows other, and to wake a
// thread takes as long as that.
type Crew struct {
	work func(c *Crew, worker int)

	seats   atomic.Int64 // free ones, and below, the number of helpers at work
	helpers atomic.Int64 // goroutines that look for seats, or will when they come
	serve   func()       // what they run

	sleep sync.Mutex
	wake  sync.Cond // what somebody waits for may have come
}

// seat is a free one. Helpers at work are counted below.
const seat = 1 << 32

var crews = sync.Pool{New: func() any {
	c := new(Crew)
	c.wake.L = &c.sleep
	c.serve = c.look
	return c
}}

// Call lets other goroutines call work up to n times, with numbers from 1 to n, while the
// caller goes on. Nothing is allocated once as many have been called before. The crew of no
// helpers is nil.
func Call(n int, work func(c *Crew, worker int)) *Crew {
	if n <= 0 {
		return nil
	}
	c := crews.Get().(*Crew)
	c.work = work
	c.call(n)
	return c
}

// call offers n seats.
func (c *Crew) call(n int) {
	c.seats.Swap(int64(n) * seat) // Store will not do: QEMU moves the load before it on arm64
	missing := n - int(c.helpers.Load())
	if missing <= 0 {
		return
	}
	c.helpers.Add(int64(missing))
	for range missing {
		go c.serve()
	}
	Release()
}

// look works whenever it finds a seat.
func (c *Crew) look() {
	for w := (Wait{}); ; {
		if s := c.seats.Load(); s >= seat {
			if c.seats.CompareAndSwap(s, s-seat+1) {
				c.work(c, int(s/seat))
				c.seats.Add(-1)
				c.Wake()
				w = Wait{}
			}
			continue
		}
		if w.GoesOn() {
			continue
		}
		c.helpers.Add(-1)
		if c.seats.Load() < seat {
			return
		}
		c.helpers.Add(1) // who offers this seat may have counted on this goroutine
		w = Wait{}
	}
}

// Dismiss waits until those that have come are done: no more will come. It ends the use of c.
func (c *Crew) Dismiss() {
	if c == nil {
		return
	}
	c.close()
	c.work = nil
	crews.Put(c)
}

// close takes the free seats back and waits until the others are.
func (c *Crew) close() {
	for s := c.seats.Load(); !c.seats.CompareAndSwap(s, s%seat); s = c.seats.Load() {
	}
	c.Await(func() bool { return c.seats.Load() == 0 })
}

// Await waits until ready reports true, of what changes before a Wake.
func (c *Crew) Await(ready func() bool) {
	for w := (Wait{}); !ready(); {
		if w.GoesOn() {
			continue
		}
		c.sleep.Lock()
		for !ready() {
			c.wake.Wait()
		}
		c.sleep.Unlock()
	}
}

// Wake wakes those that Await what has just changed.
func (c *Crew) Wake() {
	if c == nil {
		return
	}
	c.sleep.Lock()
	c.wake.Broadcast()
	c.sleep.Unlock()
}
