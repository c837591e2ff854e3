package contrastive

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/simd"
)

// emptyStat is that of an anchor without pairs.
var emptyStat = engine.Stat{LSE: [2]float64{math.Inf(-1), math.Inf(-1)}, Top: math.Inf(-1)}

// combine returns the Stat of the pairs of two. The log-sum-exp of both is
// log(e^a + e^b), and the mean under both softmaxes has their weights in that.
func combine(a, b engine.Stat) engine.Stat {
	c := engine.Stat{Top: max(a.Top, b.Top), Sum: a.Sum + b.Sum, Weight: a.Weight + b.Weight, Moment: a.Moment + b.Moment}
	for t := range c.LSE {
		lse, mean, lesser, lesserMean := a.LSE[t], a.Mean[t], b.LSE[t], b.Mean[t]
		if lse < lesser {
			lse, mean, lesser, lesserMean = lesser, lesserMean, lse, mean
		}
		if w := math.Exp(lesser - lse); w > 0 { // not of two that are empty
			mean += (lesserMean - mean) * (w / (1 + w))
			lse += math.Log1p(w)
		}
		c.LSE[t], c.Mean[t] = lse, mean
	}
	return c
}

// run evaluates the loss. The gradients are left where storeGradients finds them.
func (a *shard) run() error {
	if a.sigma > 0 {
		if err := a.weighPairs(); err != nil {
			return err
		}
	}
	if a.travel && !a.ring {
		if err := a.gather(); err != nil {
			return err
		}
	}
	if a.direct || a.form == engine.Sigmoid {
		if err := a.walk(pass{sums: true, grads: a.wantAny}); err != nil {
			return err
		}
	} else if err := a.walkTwice(); err != nil {
		return err
	}
	if a.form == engine.Sigmoid {
		for i, s := range a.rowStats {
			a.learnRow(i, s)
		}
	}
	all, err := a.gatherSums(a.totals[:])
	if err != nil {
		return err
	}
	a.totals = totals{}
	for i, v := range all {
		a.totals[i%len(a.totals)] += v
	}
	return nil
}

// weighPairs completes the softmax over pairs from those of all ranks.
func (a *shard) weighPairs() error {
	top, total := softmaxTotal(a.positives.Cosine, a.sigma)
	all, err := a.gatherSums([]float64{top, total})
	if err != nil {
		return err
	}
	a.pairTop, a.pairTotal = math.Inf(-1), 0
	for r := range a.size {
		a.pairTop = max(a.pairTop, all[2*r])
	}
	for r := range a.size {
		a.pairTotal += all[2*r+1] * math.Exp((all[2*r]-a.pairTop)/a.sigma)
	}
	return nil
}

// walkTwice is for weights that depend on the sums over all blocks.
func (a *shard) walkTwice() error {
	if err := a.walk(pass{sums: true}); err != nil {
		return err
	}
	message := a.own[a.weightsAt(a.rank):]
	for i, s := range a.rowStats {
		a.weights[i] = a.problem.Weight(s, a.learnRow(i, s))
		if a.oneList() {
			a.putWeight(message, i, a.weights[i])
		}
	}
	if a.symmetric {
		for j := range a.n {
			s := getStat(a.in[statLen*j:])
			a.putWeight(message, j, a.problem.Weight(s, a.learnPair(j, a.pairAnchor(j, s))))
		}
	}
	if !a.wantAny {
		return nil
	}
	if a.travel && !a.ring && (a.symmetric || a.oneList()) {
		if err := a.gatherWeights(); err != nil {
			return err
		}
	}
	return a.walk(pass{grads: true})
}

// Row implements engine.Anchors for a block of columns.
func (a *shard) Row(i int, s engine.Stat) [2]float64 {
	a.rowStats[i] = combine(a.rowStats[i], s)
	if a.direct {
		return a.learnRow(i, s)
	}
	return [2]float64{}
}

// Col implements engine.ColAnchors for a block of columns.
func (a *shard) Col(_ int, s engine.Stat) [2]float64 {
	a.colStats = append(a.colStats, s)
	return [2]float64{}
}

// learnRow adds the loss of a row to the totals and returns ∂Loss/∂LSE.
func (a *shard) learnRow(i int, s engine.Stat) [2]float64 {
	if a.layout == byClass {
		return a.learn(a.classAnchor(i, a.vectors()[i*a.dim:(i+1)*a.dim], s), noQuery, a.weight).lse
	}
	x := a.pairAnchor(i%a.n, s)
	a.judge(x)
	return a.learnPair(i%a.n, x)
}

// learnPair adds the loss of an anchor of an example to the totals.
func (a *shard) learnPair(example int, x *anchor) [2]float64 {
	t := a.learn(x, noQuery, a.weight)
	a.positives.Pull[example] += x.slopes[0]
	return t.lse
}

// pairAnchor returns an anchor of an example.
func (a *shard) pairAnchor(example int, s engine.Stat) *anchor {
	x := a.open(s)
	a.addPositive(x, example, example, nil, 1)
	return x
}

// A pass walks all columns: for the sums of the anchors, for the gradients, or for
// both at once where the weights of a block do not depend on other blocks.
type pass struct{ sums, grads bool }

// columns are the block that rows are compared with: the columns of one rank, or
// of all.
type columns struct {
	first, end      int // ranks
	keys, negatives Matrix
	labels          []int
	weights         []engine.Weight // of keys that are anchors
}

// block makes a.columns those of one rank, from its message.
func (a *shard) block(r int, message []float32, weighed bool) {
	c, d := &a.columns, a.dim
	keys, negatives := a.keyCount(r), a.negatives[r]
	a.mendVectors(message[:d*(keys+negatives)])
	c.first, c.end = r, r+1
	c.keys = Matrix{Rows: keys, Cols: d, Stride: d, Data: message}
	c.negatives = Matrix{Rows: negatives, Cols: d, Stride: d, Data: message[keys*d:]}
	c.labels, c.weights = c.labels[:0], c.weights[:0]
	for range a.views {
		c.labels = a.appendLabels(c.labels, r, message[a.labelsAt(r):])
	}
	if weighed {
		c.weights = a.appendWeights(c.weights, message[a.weightsAt(r):], keys)
	}
}

// gather makes a.columns those of all ranks.
func (a *shard) gather() error {
	c, d, own := &a.columns, a.dim, a.own
	keys, negatives := a.sum(0, a.size, a.keyCount), a.sum(0, a.size, a.negativeCount)
	c.first, c.end, c.weights = 0, a.size, c.weights[:0]
	part := func(dst *[]float32, at, width int, count func(r int) int) error {
		*dst = resize(*dst, width*a.sum(0, a.size, count))
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
	a.mendVectors(a.all.keys[:d*keys])
	a.mendVectors(a.all.negatives[:d*negatives])
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

// gatherWeights completes gathered columns with their weights.
func (a *shard) gatherWeights() error {
	count := func(r int) int { return a.weightLen * a.keyCount(r) }
	a.all.weights = resize(a.all.weights, a.sum(0, a.size, count))
	at := a.weightsAt(a.rank)
	if err := a.allGather(a.all.weights, a.own[at:at+count(a.rank)], count); err != nil {
		return err
	}
	a.columns.weights = a.appendWeights(a.columns.weights[:0], a.all.weights, a.columns.keys.Rows)
	return nil
}

// putWeight stores the weight of an anchor in those of a message.
func (a *shard) putWeight(dst []float32, i int, w engine.Weight) {
	dst = dst[a.weightLen*i:]
	dst[0] = w.Shift
	copy(dst[1:], w.Coef[:a.problem.Terms])
}

func (a *shard) appendWeights(weights []engine.Weight, src []float32, n int) []engine.Weight {
	for range n {
		w := engine.Weight{Shift: src[0]}
		copy(w.Coef[:a.problem.Terms], src[1:])
		weights, src = append(weights, w), src[a.weightLen:]
	}
	return weights
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
	weighed := !p.sums && (a.symmetric || a.oneList())
	behind := p.sums && a.symmetric || p.grads && a.wantCols
	message := a.own[:a.messageLen(a.rank, weighed)]
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
			next = a.arriving[t%2][:a.messageLen(a.owner(t+1), weighed)]
			var err error
			if ahead, err = a.shift(next, message); err != nil {
				return err
			}
		}
		if a.ring || !a.travel {
			a.block(owner, message, weighed)
		}
		if a.ring || t == 0 {
			a.compute(p, weighed)
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
		a.arriving[0], a.arriving[1] = resize(a.arriving[0], n), resize(a.arriving[1], n)
	}
	if p.grads && a.wantRows {
		a.rowGrad = resize(a.rowGrad, rows)
		if a.ring {
			a.rowPart = resize(a.rowPart, rows)
		}
	}
	width := 0
	if p.grads && a.wantCols {
		width = a.dim
		block := cols
		if a.travel && !a.ring {
			block = a.sum(0, a.size, a.colCount)
		}
		a.colGrad = resize(a.colGrad, a.dim*block)
	} else if p.sums && a.symmetric {
		width = statLen
	}
	a.out, a.in = resize(a.out, width*cols), resize(a.in, width*cols)
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
func (a *shard) compute(p pass, weighed bool) {
	c, d := &a.columns, a.dim
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
	a.evaluation.rows.Reset(d)
	a.evaluation.rows.Add(engine.Matrix{Rows: n, Cols: d, Stride: d, Data: a.vectors()}, grad(p.grads && a.wantRows, rowGrad, n), false)

	wantCols := p.grads && a.wantCols
	a.problem.Mask, a.problem.Cols = engine.Mask{}, &a.cols
	a.problem.Rows = &a.evaluation.rows
	c.labels = c.labels[:min(len(c.labels), c.keys.Rows)] // without those of the queue
	a.cols.Reset(d)
	a.cols.Add(engine.Matrix(c.keys), grad(wantCols, a.colGrad, c.keys.Rows), false)
	queue := a.batch.Queue
	if !own || queue != nil && queue.Len() == 0 {
		queue = nil
	}
	// Columns without labels come after those with labels.
	if queue != nil && queue.labels != nil {
		a.cols.Add(engine.Matrix(queue.Keys()), engine.Matrix{}, false)
		if a.batch.Labels != nil {
			c.labels = append(c.labels, queue.labels...)
			if p.sums && a.layout == byClass {
				a.addClasses(queue.Keys(), queue.labels, false)
			}
		}
	}
	if c.negatives.Rows > 0 {
		dst := a.colGrad
		if wantCols {
			dst = dst[d*c.keys.Rows:]
		}
		a.cols.Add(engine.Matrix(c.negatives), grad(wantCols, dst, c.negatives.Rows), false)
	}
	if queue != nil && queue.labels == nil {
		a.cols.Add(engine.Matrix(queue.Keys()), engine.Matrix{}, false)
	}
	if queue != nil && a.cols.Len() == queue.Len() {
		if packed := queue.packed.List(a.problem.Pieces); packed != nil {
			a.problem.Cols = packed
		}
	}
	a.mask(own)

	a.problem.ColAnchors, a.problem.RowWeights, a.problem.ColWeights = 0, nil, nil
	if p.sums && a.symmetric {
		a.problem.ColAnchors = c.keys.Rows
		a.colStats = a.colStats[:0]
	}
	if !p.sums {
		a.problem.RowWeights, a.problem.ColWeights = a.weights, c.weights
		a.problem.ColAnchors = len(c.weights)
	}
	a.engine.Run(&a.problem, a)

	if p.sums {
		sum, pairs := a.engine.PairSum(&a.problem)
		a.totals[totalNegative] += sum
		a.totals[totalNegatives] += pairs
		if a.layout == byClass {
			a.addClasses(c.keys, c.labels, true)
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
	case a.layout == twoViews:
		// The two views of an example have one label. Where that is its number, none
		// of another rank has it.
		if own || a.labelled {
			m.RowLabels, m.ColLabels[0] = a.rowLabels, engine.Labels{Labels: a.columns.labels}
		}
		return
	case own && a.views > 0:
		m.Exclude(diagonal)
	}
	if a.excludesLabels && a.batch.Labels != nil {
		m.RowLabels, m.ColLabels[0] = a.rowLabels, engine.Labels{Labels: a.columns.labels}
	}
}

// addClasses adds the first vectors of a block, those that have labels, to the sums of
// their classes.
func (a *shard) addClasses(vectors Matrix, labels []int, anchors bool) {
	for j := range min(len(labels), vectors.Rows) {
		weight := 0.0
		if anchors {
			weight = 1
		}
		a.classes.add(labels[j], vectors.Row(j), weight)
	}
}

// storeGradients adds the pull of positives to the gradients of this rank's rows
// and takes them back through the normalisation.
func (a *shard) storeGradients() {
	keys := a.keyCount(a.rank)
	if a.oneList() {
		a.store(a.grads.Query, 0, a.rowGrad, 0)
		a.store(a.grads.Key, a.n, a.rowGrad, a.n)
		return
	}
	a.store(a.grads.Query, 0, a.rowGrad, 0)
	if a.stopKey {
		a.grads.stopKey()
	} else if keys > 0 {
		a.store(a.grads.Key, a.n, a.in, 0)
	} else {
		a.store(a.grads.Key, a.n, nil, 0)
	}
	a.store(a.grads.Negatives, 2*a.n, a.in, keys)
}

// store stores the gradients of the rows from slot first on of the local list.
// Those with respect to their vectors are in the rows of grad from row on; a nil
// grad is 0.
func (a *shard) store(dst Matrix, first int, grad []float32, row int) {
	local, d := &a.keys, a.dim
	a.vector = resize(a.vector, d)
	for i := range dst.Rows {
		clear(a.vector)
		if grad != nil {
			copy(a.vector, grad[(row+i)*d:(row+i+1)*d])
		}
		slot := first + i
		switch {
		case slot >= 2*a.n: // negatives
		case a.layout == byClass:
			a.classes.addPull(local, slot, a.problem.Scale*a.weight*a.factor, 1, a.vector)
		default:
			local.AddScaled(a.problem.Scale*a.positives.Pull[slot%a.n], (slot+a.n)%(2*a.n), a.vector)
		}
		local.Store(slot, a.vector, 1)
	}
}
