package engine

// A problem that takes more than one sweep needs the same similarities in each. The first
// sweep keeps the blocks of as many stripes as Problem.KeepBytes has room for: memory is
// read in a fraction of the time that a product takes. The others are computed again, to
// the same bits.

// kept is what blocks are when they are kept.
type kept uint8

const (
	nothing kept = iota
	// similarities, without the pairs that a Mask excludes.
	similarities
	// exponentials, which do for rows and for columns where there is one term, no shift
	// and no Filter.
	exponentials
)

// keep plans what is kept for the sweeps after the first.
func (l *plan) keep(p *Problem) {
	if !p.sweepsAgain(l) {
		return
	}
	l.keeps = similarities
	if p.Terms == 1 && !l.wide && !l.filtered {
		l.keeps = exponentials
	}
	budget := p.KeepBytes / 4
	if l.defers {
		budget -= l.panels * l.blockSize // the weights that are held, of a stripe
	}
	for l.keptRows < l.rows && l.keptAt(l.keptRows+l.stripe) <= budget {
		l.keptRows += l.stripe
	}
	if l.keptRows == 0 {
		l.keeps = nothing
	}
}

// sweepsAgain reports whether similarities are needed after the first sweep.
func (p *Problem) sweepsAgain(l *plan) bool {
	return p.Form == Softmax && p.RowWeights == nil && (l.wide || p.twoSweeps() && (l.wantRows || l.wantCols))
}

// isKept reports whether the blocks of a stripe are kept.
func (l *plan) isKept(s stripe) bool { return l.keeps != nothing && s.first < l.keptRows }

// keptAt is where the kept blocks begin of the stripe from row first on. If rows are
// columns, a stripe meets those before it no more.
func (l *plan) keptAt(first int) int {
	before := first / l.stripe
	blocks := before * l.panels
	if l.symmetric {
		blocks -= l.stripe / l.k.Cols * (before * (before - 1) / 2)
	}
	return blocks * l.blockSize
}

// keptBlock returns the memory of a block that is kept, and of those after it.
func (e *Engine) keptBlock(s stripe, panel int) operand {
	l := &e.plan
	first, _ := l.panelsOf(0, s)
	return e.kept[l.keptAt(s.first)+(panel-first)*l.blockSize:]
}

// weighExponentials is weigh for a block of exponentials.
func (e *Engine) weighExponentials(b block) {
	k, cols, col0 := e.plan.k, e.colSide(), b.panel*e.plan.k.Cols
	k.WeighExponentials(b.s, b.rows, e.row.coef[0][b.first:], cols.coef[0][col0:col0+k.Cols])
	e.putPulls(b)
}
