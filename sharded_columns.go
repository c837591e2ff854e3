package contrastive

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// columns are the section that rows are compared with: the columns of one rank, or
// of all.
type columns struct {
	first, end     int // ranks
	parts          [numParts][]float32
	keys           Matrix
	negatives      Matrix
	keyLabels      []int
	negativeLabels []int
	rowWeights     []float32
	weights        []engine.Weight // of keys that are anchors
}

// takeSection makes a.columns those of one rank, from its message up to a part.
func (a *shard) takeSection(r int, message []float32, end part) {
	c := &a.columns
	c.first, c.end = r, r+1
	for p := range numParts {
		c.parts[p] = nil
		if p < end {
			c.parts[p] = message[:a.length(p, r)]
			message = message[len(c.parts[p]):]
		}
	}
	a.readColumns()
}

// gather makes a.columns those of all ranks, up to what is known before the walk.
func (a *shard) gather() error {
	c := &a.columns
	c.first, c.end = 0, a.size
	c.parts = [numParts][]float32{}
	for p := range partKeyLimits {
		if err := a.gatherPart(p); err != nil {
			return err
		}
	}
	a.readColumns()
	return nil
}

// gatherPart adds a part of all ranks to a.columns.
func (a *shard) gatherPart(p part) error {
	count := func(r int) int { return a.length(p, r) }
	n := a.sum(0, a.size, count)
	if n == 0 {
		return nil
	}
	a.gathered[p] = resize(a.gathered[p], n)
	a.columns.parts[p] = a.gathered[p]
	return a.allGather(a.gathered[p], a.ownPart(p), count)
}

// readColumns makes what rows are compared with of the parts. Whatever other ranks send is
// made finite: see mendVectors.
func (a *shard) readColumns() {
	c, d := &a.columns, a.dim
	for _, p := range [...]part{partKeys, partGuideKeys, partKeyLogQ, partNegatives, partGuideNegatives, partNegativeLogQ, partRowWeights, partWeights} {
		a.mendVectors(c.parts[p])
	}
	for i, v := range c.parts[partKeyLimits] {
		if math.IsNaN(float64(v)) {
			a.garbled, c.parts[partKeyLimits][i] = true, 0
		}
	}
	c.keys = matrixOf(c.parts[partKeys], d)
	c.negatives = matrixOf(c.parts[partNegatives], d)
	c.keyLabels, c.negativeLabels = c.keyLabels[:0], a.appendInts(c.negativeLabels[:0], c.parts[partNegativeLabels])
	c.rowWeights = c.rowWeights[:0]
	labels, weights := c.parts[partKeyLabels], c.parts[partRowWeights]
	if !a.oneList() {
		c.keyLabels = a.appendInts(c.keyLabels, labels)
	} else {
		for r := c.first; r < c.end; r++ {
			n, m := a.length(partKeyLabels, r), a.length(partRowWeights, r)
			for range a.views {
				c.keyLabels = a.appendLabels(c.keyLabels, r, labels[:n])
				c.rowWeights = append(c.rowWeights, weights[:m]...)
			}
			labels, weights = labels[n:], weights[m:]
		}
	}
	c.weights = c.weights[:0]
	for src := c.parts[partWeights]; len(src) > 0; src = src[a.weightLen:] {
		w := engine.Weight{Shift: src[0]}
		copy(w.Coef[:a.problem.Terms], src[1:])
		c.weights = append(c.weights, w)
	}
}

func matrixOf(data []float32, cols int) Matrix {
	return Matrix{Rows: len(data) / cols, Cols: cols, Stride: cols, Data: data}
}

// makeColumnLists makes a.columns, and in the own section the queue, the columns of the problem,
// with what masks, biases and filters them.
func (a *shard) makeColumnLists(p pass, own bool) {
	c, b, problem := &a.columns, &a.batch, &a.problem
	want := p.grads && a.wantCols
	problem.Rows, problem.Cols, problem.Mask = &a.evaluation.rows, &a.cols, engine.Mask{}
	problem.Positives, problem.Idle = nil, nil
	a.cols.Reset(a.dim)
	a.keys.Reset(a.dim)
	keys, negatives := &a.cols, a.colGrad
	if !a.oneList() && !a.inBatch {
		keys = &a.keys
	}
	if c.keys.Rows > 0 {
		keys.Add(engine.Matrix(c.keys), a.gradient(want, a.colGrad, c.keys.Rows), false)
		if want {
			negatives = negatives[a.dim*c.keys.Rows:]
		}
	}
	queue, other := b.Queue, 1.0
	if !own || queue != nil && queue.Len() == 0 {
		queue = nil
	}
	if a.dot {
		other = a.dotFactors[1]
	}
	queueAt := a.cols.Len()
	addQueue := func() {
		queueAt = a.cols.Len()
		a.addQueue(&a.cols, other)
	}
	// The order of one process: see makeQueryKeyLists.
	first := queue != nil && queue.labels != nil && b.GuideKey.isZero()
	if first {
		addQueue()
		if a.layout == byClass && b.Labels != nil && p.sums {
			a.addClasses(queue.Keys(), queue.labels, false)
		}
	}
	negativesAt := a.cols.Len()
	if c.negatives.Rows > 0 {
		a.cols.Add(engine.Matrix(c.negatives), a.gradient(want, negatives, c.negatives.Rows), false)
	}
	if queue != nil && !first {
		addQueue()
	}
	if queue != nil && a.cols.Len() == queue.Len() && !a.dot {
		if packed := queue.packed.List(problem.Pieces); packed != nil {
			problem.Cols = packed
		}
	}
	if a.lists {
		problem.Positives = a.sectionPairs(keys)
		if a.form != engine.Sigmoid {
			problem.Idle = a.idle
		}
	}
	a.mask(own, negativesAt, queueAt, queue)
	a.addBias(negativesAt)
	a.addFilter()
}

// mask excludes the pairs of the section that do not count.
func (a *shard) mask(own bool, negativesAt, queueAt int, queue *Queue) {
	m, c, b := &a.problem.Mask, &a.columns, &a.batch
	labels := func(queue *Queue) {
		m.RowLabels, m.ColLabels[0] = a.rowLabels, engine.Labels{Labels: c.keyLabels}
		m.ColLabels[2] = engine.Labels{First: negativesAt, Labels: c.negativeLabels}
		if queue != nil {
			m.ColLabels[1] = engine.Labels{First: queueAt, Labels: queue.labels}
		}
	}
	switch {
	case a.layout == twoViews:
		// The two views of an example have one label. Where that is its number, none
		// of another rank has it.
		if own || a.takesLabels() {
			labels(nil)
		}
		return
	case a.layout == byClass:
		if own {
			m.Exclude(a.firstKey - a.sum(0, c.first, a.keyCount))
		}
		return
	case a.inBatch && (a.lists || b.Exclude != nil):
		a.excludeKeys()
	case a.inBatch && own:
		m.Exclude(a.firstKey - a.sum(0, c.first, a.keyCount))
	}
	if a.excludesLabels && b.Labels != nil {
		labels(queue)
	}
}

// addBias sets the bias of the columns, of those of the queue 0.
func (a *shard) addBias(negativesAt int) {
	if !a.biased {
		return
	}
	c := &a.columns
	a.colBias = zeros(a.colBias, a.problem.Cols.Len())
	put := func(at int, logQ []float32) {
		for j, q := range logQ {
			a.colBias[at+j] = float32(-float64(q) / (a.problem.Scale * a.problem.Exponents[0]))
		}
	}
	if a.inBatch {
		put(0, c.parts[partKeyLogQ])
	}
	put(negativesAt, c.parts[partNegativeLogQ])
	a.problem.ColBias = a.colBias
}

// addFilter sets what the filter compares.
func (a *shard) addFilter() {
	if a.filter == NoFilter {
		return
	}
	c, b, f := &a.columns, &a.batch, &a.engineFilter
	*f = engine.Filter{RowLimits: a.rowLimits}
	if a.symmetric {
		f.ColLimits = c.parts[partKeyLimits]
	}
	if !b.GuideQuery.isZero() {
		cols := &a.guides[1]
		cols.Reset(b.GuideQuery.Cols)
		if a.inBatch {
			cols.Add(engine.Matrix(matrixOf(c.parts[partGuideKeys], b.GuideQuery.Cols)), engine.Matrix{}, false)
		}
		if m := matrixOf(c.parts[partGuideNegatives], b.GuideQuery.Cols); m.Rows > 0 {
			cols.Add(engine.Matrix(m), engine.Matrix{}, false)
		}
		f.GuideRows, f.GuideCols = &a.guides[0], cols
	}
	a.problem.Filter = f
}
