package contrastive

import (
	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/simd"
)

// A pass walks all columns: for the sums of the anchors, for the gradients, or for
// both at once where the weights of a block do not depend on other blocks.
type pass struct{ sums, grads bool }

// columns are the block that rows are compared with: the columns of one rank, or
// of all.
type columns struct {
	first, end      int // ranks
	keys, negatives Matrix
	labels          []int
	known           []engine.Known // of keys that are anchors
}

// block makes a.columns those of one rank, from its message.
func (a *shard) block(r int, message []float32, known bool) {
	c, d := &a.columns, a.dim
	keys, negatives := a.keyCount(r), a.negatives[r]
	c.first, c.end = r, r+1
	c.keys = Matrix{Rows: keys, Cols: d, Stride: d, Data: message}
	c.negatives = Matrix{Rows: negatives, Cols: d, Stride: d, Data: message[keys*d:]}
	c.labels, c.known = c.labels[:0], c.known[:0]
	for range a.views {
		c.labels = a.appendLabels(c.labels, r, message[a.labelsAt(r):])
	}
	if known {
		c.known = appendKnown(c.known, message[a.knownAt(r):], keys)
	}
}

// gather makes a.columns those of all ranks.
func (a *shard) gather() error {
	c, d, own := &a.columns, a.dim, a.own
	keys, negatives := a.sum(0, a.size, a.keyCount), a.sum(0, a.size, a.negativeCount)
	c.first, c.end, c.known = 0, a.size, c.known[:0]
	part := func(dst *[]float32, at, width int, count func(r int) int) error {
		*dst = resizeVector(*dst, width*a.sum(0, a.size, count))
		size := func(r int) int { return width * count(r) }
		return a.allGather(*dst, own[at:at+size(a.rank)], size)
	}
	if keys > 0 {
		if err := part(&a.all.keys, 0, d, a.keyCount); err != nil {
			return err
		}
	}
	if negatives > 0 {
		if err := part(&a.all.negatives, d*a.keyCount(a.rank), d, a.negativeCount); err != nil {
			return err
		}
	}
	examples := func(r int) int { return a.examples[r] }
	if a.labelled {
		if err := part(&a.all.labels, a.labelsAt(a.rank), pieces, examples); err != nil {
			return err
		}
	}
	c.keys = Matrix{Rows: keys, Cols: d, Stride: d, Data: a.all.keys}
	c.negatives = Matrix{Rows: negatives, Cols: d, Stride: d, Data: a.all.negatives}
	c.labels = c.labels[:0]
	for r := range a.size {
		for range a.views {
			c.labels = a.appendLabels(c.labels, r, a.all.labels[min(len(a.all.labels), pieces*a.sum(0, r, examples)):])
		}
	}
	return nil
}

// gatherKnown completes gathered columns with what is known of them.
func (a *shard) gatherKnown() error {
	count := func(r int) int { return knownLen * a.keyCount(r) }
	a.all.known = resizeVector(a.all.known, a.sum(0, a.size, count))
	at := a.knownAt(a.rank)
	if err := a.allGather(a.all.known, a.own[at:at+count(a.rank)], count); err != nil {
		return err
	}
	a.columns.known = appendKnown(a.columns.known[:0], a.all.known, a.columns.keys.Rows)
	return nil
}

func appendKnown(known []engine.Known, src []float32, n int) []engine.Known {
	for j := range n {
		known = append(known, engine.Known{Shift: src[knownLen*j], Coef: src[knownLen*j+1]})
	}
	return known
}

// owner returns whose columns are here at step t of a ring: a rank's own at first,
// and last those of the next rank, which are then one step from home.
func (a *shard) owner(t int) int { return (a.rank - t + a.size) % a.size }

// walk makes a pass. In a ring, the columns of another rank are here at every step,
// and those of the next step are on their way while it computes. What is found
// about columns, sums or gradients, goes after them: a rank adds its own to that
// of the ranks before and sends it on, so that it comes home complete, to a.in,
// added up in the order of the ranks that begins with the owner. Gathered, the
// first step computes everything, and the others do no more than add up.
func (a *shard) walk(p pass) error {
	known := !p.sums && (a.symmetric || a.oneList())
	behind := p.sums && a.symmetric || p.grads && a.wantCols
	message := a.own[:a.messageLen(a.rank, known)]
	a.sizeBuffers(p)
	steps := 1
	if a.ring || a.travel && behind {
		steps = a.size
	}
	var sums Transfer
	for t := range steps {
		owner := a.owner(t)
		var ahead Transfer
		var next []float32
		if a.ring && t+1 < steps {
			next = a.arriving[t%2][:a.messageLen(a.owner(t+1), known)]
			var err error
			if ahead, err = a.shift(next, message); err != nil {
				return err
			}
		}
		if a.ring || !a.travel {
			a.block(owner, message, known)
		}
		if a.ring || t == 0 {
			a.compute(p, known)
		}
		if behind {
			var err error
			if sums, err = a.passOn(p, sums, t); err != nil {
				return err
			}
		}
		if ahead != nil {
			if err := a.wait(ahead); err != nil {
				return err
			}
			message = next
		}
	}
	if sums != nil {
		return a.wait(sums)
	}
	return nil
}

// sizeBuffers makes room for what a pass adds up.
func (a *shard) sizeBuffers(p pass) {
	cols, rows := a.largest(a.colCount), a.dim*a.rowCount()
	if a.ring {
		n := a.largest(func(r int) int { return a.messageLen(r, true) })
		a.arriving[0], a.arriving[1] = resizeVector(a.arriving[0], n), resizeVector(a.arriving[1], n)
	}
	if p.grads && a.wantRows {
		a.rowGrad = resizeVector(a.rowGrad, rows)
		if a.ring {
			a.rowPart = resizeVector(a.rowPart, rows)
		}
	}
	width := 0
	if p.grads && a.wantCols {
		width = a.dim
		block := cols
		if a.travel && !a.ring {
			block = a.sum(0, a.size, a.colCount)
		}
		a.colGrad = resizeVector(a.colGrad, a.dim*block)
	} else if p.sums && a.symmetric {
		width = statLen
	}
	a.out, a.in = resizeVector(a.out, width*cols), resizeVector(a.in, width*cols)
}

// passOn adds what is known about the columns of the owner at step t to what the
// ranks before have found, and sends it on. It returns the transfer.
func (a *shard) passOn(p pass, sums Transfer, t int) (Transfer, error) {
	length := func(r int) int {
		if p.grads {
			return a.dim * a.colCount(r)
		}
		return statLen * a.keyCount(r)
	}
	if sums != nil {
		if err := a.wait(sums); err != nil {
			return nil, err
		}
	}
	owner := a.owner(t)
	out := a.out[:length(owner)]
	if !a.travel {
		out = a.in[:length(owner)]
	}
	if p.grads {
		keys, negatives := a.dim*a.keyCount(owner), a.dim*a.negatives[owner]
		at := a.dim * a.sum(a.columns.first, owner, a.keyCount)
		copy(out[:keys], a.colGrad[at:])
		at = a.dim * (a.columns.keys.Rows + a.sum(a.columns.first, owner, a.negativeCount))
		copy(out[keys:keys+negatives], a.colGrad[at:])
		if t > 0 {
			simd.Axpy(1, a.in[:len(out)], out)
		}
	} else {
		for j, s := range a.colStats[a.sum(a.columns.first, owner, a.keyCount):][:a.keyCount(owner)] {
			if t > 0 {
				s = combine(getStat(a.in[statLen*j:]), s)
			}
			putStat(out[statLen*j:], s)
		}
	}
	if !a.travel {
		return nil, nil
	}
	return a.shift(a.in[:length(a.owner(t+1))], out)
}

func putStat(dst []float32, s engine.Stat) {
	putFloat64(dst, s.LSE[0])
	putFloat64(dst[pieces:], s.Mean[0])
	dst[2*pieces] = float32(s.Top) // which it was
}

func getStat(src []float32) engine.Stat {
	s := engine.Stat{Top: float64(src[2*pieces])}
	s.LSE[0], s.Mean[0] = getFloat64(src), getFloat64(src[pieces:])
	return s
}

// compute evaluates the rows against a.columns.
func (a *shard) compute(p pass, known bool) {
	en, c, d := a.engine, &a.columns, a.dim
	own := c.first <= a.rank && a.rank < c.end // the first block of a pass
	n := a.rowCount()
	grad := func(want bool, dst []float32, rows int) engine.Matrix {
		if !want || rows == 0 {
			return engine.Matrix{}
		}
		return engine.Matrix{Rows: rows, Cols: d, Stride: d, Data: dst}
	}
	rowGrad := a.rowGrad
	if !own {
		rowGrad = a.rowPart
	}
	en.Rows.Reset(d)
	en.Rows.Add(engine.Matrix{Rows: n, Cols: d, Stride: d, Data: a.rows()}, grad(p.grads && a.wantRows, rowGrad, n), false)

	wantCols := p.grads && a.wantCols
	a.problem.Mask, a.problem.Cols = engine.Mask{}, &en.Cols
	a.problem.Rows = &en.Rows
	c.labels = c.labels[:min(len(c.labels), c.keys.Rows)] // without those of the queue
	en.Cols.Reset(d)
	en.Cols.Add(engine.Matrix(c.keys), grad(wantCols, a.colGrad, c.keys.Rows), false)
	queue := a.batch.Queue
	if !own || queue != nil && queue.Len() == 0 {
		queue = nil
	}
	// Columns without labels come after those with labels.
	if queue != nil && queue.labels != nil {
		en.Cols.Add(engine.Matrix(queue.Keys()), engine.Matrix{}, false)
		if a.batch.Labels != nil {
			c.labels = append(c.labels, queue.labels...)
			if p.sums && a.kind == shardedClasses {
				a.classes.add(queue.Keys(), queue.labels, false)
			}
		}
	}
	if c.negatives.Rows > 0 {
		dst := a.colGrad
		if wantCols {
			dst = dst[d*c.keys.Rows:]
		}
		en.Cols.Add(engine.Matrix(c.negatives), grad(wantCols, dst, c.negatives.Rows), false)
	}
	if queue != nil && queue.labels == nil {
		en.Cols.Add(engine.Matrix(queue.Keys()), engine.Matrix{}, false)
	}
	if queue != nil && en.Cols.Len() == queue.Len() {
		if panels := queue.laidOut(a.problem.Pieces); panels != nil {
			a.problem.Cols = panels // as the queue keeps them
		}
	}
	a.mask(own)

	a.problem.ColAnchors, a.problem.Known, a.problem.ColKnown = 0, nil, nil
	if p.sums && a.symmetric {
		a.problem.ColAnchors = c.keys.Rows
		a.colStats = a.colStats[:0]
	}
	if !p.sums {
		a.problem.Known, a.problem.ColKnown = a.known, c.known
		a.problem.ColAnchors = len(c.known)
	}
	en.Run(&a.problem, a)

	if p.sums {
		sum, pairs := en.PairSum(&a.problem)
		a.parts[partNegative] += sum
		a.parts[partNegatives] += pairs
		if a.kind == shardedClasses {
			a.classes.add(c.keys, c.labels, true)
		}
	}
	if p.grads && a.wantRows && !own {
		simd.Axpy(1, a.rowPart, a.rowGrad)
	}
}

// mask excludes the pairs of the block that do not count.
func (a *shard) mask(own bool) {
	m := &a.problem.Mask
	diagonal := a.sum(a.columns.first, max(a.rank, a.columns.first), a.keyCount)
	switch {
	case a.kind == shardedViews:
		// The two views of an example have one label. Where that is its number, none
		// of another rank has it.
		if own || a.labelled {
			m.RowLabels, m.ColLabels = a.rowLabels, a.columns.labels
		}
		return
	case own && a.views > 0:
		m.Exclude(diagonal)
	}
	if a.kind == shardedInfoNCE && a.batch.Labels != nil {
		m.RowLabels, m.ColLabels = a.rowLabels, a.columns.labels
	}
}
