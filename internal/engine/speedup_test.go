package engine

import (
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/internal/tile"
)

// What the parts of an evaluation cost, in multiplications of its products, of which a core
// with AVX2 took some 40 in a nanosecond: fitted to traces of InfoNCE of 1024×128 on a Zen 3.
const (
	normCost   = 12   // of an element of a vector, for its norm, or for the similarity of a pair
	layoutCost = 20   // of an element that is laid out
	finishCost = 80   // of an element of a gradient that is finished
	meanCost   = 15   // of an element for the mean similarity
	pairCost   = 26   // of a pair in all passes over a block
	addCost    = 4    // of an element of what a chunk adds to the gradients of rows
	anchorCost = 3500 // of an anchor whose sums are added up, and who is asked
	ownerCost  = 2400 // of a row, in checks, lists of pairs and totals, by the owner alone
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
		s.each((n+sharedRows-1)/sharedRows, func(i int) float64 { return float64(min(sharedRows, n-i*sharedRows)) * dim * normCost })
	}
	s.serial(float64(l.rows) * ownerCost)
	shared(l.rows)
	shared(l.cols)
	shared(l.rows)
	s.each((l.panels+packPanels-1)/packPanels, func(int) float64 { // packCols
		return float64(packPanels*c) * dim * 2 * layoutCost
	})
	pass := func(st stripe, i int, cost float64) float64 { // over the vectors of a group
		if i >= l.groups(st) {
			return 0
		}
		return float64(l.group(st, i).rows) * dim * cost
	}
	pairs := func(chunk int, st stripe) float64 {
		first, end := l.panelsOf(chunk, st)
		return float64(max(0, end-first) * c * st.rows)
	}
	first := l.stripeAt(0)
	s.each(l.groups(first), func(i int) float64 { return pass(first, i, layoutCost) }) // packRows
	splits := s.workers > 1
	for i := range l.stripes() {
		st, next := l.stripeAt(i), stripe{}
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
			sums := asked(st)
			s.each(sums+areas+l.groups(next), func(i int) float64 {
				switch {
				case i < sums:
					return float64(askedGroup(st, i).rows) * anchorCost
				case i >= sums+areas:
					return pass(next, i-sums-areas, layoutCost)
				}
				a := l.areaAt(st, size, i%areas)
				return float64(a.rows*a.elems) * float64(l.cols)
			})
			s.each(l.groups(st), func(i int) float64 { return pass(st, i, layoutCost) }) // weighRows
		default:
			s.serial(float64(st.rows) * anchorCost)
			s.each(max(l.groups(st), l.groups(next)), func(i int) float64 { return pass(st, i, layoutCost) + pass(next, i, layoutCost) })
		}
		added := 0.0 // by finishRows
		if !l.ordered {
			added = float64(l.chunks * addCost)
		}
		s.each(l.panels+l.groups(st), func(i int) float64 { // settle
			if i >= l.panels {
				return pass(st, i-l.panels, finishCost+added)
			}
			cost := float64(c*st.rows) * dim
			if next.rows == 0 {
				cost += float64(c) * dim * finishCost
			}
			return cost
		})
	}
	for _, n := range []int{l.rows, l.cols} { // PairSum
		s.each(s.workers, func(int) float64 { return float64(n*l.dim) / float64(s.workers) * meanCost })
	}
}

// TestSpeedup simulates evaluations on more cores than a test has: what takes longest must
// not grow to be most of it. The bounds are a little below what the plans give: they keep
// that from getting worse, and say nothing about a machine, whose cores read what others
// have written, and share a cache and a clock. What one worker does alone is in ownerCost;
// where anchors are asked in order, as those of several positives are, they are, too.
func TestSpeedup(t *testing.T) {
	k := kernel.Portable(tile.AVX2, 0)
	for _, c := range []struct {
		n, workers int
		least      float64
	}{
		{256, 2, 1.9},
		{1024, 2, 1.95}, {1024, 8, 7.3}, {1024, 16, 14},
		{4096, 2, 1.95}, {4096, 16, 15.2}, {4096, 32, 29}, {4096, 64, 53},
		{16_384, 16, 15}, {16_384, 64, 51},
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
