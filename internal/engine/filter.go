package engine

import (
	"math"

	"github.com/contrastive-go/contrastive/simd"
)

// A Filter leaves out pairs whose guide, a similarity, is greater than a limit.
type Filter struct {
	RowLimits []float32 // of the pairs of each row
	ColLimits []float32 // of those of each column anchor among its sums; nil for RowLimits

	// GuideRows and GuideCols are the vectors of the guide; of the columns the first,
	// and the others are not filtered. Without them the guide is the pair's own
	// similarity, before its bias.
	GuideRows, GuideCols *List
}

// leftOut are sums of similarities that a Filter leaves out, and their numbers, of the
// stripe's rows, laid out as a kernel.Tally.
type leftOut struct{ sum, pairs []float32 }

// A guide is the operands of a Filter's vectors.
type guide struct {
	plan plan // that of the problem, but for the layout
	cols columns
	rows operand // of the stripe
}

// beginFilter lays out the limits, and the columns of the guide.
func (e *Engine) beginFilter() {
	f, c := e.p.Filter, e.plan.k.Cols
	if f == nil {
		return
	}
	if f.ColLimits != nil {
		e.colLimits = grow(e.colLimits, roundUp(len(f.ColLimits), c))
		fill(e.colLimits[copy(e.colLimits, f.ColLimits):], float32(math.Inf(1)))
	}
	if f.GuideCols == nil {
		return
	}
	g := &e.guide
	g.plan = e.plan
	g.plan.layout = layoutOf(e.plan.k, e.p.Pieces, f.GuideCols.dim)
	g.cols.layout = g.plan.layout
	panels := (f.GuideCols.n + c - 1) / c
	g.cols.byVector = grow(g.cols.byVector, panels*g.plan.panelWords())
	g.rows = grow(g.rows, g.plan.rowWords())
	for w := range e.team.workers {
		e.scratch[w].guideVectors = grow(e.scratch[w].guideVectors, g.plan.packScratch())
	}
	e.each(panels, (*Engine).packGuideCols, step{})
}

func (e *Engine) packGuideCols(_ step, worker, panel int) {
	e.guide.cols.pack(e.p.Filter.GuideCols, panel, false, e.scratch[worker].guideVectors)
}

// packGuideRows lays out the guide's vectors of a group of the stripe's rows.
func (e *Engine) packGuideRows(s step, worker, i int) {
	l := &e.guide.plan
	l.format.packRows(l, e.guide.rows, nil, i, e.p.Filter.GuideRows.vectors(l.group(s.next, i)), e.scratch[worker].guideVectors)
}

// filter leaves out of a block what the filter does, and of another, if columns are
// anchors with limits of their own, what it does for these.
func (e *Engine) filter(w *scratch, b *block) {
	f, k, col0 := e.p.Filter, e.plan.k, b.panel*e.plan.k.Cols
	guide := b.s
	if f.GuideCols != nil {
		cols := f.GuideCols.n - col0
		if cols <= 0 {
			return
		}
		l := &e.guide.plan
		guide = w.guide[:b.rows*k.Cols]
		l.format.similarities(l, guide, e.guide.rows[b.at:], e.guide.cols.byVector[b.panel*l.panelWords():], b.rows)
		for j := cols; j < k.Cols; j++ { // columns that are not filtered
			for r := range b.rows {
				guide[r*k.Cols+j] = float32(math.Inf(-1))
			}
		}
	}
	if f.ColLimits != nil && col0 < e.plan.colAnchors {
		b.cols = w.other[:b.rows*k.Cols]
		k.LeaveOutCols(b.cols, b.s, guide, b.rows, e.colLimits[col0:])
	}
	k.LeaveOut(b.s, guide, b.rows, f.RowLimits[b.first:], w.leftOut.sum, w.leftOut.pairs)
}

// addBias adds the bias of the columns to a block, and notes what sums lose by it.
func (e *Engine) addBias(w *scratch, b *block) {
	k := e.plan.k
	bias := e.p.ColBias[b.panel*k.Cols : min((b.panel+1)*k.Cols, e.plan.cols)]
	k.Greatest(b.s, b.rows, w.weight)
	for r := range b.rows {
		w.plainTops[r] = max(w.plainTops[r], w.weight[r])
		simd.Axpy(1, bias, b.s[r*k.Cols:][:len(bias)])
		if &b.cols[0] != &b.s[0] {
			simd.Axpy(1, bias, b.cols[r*k.Cols:][:len(bias)])
		}
	}
}

// sumBias adds the products of a block's exponentials with the bias of their columns.
func (e *Engine) sumBias(w *scratch, b block, exponentials []float32) {
	c := e.plan.k.Cols
	bias := e.p.ColBias[b.panel*c : min((b.panel+1)*c, e.plan.cols)]
	for r := range b.rows {
		w.bias[r] += float64(simd.Dot(bias, exponentials[r*c:][:len(bias)]))
	}
}
