package engine

import (
	"github.com/contrastive-go/contrastive/internal/cache"
	"github.com/contrastive-go/contrastive/internal/kernel"
)

// A Visitor sees the similarities of all pairs, a block at a time.
type Visitor interface {
	// Visit gets those of a few rows with a few columns: row r is
	// block[r*stride : r*stride+cols], and none of it is greater than top[r]. The blocks
	// of a row come one after the other, in the order of the columns, and so do those of
	// the rows with it. Those of other rows may come at the same time.
	Visit(row0, rows, col0, cols int, block []float32, stride int, top []float32)
}

// Show shows v the similarities of all rows of p with all columns; or, if equal is set,
// at least those of slots that are equal. They are as Run computes them.
//
// It holds the operands of no more than some rows and some columns at a time: there may
// be millions of both.
func (e *Engine) Show(p *Problem, equal bool, v Visitor) {
	e.show(p, planToShow(p, kernel.Active(), equal), v)
}

// shownRowBytes is how much memory the operands of rows take that are held at a time. Columns
// are laid out anew for other rows, which costs a few percent of the products with 1024 of
// these. No cache need hold them: they are read once for all columns that are held.
const shownRowBytes = 16 << 20

// shownWithin returns the column panels whose operands are held at a time, for a second-level
// cache of so many bytes: each stripe reads them anew, at least half of them from there.
func (l *plan) shownWithin(bytes int) int { return max(1, 2*bytes/4/l.panelWords()) }

func (e *Engine) show(p *Problem, plan plan, v Visitor) {
	e.visitor = v
	e.begin(p, plan)
	l, ready := &e.plan, e.cols != nil
	if !ready {
		e.cols = &e.packed
		e.cols.layout = l.layout
		e.cols.byVector = grow(e.cols.byVector, min(l.panels, l.shownPanels)*l.panelWords())
	}
	rows := min(l.rows, l.shownRows)
	e.rows = grow(e.rows, (rows+l.stripe-1)/l.stripe*l.rowWords())
	for s := (shown{stripe: stripe{0, rows}}); s.rows > 0; s.stripe = (stripe{s.end(), min(rows, l.rows-s.end())}) {
		e.each((s.rows+l.stripe-1)/l.stripe, (*Engine).packShownRows, step{shown: s})
		end := 0
		for s.firstPanel, end = l.panelsOf(0, s.stripe); s.firstPanel < end; s.firstPanel = s.endPanel {
			s.endPanel = end
			if !ready {
				s.endPanel = min(end, s.firstPanel+l.shownPanels)
				s.packed = s.firstPanel
				e.each((s.endPanel-s.firstPanel+packPanels-1)/packPanels, (*Engine).packShownCols, step{shown: s})
			}
			e.each((s.rows+l.stripe-1)/l.stripe, (*Engine).showStripe, step{shown: s})
		}
	}
	e.end()
	e.visitor = nil
}

// planToShow returns the plan by which similarities are shown, a row's by one worker at a
// time. Few rows make small stripes, so that there are as many for each worker. If equal
// is set, no more need be shown than those of equal slots.
func planToShow(p *Problem, k *kernel.Kernels, equal bool) plan {
	l := newPlan(p, k)
	l.terms, l.alone, l.equal = 1, true, equal
	workers := max(1, p.Workers)
	rounds := (l.rows + stripeRows*workers - 1) / (stripeRows * workers)
	stripes := max(1, workers*rounds)
	l.setStripe(roundUp(max(1, (l.rows+stripes-1)/stripes), l.format.stripeUnit(k, false)))
	l.part, l.chunk, l.chunks = 1, l.panels, 1
	l.shownRows = max(1, shownRowBytes/4/l.rowWords()) * l.stripe
	l.shownPanels = l.shownWithin(cache.L2)
	return l
}

// rowWords is the length of an operand of a stripe's rows.
func (l *plan) rowWords() int { return l.padded / l.k.Cols * l.weightWords() }

// shown is a step of showing: the rows and column panels whose operands are held.
type shown struct {
	stripe
	firstPanel, endPanel int
	packed               int // panel whose operands are the first of Engine.cols
}

// stripeOf returns the i'th stripe of the rows.
func (s *shown) stripeOf(i int, l *plan) stripe {
	return stripe{s.first + i*l.stripe, min(l.stripe, s.rows-i*l.stripe)}
}

func (e *Engine) packShownRows(s step, worker, i int) {
	l := &e.plan
	rows := s.shown.stripeOf(i, l)
	for j := range l.groups(rows) {
		l.format.packRows(l, e.rows[i*l.rowWords():], nil, j, e.p.Rows.vectors(l.group(rows, j)), e.scratch[worker].vectors)
	}
}

func (e *Engine) packShownCols(s step, worker, i int) {
	first := s.shown.firstPanel + i*packPanels
	for p := first; p < min(first+packPanels, s.shown.endPanel); p++ {
		e.cols.packAt(p-s.shown.packed, e.p.Cols, p, false, e.scratch[worker].vectors)
	}
}

// showStripe shows the similarities of a stripe's rows with the columns that are held.
func (e *Engine) showStripe(s step, worker, i int) {
	l, w, c := &e.plan, &e.scratch[worker], e.plan.k.Cols
	rows := s.shown.stripeOf(i, l)
	first, end := l.panelsOf(0, rows)
	for p := max(first, s.shown.firstPanel); p < min(end, s.shown.endPanel); p++ {
		l.format.similarities(l, w.block, e.rows[i*l.rowWords():], e.cols.byVector[(p-s.shown.packed)*l.panelWords():], rows.rows)
		e.exclude(w, block{rows, 0, p, w.block, w.block})
		l.k.Greatest(w.block, rows.rows, w.weight)
		e.visitor.Visit(rows.first, rows.rows, p*c, min(c, l.cols-p*c), w.block, c, w.weight)
	}
}
