package engine

import "math"

// A step is what a sweep does about one stripe.
type step struct {
	mode *mode
	stripe
	rowGrads, colGrads bool   // whether weights are multiplied for these
	shown              shown  // what is shown instead
	recalls            bool   // whether blocks are as an earlier sweep has kept them
	due                stripe // the one before, if its weights are still to be multiplied by its rows
	next               stripe // the one after, if there is one
	area               area   // the size of those whose row gradients are a task
}

// sweep walks all pairs.
func (e *Engine) sweep(m *mode) {
	l := &e.plan
	if m.finds {
		e.row.clear(0, len(e.row.top), l)
		e.col.clear(0, len(e.col.top), l)
	}
	var due stripe
	for i := range l.stripes() {
		s := step{mode: m, stripe: l.stripeAt(i), due: due}
		s.recalls = e.recalls(s.stripe)
		s.rowGrads = m.multiplies && e.p.Rows.wants(s.first, s.end())
		s.colGrads = m.multiplies && l.wantCols
		if l.chunks > 0 { // without columns there are Positives alone
			if i == 0 {
				e.each(l.groups(s.stripe), (*Engine).packRows, step{mode: m, colGrads: s.colGrads, next: s.stripe})
			}
			if i+1 < l.stripes() {
				s.next = l.stripeAt(i + 1)
			}
			e.each(l.chunks, (*Engine).walkChunk, s)
		}
		e.closeStripe(s)
		if s.colGrads && l.defers {
			due = s.stripe
		}
	}
	if due.rows > 0 {
		e.each(l.chunks, (*Engine).multiplyDeferred, step{mode: m, due: due})
	}
	e.swept = true
}

// recalls reports whether the blocks of a stripe are as an earlier sweep has kept them.
func (e *Engine) recalls(s stripe) bool { return e.swept && e.plan.isKept(s) }

// packRows lays out a group of the next stripe's rows.
func (e *Engine) packRows(s step, worker, i int) {
	l, w := &e.plan, &e.scratch[worker]
	g := l.group(s.next, i)
	weighs, shares := s.colGrads && s.mode.final, e.sharesRows(s.mode)
	var byVector, byElement operand
	if !e.recalls(s.next) || weighs && shares {
		byVector = e.rows
	}
	if weighs && !shares {
		byElement = e.elements
	}
	if byElement != nil && e.p.RowGains != nil {
		l.format.packRows(l, nil, byElement, i, w.weighVectors(e.p.Rows, g, e.p.RowGains), w.vectors)
		byElement = nil
	}
	if byVector != nil || byElement != nil {
		l.format.packRows(l, byVector, byElement, i, e.p.Rows.vectors(g), w.vectors)
	}
	if l.filtered && e.p.Filter.GuideRows != nil {
		e.packGuideRows(s, worker, i)
	}
}

// sharesRows reports whether the rows by vector are those for the gradients of columns,
// too.
func (e *Engine) sharesRows(m *mode) bool {
	return e.plan.format.sharesRows() && m.final && e.p.RowGains == nil
}

// weighRows lays out a group of the stripe's rows times their coefficients, which the
// weights of the stripe lack.
func (e *Engine) weighRows(s step, worker, i int) {
	l, w := &e.plan, &e.scratch[worker]
	l.format.packRows(l, nil, e.elements, i, w.weighVectors(e.p.Rows, l.group(s.stripe, i), e.row.coef[0]), w.vectors)
}

// weighStripe multiplies the weights of the stripe in one chunk by the coefficients of
// their rows, which they lack.
func (e *Engine) weighStripe(s step, worker, chunk int) {
	for p, end := e.plan.panelsOf(chunk, s.stripe); p < end; p++ {
		b := e.operandsOf(&e.scratch[worker], s.stripe, p, 0).block
		e.weighExponentials(block{s.stripe, p, b, b})
	}
}

// walkChunk takes the stripe through the column panels of one chunk. If the product of
// the stripe before with the chunk's columns is due, it comes first: the weights it needs
// are about to be overwritten.
func (e *Engine) walkChunk(s step, worker, chunk int) {
	if s.due.rows > 0 {
		e.multiplyDeferred(s, worker, chunk)
	}
	l, w := &e.plan, &e.scratch[worker]
	first, end := l.panelsOf(chunk, s.stripe)
	if first >= end {
		return
	}
	at := chunk * l.stripe
	if s.mode.finds {
		e.found.clear(at, at+s.rows, l)
		fill(w.row[0].Top[:s.rows*l.k.Lanes], float32(math.Inf(-1)))
		if l.biased {
			fill(w.plainTops[:s.rows], float32(math.Inf(-1)))
			clear(w.bias[:s.rows])
		}
	}
	for k := range e.excluded {
		e.excluded[k].seek(w.cursor[k], s.first, s.rows, first*l.k.Cols)
	}
	for p := first; p < end; p += l.part {
		n := min(l.part, end-p)
		if s.mode.sums {
			w.clear(s.rows, l)
		}
		for i := range n {
			e.walkPanel(s, w, e.rows, p+i, i)
		}
		if s.mode.sums {
			e.found.fold(at, s.rows, w, l)
		}
		if s.rowGrads && !e.multipliesAreas() {
			to, add := chunk, p > first
			if l.ordered {
				to, add = 0, chunk > l.firstChunk(s.stripe)
			}
			l.format.rowGrads(l, e.partial[to*l.stripe*l.padded:(to+1)*l.stripe*l.padded], e.operandsOf(w, s.stripe, p, 0).left,
				e.cols.byElement[p*l.panelWords():], area{0, s.rows, 0, l.padded}, n, add)
		}
		if s.colGrads && s.mode.final {
			for i := range n {
				e.multiplyRows(s.mode, s.stripe, e.operandsOf(w, s.stripe, p+i, i).right, p+i)
			}
		}
	}
	if s.mode.finds {
		e.found.foldTops(at, s.rows, w, l)
		if l.biased {
			copy(e.found.plain[at:], w.plainTops[:s.rows])
			copy(e.found.bias[at:], w.bias[:s.rows])
		}
	}
}

// multipliesAreas reports whether the products for the gradients of rows are in a step of
// their own, a task for each area. Workers that took them by chunks would have as many
// sums to add up as chunks, which takes longer than to read each other's weights.
func (e *Engine) multipliesAreas() bool { return e.plan.ordered && e.team.workers > 1 }

// holds reports whether the weights of a whole stripe are held until they are multiplied.
func (e *Engine) holds() bool {
	l := &e.plan
	return l.defers || l.wantRows && e.multipliesAreas() && l.keptRows < l.rows
}

// walkPanel computes a block, makes of it what the mode is for, and lays out its
// weights. The panel is the i'th of its part of a chunk.
func (e *Engine) walkPanel(s step, w *scratch, rows operand, panel, i int) {
	l, o := &e.plan, e.operandsOf(w, s.stripe, panel, i)
	b := block{s.stripe, panel, o.block, o.block}
	if !s.recalls {
		l.format.similarities(l, o.block, rows, e.cols.byVector[panel*l.panelWords():], s.rows)
		e.exclude(w, b)
	}
	if s.recalls && l.keeps == exponentials {
		e.weighExponentials(b)
	} else {
		e.adapt(s, w, &b)
		s.mode.turn(e, w, b)
	}
	if !s.rowGrads {
		o.left = nil
	}
	if !s.colGrads {
		o.right = nil
	}
	l.format.packWeights(l, o.left, o.right, o.block, s.rows)
}

// adapt makes of similarities what the problem asks for. What is kept of them stays as it
// is until the sweep that is the last, in which it makes way for the weights.
func (e *Engine) adapt(s step, w *scratch, b *block) {
	l := &e.plan
	if !l.filtered && !l.biased {
		return
	}
	if l.keeps == similarities && l.isKept(s.stripe) && !s.mode.multiplies {
		b.s = w.block[:copy(w.block, b.s[:b.rows*l.k.Cols])]
		b.cols = b.s
	}
	if l.filtered {
		e.filter(w, b)
	}
	if l.biased {
		e.addBias(w, b)
	}
}

// multiplyDeferred multiplies the weights of the stripe that is due by its rows.
func (e *Engine) multiplyDeferred(s step, worker, chunk int) {
	for p, end := e.plan.panelsOf(chunk, s.due); p < end; p++ {
		e.multiplyRows(s.mode, s.due, e.operandsOf(&e.scratch[worker], s.due, p, 0).right, p)
	}
}

// multiplyRows multiplies the weights of a stripe and a column panel by the rows, for
// the gradients of the columns.
func (e *Engine) multiplyRows(m *mode, s stripe, weights operand, panel int) {
	l, c := &e.plan, e.plan.k.Cols
	if l.within(panel, s) || !e.p.Cols.wants(panel*c, panel*c+c) {
		return
	}
	rows := e.elements
	if e.sharesRows(m) {
		rows = e.rows
	}
	l.format.colGrads(l, e.colGrads[panel*c*l.padded:], rows, weights, s.rows, s.first > 0)
}

// operands are the memory of a block and of its weights.
type operands struct {
	block       []float32
	left, right operand
}

// operandsOf returns those of a stripe and a column panel, the i'th of its part of a
// chunk; of left, those of the panels after it follow. A block that is neither an operand
// nor kept leaves its memory to the next one.
func (e *Engine) operandsOf(w *scratch, s stripe, panel, i int) operands {
	l := &e.plan
	n := l.weightWords()
	var o operands
	switch {
	case l.format.inPlace() && l.isKept(s):
		o.right = e.keptBlock(s, panel)
	case e.holds():
		o.right = e.held[panel*n:]
	default:
		o.right = w.weights[i*n:]
	}
	switch {
	case l.format.inPlace():
		o.block, o.left = o.right[:n], o.right
	case l.isKept(s):
		o.block, o.left = e.keptBlock(s, panel)[:l.blockSize()], w.left[i*n:]
	default:
		o.block, o.left = w.block, w.left[i*n:]
	}
	return o
}

// closeStripe finishes what concerns the rows of the stripe, and begins with the next one.
func (e *Engine) closeStripe(s step) {
	l := &e.plan
	if s.rowGrads && e.multipliesAreas() {
		s.area = l.areaOf(s.stripe, areasPerWorker*e.team.workers)
		e.each(1+l.areas(s.stripe, s.area), (*Engine).multiplyArea, s)
	} else {
		e.sumRows(s)
	}
	weighs := s.colGrads && !s.mode.final
	if weighs && l.weighsBlocks {
		e.each(l.chunks, (*Engine).weighStripe, s)
		e.rows, e.elements = e.elements, e.rows
	}
	groups := l.groups(s.next)
	if weighs || s.rowGrads {
		groups = max(groups, l.groups(s.stripe))
	}
	e.each(groups, (*Engine).closeGroup, s)
}

// areasPerWorker is how many tasks the gradients of a stripe's rows make for each worker,
// so that one that comes late does not keep the others long. Each reads its own share of
// the weights and of the columns: more of them read more from the third-level cache.
const areasPerWorker = 2

// multiplyArea computes the gradients of an area of the stripe, the i'th less 1. The first
// task is what has to be done one row after the other.
func (e *Engine) multiplyArea(s step, worker, i int) {
	if i == 0 {
		e.sumRows(s)
		return
	}
	l, w := &e.plan, &e.scratch[worker]
	a := l.areaAt(s.stripe, s.area, i-1)
	for chunk := l.firstChunk(s.stripe); chunk < l.chunks; chunk++ {
		p, end := l.panelsOf(chunk, s.stripe)
		l.format.rowGrads(l, e.partial, e.operandsOf(w, s.stripe, p, 0).left, e.cols.byElement[p*l.panelWords():], a, end-p, chunk > l.firstChunk(s.stripe))
	}
}

// sumRows adds up what the chunks found about the rows of the stripe, in order, and asks
// the anchors.
func (e *Engine) sumRows(s step) {
	l := &e.plan
	for c := l.firstChunk(s.stripe); s.mode.finds && c < l.chunks; c++ {
		e.row.add(s.first, &e.found, c*l.stripe, s.rows, l)
		if l.filtered && s.mode.sums {
			for r := c * l.stripe; r < c*l.stripe+s.rows; r++ {
				e.leftSum, e.leftPairs = e.leftSum+e.found.left[r], e.leftPairs+e.found.leftPairs[r]
			}
		}
	}
	if s.mode.asks() {
		e.askRows(s.stripe)
	}
}

// closeGroup finishes the i'th group of the stripe's rows, and lays out that of the next.
func (e *Engine) closeGroup(s step, worker, i int) {
	l := &e.plan
	if i < l.groups(s.stripe) {
		if s.colGrads && !s.mode.final && !l.weighsBlocks {
			e.weighRows(s, worker, i)
		}
		if s.rowGrads {
			e.finishRows(s, worker, i)
		}
	}
	if i < l.groups(s.next) {
		e.packRows(s, worker, i)
	}
}
