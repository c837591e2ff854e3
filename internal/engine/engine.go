// Package engine computes sums over all pairs of two lists of vectors, and
// their gradients, without holding the matrix of pairs.
//
// Rows are walked in stripes and columns in chunks of panels. For each stripe and
// panel the similarities are computed by register tiles from packed operands, turned
// into weights while they are in the cache, and used at once for the products
// with the vectors that make the gradients:
//
//	S = rows · colsᵀ
//	W = f(S)                      exponentials, weights: see package kernel
//	∂rows += W · cols
//	∂cols += Wᵀ · rows
//
// A [Problem] says what is walked. Its plan says in which sizes, its format how the
// operands of the three products lie, and the mode of a sweep what f is.
//
// Whatever is added up is divided by the sizes alone, and added in a fixed order:
// results do not depend on the number of workers, nor on the tasks that it makes.
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
	Rows, Cols *List
	Mask       Mask

	// Symmetric says that Cols is Rows: its first RowSlots slots are the rows and all
	// are columns, of which those that are no rows take no gradient. A pair of two rows
	// is visited once for both orders; only Softmax allows that.
	Symmetric bool
	RowSlots  int

	// Positives are the positive pairs, and Hard those of rows with vectors that no
	// other row is paired with. Those among Cols are to be excluded by Mask.
	Positives, Hard *Pairs

	// Idle, if it is not nil, tells of each row whether it is no anchor, so that PairSum
	// leaves out its pairs; nil is for the rows without Positives where others have some.
	Idle []bool

	// ColBias, if it is not nil, has an element for each column, which is added to its
	// similarities: of Softmax alone.
	ColBias []float32

	// Filter leaves out pairs by their similarity.
	Filter *Filter

	// Bound is more than the magnitude of any similarity, with its bias; 0 means 1.
	Bound float64

	Form  Form
	Scale float64
	Bias  float64 // Sigmoid only, at most 2^100 in magnitude

	// Terms is the number of log-sum-exps of each anchor, of logits multiplied
	// by Exponents.
	Terms     int
	Exponents [2]float64

	// Detached says that no derivative flows through what the exponents are beyond 1.
	Detached bool

	// ColAnchors is the number of first columns that are anchors too: their
	// log-sum-exps are taken over the rows. A symmetric problem has none.
	ColAnchors int

	// RowWeights, if it is not nil, holds an element for each row, and ColWeights one
	// for each column anchor: the sums are known, and neither computed nor told to the
	// anchors. Such a problem is a section of a greater one, whose other rows or columns
	// are elsewhere, and is not symmetric.
	RowWeights, ColWeights []Weight

	// Gain is ∂Loss/∂(sum of pairs) for Sigmoid, and twice that for Squares. RowGains, if
	// it is not nil, is what that of each row is multiplied by, for Sigmoid.
	Gain     float64
	RowGains []float32

	// Pieces is the number of bfloat16 values that stand for a float32 in matrix
	// products: MaxPieces for its precision. Fewer may be less precise.
	Pieces int

	// KeepBytes bounds the memory of similarities that are kept from one sweep to the
	// next instead of being computed again. It changes no result.
	KeepBytes int

	Workers int
}

// A Stat is what the pairs of one anchor add up to. An anchor without pairs has
// LSE and Top of -Inf and the others 0.
type Stat struct {
	LSE    [2]float64 // log Σ e^(exponent·logit), for each term
	Mean   [2]float64 // mean of exponent·logit under the softmax
	Bias   float64    // mean of ColBias under the softmax of the first term
	Top    float64    // greatest similarity, without bias
	Sum    float64    // Sigmoid: Σ log(1 + e^logit); Squares: Σ s²
	Weight float64    // Sigmoid: Σ σ(logit)
	Moment float64    // Sigmoid: Σ σ(logit)·(logit − Bias)
}

// Anchors is the part of a loss that is a function of the sums of an anchor.
type Anchors interface {
	// LearnRows learns the sums of the rows from first on, and sets slopes, which are 0, to
	// ∂Loss/∂LSE of each, for each term, which Sigmoid and Squares ignore. It adds to the
	// Pull of the rows' positives. The rows come in order, one call after the other, not
	// always from the same goroutine.
	LearnRows(first int, sums []Stat, slopes [][2]float64)
}

// ColAnchors are Anchors of a problem whose first columns are anchors, too.
type ColAnchors interface {
	Anchors

	// LearnCols is LearnRows for columns. All rows have come before.
	LearnCols(first int, sums []Stat, slopes [][2]float64)
}

// ApartAnchors are Anchors that may learn groups apart from each other.
type ApartAnchors interface {
	Anchors

	// Apart reports whether LearnRows and LearnCols learn groups in any order, several at a
	// time, and leave what depends on their order to TotalRows and TotalCols.
	Apart() bool

	// TotalRows adds up what is known of n rows from first on, once they have been learnt,
	// and TotalCols the same of columns. The rows come in order, one call after the other, not
	// always from the same goroutine.
	TotalRows(first, n int)
	TotalCols(first, n int)
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
	plan     plan
	anchors  Anchors
	adder    Adder        // anchors, if it is one
	apart    ApartAnchors // the same, if they learn groups apart
	visitor  Visitor
	team     team
	started  bool // whether the team waits for more than a problem
	scratch  []scratch
	excluded [2]exclusions // by label, and one by one

	cols     *columns // the operands of the columns: a Packed's, or packed
	packed   columns
	sizedFor struct { // what all memory is large enough for
		plan    plan
		workers int
	}
	rows     operand // the stripe's rows by vector,
	elements operand // and by element
	held     operand // weights of the stripe, where they are not used as they come
	guide    guide

	kept  operand // blocks of the first rows, from one sweep to the next
	swept bool    // whether a sweep has ended

	partial  []float32 // for each chunk, or for all, what it adds to the gradients of the stripe's rows, by rowGrads
	colGrads []float32 // for each column panel, its gradients, element by element

	row, col side
	found    [2]sums // for each chunk, those of the stripe's rows; by turns, where sweeps overlap

	colLimits          []float32 // of a Filter, for all columns of the panels that have some
	leftSum, leftPairs float64   // of the similarities that a Filter has left out, and their number

	scaling    scaling
	measuring  measuring
	vectorSums [2][]float64
	order      []int32
}

// A scratch is the memory of one worker.
type scratch struct {
	weights operand   // of a part of a chunk, unless they are those of the whole stripe
	left    operand   // the same for the rows' gradients, where that is another operand
	block   []float32 // where blocks are no operands
	weighed []float32 // a block, of several terms
	vector  []float32
	vectors []float32 // those of a column panel, and a square
	factors []float64 // of these
	inverse []float64 // of what a group's gradients are still to be multiplied by
	pulls   []float32 // or other factors of a group
	units   []float32 // what a group's rows are multiplied by to give their vectors
	grads   []float32 // of a group's rows

	guide, other []float32 // blocks of a Filter
	guideVectors []float32
	plainTops    []float32 // of the stripe's rows, before ColBias
	bias         []float64
	leftOut      leftOut

	row     [2]kernel.Tally
	weight  []float32
	col     kernel.Tally
	ignored kernel.Tally // rows that a kernel tallies besides

	stats  [anchorsAtOnce]Stat
	logs   Group
	slopes [anchorsAtOnce][2]float64
	cursor [2][]int32
}

// New returns an Engine.
func New() *Engine { return new(Engine) }

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
func (e *Engine) Run(p *Problem, a Anchors) { e.run(p, kernel.Active(), a) }

func (e *Engine) run(p *Problem, k *kernel.Kernels, a Anchors) { e.walk(p, planOf(p, k), a) }

// walk evaluates p by a plan.
func (e *Engine) walk(p *Problem, plan plan, a Anchors) {
	e.anchors = a
	e.adder, _ = a.(Adder)
	if e.apart, _ = a.(ApartAnchors); e.apart != nil && !e.apart.Apart() {
		e.apart = nil
	}
	e.begin(p, plan)
	l := &e.plan
	switch {
	case l.form != Softmax:
		e.sweep(&pointwise)
	case p.RowWeights != nil:
		e.row.setWeights(p.RowWeights, l.terms)
		e.col.setWeights(p.ColWeights, l.terms)
		if l.wantRows || l.wantCols {
			e.sweep(&weights)
		}
	default:
		if l.wide {
			e.sweep(&maxima)
			e.joinSides()
			e.setShifts()
		}
		if l.asksEarly {
			e.sweep(&early)
			break
		}
		if !p.twoSweeps() {
			e.sweep(&fused)
			break
		}
		e.sweep(&tallies)
		e.joinSides()
		e.askAnchors()
		if l.wantRows || l.wantCols {
			e.sweep(&weights)
		}
	}
	if l.wantCols && !l.symmetric && !l.defers {
		e.each(l.panels, (*Engine).finishCols, step{})
	}
	if p.Positives.apart(p.Cols) {
		e.each((p.Positives.List.n+l.k.Cols-1)/l.k.Cols, (*Engine).finishPositives, step{})
	}
	if p.Hard.apart(p.Cols) {
		e.each((p.Hard.List.n+l.k.Cols-1)/l.k.Cols, (*Engine).finishHard, step{})
	}
	e.end()
	e.anchors, e.adder, e.apart = nil, nil, nil
}

// begin sizes the scratch memory for a plan of p and packs the columns, unless they are to
// be shown.
func (e *Engine) begin(p *Problem, l plan) {
	e.p, e.plan = p, l
	e.leftSum, e.leftPairs = 0, 0
	e.swept = false
	if !e.started {
		e.team.start(workersFor(p.Workers, l.rows, l.cols, l.dim, l.k))
	}
	e.size()
	if !l.alone {
		e.beginFilter()
	}
	e.excluded[0].byLabel(&p.Mask)
	e.excluded[1].oneByOne(&p.Mask)
	for _, pairs := range [...]*Pairs{p.Positives, p.Hard} {
		if pairs != nil && (p.ColAnchors > 0 || pairs.List.Wants() && !(p.Symmetric && pairs.among(p.Cols))) {
			pairs.Transpose()
		}
	}
	if e.cols = p.Cols.packed; e.cols != nil && e.cols.layout != l.layout {
		e.cols = nil
	}
	if e.cols == nil && !l.alone {
		e.cols = &e.packed
		e.cols.layout = l.layout
		e.cols.byVector = grow(e.cols.byVector, l.panels*l.panelWords())
		if l.wantRows {
			e.cols.byElement = grow(e.cols.byElement, l.panels*l.panelWords())
		}
		e.each((l.panels+packPanels-1)/packPanels, (*Engine).packCols, step{})
	}
}

// packPanels is the number of column panels of a packing task.
const packPanels = 4

func (e *Engine) packCols(_ step, worker, i int) {
	for p := i * packPanels; p < min((i+1)*packPanels, e.plan.panels); p++ {
		e.cols.pack(e.p.Cols, p, e.plan.wantRows, e.scratch[worker].vectors)
	}
}

func (e *Engine) end() {
	if !e.started {
		e.team.stop()
	}
	e.p, e.cols = nil, nil
}

// Start starts the workers of the next problem, of so many rows and columns at most, so
// that its lists can have them too, and PairSum. They wait until Leave.
func (e *Engine) Start(workers, rows, cols, dim int) {
	e.team.start(workersFor(workers, rows, cols, dim, kernel.Active()))
	e.started = true
}

// workIn returns the floating-point operations of a product for each element of the register
// tile.
func workIn(rows, cols, dim int, k *kernel.Kernels) float64 {
	return 2 * float64(rows) * float64(cols) * float64(dim) / float64(k.Rows*k.Cols)
}

// workersFor returns how many of the workers a problem has work for.
func workersFor(workers, rows, cols, dim int, k *kernel.Kernels) int {
	if workIn(rows, cols, dim, k) < minParallel {
		return 1
	}
	return max(1, workers)
}

// size makes room for what the plan asks for, unless there is from the last problem.
func (e *Engine) size() {
	l := &e.plan
	if e.sizedFor.plan != *l || e.sizedFor.workers != e.team.workers {
		e.resize()
		e.sizedFor.plan, e.sizedFor.workers = *l, e.team.workers
	}
	if !l.alone {
		e.row.reset(l)
		e.col.reset(l)
	}
}

func (e *Engine) resize() {
	l := &e.plan
	c, cols := l.k.Cols, l.panels*l.k.Cols
	for len(e.scratch) < e.team.workers {
		e.scratch = append(e.scratch, scratch{})
	}
	for w := range e.team.workers {
		e.scratch[w].size(l, e.holds())
	}
	if l.alone {
		return
	}
	e.rows = grow(e.rows, l.rowWords())
	if l.wantRows {
		chunks := l.chunks
		if l.ordered {
			chunks = min(1, chunks)
		}
		e.partial = grow(e.partial, chunks*l.stripe*l.padded)
	}
	if l.wantCols {
		e.elements = grow(e.elements, l.rowWords())
		e.colGrads = grow(e.colGrads, cols*l.padded)
	}
	if e.holds() {
		e.held = grow(e.held, l.panels*l.weightWords())
	}
	if l.keeps != nothing {
		e.kept = grow(e.kept, l.keptAt(l.keptRows))
	}
	e.row.resize(max(cols, roundUp(l.rows, c)), l)
	e.col.resize(cols, l)
	e.found[0].resize(l.chunks*l.stripe, l)
	if e.team.workers > 1 { // sweeps may overlap
		e.elements = grow(e.elements, l.rowWords())
		e.found[1].resize(l.chunks*l.stripe, l)
	}
}

func (w *scratch) size(l *plan, holds bool) {
	k, part := l.k, l.part
	if l.symmetric {
		part = max(part, l.stripe/k.Cols)
	}
	if !holds {
		w.weights = grow(w.weights, part*l.weightWords())
	}
	if l.keeps == similarities {
		w.block = grow(w.block, l.stripe*k.Cols)
	}
	if !l.format.inPlace() {
		w.left = grow(w.left, part*l.weightWords())
		w.block = grow(w.block, l.stripe*k.Cols)
	}
	if l.alone {
		w.block = grow(w.block, l.stripe*k.Cols)
	}
	w.weighed = grow(w.weighed, l.stripe*k.Cols)
	if l.filtered {
		w.leftOut.sum, w.leftOut.pairs = grow(w.leftOut.sum, l.stripe*k.Lanes), grow(w.leftOut.pairs, l.stripe*k.Lanes)
		w.guide, w.other = grow(w.guide, l.stripe*k.Cols), grow(w.other, l.stripe*k.Cols)
	}
	if l.biased {
		w.plainTops, w.bias = resize(w.plainTops, l.stripe), resize(w.bias, l.stripe)
	}
	w.vector = grow(w.vector, l.padded)
	w.vectors = grow(w.vectors, l.packScratch())
	w.factors, w.inverse = resize(w.factors, k.Cols), resize(w.inverse, k.Cols)
	w.pulls, w.units = resize(w.pulls, k.Cols), resize(w.units, k.Cols)
	if l.wantRows {
		w.grads = grow(w.grads, k.Cols*l.padded)
	}
	for t := range l.terms {
		w.row[t].Sum = grow(w.row[t].Sum, l.stripe*k.Lanes)
		w.row[t].Moment = grow(w.row[t].Moment, l.stripe*k.Lanes)
		w.row[t].Top = grow(w.row[t].Top, l.stripe*k.Lanes)
	}
	if l.filtered {
		w.ignored.Top = grow(w.ignored.Top, l.stripe*k.Lanes)
	}
	w.weight = grow(w.weight, l.stripe*k.Lanes)
	w.col.Sum = grow(w.col.Sum, k.Cols)
	w.col.Moment = grow(w.col.Moment, k.Cols)
	w.col.Top = grow(w.col.Top, k.Cols)
	w.cursor[0], w.cursor[1] = resize(w.cursor[0], l.stripe), resize(w.cursor[1], l.stripe)
}

// clear empties the sums of a stripe's rows. Sums in float32 are of a part's columns at
// most; those of parts are added in float64.
func (w *scratch) clear(rows int, l *plan) {
	for t := range l.terms {
		clear(w.row[t].Sum[:rows*l.k.Lanes])
		clear(w.row[t].Moment[:rows*l.k.Lanes])
	}
	clear(w.weight[:rows*l.k.Lanes])
	if l.filtered {
		clear(w.leftOut.sum[:rows*l.k.Lanes])
		clear(w.leftOut.pairs[:rows*l.k.Lanes])
	}
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
func (p *Problem) twoSweeps() bool {
	return p.Symmetric || p.ColAnchors > 0 || p.Terms > 1 || p.RowWeights != nil
}

// wide reports whether exponentials need the exact maximum of each anchor.
func (p *Problem) wide() bool {
	exponent := 1.0
	for _, x := range p.Exponents[:p.Terms] {
		exponent = max(exponent, x)
	}
	bound := p.Bound
	if bound == 0 {
		bound = 1
	}
	return !(exponent*p.Scale*bound*math.Log2E <= maxExponent)
}
