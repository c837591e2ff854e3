package engine

import (
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/internal/tile"
)

// What the parts of an evaluation cost, in multiplications of its products, of which a core
// with AVX2 takes some 45 in a nanosecond. They are rounded from profiles on a Zen 3.
const (
	passCost   = 10   // of an element of a vector in a pass over vectors: a norm, a layout, a projection
	pairCost   = 25   // of a pair in all passes over a block
	addCost    = 4    // of an element of what a chunk adds to the gradients of rows
	anchorCost = 6000 // of an anchor that is asked
)

// A schedule adds up the work of an evaluation and the longest chain of it, which is what
// it takes with a number of workers.
type schedule struct {
	workers     int
	work, chain float64
}

// serial is work of the owner alone.
func (s *schedule) serial(cost float64) {
	s.work += cost
	s.chain += cost
}

// each is the tasks of a step, each taken by the worker that is free first. The step ends
// when all have ended.
func (s *schedule) each(n int, cost func(i int) float64) {
	busy := make([]float64, s.workers)
	for i := range n {
		c := cost(i)
		first := slices.Index(busy, slices.Min(busy))
		busy[first] += c
		s.work += c
	}
	s.chain += slices.Max(busy)
}

// evaluate adds what Run does for one plan, and the lists and PairSum around it.
func (s *schedule) evaluate(l *plan) {
	dim, c := float64(l.padded), l.k.Cols
	shared := func(n int) { // norms, and positives
		s.each((n+sharedRows-1)/sharedRows, func(i int) float64 { return float64(min(sharedRows, n-i*sharedRows)) * dim * passCost })
	}
	shared(l.rows)
	shared(l.cols)
	shared(l.rows)
	s.each((l.panels+packPanels-1)/packPanels, func(int) float64 { // packCols
		return float64(packPanels*c) * dim * 2 * passCost
	})
	pass := func(st stripe, i int, passes float64) float64 { // over the vectors of a group
		if i >= l.groups(st) {
			return 0
		}
		return float64(l.group(st, i).rows) * dim * passes * passCost
	}
	pairs := func(chunk int, st stripe) float64 {
		first, end := l.panelsOf(chunk, st)
		return float64(max(0, end-first) * c * st.rows)
	}
	first := l.stripeAt(0)
	s.each(l.groups(first), func(i int) float64 { return pass(first, i, 2) }) // packRows
	splits := s.workers > 1
	for i := range l.stripes() {
		st, next, anchors := l.stripeAt(i), stripe{}, float64(l.stripeAt(i).rows)*anchorCost
		if i+1 < l.stripes() {
			next = l.stripeAt(i + 1)
		}
		band, multiplied := st.rows, dim // while they are walked, for the gradients of rows
		if splits {
			band = l.bandOf(st, bandsPerWorker*s.workers)
			if l.ordered {
				multiplied = 0
			}
		}
		bands := l.bands(st, band)
		s.each(l.chunks*bands, func(i int) float64 {
			return pairs(i/bands, l.bandAt(st, band, i%bands)) * (dim + pairCost + multiplied)
		})
		switch {
		case splits:
			var size area
			areas := 0
			if l.ordered {
				size = l.areaOf(st, band, s.workers)
				areas = l.areas(st, size)
			}
			s.each(1+areas+l.groups(next), func(i int) float64 {
				switch {
				case i == 0:
					return anchors
				case i > areas:
					return pass(next, i-1-areas, 2)
				}
				a := l.areaAt(st, size, i%areas)
				return float64(a.rows*a.elems) * float64(l.cols)
			})
			s.each(l.groups(st), func(i int) float64 { return pass(st, i, 2) }) // weighRows
		default:
			s.serial(anchors)
			s.each(max(l.groups(st), l.groups(next)), func(i int) float64 { return pass(st, i, 2) + pass(next, i, 2) })
		}
		added := 0.0 // by finishRows
		if !l.ordered {
			added = float64(l.chunks*addCost) / passCost
		}
		s.each(l.panels+l.groups(st), func(i int) float64 { // settle
			if i >= l.panels {
				return pass(st, i-l.panels, 3+added)
			}
			cost := float64(c*st.rows) * dim
			if next.rows == 0 {
				cost += float64(c) * dim * 4 * passCost
			}
			return cost
		})
	}
	for _, n := range []int{l.rows, l.cols} { // PairSum
		s.each(s.workers, func(int) float64 { return float64(n*l.dim) / float64(s.workers) * passCost })
	}
}

// TestSpeedup simulates evaluations on more cores than a test has: what takes longest must
// not grow to be most of it. The bounds are a little below what the plans give: they keep
// that from getting worse, and say nothing about a machine.
func TestSpeedup(t *testing.T) {
	k := kernel.Portable(tile.AVX2, 0)
	for _, c := range []struct {
		n, workers int
		least      float64
	}{
		{256, 2, 1.9},
		{1024, 2, 1.9}, {1024, 8, 7.2}, {1024, 16, 13},
		{4096, 2, 1.95}, {4096, 16, 15}, {4096, 32, 28}, {4096, 64, 50},
		{16_384, 16, 15}, {16_384, 64, 50},
	} {
		p := sized(c.n, c.n, true, true)
		p.Rows.dim, p.Cols.dim = 128, 128
		l := planOf(p, &k)
		s := schedule{workers: c.workers}
		s.evaluate(&l)
		speedup := s.work / s.chain
		t.Logf("%d×128, %d workers: %.1f times one", c.n, c.workers, speedup)
		if speedup < c.least {
			t.Errorf("%d×128 on %d workers: %.2f times as fast as on one at best, want %v", c.n, c.workers, speedup, c.least)
		}
	}
}
