package engine

import (
	"github.com/contrastive-go/contrastive/internal/cache"
	"github.com/contrastive-go/contrastive/internal/kernel"
)

// A plan is how a problem is walked: what is walked, and in which pieces. It is a
// function of the problem and the kernels. What depends on the order of additions
// depends on no number of workers, so that neither do results.
type plan struct {
	layout
	rows, cols int // vectors
	panels     int // column panels

	form       Form
	terms      int
	colAnchors int
	symmetric  bool // whether the rows are the first columns
	shared     bool // whether there is work for more than one worker
	wide       bool // whether exponentials need the exact maximum of each anchor
	biased     bool // whether columns have a bias
	filtered   bool // whether pairs are left out by their similarity

	wantRows, wantCols bool // which gradients are wanted

	defers bool // whether the weights of a whole stripe are multiplied by its rows when its sums are complete
	// Deferred weights lack a coefficient of each row, which is known when its sums are.
	// weighsBlocks says that they are multiplied by it, and not the rows: fewer numbers, where
	// there are fewer columns than elements.
	weighsBlocks bool

	// asksEarly says that a chunk has all columns, so that the anchors of a stripe are asked
	// before its weights are multiplied.
	asksEarly bool

	// pulls says that what Positives pull is among the weights of a block: not where those
	// are rounded to pieces, nor where all lists of many columns would be searched for those of
	// a panel.
	pulls bool

	alone bool // whether blocks are shown, and no more is made of them
	equal bool // whether no more than the panels with pairs of equal slots are walked

	// ordered says that what a chunk adds to the gradients of rows is one product, which is
	// added as a whole. So chunks, one after the other, can add to the same gradients.
	ordered bool

	// single says that there is one such product for each row. Then it stores vectors as they
	// are finished: where others are added, what is side by side comes from memory faster.
	// The same is true of columns if there is a single stripe.
	single, singleCols bool

	stripe, blockSize int // rows of a stripe, and the distance between blocks of these

	part   int // column panels whose weights are used while they are in the cache
	chunk  int // column panels of a chunk
	chunks int

	mostBand int // rows of a band at most, where a stripe has several

	leastShared int // rows of a stripe whose own panels are two chunks

	// Of blocks that are shown: the rows, in whole stripes, and the column panels whose
	// operands are held at a time.
	shownRows, shownPanels int

	keeps    kept // what the first sweep keeps of the blocks
	keptRows int  // of the first rows
}

// cuts are the sizes that a plan divides a problem by. Tests have smaller ones.
type cuts struct {
	stripeRows     int
	loneStripeRows int // of a stripe that has all rows, of one list against itself
	deferredFloats int // of the weights of a stripe at most, unless there are very many columns
	partCols       int
	maxChunks      int     // 2 or more
	leastShared    int     // rows of a stripe whose own panels are two chunks,
	minParallel    float64 // and the work of its problem
}

const (
	stripeRows     = 192 // weights of a stripe and a part take 96 KiB: they stay in the second-level cache
	loneStripeRows = 256 // of one list against itself, where another stripe would have few rows
	partCols       = 128 // also bounds the terms of sums in float32
	maxChunks      = 32
)

// usual returns the cuts of every problem.
func usual() cuts {
	return cuts{
		stripeRows: stripeRows, loneStripeRows: loneStripeRows, deferredFloats: 2 << 20,
		partCols: partCols, maxChunks: maxChunks,
		leastShared: 96, minParallel: minParallel,
	}
}

// planOf returns the plan of the gradients and sums of p.
func planOf(p *Problem, k *kernel.Kernels) plan { return usual().plan(p, k) }

func (c cuts) plan(p *Problem, k *kernel.Kernels) plan {
	l := newPlan(p, k)
	l.form, l.terms, l.symmetric, l.wide = p.Form, max(1, p.Terms), p.Symmetric, p.wide()
	l.shared = workIn(l.rows, l.cols, l.dim, k) >= c.minParallel
	l.biased, l.filtered = p.ColBias != nil, p.Filter != nil
	l.wantRows, l.wantCols = p.Rows.wants(0, p.Rows.n), p.Cols.wants(0, p.Cols.n)
	l.divide(c)
	l.asksEarly = (p.Form == Softmax && !p.twoSweeps() || p.Form == Sigmoid && p.RowGains == nil) && l.chunks == 1 && l.format.inPlace()
	l.pulls = l.format.inPlace() && (l.asksEarly || p.Form == Softmax && p.twoSweeps() && p.RowWeights == nil) && p.Positives.among(p.Cols) && (l.chunks == 1 || p.Positives.isRuns())
	l.defers = l.wantCols && p.Form == Softmax && !p.twoSweeps() && !l.asksEarly
	l.weighsBlocks = l.defers && l.format.sharesRows() && l.cols <= l.dim
	if !l.symmetric {
		l.colAnchors = p.ColAnchors
	}

	cols := roundUp(max(1, l.cols), k.Cols)
	stripe := c.stripeRows
	if l.defers {
		stripe = min(stripe, c.deferredFloats/cols)
	}
	unit := l.format.stripeUnit(k, l.symmetric)
	stripe = max(unit, stripe/unit*unit)
	if all := roundUp(max(1, l.rows), unit); all < stripe || l.symmetric && l.rows <= c.loneStripeRows {
		stripe = all
	}
	l.setStripe(stripe)
	l.leastShared = c.leastShared
	if l.symmetric && l.chunks > 0 {
		l.chunks = l.chunksOf(l.stripeAt(0))
	}

	l.ordered = l.chunk == l.part && l.format.inPlace()
	l.single = l.ordered && l.chunks == max(1, l.ownChunks(l.stripeAt(0)))
	l.singleCols = l.stripes() == 1 && l.format.inPlace()
	l.keep(p)
	return l
}

// divide divides the column panels into chunks.
func (l *plan) divide(c cuts) {
	l.part = max(1, c.partCols/l.k.Cols)
	l.chunk = roundUp((l.panels+c.maxChunks-1)/c.maxChunks, l.part)
	if l.panels > 0 { // an empty queue has no columns
		l.chunks = (l.panels + l.chunk - 1) / l.chunk
	}
}

func newPlan(p *Problem, k *kernel.Kernels) plan {
	l := plan{layout: layoutOf(k, p.Pieces, p.Rows.dim), rows: p.rows(), cols: p.Cols.n}
	l.panels = (l.cols + k.Cols - 1) / k.Cols
	l.mostBand = l.bandWithin(cache.L2)
	return l
}

// A stripe is a few rows that follow each other.
type stripe struct{ first, rows int }

func (s stripe) end() int { return s.first + s.rows }

// stripes returns the number of stripes.
func (l *plan) stripes() int { return (l.rows + l.stripe - 1) / l.stripe }

// stripeAt returns the i'th stripe.
func (l *plan) stripeAt(i int) stripe {
	return stripe{i * l.stripe, min(l.stripe, l.rows-i*l.stripe)}
}

// groups returns the number of groups of a stripe's rows, of which each is a task:
// those of a column panel, if rows are columns.
func (l *plan) groups(s stripe) int { return (s.rows + l.k.Cols - 1) / l.k.Cols }

// group returns the i'th of them, as the rows of a stripe.
func (l *plan) group(s stripe, i int) stripe {
	return stripe{s.first + i*l.k.Cols, min(l.k.Cols, s.rows-i*l.k.Cols)}
}

// leastBand is how many rows a band has at least, which are multiplied by a column panel
// while it is in the first-level cache: panels come from beyond that at a sixth of a byte for
// each multiplication.
const leastBand = 24

// bandWithin returns the most rows of a band whose operand takes half of a second-level cache,
// from which it is read once for each column panel. The other half has what streams.
func (l *layout) bandWithin(bytes int) int { return max(leastBand, bytes/2/4/l.padded) }

// bandOf returns the rows of the bands of a stripe: as many bands as are wanted or more, if
// these are several, but none of too few rows.
func (l *plan) bandOf(s stripe, wanted int) int {
	if wanted > 1 {
		wanted = max(wanted, (s.rows+l.mostBand-1)/l.mostBand)
	}
	n := max(1, min(wanted, s.rows/leastBand))
	return roundUp((s.rows+n-1)/n, l.k.BlockRows)
}

// bands returns the number of bands of so many rows, and bandAt the i'th.
func (l *plan) bands(s stripe, rows int) int { return (s.rows + rows - 1) / rows }

func (l *plan) bandAt(s stripe, rows, i int) stripe {
	return stripe{s.first + i*rows, min(rows, s.rows-i*rows)}
}

// An area is some elements of some rows of a stripe.
type area struct{ row, rows, elem, elems int }

// areaOf returns the size of areas of a stripe, bands or some elements of them.
func (l *plan) areaOf(s stripe, band, workers int) area {
	a := area{rows: band, elems: l.padded}
	for n := l.areas(s, a); a.elems > l.k.Cols && (n < workers || n < areasPerWorker*workers && a.elems > leastElems); n = l.areas(s, a) {
		a.elems = roundUp((a.elems+1)/2, l.k.Cols)
	}
	return a
}

// areas returns the number of areas of a size, and areaAt the i'th. Successive ones are of
// successive bands.
func (l *plan) areas(s stripe, size area) int {
	return l.bands(s, size.rows) * ((l.padded + size.elems - 1) / size.elems)
}

func (l *plan) areaAt(s stripe, size area, i int) area {
	bands := l.bands(s, size.rows)
	row, elem := i%bands*size.rows, i/bands*size.elems
	return area{row, min(size.rows, s.rows-row), elem, min(size.elems, l.padded-elem)}
}

// chunksOf returns the number of chunks that a stripe is walked with, the first ones. If rows
// are columns, the panels before the stripe have met it as rows, its own make the first
// ownChunks, and those after it the others.
func (l *plan) chunksOf(s stripe) int {
	if l.symmetric {
		return l.ownChunks(s) + (l.panels-l.panelsTo(s.end())+l.chunk-1)/l.chunk
	}
	return l.chunks
}

// firstPanel returns the first column panel that a stripe is walked with.
func (l *plan) firstPanel(s stripe) int {
	if l.symmetric {
		return s.first / l.k.Cols
	}
	return 0
}

// panelsTo returns the number of column panels with columns before col.
func (l *plan) panelsTo(col int) int { return (col + l.k.Cols - 1) / l.k.Cols }

// panelsOf returns the column panels of a chunk that a stripe is walked with.
func (l *plan) panelsOf(chunk int, s stripe) (first, end int) {
	if l.symmetric {
		own := l.ownChunks(s)
		if chunk < own {
			return l.ownPanel(chunk, s), l.ownPanel(chunk+1, s)
		}
		first = l.panelsTo(s.end()) + (chunk-own)*l.chunk
		return first, min(first+l.chunk, l.panels)
	}
	first, end = chunk*l.chunk, min((chunk+1)*l.chunk, l.panels)
	if l.equal {
		first, end = max(first, s.first/l.k.Cols), min(end, l.panelsTo(s.end()))
	}
	return first, end
}

// ownChunks returns the number of chunks of the panels that are of rows of the stripe: two
// where workers share them.
func (l *plan) ownChunks(s stripe) int {
	switch {
	case !l.symmetric:
		return 0
	case !l.shared || s.rows < l.leastShared:
		return 1
	}
	return 2
}

// ownPanel returns the first panel of such a chunk, and that after the last. Panels meet the
// rows up to their own, so that the second of two chunks of as many pairs begins at 1/√2.
func (l *plan) ownPanel(chunk int, s stripe) int {
	first, end := l.firstPanel(s), l.panelsTo(s.end())
	switch chunk {
	case 0:
		return first
	case l.ownChunks(s):
		return end
	}
	return first + (end-first)*181/256
}

// multipliedWith returns the column panels whose weights are multiplied at once with those of
// a chunk. The rows of the panels of a stripe are complete together.
func (l *plan) multipliedWith(chunk int, s stripe) (first, end int) {
	switch own := l.ownChunks(s); {
	case chunk >= own:
		return l.panelsOf(chunk, s)
	case chunk == 0:
		return l.ownPanel(0, s), l.ownPanel(own, s)
	}
	return 0, 0
}

// within reports whether a column panel is of rows of the stripe.
func (l *plan) within(panel int, s stripe) bool { return l.symmetric && panel*l.k.Cols < s.end() }

// meets returns how many of some rows, from the first on, are walked with a column panel, or
// with those before it. If rows are columns, a pair is met once: with the panel of the row that
// comes last.
func (l *plan) meets(panel int, s stripe) int {
	if l.symmetric {
		return max(0, min(s.rows, (panel+1)*l.k.Cols-s.first))
	}
	return s.rows
}

// meetsBoth returns how many of these meet the panel for its columns, too, if these are
// anchors. If rows are columns, the pairs of a panel with its own rows have both orders.
func (l *plan) meetsBoth(panel int, s stripe) int {
	switch col := panel * l.k.Cols; {
	case l.symmetric && col < l.rows:
		return min(s.rows, max(0, col-s.first))
	case col < l.colAnchors:
		return s.rows
	}
	return 0
}
