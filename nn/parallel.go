package nn

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/internal/spin"
)

// A pass is work on the rows, columns or elements of something, in parts that do not
// touch what the others write, so that it does not matter which goroutine has which.
// A pointer to a layer by another name is one, and allocates nothing.
type pass interface{ part(lo, hi int) }

// A passing is a pass and how far it is.
type passing struct {
	pass     pass
	n, grain int
	next     atomic.Int64                      // the first part that nobody has
	help     func(crew *spin.Crew, worker int) // a method value of its own would be allocated for every pass
}

var passings = sync.Pool{New: func() any {
	p := new(passing)
	p.help = p.work
	return p
}}

func (p *passing) work(*spin.Crew, int) {
	defer fpmode.Enter().Leave()
	for {
		lo := int(p.next.Add(int64(p.grain))) - p.grain
		if lo >= p.n {
			return
		}
		p.pass.part(lo, min(lo+p.grain, p.n))
	}
}

// run does a pass over 0…n-1 in parts of grain, by as many goroutines as there are
// parts for, at most workers, where 0 means GOMAXPROCS.
func run(pass pass, n, grain, workers int) {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	grain = max(grain, 1)
	p := passings.Get().(*passing)
	p.pass, p.n, p.grain = pass, n, grain
	p.next.Store(0)
	crew := spin.Call(min(workers, (n+grain-1)/grain)-1, p.help)
	p.work(crew, 0)
	crew.Dismiss()
	p.pass = nil
	passings.Put(p)
}

// grainElements is how many elements make a goroutine worth its start, some
// microseconds.
const grainElements = 1 << 15

// rowGrain is how many rows of so many columns have grainElements.
func rowGrain(cols int) int { return max(1, grainElements/max(cols, 1)) }
