package engine

import (
	"github.com/contrastive-go/contrastive/internal/kernel"
)

// A Visitor sees the similarities of all pairs, a block at a time.
type Visitor interface {
	// Visit gets those of a few rows with a few columns: row r is
	// block[r*stride : r*stride+cols], and none of it is greater than top[r]. All
	// blocks of a row come from one goroutine, in the order of the columns, and so do
	// those of the rows with it. Those of other rows may come from others.
	Visit(row0, rows, col0, cols int, block []float32, stride int, top []float32)
}

// Similarities shows v the similarities of all rows with all columns, computed in
// pieces as a [Problem] of as many Pieces; or, if diagonal is set, at least those of
// slots that are equal.
func (e *Engine) Similarities(rows, cols *Panels, pieces, workers int, diagonal bool, v Visitor) {
	e.p = &Problem{Rows: rows, Cols: cols, Terms: 1}
	e.k = kernel.Active()
	e.visitor, e.diagonal = v, diagonal
	rows.k, cols.k = e.k, e.k
	e.pieces = e.k.Pieces(pieces)
	cols.pieces = e.pieces
	e.n, e.wantRows = rows.n, false
	// A stripe keeps its rows in the second-level cache. Few rows make small
	// stripes, so that there is one for each worker.
	unit := e.k.Rows
	if e.pieces > 0 {
		unit = e.k.Cols
	}
	e.stripe = roundUp(max(1, min(192, (rows.n+workers-1)/workers)), unit)
	tasks := (rows.n + e.stripe - 1) / e.stripe
	if 2*float64(rows.n)*float64(cols.n)*float64(rows.dim) < minParallel*float64(e.k.Rows*e.k.Cols) {
		workers = 1
	}
	e.team.start(workers)
	cols.size(false)
	for len(e.scratch) < workers {
		e.scratch = append(e.scratch, scratch{})
	}
	padded := cols.paddedDim()
	for w := range workers {
		x := &e.scratch[w]
		x.vector, x.vectors = grow(x.vector, padded), grow(x.vectors, cols.packScratch())
		if e.pieces > 0 {
			x.left = grow(x.left, words(e.stripe*padded, e.pieces))
		} else {
			x.weights = grow(x.weights, e.stripe*padded)
		}
		x.block = grow(x.block, e.stripe*e.k.Cols)
		x.weight = grow(x.weight, e.stripe)
	}
	e.team.each((cols.panelCount()+packPanels-1)/packPanels, e.taskPack)
	e.team.each(tasks, e.taskVisit)
	e.team.stop()
	e.p, e.visitor = nil, nil
}

// visitStripe is the task of one stripe.
func (e *Engine) visitStripe(worker, i int) {
	w, c := &e.scratch[worker], e.k.Cols
	row0 := i * e.stripe
	rows := min(e.stripe, e.n-row0)
	e.openVisit(w, row0, rows)
	first, end := 0, e.p.Cols.panelCount()
	if e.diagonal {
		first, end = min(end, row0/c), min(end, (row0+rows+c-1)/c)
	}
	for p := first; p < end; p++ {
		e.multiplyPanel(w.block, w.weights, w.left, p, rows)
		e.k.Greatest(w.block, rows, w.weight)
		e.visitor.Visit(row0, rows, p*c, min(c, e.p.Cols.n-p*c), w.block, c, w.weight)
	}
}

// openVisit lays out the rows of a stripe.
func (e *Engine) openVisit(w *scratch, row0, rows int) {
	c, padded := e.k.Cols, e.p.Cols.paddedDim()
	if e.pieces > 0 {
		for first := 0; first < rows; first += c {
			n := min(c, rows-first)
			for r := range n {
				e.p.Rows.Vector(row0+first+r, w.vectors[r*padded:])
			}
			e.pad(w, n)
			e.splitRows(w.left, first/c, w)
		}
		return
	}
	clear(w.vector)
	for r := range rows {
		e.p.Rows.Vector(row0+r, w.vector)
		e.k.SpreadCols(w.weights[r*c:], c*e.stripe, w.vector)
	}
}
