package engine

import "math"

// A mode is what a sweep over all pairs does with them.
type mode struct {
	// turn makes of a block of similarities what the mode is for.
	turn func(e *Engine, w *scratch, b block)

	finds      bool // finds the greatest similarities of anchors,
	sums       bool // and sums over their pairs
	multiplies bool // leaves weights in the block, to be multiplied by vectors
	final      bool // these are those of the gradients; if not, a row's lack its coefficient, which depends on its sum
}

var (
	// maxima finds the greatest similarity of each anchor.
	maxima = mode{turn: (*Engine).findTops, finds: true}
	// tallies adds up exponentials.
	tallies = mode{turn: (*Engine).tally, finds: true, sums: true}
	// weights makes weights of exponentials whose sums are known.
	weights = mode{turn: (*Engine).weigh, multiplies: true, final: true}
	// fused adds up exponentials and multiplies by them at once.
	fused = mode{turn: (*Engine).tallyRows, finds: true, sums: true, multiplies: true}
	// early is fused where a chunk has all columns.
	early = mode{turn: (*Engine).tallyRows, finds: true, sums: true, multiplies: true, final: true}
	// pointwise adds up functions of single pairs and multiplies by their derivatives.
	pointwise = mode{turn: (*Engine).tallyPairs, finds: true, sums: true, multiplies: true, final: true}
)

// asks reports whether the anchors of a stripe are asked when it is done.
func (m *mode) asks() bool { return m.sums && m.multiplies }

// A block is the similarities of a stripe with a column panel, or what becomes of them.
type block struct {
	stripe
	at    int // of its first row, in operands of the stripe
	panel int
	s     []float32
	cols  []float32 // the same for the sums of columns, from which a Filter leaves out others
}

// oneChoice reports whether the pairs of rows and of columns are the same.
func (b *block) oneChoice() bool { return &b.s[0] == &b.cols[0] }

// exclude gives pairs that do not count similarities that add nothing to any sum.
func (e *Engine) exclude(w *scratch, b block) {
	c, col0, v := e.plan.k.Cols, b.panel*e.plan.k.Cols, float32(math.Inf(-1))
	if e.plan.form == Squares {
		v = 0
	}
	if n := e.plan.cols - col0; n < c { // columns past the end
		for r := range b.rows {
			row := b.s[r*c+n:][:c-n]
			for j := range row {
				row[j] = v
			}
		}
	}
	e.p.Mask.fillDiagonals(b.s, b.first, b.rows, col0, c, v)
	for k := range e.excluded {
		e.excluded[k].fill(w.cursor[k], b.s, b.first, b.rows, col0, c, v)
	}
}

func (e *Engine) findTops(w *scratch, b block) {
	k, both := e.plan.k, e.plan.meetsBoth(b.panel, b.stripe)
	fill(w.col.Top, float32(math.Inf(-1)))
	k.TopBoth(b.s, both, w.row[0], w.col)
	if both > 0 {
		if !b.oneChoice() {
			fill(w.col.Top, float32(math.Inf(-1)))
			k.TopBoth(b.cols, both, w.ignored, w.col)
		}
		raiseTo(e.col.top[b.panel*k.Cols:], w.col.Top)
	}
	k.TopBoth(b.s[both*k.Cols:], b.rows-both, w.row[0].From(both*k.Lanes), w.col)
}

func (e *Engine) tallyRows(w *scratch, b block) {
	l := &e.plan
	l.k.TallyRows(b.s, b.rows, e.p.exponentScale(0), e.row.shift[b.first:], w.row[0], l.wantRows || l.wantCols || l.biased)
	if l.biased {
		e.sumBias(w, b, b.s)
	}
}

func (e *Engine) tally(w *scratch, b block) {
	k, col0, shift := e.plan.k, b.panel*e.plan.k.Cols, e.row.shift[b.first:]
	if e.plan.biased {
		e.tallyBiased(w, b)
		return
	}
	store := e.plan.keeps == exponentials && e.plan.isKept(b.stripe)
	both := e.plan.meetsBoth(b.panel, b.stripe)
	for t := range e.plan.terms {
		scale, row := e.p.exponentScale(t), w.row[t]
		row.Top = w.row[0].Top
		rest := 0
		switch {
		case both == 0:
		case e.plan.wide || !b.oneChoice():
			e.tallyCols(w, b, t, both)
		default:
			w.clearCols()
			k.TallyBoth(b.s, both, scale, row, w.col, store)
			e.col.addCols(col0, t, w.col)
			rest = both
		}
		k.TallyRows(b.s[rest*k.Cols:], b.rows-rest, scale, shift[rest:], row.From(rest*k.Lanes), store)
	}
}

// tallyCols adds the exponentials of a term, of the first rows, to the sums of the columns.
func (e *Engine) tallyCols(w *scratch, b block, t, rows int) {
	k, col0 := e.plan.k, b.panel*e.plan.k.Cols
	w.clearCols()
	k.TallyCols(b.cols, rows, e.p.exponentScale(t), e.colSide().shift[col0:col0+k.Cols], w.col)
	e.col.addCols(col0, t, w.col)
}

// clearCols empties the sums of a block's columns.
func (w *scratch) clearCols() {
	clear(w.col.Sum)
	clear(w.col.Moment)
	fill(w.col.Top, float32(math.Inf(-1)))
}

// tallyBiased is tally for one term, and adds up the bias of columns, which takes the
// exponentials.
func (e *Engine) tallyBiased(w *scratch, b block) {
	if both := e.plan.meetsBoth(b.panel, b.stripe); both > 0 {
		e.tallyCols(w, b, 0, both)
	}
	e.plan.k.TallyRows(b.s, b.rows, e.p.exponentScale(0), e.row.shift[b.first:], w.row[0], true)
	e.sumBias(w, b, b.s)
}

// weigh turns a block into ∂Loss/∂logit, times weightGain.
func (e *Engine) weigh(w *scratch, b block) {
	l, k, cols, col0 := &e.plan, e.plan.k, e.colSide(), b.panel*e.plan.k.Cols
	if !l.wide && l.terms == 1 && b.oneChoice() {
		k.WeighBoth(b.s, b.rows, e.p.exponentScale(0), e.row.coef[0][b.first:], cols.coef[0][col0:col0+k.Cols])
		e.putPulls(b)
		return
	}
	dst := w.weighed[:b.rows*k.Cols]
	clear(dst)
	for t := range l.terms {
		scale := e.p.exponentScale(t)
		k.WeighRows(dst, b.s, b.rows, scale, e.row.shift[b.first:], e.row.coef[t][b.first:])
		if col0 < l.colAnchors || l.symmetric && col0 < l.rows {
			k.WeighCols(dst, b.cols, b.rows, scale, cols.shift[col0:col0+k.Cols], cols.coef[t][col0:col0+k.Cols])
		}
	}
	copy(b.s, dst)
	e.putPulls(b)
}

func (e *Engine) tallyPairs(w *scratch, b block) {
	if e.plan.form == Sigmoid {
		e.plan.k.TallySigmoid(b.s, b.rows, float32(e.p.Scale), float32(e.p.Bias), w.row[0], w.weight)
	} else {
		e.plan.k.TallySquares(b.s, b.rows, w.row[0].Sum)
	}
}

// colSide is where the shifts and coefficients of columns are.
func (e *Engine) colSide() *side {
	if e.plan.symmetric {
		return &e.row
	}
	return &e.col
}
