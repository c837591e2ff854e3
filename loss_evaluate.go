package contrastive

import (
	"math"
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// evaluate walks the objective of a loss over one batch.
func evaluate[L pairwise](loss L, b Batch, g Gradients) (Result, error) {
	e := evaluations.Get().(*evaluation)
	e.engine = acquireEngine()
	defer e.release()
	o, err := loss.objective(b)
	if err == nil {
		err = e.begin(o, b, g, checkBatch)
	}
	if err == nil {
		err = e.checkRows(e.n)
	}
	if err == nil {
		e.start()
		err = e.makeLists()
	}
	if err != nil {
		return Result{}, wrap(o.name, err)
	}
	return e.run(), nil
}

// An evaluation is the state of one call of Eval, and is pooled, so that a loss
// allocates nothing once it has seen its largest batch.
type evaluation struct {
	objective
	batch Batch
	grads Gradients
	n     int // rows of Query

	engine           *engine.Engine
	problem          engine.Problem
	rows, cols, keys engine.List // keys: those that are no columns
	hardRows         engine.List
	guides           [2]engine.List // of rows and columns
	positives, hard  engine.Pairs
	classes          classSums
	labels           []int // with classes
	vector           []float32

	// What a batch or a loss may lack is empty.
	shares     []float64 // of each positive pair among those of its query; else equal ones
	pairLogQ   []float64 // of its key
	keyShares  []float64 // the same among those of its key
	limits     []float64 // of the filter, for each query, in similarities as users see them
	hardLogits []float64 // of a query
	colBias    []float32
	rowLimits  []float32
	colLimits  []float32
	excluded   []int32 // columns, by row
	excludedAt []int32

	engineFilter engine.Filter
	filtersHard  bool    // whether the filter holds for hard negatives
	unit         float64 // of similarities: 1, or a power of 2 for dot products
	anchor       anchor

	learnt learnt

	weight    float64 // of a row in the mean, before Weights,
	keyWeight float64 // and of a column
	totals    totals
}

var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

// engines are shared by all losses and metrics: most of the scratch memory is
// theirs.
var engines = sync.Pool{New: func() any { return engine.New() }}

// acquireEngine returns an engine. The goroutine is in the standard floating-point mode
// until it calls releaseEngine.
func acquireEngine() *engine.Engine {
	e := engines.Get().(*engine.Engine)
	e.Enter()
	return e
}

func releaseEngine(e *engine.Engine) {
	e.Leave()
	engines.Put(e)
}

// begin checks everything about a call but the values of the embeddings.
func (e *evaluation) begin(o objective, b Batch, g Gradients, check func(takes inputs, b *Batch, g *Gradients) error) error {
	e.objective, e.batch, e.grads, e.n = o, b, g, b.Query.Rows
	e.totals = totals{}
	if err := o.check(); err != nil {
		return err
	}
	if err := o.options.check(); err != nil {
		return err
	}
	if err := check(o.takes, &e.batch, &e.grads); err != nil {
		return err
	}
	if err := o.checkLogQ(&e.batch); err != nil {
		return err
	}
	e.setPairs(e.n)
	e.unit = 1
	e.problem = engine.Problem{
		Form: o.form, Scale: 1 / o.tau, Bias: o.bias, Terms: max(1, o.terms), Exponents: [2]float64{1, 1},
		Workers: o.options.workers(), Pieces: o.options.Precision.pieces(),
		KeepBytes: o.options.keepBytes(),
	}
	if o.terms > 0 {
		e.problem.Exponents = o.exponents
	}
	if o.hardness > 0 {
		e.problem.Exponents[0], e.problem.Detached = 1+o.hardness*o.tau, true
	}
	return nil
}

// start starts the workers.
func (e *evaluation) start() {
	b := &e.batch
	rows, cols := e.n, b.Key.Rows+b.Negatives.Rows
	if e.layout != queriesAmongKeys {
		rows += b.Key.Rows
		cols = rows
	}
	if b.Queue != nil {
		cols += b.Queue.Len()
	}
	e.engine.Start(e.problem.Workers, rows, cols, b.Query.Cols)
}

// release forgets the caller's data.
func (e *evaluation) release() {
	e.forget()
	evaluations.Put(e)
}

func (e *evaluation) forget() {
	e.batch, e.grads, e.problem = Batch{}, Gradients{}, engine.Problem{}
	for _, l := range [...]*engine.List{&e.rows, &e.cols, &e.keys, &e.hardRows, &e.guides[0], &e.guides[1]} {
		l.Reset(0)
	}
	if e.engine != nil {
		releaseEngine(e.engine)
		e.engine = nil
	}
}

func (e *evaluation) run() Result {
	e.weigh()
	if e.layout == byClass {
		e.engine.Run(&e.problem, (*classAnchors)(e))
	} else {
		if e.learnsGroups() {
			e.learnt.resize(max(e.rows.Len(), e.problem.ColAnchors))
		}
		e.engine.Run(&e.problem, (*pairAnchors)(e))
	}
	sum, pairs := e.engine.PairSum(&e.problem)
	e.totals[totalNegative] += sum * e.unit
	e.totals[totalNegatives] += pairs
	if e.stopKey {
		e.grads.stopKey()
	}
	return e.result()
}

// weigh sets what anchors weigh in the mean.
func (e *evaluation) weigh() {
	clear(e.grads.Losses)
	rows, keys := 0.0, 0.0
	for i := range e.n {
		if e.isAnchor(i) {
			rows += e.batch.weight(i)
		}
	}
	if e.layout != queriesAmongKeys && !e.batch.Key.isZero() {
		rows *= 2
	}
	e.weight = 1 / rows
	if e.symmetric {
		for j := range e.batch.Key.Rows {
			if e.isKeyAnchor(j) {
				keys += e.batch.weight(j)
			}
		}
		e.weight, e.keyWeight = 1/rows/2, 1/keys/2
	}
	e.problem.Gain = e.weight
}

// isAnchor reports whether query i has a loss.
func (e *evaluation) isAnchor(i int) bool {
	if e.layout != queriesAmongKeys || e.form == engine.Sigmoid {
		return true
	}
	first, end := e.positives.Of(i)
	return end > first
}

// isKeyAnchor reports whether key j has a loss: unless no query has it for a positive, or
// none with a weight.
func (e *evaluation) isKeyAnchor(j int) bool {
	for _, k := range e.positives.Owners(j) {
		if len(e.keyShares) == 0 || e.keyShares[k] > 0 {
			return true
		}
	}
	return false
}

// stopKey stores a gradient of 0 for the keys.
func (g *Gradients) stopKey() {
	for i := range g.Key.Rows {
		if !g.Accumulate {
			clear(g.Key.Row(i))
		}
	}
}

// store stores an element of a gradient, which saturates.
func (g *Gradients) store(dst *float32, v float64) {
	x := engine.Saturate(v)
	if g.Accumulate {
		x = engine.Saturate(float64(*dst) + float64(x))
	}
	*dst = x
}

// pairAnchors are anchors whose positives are pairs.
type pairAnchors evaluation

func (a *pairAnchors) LearnRows(first int, sums []engine.Stat, slopes [][2]float64) {
	e := (*evaluation)(a)
	if !e.learnsGroups() {
		for i := range sums {
			slopes[i] = e.learnPairs(first+i, sums[i])
		}
		return
	}
	g := e.openGroup(first, sums)
	for n := range sums {
		g.weights[n] = e.rowWeight(first + n)
		k, end := e.positives.Of(first + n)
		for pairs := end - k; k < end; k++ {
			g.addPair(e, n, &sums[n], k, e.shares, pairs)
		}
	}
	g.close(e, slopes)
}

func (a *pairAnchors) LearnCols(first int, sums []engine.Stat, slopes [][2]float64) {
	e := (*evaluation)(a)
	if !e.learnsGroups() {
		for j := range sums {
			slopes[j] = e.learnOwners(first+j, sums[j])
		}
		return
	}
	g := e.openGroup(first, sums)
	for n := range sums {
		g.weights[n] = e.keyWeight * e.batch.weight(first+n)
		owners := e.positives.Owners(first + n)
		for _, k := range owners {
			g.addPair(e, n, &sums[n], int(k), e.keyShares, len(owners))
		}
	}
	g.close(e, slopes)
}

// Apart implements engine.ApartAnchors.
func (a *pairAnchors) Apart() bool { return (*evaluation)(a).learnsGroups() }

// TotalRows and TotalCols implement engine.ApartAnchors.
func (a *pairAnchors) TotalRows(first, n int) {
	e := (*evaluation)(a)
	for i := first; i < first+n; i++ {
		k, end := e.positives.Of(i)
		e.judge(e.positives.Cosine[k:end], e.learnt.tops[i])
		e.addTerm(&e.learnt.terms[i], e.example(i), e.rowWeight(i))
	}
}

func (a *pairAnchors) TotalCols(first, n int) {
	e := (*evaluation)(a)
	for j := first; j < first+n; j++ {
		e.addTerm(&e.learnt.terms[j], noQuery, e.keyWeight*e.batch.weight(j))
	}
}

// example returns that of a row, and rowWeight its weight.
func (e *evaluation) example(i int) int {
	if i >= e.n {
		return i - e.n
	}
	return i
}

func (e *evaluation) rowWeight(i int) float64 { return e.weight * e.batch.weight(e.example(i)) }

// learnsGroups reports whether anchors are learnt by groups: their losses are sums of
// logistics. Hard negatives are added to the sums of one anchor after the other.
func (e *evaluation) learnsGroups() bool { return e.logistic != nil && e.batch.Hard.isZero() }

// learnPairs adds the loss of query i to the totals and returns ∂Loss/∂LSE.
func (e *evaluation) learnPairs(i int, s engine.Stat) [2]float64 {
	if !e.isAnchor(i) {
		return [2]float64{}
	}
	first, end := e.positives.Of(i)
	x := e.open(s)
	for k := first; k < end; k++ {
		e.addPositive(x, k, i, e.shares, end-first)
	}
	rest := e.addHard(x, i)
	e.judge(x.cosines, x.sums.Top)
	t := e.learn(x, i%e.n, e.weight*e.batch.weight(i%e.n))
	for k := first; k < end; k++ {
		e.positives.Pull[k] += x.slopes[k-first]
	}
	e.pullHard(i, t.lse[0], x.sums.LSE[0])
	return [2]float64{t.lse[0] * rest, t.lse[1]}
}

// learnOwners is learnPairs for key j, whose positives are the queries of which it is one.
func (e *evaluation) learnOwners(j int, s engine.Stat) [2]float64 {
	if !e.isKeyAnchor(j) {
		return [2]float64{}
	}
	owners := e.positives.Owners(j)
	x := e.open(s)
	for _, k := range owners {
		e.addPositive(x, int(k), e.positives.Row(k), e.keyShares, len(owners))
	}
	t := e.learn(x, noQuery, e.keyWeight*e.batch.weight(j))
	for n, k := range owners {
		e.positives.Pull[k] += x.slopes[n]
	}
	return t.lse
}

// noQuery is for the losses of anchors that are no queries.
const noQuery = -1

// classAnchors are anchors whose positives are those of their class.
type classAnchors evaluation

func (a *classAnchors) LearnRows(first int, sums []engine.Stat, slopes [][2]float64) {
	e := (*evaluation)(a)
	for k, s := range sums {
		i := first + k
		e.rows.Vector(i, e.vector)
		slopes[k] = e.learn(e.classAnchor(i, e.vector, s), i%e.n, e.weight*e.batch.weight(i%e.n)).lse
	}
}

func (a *classAnchors) Add(i int, g []float32, factor float64) {
	a.classes.addPull(&a.rows, i, factor*a.weight*a.factor, a.batch.weight(i%a.n), g)
}

// open returns an anchor without positives. With exponent the number that linear parts of
// logits are multiplied by, and with bias, the linear part of the mean is what is left.
func (e *evaluation) open(s engine.Stat) *anchor {
	x := &e.anchor
	x.sums, x.positives = s, 0
	x.cosines, x.logits, x.linear, x.shares, x.slopes = x.cosines[:0], x.logits[:0], x.linear[:0], x.shares[:0], x.slopes[:0]
	e.setLinearMean(&x.sums)
	return x
}

// setLinearMean makes the mean of the logits that of their parts that are inverse to τ.
func (e *evaluation) setLinearMean(s *engine.Stat) {
	if e.problem.Detached || e.problem.ColBias != nil {
		s.Mean[0] = s.Mean[0]/e.problem.Exponents[0] - s.Bias*e.problem.Scale
	}
}

// addPositive adds a pair of query i, one of n, to the positives of an anchor.
func (e *evaluation) addPositive(x *anchor, pair, i int, shares []float64, n int) {
	e.addPair(x, e.positives.Cosine[pair], e.logQOfPair(pair), e.share(shares, pair, n))
}

// share returns that of a pair, one of n.
func (e *evaluation) share(shares []float64, pair, n int) float64 {
	switch {
	case e.form == engine.Sigmoid: // a sum over pairs
		return 1
	case len(shares) > 0:
		return shares[pair]
	case n == 1:
		return 1
	}
	return 1 / float64(n)
}

// logQOfPair returns that of the key of a pair.
func (e *evaluation) logQOfPair(pair int) float64 {
	if len(e.pairLogQ) > 0 {
		return e.pairLogQ[pair]
	}
	return 0
}

// linearLogit returns the part of the logit of a similarity that is inverse to τ.
func (e *evaluation) linearLogit(s float64) float64 {
	if e.margin != 0 {
		s -= e.margin / e.unit
	}
	return s * e.problem.Scale
}

func (e *evaluation) addPair(x *anchor, s, logQ, share float64) {
	linear := e.linearLogit(s)
	x.positives++
	x.cosines = append(x.cosines, s)
	x.linear = append(x.linear, linear)
	x.logits = append(x.logits, linear-logQ)
	x.shares = append(x.shares, share)
	x.slopes = append(x.slopes, 0)
}

// addHard adds the hard negatives of query i to the sums of its anchor. It returns the
// share of the others in the sum of the exponentials of all.
func (e *evaluation) addHard(x *anchor, i int) (rest float64) {
	if e.batch.Hard.isZero() {
		return 1
	}
	first, end := e.hard.Of(i)
	e.hardLogits = e.hardLogits[:0]
	top, others := x.sums.LSE[0], x.sums.LSE[0]
	for k := first; k < end; k++ {
		s, y := e.hard.Cosine[k], math.Inf(-1)
		if len(e.limits) == 0 || !e.filtersHard || s*e.unit <= e.limits[i] {
			y = s * e.problem.Scale * e.problem.Exponents[0]
			x.sums.Top = max(x.sums.Top, s)
			e.totals[totalNegative] += s * e.unit
			e.totals[totalNegatives]++
		}
		e.hardLogits = append(e.hardLogits, y)
		top = max(top, y)
	}
	if math.IsInf(top, -1) {
		return 1
	}
	rest = math.Exp(others - top)
	sum, mean := rest, rest*x.sums.Mean[0]
	for _, y := range e.hardLogits {
		w := math.Exp(y - top)
		sum += w
		if w > 0 {
			mean += w * y / e.problem.Exponents[0]
		}
	}
	x.sums.LSE[0], x.sums.Mean[0] = top+math.Log(sum), mean/sum
	return rest / sum
}

// pullHard adds the derivatives with respect to the logits of the hard negatives of query
// i, given that with respect to the log-sum-exp of all its negatives.
func (e *evaluation) pullHard(i int, slope, lse float64) {
	if e.batch.Hard.isZero() {
		return
	}
	first, end := e.hard.Of(i)
	for k := first; k < end; k++ {
		if y := e.hardLogits[k-first]; !math.IsInf(y, -1) {
			e.hard.Pull[k] += slope * math.Exp(y-lse)
		}
	}
}

// classAnchor returns row i, which is x, as an anchor, and counts its positives.
func (e *evaluation) classAnchor(i int, v []float32, s engine.Stat) *anchor {
	n, sum := e.classes.positives(i, v)
	e.totals[totalPositive] += sum
	e.totals[totalPositives] += float64(n)
	x := e.open(s)
	x.positives = n
	mean := 0.0
	if n > 0 {
		mean = sum / float64(n)
	}
	y := mean * e.problem.Scale
	x.cosines, x.linear, x.logits = append(x.cosines, mean), append(x.linear, y), append(x.logits, y)
	x.shares, x.slopes = append(x.shares, 1), append(x.slopes, 0)
	return x
}

// judge counts a row, given the similarities of its positives and the greatest of its
// negatives, and whether its most similar positive is more similar than these by more than
// the rounding error of similarities, so that collapsed embeddings are not accurate by
// chance.
func (e *evaluation) judge(positives []float64, top float64) {
	best := math.Inf(-1)
	for _, s := range positives {
		e.totals[totalPositive] += s * e.unit
		best = max(best, s)
	}
	e.totals[totalPositives] += float64(len(positives))
	if math.IsInf(top, -1) || len(positives) == 0 {
		return
	}
	e.totals[totalRanked]++
	if best > top+e.options.Precision.rounding() {
		e.totals[totalAccurate]++
	}
}

// learn adds the loss of an anchor, of a query if there is one, to the totals, and
// returns its derivatives. These, and the slopes, it multiplies by the anchor's weight.
func (e *evaluation) learn(x *anchor, query int, weight float64) term {
	t := e.term(&e.objective, x)
	e.addTerm(&t, query, weight)
	return x.times(weight, t)
}

// addTerm adds the term of an anchor to the totals.
func (e *evaluation) addTerm(t *term, query int, weight float64) {
	e.totals[totalLoss] += weight * t.loss
	e.totals[totalMoment] += weight * t.moment
	e.totals[totalBias] += weight * t.bias
	if query != noQuery {
		e.addLoss(query, t.loss)
	}
}

// addLoss adds that of an anchor to what the caller wants to know about its query.
func (e *evaluation) addLoss(query int, loss float64) {
	if e.grads.Losses == nil {
		return
	}
	if e.layout != queriesAmongKeys && !e.batch.Key.isZero() {
		loss /= 2 // of two views
	}
	e.grads.Losses[query] += loss
}

// times multiplies the slopes of an anchor, and the derivatives of its term, by a weight.
func (x *anchor) times(weight float64, t term) term {
	for k := range x.slopes {
		x.slopes[k] *= weight
	}
	return term{lse: [2]float64{weight * t.lse[0], weight * t.lse[1]}}
}

// totals are what a Result is made of. Those of ranks add up.
type totals [9]float64

const (
	totalLoss   = iota
	totalMoment // Σ ∂Loss/∂logit·logit, which is −τ·∂Loss/∂τ
	totalBias
	totalAccurate
	totalRanked   // anchors that have a negative
	totalPositive // sum of similarities
	totalPositives
	totalNegative
	totalNegatives
)

// result returns the Result that the totals make.
func (e *evaluation) result() Result {
	t := &e.totals
	if e.layout == byClass {
		// The sums over all pairs contain the positives.
		t[totalNegative] -= t[totalPositive]
		t[totalNegatives] -= t[totalPositives]
	}
	r := Result{
		Loss:            t[totalLoss],
		TemperatureGrad: (0 - t[totalMoment]) / e.tau, // never −0
		BiasGrad:        t[totalBias],
		Accuracy:        mean(t[totalAccurate], t[totalRanked]),
		PositiveCosine:  mean(t[totalPositive], t[totalPositives]),
		NegativeCosine:  mean(t[totalNegative], t[totalNegatives]),
	}
	if !e.dot {
		r.PositiveCosine, r.NegativeCosine = clampCosine(r.PositiveCosine), clampCosine(r.NegativeCosine)
	}
	return r
}

// clampCosine returns s without the rounding error by which it is no cosine.
func clampCosine(s float64) float64 { return max(-1, min(s, 1)) }

func mean(sum, n float64) float64 {
	if n == 0 {
		return 0
	}
	return sum / n
}
