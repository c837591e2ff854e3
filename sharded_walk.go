package contrastive

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/simd"
)

// emptyStat is that of an anchor without pairs.
var emptyStat = engine.Stat{LSE: [2]float64{math.Inf(-1), math.Inf(-1)}, Top: math.Inf(-1)}

// combine returns the Stat of the pairs of two. The log-sum-exp of both is
// log(e^a + e^b), and the means under both softmaxes have their weights in that.
func combine(a, b engine.Stat) engine.Stat {
	c := engine.Stat{Top: max(a.Top, b.Top), Sum: a.Sum + b.Sum, Weight: a.Weight + b.Weight, Moment: a.Moment + b.Moment}
	for t := range c.LSE {
		x, y := a, b
		if x.LSE[t] < y.LSE[t] {
			x, y = b, a
		}
		lse, mean, bias := x.LSE[t], x.Mean[t], x.Bias
		if w := math.Exp(y.LSE[t] - lse); w > 0 { // not of two that are empty
			share := w / (1 + w)
			mean += (y.Mean[t] - mean) * share
			bias += (y.Bias - bias) * share
			lse += math.Log1p(w)
		}
		c.LSE[t], c.Mean[t] = lse, mean
		if t == 0 {
			c.Bias = bias
		}
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
	find := a.lists // whether positives have not been found
	if find && (!a.ring || a.filter != NoFilter) {
		if err := a.walk(pass{finds: true}); err != nil {
			return err
		}
		find = false
	}
	if a.filter != NoFilter {
		if err := a.prepareFilter(); err != nil {
			return err
		}
	}
	if a.direct || a.form == engine.Sigmoid {
		if err := a.walk(pass{finds: find, sums: true, grads: a.wantAny}); err != nil {
			return err
		}
	} else if err := a.walkTwice(find); err != nil {
		return err
	}
	if a.form == engine.Sigmoid {
		for i, s := range a.rowStats {
			a.learnRow(i, s)
		}
	}
	if a.wantCols {
		a.mendVectors(a.in[:a.dim*a.colCount(a.rank)])
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

// prepareFilter sets the limits of the filter, of rows and of keys that are anchors.
func (a *shard) prepareFilter() error {
	if a.symmetric && a.lists {
		if err := a.gatherPairs(); err != nil {
			return err
		}
	}
	a.setLimits()
	if a.symmetric && a.travel && !a.ring {
		if err := a.gatherPart(partKeyLimits); err != nil {
			return err
		}
		a.readColumns()
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

// walkTwice is for weights that depend on the sums over all sections.
func (a *shard) walkTwice(find bool) error {
	if err := a.walk(pass{finds: find, sums: true}); err != nil {
		return err
	}
	for i, s := range a.rowStats {
		a.weights[i] = a.problem.Weight(s, a.learnRow(i, s))
		if a.oneList() {
			a.putWeight(a.ownPart(partWeights), i, a.weights[i])
		}
	}
	if a.symmetric {
		if a.lists && a.filter == NoFilter {
			if err := a.gatherPairs(); err != nil {
				return err
			}
		}
		if err := a.learnKeys(); err != nil {
			return err
		}
	}
	if !a.wantAny {
		return nil
	}
	if a.travel && !a.ring && (a.symmetric || a.oneList()) {
		if err := a.gatherPart(partWeights); err != nil {
			return err
		}
		a.readColumns()
	}
	return a.walk(pass{grads: true})
}

// LearnRows implements engine.Anchors for a section of columns.
func (a *shard) LearnRows(first int, sums []engine.Stat, slopes [][2]float64) {
	for n, s := range sums {
		i := first + n
		a.rowStats[i] = combine(a.rowStats[i], s)
		if !a.direct {
			continue
		}
		slopes[n] = a.learnRow(i, s)
		if a.lists {
			first, end := a.positives.Of(i) // which are those of the section
			copy(a.columnPairs.Pull[first:end], a.positives.Pull[first:end])
		}
	}
}

// LearnCols implements engine.ColAnchors for a section of columns.
func (a *shard) LearnCols(_ int, sums []engine.Stat, _ [][2]float64) {
	a.colStats = append(a.colStats, sums...)
}

// learnRow adds the loss of a row to the totals and returns ∂Loss/∂LSE.
func (a *shard) learnRow(i int, s engine.Stat) [2]float64 {
	if a.layout == byClass {
		example := i % a.n
		x := a.classAnchor(i, a.vectors()[i*a.dim:(i+1)*a.dim], s)
		return a.learn(x, example, a.weight*a.batch.weight(example)).lse
	}
	return a.learnPairs(i%a.n, s) // of the example
}

// pairAnchor returns an anchor of an example.
func (a *shard) pairAnchor(example int, s engine.Stat) *anchor {
	x := a.open(s)
	a.addPositive(x, example, example, nil, 1)
	return x
}

// A pass walks all columns: to find positives, for the sums of the anchors, for the
// gradients, or for several at once where these do not depend on other sections.
type pass struct{ finds, sums, grads bool }

// needs returns the end of the parts of columns that a pass reads.
func (a *shard) needs(p pass) part {
	switch {
	case p.grads && !p.sums && (a.symmetric || a.oneList()):
		return numParts
	case p.sums || p.grads:
		return partWeights
	}
	return partNegatives
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
	end := a.needs(p)
	behind := p.sums && a.symmetric || p.grads && a.wantCols
	message := a.own[:a.at(end, a.rank)]
	a.sizeBuffers(p)
	steps := 1
	if a.ring || a.travel && behind {
		steps = a.size
	}
	var sums Transfer
	for t := range steps {
		owner := a.owner(t)
		if a.ring || !a.travel { // before the message goes on, for it may be mended
			a.takeSection(owner, message, end)
		}
		var ahead Transfer
		var next []float32
		if a.ring && t+1 < steps {
			next = a.arriving[t%2][:a.at(end, a.owner(t+1))]
			var err error
			if ahead, err = a.shift(next, message); err != nil {
				return err
			}
		}
		if a.ring || t == 0 {
			if p.finds {
				a.findPositives()
			}
			if p.sums || p.grads {
				a.compute(p)
			}
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
		n := a.largest(func(r int) int { return a.at(numParts, r) })
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
		section := cols
		if a.travel && !a.ring {
			section = a.sum(0, a.size, a.colCount)
		}
		a.colGrad = resize(a.colGrad, a.dim*section)
	} else if p.sums && a.symmetric {
		width = statLen
	}
	a.out, a.in = resize(a.out, width*cols), resize(a.in, width*cols)
}

// passOn takes the sums or gradients of the columns of step t's owner, as far as the ranks
// before have added them up, adds the part of this rank's rows, and sends them to the next
// rank. It returns the transfer.
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
	putFloat64(dst[wordLen:], s.Mean[0])
	dst[2*wordLen] = float32(s.Top) // exact, as it was one
}

func getStat(src []float32) engine.Stat {
	s := engine.Stat{Top: float64(src[2*wordLen])}
	s.LSE[0], s.Mean[0] = getFloat64(src), getFloat64(src[wordLen:])
	return s
}

// compute evaluates the rows against a.columns.
func (a *shard) compute(p pass) {
	c, n := &a.columns, a.rowCount()
	own := c.first <= a.rank && a.rank < c.end // the first section of a pass
	rowGrad := a.rowGrad
	if !own {
		rowGrad = a.rowPart
	}
	a.evaluation.rows.Reset(a.dim)
	a.evaluation.rows.Add(engine.Matrix(matrixOf(a.vectors(), a.dim)), a.gradient(p.grads && a.wantRows, rowGrad, n), false)
	a.makeColumnLists(p, own)

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
		a.totals[totalNegative] += sum * a.unit
		a.totals[totalNegatives] += pairs
		if a.layout == byClass {
			a.addClasses(c.keys, c.keyLabels, true)
		}
	}
	if p.grads && a.wantRows && !own {
		simd.Axpy(1, a.rowPart, a.rowGrad)
	}
}

// gradient returns a matrix of vectors' gradients in dst, if they are wanted.
func (a *shard) gradient(want bool, dst []float32, rows int) engine.Matrix {
	if !want || rows == 0 {
		return engine.Matrix{}
	}
	return engine.Matrix{Rows: rows, Cols: a.dim, Stride: a.dim, Data: dst}
}

// addClasses adds the first vectors of a section, those that have labels, to the sums of
// their classes.
func (a *shard) addClasses(vectors Matrix, labels []int, anchors bool) {
	for j := range min(len(labels), vectors.Rows) {
		weight := 0.0
		if anchors {
			weight = 1
			if len(a.columns.rowWeights) > 0 {
				weight = float64(a.columns.rowWeights[j])
			}
		}
		a.classes.add(labels[j], vectors.Row(j), weight)
	}
}

// storeGradients adds the pull of pairs to the gradients of this rank's rows, but for
// that of listed positives, which is in them already, and takes them back through the
// normalisation.
func (a *shard) storeGradients() {
	if a.layout == byClass {
		a.classes.close()
	}
	if a.oneList() {
		a.store(a.grads.Query, 0, a.rowGrad, 0)
		a.store(a.grads.Key, a.n, a.rowGrad, a.n)
		return
	}
	a.store(a.grads.Query, 0, a.rowGrad, 0)
	keys := a.keyCount(a.rank)
	switch {
	case a.stopKey:
		a.grads.stopKey()
	case keys > 0:
		a.store(a.grads.Key, a.n, a.in, 0)
	default:
		a.store(a.grads.Key, a.n, nil, 0)
	}
	a.store(a.grads.Negatives, a.n+a.batch.Key.Rows, a.in, keys)
	a.storeHard()
}

// store stores the gradients of the rows from slot first on of the local list.
// Those with respect to their vectors are in the rows of grad from row on; a nil
// grad is 0.
func (a *shard) store(dst Matrix, first int, grad []float32, row int) {
	local, d := &a.local, a.dim
	a.vector = resize(a.vector, d)
	for i := range dst.Rows {
		clear(a.vector)
		if grad != nil {
			copy(a.vector, grad[(row+i)*d:(row+i+1)*d])
		}
		slot := first + i
		switch {
		case a.layout == byClass:
			a.classes.addPull(local, slot, a.problem.Scale*a.weight*a.factor, a.batch.weight(slot%a.n), a.vector)
		case !a.lists && slot < 2*a.n: // no negatives
			local.AddScaled(a.problem.Scale*a.positives.Pull[slot%a.n], (slot+a.n)%(2*a.n), a.vector)
		}
		if slot < a.n {
			a.addHardPulls(slot)
		}
		local.Store(slot, a.vector, 1)
	}
}

// addHardPulls adds to a.vector what the hard negatives of query i pull it by.
func (a *shard) addHardPulls(i int) {
	if a.batch.Hard.isZero() {
		return
	}
	for k, end := a.hard.Of(i); k < end; k++ {
		a.hardRows.AddScaled(a.problem.Scale*a.hard.Pull[k], k, a.vector)
	}
}

// storeHard stores the gradients of the hard negatives, each of which has one query.
func (a *shard) storeHard() {
	if a.grads.Hard.isZero() {
		return
	}
	for i := range a.n {
		for k, end := a.hard.Of(i); k < end; k++ {
			clear(a.vector)
			a.local.AddScaled(a.problem.Scale*a.hard.Pull[k], i, a.vector)
			a.hardRows.Store(k, a.vector, 1)
		}
	}
}
