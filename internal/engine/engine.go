// Package engine computes sums over all pairs of two lists of vectors, and
// their gradients, without holding the matrix of pairs.
//
// Rows are walked in stripes and columns in chunks. For each stripe and chunk
// the similarities are computed by register tiles from packed panels, turned
// into weights while they are in the cache, and used at once for the products
// with the vectors that make the gradients:
//
//	S = rows · colsᵀ
//	W = f(S)                      exponentials, weights: see package simd
//	∂rows += W · cols
//	∂cols += Wᵀ · rows
//
// Work is divided into tasks that depend on the sizes alone, and whatever two
// tasks add to is added in a fixed order: results do not depend on the number
// of workers.
//
// The package knows no loss. A loss says which pairs count, what becomes of a
// similarity, and, through [Anchors], how the sums of an anchor weigh.
package engine

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/kernel"
)

// MaxPieces is the number of bfloat16 pieces that hold a float32.
const MaxPieces = kernel.MaxPieces

// A Form is what becomes of a logit.
type Form uint8

const (
	// Softmax takes log-sum-exps over rows and, if wanted, columns.
	Softmax Form = iota
	// Sigmoid takes log(1 + e^logit) of each pair.
	Sigmoid
	// Squares takes the square of each similarity.
	Squares
)

// A Problem is a sum over pairs. The logit of a pair is Scale times its
// similarity, plus Bias.
type Problem struct {
	Rows, Cols *Panels
	Mask       Mask

	// Symmetric says that Cols is Rows: its first RowSlots slots are the rows and all
	// are columns. A pair of two rows is visited once for both orders; only Softmax
	// allows that.
	Symmetric bool
	RowSlots  int

	// Positives are the positive pairs. Those among Cols are to be excluded by Mask.
	Positives *Positives

	Form  Form
	Scale float64
	Bias  float64 // Sigmoid only, at most 2^100 in magnitude

	// Terms is the number of log-sum-exps of each anchor, of logits multiplied
	// by Exponents.
	Terms     int
	Exponents [2]float64

	// ColAnchors is the number of first columns that are anchors too: their
	// log-sum-exps are taken over the rows. A symmetric problem has none.
	ColAnchors int

	// RowWeights, if it is not nil, holds an element for each row, and ColWeights one
	// for each column anchor: the sums are known, and neither computed nor told to the
	// anchors. Such a problem is a block of a greater one, whose other rows or columns
	// are elsewhere, and is not symmetric.
	RowWeights, ColWeights []Weight

	// Gain is ∂Loss/∂(sum of pairs), for Sigmoid and Squares.
	Gain float64

	// Pieces is the number of bfloat16 values that stand for a float32 in matrix
	// products: MaxPieces for its precision. Fewer may be less precise.
	Pieces int

	Workers int
}

// A Stat is what the pairs of one anchor add up to. An anchor without pairs has
// LSE and Top of -Inf and the others 0.
type Stat struct {
	LSE    [2]float64 // log Σ e^(exponent·logit), for each term
	Mean   [2]float64 // mean of exponent·logit under the softmax
	Top    float64    // greatest similarity
	Sum    float64    // Sigmoid: Σ log(1 + e^logit); Squares: Σ s²
	Weight float64    // Sigmoid: Σ σ(logit)
	Moment float64    // Sigmoid: Σ σ(logit)·(logit − Bias)
}

// Anchors is the part of a loss that is a function of the sums of an anchor.
type Anchors interface {
	// Row learns the sums of a row and returns ∂Loss/∂LSE for each term, which
	// Sigmoid and Squares ignore. It adds to the Pull of the row's positives. The rows
	// come in order, from one goroutine.
	Row(slot int, s Stat) [2]float64
}

// ColAnchors are Anchors of a problem whose first columns are anchors, too.
type ColAnchors interface {
	Anchors

	// Col is Row for a column. All rows have come before.
	Col(slot int, s Stat) [2]float64
}

// An Adder is Anchors whose gradients have parts that come from neither pairs that
// count nor Positives.
type Adder interface {
	Anchors

	// Add adds the part of a row, times factor, to g, the gradient with respect to Scale
	// times the row's vector. It is called from several goroutines.
	Add(slot int, g []float32, factor float64)
}

// An Engine holds the scratch memory of one evaluation at a time.
type Engine struct {
	p        *Problem
	anchors  Anchors
	adder    Adder // anchors, if it is one
	team     team
	k        *kernel.Kernels
	n        int  // rows
	wide     bool // whether exponentials need the exact maximum of each anchor
	wantRows bool
	wantCols bool
	keep     bool // whether the weights of a whole stripe are kept for the next sweep
	mode     mode
	pieces   int // that operands are split into, 0 for float32

	stripe      int // rows of a stripe
	row0, rows  int // first row and rows of the current stripe
	prev0, prev int // the same for the one before, if its product with the columns is due
	chunkPanels int // column panels of a chunk
	subPanels   int // column panels whose weights are used while they are in the cache
	chunks      int

	classes                           classes
	row                               side
	col                               side
	kept                              []float32 // weights of a stripe
	partial                           []float32 // for each chunk, W·cols of the stripe
	rowsB                             []float32 // the vectors of the stripe's rows, in blocks of Cols elements
	rowsT                             []float32 // the same in row panels of their elements: the left operand of the columns' gradients
	keptWords, rowsBWords, rowsTWords []uint32  // kept, rowsB and rowsT in pieces

	colGrad []float32 // for each column panel, its gradient, element by element
	scratch []scratch
	sums    [2][]float64
	order   []int32

	// What the chunks found about the rows of the stripe.
	chunkTally  [2]tally64
	chunkTop    []float32
	chunkWeight []float64

	visitor  Visitor
	diagonal bool // whether the visitor needs no more than equal slots

	// The tasks are methods of e, bound once: a method value allocates.
	taskPack, taskOpen, taskSweep, taskFlush, taskRows, taskCols, taskPositives, taskVisit func(worker, i int)
}

// A side holds the sums and weights of the anchors among the rows or columns.
type side struct {
	total  [2]tally64
	top    []float32
	weight []float64
	shift  []float32 // subtracted from similarities
	coef   [2][]float32
}

type tally64 struct{ sum, moment []float64 }

// A scratch is the memory of one worker.
type scratch struct {
	weights []float32 // blocks of a part of a chunk
	left    []uint32  // the same in pieces, as left and right operands
	right   []uint32
	block   []float32
	row     [2]kernel.Tally
	weight  []float32
	col     kernel.Tally
	cursor  []int32
	vector  []float32
	vectors []float32 // a column panel's, and a square
}

// New returns an Engine.
func New() *Engine {
	e := new(Engine)
	e.taskPack, e.taskOpen = e.pack, e.openRows
	e.taskSweep, e.taskFlush = e.sweepChunk, e.flushChunk
	e.taskRows, e.taskCols, e.taskPositives = e.finishRows, e.finishCols, e.finishPositives
	e.taskVisit = e.visitStripe
	return e
}

// maxExponent is the greatest exponent, in bits, for which 2^exponent is
// computed as it is. It lies between 2^-72 and 2^72 for similarities from -1 to
// 1: a sum of 2^55 of the greatest does not overflow, and products of the least
// with elements down to 2^-54 are normal numbers. Greater exponents are taken
// relative to the greatest of the anchor, at the price of a sweep to find it.
const maxExponent = 72

// weightGain multiplies weights, so that those of gradients that nearly vanish
// are normal numbers. It is at most 2^(72+40).
const weightGain = 0x1p40

// minParallel is the number of floating-point operations, for each element of
// the register tile, below which the start of a goroutine costs more than it
// saves: about half a millisecond of work.
const minParallel = 1 << 17

// Run evaluates p: it calls the methods of a and writes the gradients that the
// segments of the lists ask for.
func (e *Engine) Run(p *Problem, a Anchors) {
	e.p, e.anchors = p, a
	e.adder, _ = a.(Adder)
	e.plan()
	work := 2 * float64(e.n) * float64(p.Cols.n) * float64(p.Rows.dim)
	workers := p.Workers
	if work < minParallel*float64(e.k.Rows*e.k.Cols) {
		workers = 1
	}
	e.team.start(workers)
	e.prepare()
	switch {
	case p.Form != Softmax:
		e.sweep(pointwise)
	case p.RowWeights != nil:
		e.row.setWeights(p.RowWeights, p.Terms)
		e.col.setWeights(p.ColWeights, p.Terms)
		if e.wantRows || e.wantCols {
			e.sweep(weights)
		}
	case e.twoSweeps():
		if e.wide {
			e.sweep(maxima)
			e.setShifts(&e.row, e.n)
			if !e.p.Symmetric {
				e.setShifts(&e.col, p.ColAnchors)
			}
		}
		e.sweep(tallies)
		e.askAnchors()
		if e.wantRows || e.wantCols {
			e.sweep(weights)
		}
	default:
		if e.wide {
			e.sweep(maxima)
			e.setShifts(&e.row, e.n)
		}
		e.sweep(fused)
	}
	if !p.Symmetric && e.wantCols {
		e.team.each(p.Cols.panelCount(), e.taskCols)
	}
	if e.ownPositives() {
		e.team.each((p.Positives.List.n+e.k.Cols-1)/e.k.Cols, e.taskPositives)
	}
	e.team.stop()
	e.p, e.anchors, e.adder = nil, nil, nil
}

// rows returns the number of rows.
func (p *Problem) rows() int {
	if p.Symmetric {
		return p.RowSlots
	}
	return p.Rows.n
}

// twoSweeps reports whether weights depend on sums that are complete only
// after all stripes.
func (e *Engine) twoSweeps() bool {
	return e.p.Symmetric || e.p.ColAnchors > 0 || e.p.Terms > 1 || e.p.RowWeights != nil
}

// wide reports whether exponentials need the exact maximum of each anchor.
func (p *Problem) wide() bool {
	exponent := 1.0
	for _, x := range p.Exponents[:p.Terms] {
		exponent = max(exponent, x)
	}
	return !(exponent*p.Scale*math.Log2E <= maxExponent)
}

// plan chooses the sizes. They depend on nothing but the problem and the kernels.
func (e *Engine) plan() {
	p := e.p
	e.k = kernel.Active() // once for each run: all sizes and layouts are those of its kernels
	p.Rows.k = e.k
	if !p.Cols.filled { // others may be reading
		p.Cols.k = e.k
	}
	e.pieces = e.k.Pieces(p.Pieces)
	if !p.Cols.filled {
		p.Cols.pieces = e.pieces
	}
	e.n = p.rows()
	e.wide = p.wide()
	e.wantRows, e.wantCols = p.Rows.wants(0, p.Rows.n), p.Cols.wants(0, p.Cols.n)
	e.keep = p.Form == Softmax && !e.twoSweeps() && e.wantCols

	const (
		stripeRows = 192     // weights of a stripe and 512 columns take 384 KiB: they stay in the second-level cache
		keptFloats = 2 << 20 // kept weights take 8 MiB at most, unless there are very many columns
		subCols    = 512
		maxChunks  = 32
	)
	cols := roundUp(max(1, p.Cols.n), e.k.Cols)
	unit := e.k.Rows
	switch {
	case e.pieces > 0:
		unit = e.k.Cols
	case e.p.Symmetric:
		unit = lcm(e.k.Rows, e.k.Cols)
	}
	e.stripe = stripeRows
	if e.keep {
		e.stripe = min(e.stripe, keptFloats/cols)
	}
	e.stripe = max(unit, e.stripe/unit*unit)
	if n := roundUp(e.n, unit); n < e.stripe {
		e.stripe = n
	}
	panels := p.Cols.panelCount()
	e.subPanels = max(1, min(subCols, max(subCols/4, cols/8))/e.k.Cols)
	e.chunkPanels = roundUp((panels+maxChunks-1)/maxChunks, e.subPanels)
	e.chunks = 0 // an empty queue has no columns
	if panels > 0 {
		e.chunks = (panels + e.chunkPanels - 1) / e.chunkPanels
	}
}

// prepare sizes the scratch memory and packs the vectors.
func (e *Engine) prepare() {
	p := e.p
	p.Cols.size(e.wantRows)
	if !p.Symmetric && e.wantCols || e.ownPositives() {
		p.Positives.transpose()
	}
	e.sizeScratch()
	e.classes.build(&p.Mask)
	if !p.Cols.filled {
		e.team.each((p.Cols.panelCount()+packPanels-1)/packPanels, e.taskPack)
	}
}

// packPanels is the number of column panels of a packing task.
const packPanels = 4

func (e *Engine) pack(worker, i int) {
	cols := e.p.Cols
	for p := i * packPanels; p < min((i+1)*packPanels, cols.panelCount()); p++ {
		cols.pack(p, e.wantRows, e.scratch[worker].vectors)
	}
}

func (e *Engine) sizeScratch() {
	p, s := e.p, e.k.Shape
	padded := p.Cols.paddedDim()
	cols := roundUp(p.Cols.n, s.Cols)
	if n := max(1, e.team.workers); len(e.scratch) < n {
		e.scratch = append(e.scratch, make([]scratch, n-len(e.scratch))...)
	}
	for w := range max(1, e.team.workers) {
		x := &e.scratch[w]
		x.block = grow(x.block, e.stripe*s.Cols)
		part := e.subPanels * e.stripe * s.Cols
		switch {
		case e.pieces > 0:
			x.weights = grow(x.weights, e.stripe*s.Cols)
			x.left = grow(x.left, words(part, e.pieces))
			if !e.keep {
				x.right = grow(x.right, words(part, e.pieces))
			}
		case !e.keep:
			x.weights = grow(x.weights, part)
		}
		for t := range max(1, p.Terms) {
			x.row[t].Sum = grow(x.row[t].Sum, e.stripe*s.Lanes)
			x.row[t].Moment = grow(x.row[t].Moment, e.stripe*s.Lanes)
			x.row[t].Top = grow(x.row[t].Top, e.stripe*s.Lanes)
		}
		x.weight = grow(x.weight, e.stripe*s.Lanes)
		x.col.Sum = grow(x.col.Sum, s.Cols)
		x.col.Moment = grow(x.col.Moment, s.Cols)
		x.col.Top = grow(x.col.Top, s.Cols)
		x.cursor = resize(x.cursor, e.stripe)
		x.vector = grow(x.vector, padded)
		x.vectors = grow(x.vectors, p.Cols.packScratch())
	}
	if e.wantRows {
		e.partial = grow(e.partial, e.chunks*e.stripe*padded)
	}
	if e.wantCols {
		e.colGrad = grow(e.colGrad, cols*e.gradHeight())
		if e.p.Symmetric {
			clear(e.colGrad) // the first stripe does not meet its own panels
		}
	}
	e.sizeOperands(cols, padded)
	e.row.size(p, max(cols, roundUp(e.n, s.Cols)))
	e.col.size(p, cols)
	for t := range max(1, p.Terms) {
		e.chunkTally[t].sum = resize(e.chunkTally[t].sum, e.chunks*e.stripe)
		e.chunkTally[t].moment = resize(e.chunkTally[t].moment, e.chunks*e.stripe)
	}
	e.chunkTop = resize(e.chunkTop, e.chunks*e.stripe)
	e.chunkWeight = resize(e.chunkWeight, e.chunks*e.stripe)
}

// sizeOperands makes room for the weights that are kept and for the stripe's rows.
func (e *Engine) sizeOperands(cols, padded int) {
	if e.pieces > 0 {
		e.rowsBWords = grow(e.rowsBWords, words(e.stripe*padded, e.pieces))
		if e.keep {
			e.keptWords = grow(e.keptWords, words(cols*e.stripe, e.pieces))
		}
		if e.wantCols {
			e.rowsTWords = grow(e.rowsTWords, words(e.stripe*padded, e.pieces))
		}
		return
	}
	e.rowsB = grow(e.rowsB, e.stripe*padded)
	if e.keep {
		e.kept = grow(e.kept, cols*e.stripe)
	}
	if e.wantCols {
		e.rowsT = grow(e.rowsT, e.stripe*e.gradHeight())
	}
}

func (d *side) size(p *Problem, n int) {
	for t := range max(1, p.Terms) {
		d.total[t].sum = resize(d.total[t].sum, n)
		d.total[t].moment = resize(d.total[t].moment, n)
		d.coef[t] = grow(d.coef[t], n)
		clear(d.coef[t])
	}
	d.shift = grow(d.shift, n)
	clear(d.shift)
	d.weight = resize(d.weight, n)
	d.top = resize(d.top, n)
}

// gradHeight is the number of elements of a vector in colGrad.
func (e *Engine) gradHeight() int { return roundUp(e.p.Cols.paddedDim(), e.k.Rows) }

// reset prepares the sums for a sweep.
func (d *side) reset(terms int) {
	for t := range max(1, terms) {
		clear(d.total[t].sum)
		clear(d.total[t].moment)
	}
	clear(d.weight)
	fill(d.top, float32(math.Inf(-1)))
}

func fill(s []float32, v float32) {
	for i := range s {
		s[i] = v
	}
}

func lcm(a, b int) int {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
