package engine

import "github.com/contrastive-go/contrastive/internal/kernel"

// A problem that takes more than one sweep needs the same similarities in each. The first
// sweep keeps the blocks of as many stripes as Problem.KeepBytes has room for: memory is
// read in a fraction of the time that a product takes. The others are computed again, to
// the same bits.

// kept is what blocks are when they are kept.
type kept uint8

const (
	nothing kept = iota
	// similarities, with pairs that do not count left out.
	similarities
	// exponentials, which do for rows and for columns where there is one term and no
	// shift.
	exponentials
)

// keep plans what is kept for the sweeps after the first.
func (l *plan) keep(p *Problem) {
	if !p.sweepsAgain(l) || l.filtered {
		return // a Filter counts what it leaves out as it does so
	}
	switch {
	case p.Terms == 1 && !l.wide:
		l.keeps = exponentials
	case !l.biased: // a bias is added to similarities in place
		l.keeps = similarities
	default:
		return
	}
	for l.keptRows < l.rows && l.keptAt(l.keptRows+l.stripe) <= p.KeepBytes/4 {
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
	return blocks * l.stripe * l.k.Cols
}

// keptBlock returns the memory of a block that is kept, and of those after it.
func (e *Engine) keptBlock(s stripe, panel int) operand {
	l := &e.plan
	first, _ := l.panelsOf(0, s)
	return e.kept[l.keptAt(s.first)+(panel-first)*l.stripe*l.k.Cols:]
}

// weighExponentials is weigh for a block of exponentials.
func (e *Engine) weighExponentials(b block, k *kernel.Kernels) {
	cols, col0 := e.colSide(), b.panel*k.Cols
	k.WeighExponentials(b.s, b.rows, e.row.coef[0][b.first:], cols.coef[0][col0:col0+k.Cols])
}
