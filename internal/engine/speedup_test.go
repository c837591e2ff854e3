package engine

import (
	"reflect"
	"runtime"
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
	weighCost  = 10   // of a pair whose exponential is kept
	addCost    = 4    // of an element of what a chunk adds to the gradients of rows
	anchorCost = 3500 // of an anchor whose sums are added up, and who is asked
	totalCost  = 700  // of an anchor in the totals
	ownerCost  = 3300 // of a row, in checks and lists of pairs, by the owner alone
)

// A schedule is the work of an evaluation and the longest chain of it, which is what it takes
// with a number of workers. The engine goes through its steps, whose tasks are not done.
type schedule struct {
	*testing.T
	*Engine
	work, chain float64
}

// step adds the tasks of a step, each taken by the worker that is free first. The step ends
// when all have ended.
func (s *schedule) step() {
	t := &s.team
	busy := make([]float64, t.workers)
	for _, kind := range t.tasks {
		for i := range kind.n {
			c := s.cost(kind.do, i)
			first := slices.Index(busy, slices.Min(busy))
			busy[first] += c
			s.work += c
		}
	}
	s.chain += slices.Max(busy)
}

// cost returns what the i'th task of a kind costs.
func (s *schedule) cost(do task, i int) float64 {
	l, st, dim := &s.plan, s.team.step, float64(s.plan.padded)
	rows := func(n int) float64 { return float64(n) * dim } // their elements
	panel := func(s stripe) float64 { return float64(s.rows * l.k.Cols) }
	pass := func() (cost float64) { // over a block
		if cost = dim + pairCost; st.recalls && l.keeps == exponentials {
			cost = weighCost
		}
		return cost
	}
	list := func(n int) float64 { return float64(min(sharedRows, n-i*sharedRows)) * scheduledDim * normCost }
	is := func(kind task) bool { return reflect.ValueOf(do).Pointer() == reflect.ValueOf(kind).Pointer() }
	switch {
	case is((*Engine).scale):
		return list(s.scaling.Rows)
	case is((*Engine).measure):
		return list(len(s.measuring.cosines))
	case is((*Engine).packCols):
		return rows(min(packPanels, l.panels-i*packPanels)*l.k.Cols) * 2 * layoutCost
	case is((*Engine).packRows):
		return rows(l.group(st.next, i).rows) * layoutCost
	case is((*Engine).walkChunk):
		bands := l.bands(st.stripe, st.band)
		chunk, rows := i/bands, l.bandAt(st.stripe, st.band, i%bands)
		first, end := l.panelsOf(chunk, st.stripe)
		if st.mode.multiplies {
			first, end = l.multipliedWith(chunk, st.stripe)
		}
		pairs, cost := 0.0, pass()
		for p := first; p < end; p++ {
			pairs += panel(stripe{rows.first, l.meets(p, rows)})
		}
		if st.rowGrads && !s.multipliesAreas() {
			cost += dim
		}
		return pairs * cost
	case is((*Engine).weighPanel):
		p, cost := l.firstPanel(st.stripe)+i, pass()
		if !l.within(p, st.stripe) {
			cost += dim
		}
		return panel(stripe{st.first, l.meets(p, st.stripe)}) * cost
	case is((*Engine).multiplyArea):
		a := l.areaAt(st.stripe, st.area, i)
		return float64(a.rows*a.elems) * float64((l.panels-l.firstPanel(st.stripe))*l.k.Cols)
	case is((*Engine).multiplyPanel):
		cost := 0.0
		if !l.within(i, st.stripe) {
			cost = panel(st.stripe) * dim
		}
		if st.last {
			cost += rows(l.k.Cols) * finishCost
		}
		return cost
	case is((*Engine).sumRows):
		return float64(askedGroup(st.stripe, i).rows) * s.asking(st.mode)
	case is((*Engine).sumBefore):
		return float64(askedGroup(st.before, i).rows) * s.asking(st.mode)
	case is((*Engine).askRows), is((*Engine).askCols):
		return float64(askedGroup(st.stripe, i).rows) * anchorCost
	case is((*Engine).totalRows):
		if !st.mode.asks() {
			return 0
		}
		return float64(st.rows) * totalCost
	case is((*Engine).weighRows):
		return rows(l.group(st.stripe, i).rows) * layoutCost
	case is((*Engine).finishRows):
		cost := float64(finishCost)
		if !l.ordered {
			cost += float64(l.chunks) * addCost
		}
		return rows(l.group(st.stripe, i).rows) * cost
	case is((*Engine).finishCols):
		return rows(l.k.Cols) * finishCost
	case is((*Engine).sumVectors):
		return float64(s.p.Rows.n*min(s.sumElements(scheduledDim), scheduledDim)) * meanCost
	}
	s.Fatalf("no cost of %s", runtime.FuncForPC(reflect.ValueOf(do).Pointer()).Name())
	return 0
}

// asking is what an anchor costs whose sums are added up, and who is asked where a mode asks.
func (s *schedule) asking(m *mode) float64 {
	if m.asks() {
		return anchorCost
	}
	return anchorCost / 8
}

// scheduledDim is the number of elements of vectors.
const scheduledDim = 128

// untold is anchors that are not asked, and would learn apart.
type untold struct{}

func (untold) LearnRows(int, []Stat, [][2]float64) {}
func (untold) LearnCols(int, []Stat, [][2]float64) {}
func (untold) Apart() bool                         { return true }
func (untold) TotalRows(int, int)                  {}
func (untold) TotalCols(int, int)                  {}

// evaluate adds what an evaluation of a loss of n pairs does, lists and PairSum included.
func (s *schedule) evaluate(loss string, n int, k *kernel.Kernels) {
	serial := float64(n) * ownerCost
	s.work, s.chain = s.work+serial, s.chain+serial
	m := Matrix{Rows: n, Cols: scheduledDim, Stride: scheduledDim, Data: make([]float32, n*scheduledDim)}
	rows, cols := new(List), new(List)
	rows.Reset(scheduledDim)
	cols.Reset(scheduledDim)
	rows.Workers, cols.Workers = s.Engine, s.Engine
	rows.Add(m, m, true)
	p := &Problem{
		Rows: rows, Cols: cols, Positives: new(Pairs), Scale: 14,
		Terms: 1, Exponents: [2]float64{1}, Pieces: MaxPieces, KeepBytes: 32 << 20,
	}
	p.Mask.Exclude(0)
	switch loss {
	case "NTXent":
		rows.Add(m, m, true)
		p.Cols, p.Symmetric, p.RowSlots = rows, true, 2*n
	case "CLIP":
		p.ColAnchors = n
		fallthrough
	default:
		cols.Add(m, m, true)
	}
	p.Positives.Reset(p.Cols)
	if p.Symmetric {
		p.Positives.AddEach(rows, n, n)
		p.Positives.AddReverse(n, 0)
	} else {
		p.Positives.AddEach(rows, n, 0)
	}
	s.run(p, k, untold{})
	s.PairSum(p)
}

// TestSpeedup simulates evaluations on more cores than a test has: what takes longest must
// not grow to be most of it. The bounds are a little below what the steps give: they keep
// that from getting worse, and say nothing about a machine, whose cores read what others
// have written, and share a cache and a clock. What one worker does alone is in ownerCost;
// where anchors are asked in order, as those of several positives are, they are, too.
func TestSpeedup(t *testing.T) {
	k := kernel.Portable(tile.AVX2, 0)
	for _, c := range []struct {
		loss       string
		n, workers int
		least      float64
	}{
		{"InfoNCE", 256, 2, 1.92},
		{"InfoNCE", 1024, 2, 1.95}, {"InfoNCE", 1024, 8, 7.2}, {"InfoNCE", 1024, 16, 13.4},
		{"InfoNCE", 4096, 2, 1.96}, {"InfoNCE", 4096, 16, 15}, {"InfoNCE", 4096, 32, 28.3}, {"InfoNCE", 4096, 64, 50.8},
		{"InfoNCE", 16_384, 16, 14.9}, {"InfoNCE", 16_384, 64, 50.3},
		{"CLIP", 256, 2, 1.91},
		{"CLIP", 1024, 2, 1.95}, {"CLIP", 1024, 16, 10.8},
		{"CLIP", 4096, 16, 15.2}, {"CLIP", 4096, 64, 43.3},
		{"NTXent", 1024, 2, 1.93}, {"NTXent", 1024, 16, 11.2},
		{"NTXent", 4096, 16, 10.5}, {"NTXent", 4096, 64, 15.4},
	} {
		e := New()
		s := schedule{T: t, Engine: e}
		e.team.workers, e.started, e.team.watch = c.workers, true, s.step
		s.evaluate(c.loss, c.n, &k)
		speedup := s.work / s.chain
		t.Logf("%s of %d×%d, %d workers: %.2f times one", c.loss, c.n, scheduledDim, c.workers, speedup)
		if speedup < c.least {
			t.Errorf("%s of %d×%d on %d workers: %.2f times as fast as on one at best, want %v", c.loss, c.n, scheduledDim, c.workers, speedup, c.least)
		}
	}
}
