package engine

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/kernel"
)

// A mode is what a sweep over all pairs does with them.
type mode uint8

const (
	maxima    mode = iota // finds the greatest similarity of each anchor
	tallies               // sums exponentials
	weights               // turns exponentials into weights, and multiplies
	fused                 // sums exponentials and multiplies; rows are weighed afterwards
	pointwise             // sums functions of single pairs, and multiplies by their derivatives
)

// sweep walks all pairs.
func (e *Engine) sweep(m mode) {
	e.mode, e.prev = m, 0
	e.row.reset(e.p.Terms)
	e.col.reset(e.p.Terms)
	for e.row0 = 0; e.row0 < e.n; e.row0 += e.stripe {
		e.rows = min(e.stripe, e.n-e.row0)
		if e.chunks > 0 { // without columns there are Positives alone
			e.team.each(e.rowTasks(), e.taskOpen)
			e.team.each(e.chunks, e.taskSweep)
		}
		e.closeStripe()
	}
	if e.keep && m == fused {
		e.team.each(e.chunks, e.taskFlush)
	}
}

// closeStripe adds up what the chunks found about the rows of the stripe, in
// order, and finishes their gradients.
func (e *Engine) closeStripe() {
	for c := e.firstChunk(); c < e.chunks; c++ {
		at := c * e.stripe
		for t := range max(1, e.p.Terms) {
			addTo(e.row.total[t].sum[e.row0:], e.chunkTally[t].sum[at:at+e.rows])
			addTo(e.row.total[t].moment[e.row0:], e.chunkTally[t].moment[at:at+e.rows])
		}
		addTo(e.row.weight[e.row0:], e.chunkWeight[at:at+e.rows])
		for r, v := range e.chunkTop[at : at+e.rows] {
			e.row.top[e.row0+r] = max(e.row.top[e.row0+r], v)
		}
	}
	switch e.mode {
	case fused:
		for i := e.row0; i < e.row0+e.rows; i++ {
			e.askRow(i)
		}
	case pointwise:
		for i := e.row0; i < e.row0+e.rows; i++ {
			s := Stat{Sum: e.row.total[0].sum[i], Moment: e.row.total[0].moment[i], Weight: e.row.weight[i], Top: float64(e.row.top[i])}
			e.anchors.Row(i, s)
		}
	}
	if e.mode >= weights {
		e.team.each(e.rowTasks(), e.taskRows)
		if e.mode == fused && e.keep {
			e.prev0, e.prev = e.row0, e.rows
		}
	}
}

// firstChunk is the first chunk with pairs of the stripe that are not visited
// the other way round.
func (e *Engine) firstChunk() int {
	if e.p.Symmetric {
		return e.row0 / e.k.Cols / e.chunkPanels
	}
	return 0
}

func addTo(dst, src []float64) {
	for i, v := range src {
		dst[i] += v
	}
}

// sweepChunk is the task of one chunk and the current stripe. If the product of
// the stripe before with the chunk's columns is due, it comes first: the
// weights it needs are about to be overwritten.
func (e *Engine) sweepChunk(worker, chunk int) {
	if e.prev > 0 {
		e.flushChunk(worker, chunk)
	}
	if chunk < e.firstChunk() {
		return
	}
	w, cols, terms := &e.scratch[worker], e.k.Cols, max(1, e.p.Terms)
	at := chunk * e.stripe
	for t := range terms {
		clear(e.chunkTally[t].sum[at : at+e.rows])
		clear(e.chunkTally[t].moment[at : at+e.rows])
	}
	clear(e.chunkWeight[at : at+e.rows])
	fill(w.row[0].Top[:e.rows*e.k.Lanes], float32(math.Inf(-1)))

	first := chunk * e.chunkPanels
	end := min(first+e.chunkPanels, e.p.Cols.panelCount())
	if e.p.Symmetric {
		first = max(first, e.row0/cols)
	}
	e.classes.seek(w.cursor, e.row0, e.rows, first*cols)
	rowProduct := e.mode >= weights && e.p.Rows.wants(e.row0, e.row0+e.rows)
	partial := e.partial
	if rowProduct {
		padded := e.p.Cols.paddedDim()
		partial = e.partial[at*padded : (at+e.stripe)*padded]
	}
	add := false
	for p := first; p < end; p += e.subPanels {
		n := min(e.subPanels, end-p)
		e.clearTally(w)
		for i := range n {
			block := e.weightsOf(w, p+i, i)[:e.stripe*cols]
			e.multiplyPanel(block, e.rowsB, e.rowsBWords, p+i, e.rows)
			e.apply(w, block, p+i)
			if e.pieces > 0 && e.mode >= weights {
				e.splitWeights(w, block, p+i, i, rowProduct, e.wantCols)
			}
		}
		e.foldTally(w, at)
		if rowProduct {
			e.multiplyCols(partial, w, p, n, add)
			add = true
		}
		if e.mode == weights || e.mode == pointwise {
			for i := range n {
				e.multiplyRows(w, p+i, i, e.row0, e.rows)
			}
		}
	}
	for r := range e.rows {
		top := w.row[0].Top[r*e.k.Lanes]
		for _, v := range w.row[0].Top[r*e.k.Lanes+1 : (r+1)*e.k.Lanes] {
			top = max(top, v)
		}
		e.chunkTop[at+r] = top
	}
}

// flushChunk multiplies the kept weights of the stripe before by its rows.
func (e *Engine) flushChunk(worker, chunk int) {
	for p := chunk * e.chunkPanels; p < min((chunk+1)*e.chunkPanels, e.p.Cols.panelCount()); p++ {
		e.multiplyRows(&e.scratch[worker], p, 0, e.prev0, e.prev)
	}
}

// weightsOf is where the weights of column panel p are, the i'th of its part of a
// chunk, and those of the panels after it. Before weights are split into pieces,
// there is room for one panel.
func (e *Engine) weightsOf(w *scratch, p, i int) []float32 {
	size := e.stripe * e.k.Cols
	switch {
	case e.pieces > 0:
		return w.weights
	case e.keep:
		return e.kept[p*size:]
	}
	return w.weights[i*size:]
}

// clearTally and foldTally bracket a part of a chunk: sums in float32 are of
// subPanels·Cols/Lanes terms at most, and those of parts are added in float64.
func (e *Engine) clearTally(w *scratch) {
	for t := range max(1, e.p.Terms) {
		clear(w.row[t].Sum[:e.rows*e.k.Lanes])
		clear(w.row[t].Moment[:e.rows*e.k.Lanes])
	}
	clear(w.weight[:e.rows*e.k.Lanes])
}

func (e *Engine) foldTally(w *scratch, at int) {
	if e.mode == maxima || e.mode == weights {
		return
	}
	for t := range max(1, e.p.Terms) {
		fold(e.chunkTally[t].sum[at:at+e.rows], w.row[t].Sum, e.k.Lanes)
		fold(e.chunkTally[t].moment[at:at+e.rows], w.row[t].Moment, e.k.Lanes)
	}
	if e.p.Form == Sigmoid {
		fold(e.chunkWeight[at:at+e.rows], w.weight, e.k.Lanes)
	}
}

func fold(dst []float64, src []float32, lanes int) {
	for r := range dst {
		sum := 0.0
		for _, v := range src[r*lanes : (r+1)*lanes] {
			sum += float64(v)
		}
		dst[r] += sum
	}
}

// multiplyPanel stores the products of rows, in blocks, with column panel p.
func (e *Engine) multiplyPanel(block, vectors []float32, vectorWords []uint32, p, rows int) {
	if e.pieces > 0 {
		e.mulSplitPanel(block, vectorWords, p, rows)
		return
	}
	c, padded, dim := e.k.Cols, e.p.Cols.paddedDim(), roundUp(e.p.Cols.dim, kernel.BlockStep)
	panel := e.p.Cols.cols[p*c*padded:]
	for d := 0; d < dim; {
		blocks, depth := min(e.k.Depth, dim-d)/c, c
		if blocks == 0 {
			blocks, depth = 1, dim-d
		}
		e.k.MulBlocks(block, c, vectors[d*e.stripe:], e.stripe*c, panel[d*c:], c*c, rows, blocks, depth, d > 0)
		d += blocks * depth
	}
}

// multiplyCols adds the weights of n column panels from p on, times their
// vectors, to the stripe's gradients in partial.
func (e *Engine) multiplyCols(partial []float32, w *scratch, p, n int, add bool) {
	if e.pieces > 0 {
		e.mulSplitCols(partial, w, p, n, add)
		return
	}
	cols, padded := e.k.Cols, e.p.Cols.paddedDim()
	for d := 0; d < padded; d += cols {
		e.k.MulBlocks(partial[d:], padded, e.weightsOf(w, p, 0), e.stripe*cols,
			e.p.Cols.dims[(p*padded+d)*cols:], cols*padded, e.rows, n, cols, add)
	}
}

// multiplyRows adds the weights of column panel p, the i'th of its part of a chunk,
// transposed, times rows of a stripe, to the gradients of the panel's columns.
func (e *Engine) multiplyRows(w *scratch, p, i, row0, rows int) {
	cols := e.k.Cols
	if e.p.Symmetric && p*cols < row0+rows || !e.p.Cols.wants(p*cols, p*cols+cols) {
		return
	}
	grad, add := e.colGrad[p*cols*e.gradHeight():], e.p.Symmetric || row0 > 0
	if e.pieces > 0 {
		e.mulSplitRows(grad, e.rightWeights(w, p, i), rows, add)
		return
	}
	e.k.MulPanels(grad, cols, e.rowsT, e.stripe*e.k.Rows, e.weightsOf(w, p, i), e.p.Cols.dim, rows, add)
}

// rowTasks is the number of tasks that share the rows of a stripe.
func (e *Engine) rowTasks() int { return (e.rows + e.k.Cols - 1) / e.k.Cols }

// taskRange returns the rows of a task, which are those of a column panel if
// rows are columns.
func (e *Engine) taskRange(i int) (first, end int) {
	return i * e.k.Cols, min((i+1)*e.k.Cols, e.rows)
}

// openRows lays out the i'th few rows of the stripe.
func (e *Engine) openRows(worker, i int) {
	w := &e.scratch[worker]
	c, list, v := e.k.Cols, e.p.Rows, w.vector
	first, end := e.taskRange(i)
	if e.pieces > 0 {
		padded := e.p.Cols.paddedDim()
		for r := first; r < end; r++ {
			list.Vector(e.row0+r, w.vectors[(r-first)*padded:])
		}
		e.pad(w, end-first)
		e.splitRows(e.rowsBWords, i, w)
		if e.wantCols && (e.mode == weights || e.mode == pointwise) {
			e.splitElements(i, w)
		}
		return
	}
	clear(v)
	for r := first; r < end; r++ {
		list.Vector(e.row0+r, v)
		e.k.SpreadCols(e.rowsB[r*c:], c*e.stripe, v)
		if e.mode == weights || e.mode == pointwise {
			e.layRow(r, v)
		}
	}
}

// layRow lays out a row of the stripe for multiplyRows.
func (e *Engine) layRow(r int, v []float32) {
	if !e.wantCols {
		return
	}
	e.k.SpreadRows(e.rowsT[r*e.k.Rows:], e.k.Rows*e.stripe, v)
}

// apply turns a block of similarities into what the mode calls for.
func (e *Engine) apply(w *scratch, block []float32, p int) {
	c, pr := e.k.Cols, e.p
	col0 := p * c
	excluded := float32(math.Inf(-1))
	if pr.Form == Squares {
		excluded = 0
	}
	for j := pr.Cols.n - col0; j < c; j++ {
		for r := range e.rows {
			block[r*c+j] = excluded
		}
	}
	pr.Mask.fill(&e.classes, w.cursor, block, e.row0, e.rows, col0, c, excluded)
	// The columns within the stripe are its rows: they meet there both ways.
	cols := e.p.Symmetric && col0 >= e.row0+e.rows && col0 < e.n || !e.p.Symmetric && col0 < pr.ColAnchors

	switch e.mode {
	case maxima:
		fill(w.col.Top, excluded)
		e.k.TopBoth(block, e.rows, w.row[0], w.col)
		if cols {
			e.addCols(w, col0, 0)
		}
	case fused:
		e.k.TallyRows(block, e.rows, e.exponentScale(0), e.row.shift[e.row0:], w.row[0], e.wantRows || e.wantCols)
	case tallies:
		for t := range pr.Terms {
			e.tally(w, block, col0, t, cols)
		}
	case weights:
		e.weigh(w, block, col0)
	case pointwise:
		if pr.Form == Sigmoid {
			e.k.TallySigmoid(block, e.rows, float32(pr.Scale), float32(pr.Bias), w.row[0], w.weight)
		} else {
			e.k.TallySquares(block, e.rows, w.row[0].Sum)
		}
	}
}

func (e *Engine) exponentScale(t int) float32 { return e.p.exponentScale(t) }

func (p *Problem) exponentScale(t int) float32 {
	return float32(p.Exponents[t] * p.Scale * math.Log2E)
}

func (e *Engine) tally(w *scratch, block []float32, col0, t int, cols bool) {
	c, row := e.k.Cols, w.row[t]
	row.Top = w.row[0].Top
	shift := e.row.shift[e.row0:]
	if !cols {
		e.k.TallyRows(block, e.rows, e.exponentScale(t), shift, row, false)
		return
	}
	clear(w.col.Sum)
	clear(w.col.Moment)
	fill(w.col.Top, float32(math.Inf(-1)))
	if e.wide {
		e.k.TallyRows(block, e.rows, e.exponentScale(t), shift, row, false)
		e.k.TallyCols(block, e.rows, e.exponentScale(t), e.colSide().shift[col0:col0+c], w.col)
	} else {
		e.k.TallyBoth(block, e.rows, e.exponentScale(t), row, w.col)
	}
	e.addCols(w, col0, t)
}

// addCols adds the tally of a block's columns to the sums of the column anchors.
func (e *Engine) addCols(w *scratch, col0, t int) {
	s := &e.col
	for j := range e.k.Cols {
		if e.mode != maxima {
			s.total[t].sum[col0+j] += float64(w.col.Sum[j])
			s.total[t].moment[col0+j] += float64(w.col.Moment[j])
		}
		s.top[col0+j] = max(s.top[col0+j], w.col.Top[j])
	}
}

// colSide is where the shifts and weights of columns are.
func (e *Engine) colSide() *side {
	if e.p.Symmetric {
		return &e.row
	}
	return &e.col
}

// weigh turns a block into ∂Loss/∂logit, times weightGain.
func (e *Engine) weigh(w *scratch, block []float32, col0 int) {
	c, cols := e.k.Cols, e.colSide()
	colAnchors := e.p.Symmetric && col0 < e.n || col0 < e.p.ColAnchors
	if !e.wide && e.p.Terms == 1 {
		e.k.WeighBoth(block, e.rows, e.exponentScale(0), e.row.coef[0][e.row0:], cols.coef[0][col0:col0+c])
		return
	}
	dst := w.block[:e.rows*c]
	clear(dst)
	for t := range e.p.Terms {
		e.k.WeighRows(dst, block, e.rows, e.exponentScale(t), e.row.shift[e.row0:], e.row.coef[t][e.row0:])
		if colAnchors {
			e.k.WeighCols(dst, block, e.rows, e.exponentScale(t), cols.shift[col0:col0+c], cols.coef[t][col0:col0+c])
		}
	}
	copy(block, dst)
}
