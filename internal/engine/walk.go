package engine

import "math"

// A step is what a sweep does about one stripe.
type step struct {
	mode *mode
	stripe
	rowGrads, colGrads bool   // whether weights are multiplied for these
	shown              shown  // what is shown instead
	recalls            bool   // whether blocks are as an earlier sweep has kept them
	next               stripe // the one after, if there is one
	last               bool   // whether there is none
	band               int    // the rows of those that are walked by a task, with one chunk
	area               area   // the size of the areas of its rows whose gradients are a task each
	before             stripe // the one before, whose sums are still to be made
}

// sweep walks all pairs.
func (e *Engine) sweep(m *mode) {
	l := &e.plan
	if m.finds {
		e.row.clear(0, len(e.row.top), l)
		e.col.clear(0, len(e.col.top), l)
	}
	for i := range l.stripes() {
		s := step{mode: m, stripe: l.stripeAt(i)}
		s.band = l.bandOf(s.stripe, e.bandsOf(m))
		s.recalls = e.recalls(s.stripe)
		s.rowGrads = m.multiplies && e.p.Rows.wants(s.first, s.end())
		s.colGrads = m.multiplies && l.wantCols
		if l.chunks > 0 { // without columns there are Positives alone
			if i == 0 && !e.keepsRows(m) {
				e.each(l.groups(s.stripe), (*Engine).packRows, step{mode: m, colGrads: s.colGrads, next: s.stripe})
			}
			if i+1 < l.stripes() {
				s.next = l.stripeAt(i + 1)
			}
			if e.overlaps(m) {
				e.walkAhead(s)
				continue
			}
			if e.weighsPanels(s) {
				e.each(l.panels-l.firstPanel(s.stripe), (*Engine).weighPanel, s)
			} else {
				e.each(l.chunksOf(s.stripe)*l.bands(s.stripe, s.band), (*Engine).walkChunk, s)
			}
		}
		e.closeStripe(s)
	}
	e.swept = true
}

// recalls reports whether the blocks of a stripe are as an earlier sweep has kept them.
func (e *Engine) recalls(s stripe) bool { return e.swept && e.plan.isKept(s) }

// keepsRows reports whether the rows of the only stripe lie as the sweep before has left them
// for all products of this one.
func (e *Engine) keepsRows(m *mode) bool {
	return e.swept && e.plan.stripes() == 1 && e.sharesRows(m)
}

// packRows lays out a group of the next stripe's rows.
func (e *Engine) packRows(s step, worker, i int) {
	l, w := &e.plan, &e.scratch[worker]
	g := l.group(s.next, i)
	weighs, shares := s.colGrads && s.mode.final, e.sharesRows(s.mode)
	var byVector, byElement operand
	if !e.recalls(s.next) || weighs && shares || s.colGrads && l.weighsBlocks {
		byVector = e.rows
		if s.rows > 0 && e.overlaps(s.mode) {
			byVector = e.elements
		}
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

// asksEarly reports whether anchors are asked before weights are multiplied.
func (e *Engine) asksEarly(m *mode) bool { return e.plan.asksEarly && m.asks() }

// weighStripe completes the weights of a band of the stripe in one chunk, as far as they depend
// on the sums of their rows.
func (e *Engine) weighStripe(s step, worker, i int) {
	bands := e.plan.bands(s.stripe, s.band)
	chunk, rows := i/bands, e.plan.bandAt(s.stripe, s.band, i%bands)
	at := (rows.first - s.first) * e.plan.k.Cols
	first, end := e.plan.panelsOf(chunk, s.stripe)
	for p := first; p < end; p++ {
		weights := e.operandsOf(&e.scratch[worker], s.stripe, p, p-first).block[at:]
		if b := (block{rows, at, p, weights, weights}); e.plan.form == Softmax {
			e.weighExponentials(b)
		} else {
			e.putPulls(b)
		}
	}
}

// walkChunk takes a band of the stripe through the column panels of one chunk.
func (e *Engine) walkChunk(s step, worker, i int) {
	l, w := &e.plan, &e.scratch[worker]
	bands := l.bands(s.stripe, s.band)
	chunk, rows := i/bands, l.bandAt(s.stripe, s.band, i%bands)
	first, end := l.panelsOf(chunk, s.stripe)
	part := l.part
	if s.mode.multiplies && chunk < l.ownChunks(s.stripe) {
		// The first task has all rows: weights of some are laid out for others.
		if first, end = l.multipliedWith(chunk, s.stripe); first >= end || rows.first > s.first {
			return
		}
		rows, part = s.stripe, end-first
	}
	rows.rows = l.meets(end-1, rows)
	at, found := chunk*l.stripe+rows.first-s.first, e.foundIn(s)
	if s.mode.finds {
		found.clear(at, at+rows.rows, l)
		fill(w.row[0].Top[:rows.rows*l.k.Lanes], float32(math.Inf(-1)))
		if l.biased {
			fill(w.plainTops[:rows.rows], float32(math.Inf(-1)))
			clear(w.bias[:rows.rows])
		}
	}
	for k := range e.excluded {
		e.excluded[k].seek(w.cursor[k], rows.first, rows.rows, first*l.k.Cols)
	}
	for p := first; p < end; p += part {
		n := min(part, end-p)
		if s.mode.sums {
			w.clear(rows.rows, l)
		}
		for i := range n {
			e.walkPanel(s, w, rows, p+i, i)
		}
		if s.mode.sums {
			found.fold(at, rows.rows, w, l)
		}
		if s.mode.finds && p+n == end {
			found.foldTops(at, rows.rows, w, l)
			if l.biased {
				copy(found.plain[at:], w.plainTops[:rows.rows])
				copy(found.bias[at:], w.bias[:rows.rows])
			}
		}
		if e.asksEarly(s.mode) && !e.splits() {
			for i := range e.sumTasks(s) {
				e.sumRows(s, worker, i)
			}
			e.weighStripe(s, worker, i)
		}
		if s.rowGrads && !e.multipliesAreas() {
			to, add := chunk, p > first
			if l.ordered {
				to, add = 0, chunk > 0
			}
			l.format.rowGrads(l, e.partial[to*l.stripe*l.padded:(to+1)*l.stripe*l.padded], e.operandsOf(w, s.stripe, p, 0).left,
				e.cols.byElement[p*l.panelWords():], area{rows.first - s.first, rows.rows, 0, l.padded}, n, add)
		}
		if s.colGrads && s.mode.final && !e.splits() {
			for i := range n {
				e.multiplyRows(s.mode, s.stripe, e.operandsOf(w, s.stripe, p+i, i).right, p+i)
			}
		}
	}
}

// weighsPanels reports whether workers share the column panels of a stripe, all rows of it,
// since there is nothing to add up in an order: the weights of a panel are multiplied by the
// rows while they are in the first-level cache. Lists of excluded columns are read from panel
// to panel, where similarities are computed again, unless rows are columns: then the weights
// of all rows are there when those of the opposite order are laid out.
func (e *Engine) weighsPanels(s step) bool {
	lists := len(e.excluded[0].first)+len(e.excluded[1].first) > 0
	return s.colGrads && s.mode.final && !s.mode.sums && e.splits() && (s.recalls || !lists || e.plan.symmetric)
}

// weighPanel makes the weights of a column panel and multiplies them by the rows.
func (e *Engine) weighPanel(s step, worker, i int) {
	w, panel := &e.scratch[worker], e.plan.firstPanel(s.stripe)+i
	if !s.recalls {
		for k := range e.excluded {
			e.excluded[k].seek(w.cursor[k], s.first, s.rows, panel*e.plan.k.Cols)
		}
	}
	e.walkPanel(s, w, s.stripe, panel, 0)
	e.multiplyRows(s.mode, s.stripe, e.operandsOf(w, s.stripe, panel, 0).right, panel)
}

// splits reports whether workers share the rows of a stripe in bands, and not its chunks
// alone. A worker multiplies by the weights for the gradients of rows which it has computed
// and are in its cache. The product for the gradients of columns reads those of others, which
// it prefetches.
func (e *Engine) splits() bool {
	l := &e.plan
	return e.team.workers > 1 && l.format.inPlace() && (l.ordered || l.defers || !l.wantCols)
}

// bandsPerWorker is how many bands of a stripe each worker has, so that one that comes late
// does not keep the others long.
const bandsPerWorker = 2

// bandsOf returns the number of bands that are wanted. The sums of columns are over all rows
// of a stripe.
func (e *Engine) bandsOf(m *mode) int {
	l := &e.plan
	if !e.splits() || !m.multiplies && (l.colAnchors > 0 || l.symmetric) {
		return 1
	}
	return bandsPerWorker * e.team.workers
}

// multipliesAreas reports whether the products for the gradients of rows are in a step of
// their own, a task for each area, where all chunks add to the same gradients.
func (e *Engine) multipliesAreas() bool { return e.plan.ordered && e.splits() }

// holds reports whether the weights of a whole stripe are held until they are multiplied.
func (e *Engine) holds() bool {
	l := &e.plan
	return l.defers || (l.wantRows || l.wantCols) && e.multipliesAreas() && l.keptRows < l.rows
}

// walkPanel computes a block, makes of it what the mode is for, and lays out its
// weights. The rows are a band of the stripe, and the panel is the i'th of its part of a
// chunk.
func (e *Engine) walkPanel(s step, w *scratch, rows stripe, panel, i int) {
	l, o := &e.plan, e.operandsOf(w, s.stripe, panel, i)
	at := (rows.first - s.first) * l.k.Cols
	rows.rows = l.meets(panel, rows)
	b := block{rows, at, panel, o.block[at:], o.block[at:]}
	if !s.recalls {
		l.format.similarities(l, b.s, e.rows[at:], e.cols.byVector[panel*l.panelWords():], b.rows)
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
	l.format.packWeights(l, o.left, o.right, o.block, rows.rows)
	if s.rowGrads && l.within(panel, s.stripe) {
		e.mirror(w, s.stripe, o.block, panel)
	}
}

// mirror lays out the weights of a stripe's rows with a column panel of its own for the
// opposite order: those of the panel's rows with the columns that are the rows before them.
func (e *Engine) mirror(w *scratch, s stripe, block []float32, panel int) {
	l, c := &e.plan, e.plan.k.Cols
	first, n := l.firstPanel(s), l.weightWords()
	left := e.operandsOf(w, s, first, 0).left
	_, square := l.scratch(w.vectors)
	for i := range panel - first {
		l.format.mirror(l, left[i*n:], (panel-first)*c, block[i*c*c:], square)
	}
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
		o.block, o.left = e.keptBlock(s, panel)[:l.blockSize], w.left[i*n:]
	default:
		o.block, o.left = w.block, w.left[i*n:]
	}
	return o
}

// overlaps reports whether a sweep, which makes nothing but sums, lays out the rows of the
// next stripe and adds up the sums of the one before in the step that walks a stripe: few
// tasks, of chunks, leave workers idle that these fill.
func (e *Engine) overlaps(m *mode) bool {
	return e.team.workers > 1 && !m.multiplies && !e.plan.filtered
}

// walkAhead is that step, and adds up the sums of the last stripe.
func (e *Engine) walkAhead(s step) {
	l := &e.plan
	if s.first > 0 {
		s.before = l.stripeAt(s.first/l.stripe - 1)
	}
	e.all(s,
		tasks{l.chunksOf(s.stripe) * l.bands(s.stripe, s.band), (*Engine).walkChunk},
		tasks{l.groups(s.next), (*Engine).packRows},
		tasks{asked(s.before), (*Engine).sumBefore})
	if s.next.rows > 0 {
		e.rows, e.elements = e.elements, e.rows
		return
	}
	e.each(asked(s.stripe), (*Engine).sumRows, s)
}

// sumBefore is sumRows for the stripe before.
func (e *Engine) sumBefore(s step, worker, i int) {
	s.stripe = s.before
	e.sumRows(s, worker, i)
}

// foundIn returns where chunks leave what they find about the rows of a stripe: by turns, where
// it is added up while the next one is walked.
func (e *Engine) foundIn(s step) *sums {
	if e.overlaps(s.mode) {
		return &e.found[s.first/e.plan.stripe%2]
	}
	return &e.found[0]
}

// closeStripe does what concerns the whole stripe, and begins with the next one.
func (e *Engine) closeStripe(s step) {
	l := &e.plan
	bands, next := l.chunks*l.bands(s.stripe, s.band), tasks{l.groups(s.next), (*Engine).packRows}
	if e.splits() {
		sums, others := tasks{e.sumTasks(s), (*Engine).sumRows}, tasks{}
		if e.asksEarly(s.mode) {
			e.all(s, sums)
			e.each(bands, (*Engine).weighStripe, s)
			sums = tasks{}
		}
		areas := tasks{0, (*Engine).multiplyArea}
		if s.rowGrads && l.ordered {
			s.area = l.areaOf(s.stripe, s.band, e.team.workers)
			areas.n = l.areas(s.stripe, s.area)
		}
		switch {
		case e.packsEarly(s):
			others, next = next, tasks{}
		case s.colGrads && s.mode.final:
			others = tasks{l.panels, (*Engine).multiplyPanel}
		}
		e.all(s, areas, sums, others)
	} else if !e.asksEarly(s.mode) {
		e.each(e.sumTasks(s), (*Engine).sumRows, s)
	}
	if s.due() && l.weighsBlocks {
		e.each(bands, (*Engine).weighStripe, s)
		e.rows, e.elements = e.elements, e.rows
	}
	ends := tasks{}
	switch {
	case s.due() && !l.weighsBlocks:
		ends = tasks{l.groups(s.stripe), (*Engine).weighRows}
	case !s.due() && s.rowGrads:
		ends = tasks{l.groups(s.stripe), (*Engine).finishRows}
	}
	e.all(s, tasks{1, (*Engine).totalRows}, ends, next)
	if s.due() {
		s.last = s.end() == l.rows
		e.all(s, tasks{l.panels, (*Engine).multiplyPanel}, tasks{l.groups(s.stripe), (*Engine).finishRows})
	}
}

// areasPerWorker is how many tasks the gradients of a stripe's rows make for each worker.
// More of them read more from the second-level cache.
const areasPerWorker = 4

// leastElems is how many elements areas have at least, if there are no fewer than workers.
const leastElems = 128

// multiplyArea computes the gradients of an area of the stripe's rows. A worker's own areas
// are those of its bands.
func (e *Engine) multiplyArea(s step, worker, i int) {
	l, w := &e.plan, &e.scratch[worker]
	a := l.areaAt(s.stripe, s.area, i)
	for chunk := range l.chunksOf(s.stripe) {
		if p, end := l.multipliedWith(chunk, s.stripe); p < end {
			l.format.rowGrads(l, e.partial, e.operandsOf(w, s.stripe, p, 0).left, e.cols.byElement[p*l.panelWords():], a, end-p, chunk > 0)
		}
	}
}

// sumTasks returns how many tasks make sums of the stripe's rows: one for each group of
// anchors, unless these have to be asked in order.
func (e *Engine) sumTasks(s step) int {
	if s.mode.asks() && e.apart == nil {
		return 1
	}
	return asked(s.stripe)
}

// sumRows adds up what the chunks found about the rows of a group of the stripe's anchors,
// or of all, in order, and asks these.
func (e *Engine) sumRows(s step, worker, i int) {
	l, first, end := &e.plan, i, i+1
	if e.sumTasks(s) == 1 {
		end = asked(s.stripe)
	}
	for i := first; i < end; i++ {
		rows := askedGroup(s.stripe, i)
		for c := 0; s.mode.finds && c < l.chunksOf(s.stripe); c++ {
			_, end := l.panelsOf(c, s.stripe)
			e.row.add(rows.first, e.foundIn(s), c*l.stripe+rows.first-s.first, l.meets(end-1, rows), l)
		}
		if s.mode.asks() {
			e.askRows(s, worker, i)
		}
	}
}

// totalRows adds up what depends on the order of the stripe's rows.
func (e *Engine) totalRows(s step, _, _ int) {
	l := &e.plan
	if s.mode.asks() && e.apart != nil {
		e.apart.TotalRows(s.first, s.rows)
	}
	if !l.filtered || !s.mode.sums {
		return
	}
	for c := range l.chunksOf(s.stripe) {
		for r := c * l.stripe; r < c*l.stripe+s.rows; r++ {
			e.leftSum, e.leftPairs = e.leftSum+e.found[0].left[r], e.leftPairs+e.found[0].leftPairs[r]
		}
	}
}

// due reports whether the weights of the stripe can be multiplied by its rows only when
// its sums are complete.
func (s *step) due() bool { return s.colGrads && !s.mode.final }

// packsEarly reports whether the next stripe's rows are laid out while the gradients of the
// stripe's are computed, since its own are not multiplied any more as they are.
func (e *Engine) packsEarly(s step) bool {
	return e.splits() && (e.weighsPanels(s) || !(s.colGrads && (s.mode.final || e.plan.weighsBlocks)))
}

// multiplyPanel multiplies the weights of the stripe and a column panel by the rows, and
// finishes the panel after the last stripe.
func (e *Engine) multiplyPanel(s step, worker, i int) {
	e.multiplyRows(s.mode, s.stripe, e.operandsOf(&e.scratch[worker], s.stripe, i, 0).right, i)
	if s.last {
		e.finishCols(s, worker, i)
	}
}
