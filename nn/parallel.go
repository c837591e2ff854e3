package nn

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/contrastive-go/contrastive/internal/fpmode"
)

// A pass is work on the rows, columns or elements of something, in parts that do not
// touch what the others write, so that it does not matter which goroutine has which.
// A pointer to a layer by another name is one, and allocates nothing.
type pass interface{ part(lo, hi int) }

// A team is the goroutines of one pass.
type team struct {
	pass     pass
	n, grain int
	next     atomic.Int64 // the first part that nobody has
	done     sync.WaitGroup
	help     func() // a method value of its own would be allocated for every goroutine
}

var teams = sync.Pool{New: func() any {
	t := new(team)
	t.help = func() {
		t.work()
		t.done.Done()
	}
	return t
}}

func (t *team) work() {
	defer fpmode.Enter().Leave()
	for {
		lo := int(t.next.Add(int64(t.grain))) - t.grain
		if lo >= t.n {
			return
		}
		t.pass.part(lo, min(lo+t.grain, t.n))
	}
}

// run does a pass over 0…n-1 in parts of grain, by as many goroutines as there are
// parts for, at most workers, where 0 means GOMAXPROCS.
func run(p pass, n, grain, workers int) {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	grain = max(grain, 1)
	helpers := min(workers, (n+grain-1)/grain) - 1
	t := teams.Get().(*team)
	t.pass, t.n, t.grain = p, n, grain
	t.next.Store(0)
	for range helpers {
		t.done.Add(1)
		go t.help()
	}
	t.work()
	t.done.Wait()
	t.pass = nil
	teams.Put(t)
}

// grainElements is how many elements make a goroutine worth its start, some
// microseconds.
const grainElements = 1 << 15

// rowGrain is how many rows of so many columns have grainElements.
func rowGrain(cols int) int { return max(1, grainElements/max(cols, 1)) }
