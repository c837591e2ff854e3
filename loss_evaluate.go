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
		err = e.begin(o, b, g)
	}
	if err == nil {
		err = e.checkRows(e.n)
	}
	if err == nil {
		err = e.list()
	}
	if err != nil {
		return Result{}, wrap(o.name, err)
	}
	return e.run(), nil
}

// An evaluation is the state of one call of Eval. It implements engine.Anchors, and is
// pooled, so that a loss allocates nothing once it has seen its largest batch.
type evaluation struct {
	objective
	batch Batch
	grads Gradients
	n     int // rows of Query

	engine           *engine.Engine
	problem          engine.Problem
	rows, cols, keys engine.List // keys: those that are no columns
	positives        engine.Positives
	classes          classSums
	labels           []int // of the columns, the first of which have one
	vector           []float32

	weight float64 // of an anchor in the mean
	totals totals
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
func (e *evaluation) begin(o objective, b Batch, g Gradients) error {
	e.objective, e.batch, e.grads, e.n = o, b, g, b.Query.Rows
	e.totals = totals{}
	if err := o.check(); err != nil {
		return err
	}
	if err := o.options.check(); err != nil {
		return err
	}
	if err := checkBatch(o.takes, &b, &g); err != nil {
		return err
	}
	e.pairs = float64(e.n)
	e.problem = engine.Problem{
		Form: o.form, Scale: 1 / o.tau, Bias: o.bias, Terms: max(1, o.terms), Exponents: [2]float64{1, 1},
		Workers: o.options.workers(), Pieces: o.options.Precision.pieces(),
	}
	if o.terms > 0 {
		e.problem.Exponents = o.exponents
	}
	return nil
}

// release forgets the caller's data.
func (e *evaluation) release() {
	e.forget()
	evaluations.Put(e)
}

func (e *evaluation) forget() {
	e.batch, e.grads, e.problem = Batch{}, Gradients{}, engine.Problem{}
	e.rows.Reset(0)
	e.cols.Reset(0)
	e.keys.Reset(0)
	if e.engine != nil {
		releaseEngine(e.engine)
		e.engine = nil
	}
}

// add appends the rows of m to a list of vectors, normalised.
func (e *evaluation) add(list *engine.List, m, grad Matrix, name string) error {
	return addRows(list, m, grad, name, true)
}

// addRows appends the rows of m to a list of vectors, normalised or as they are.
func addRows(list *engine.List, m, grad Matrix, name string, unit bool) error {
	if bad, ok := list.Add(engine.Matrix(m), engine.Matrix(grad), unit); !ok {
		return &NotFiniteError{Argument: name, Row: bad.Row, Col: bad.Col, Value: bad.Value}
	}
	return nil
}

// list makes the lists of rows and columns, masks the pairs that do not count, and
// pairs the positives.
func (e *evaluation) list() error {
	e.labels = e.labels[:0]
	dim := e.batch.Query.Cols
	e.rows.Reset(dim)
	e.cols.Reset(dim)
	e.keys.Reset(dim)
	e.rows.Accumulate, e.cols.Accumulate, e.keys.Accumulate = e.grads.Accumulate, e.grads.Accumulate, e.grads.Accumulate
	if err := e.add(&e.rows, e.batch.Query, e.grads.Query, "Query"); err != nil {
		return err
	}
	p := &e.problem
	if e.layout == queriesAmongKeys {
		p.Rows, p.Cols = &e.rows, &e.cols
		return e.listQueriesAmongKeys()
	}
	if !e.batch.Key.isZero() {
		if err := e.add(&e.rows, e.batch.Key, e.grads.Key, "Key"); err != nil {
			return err
		}
	}
	p.Rows, p.Cols, p.Symmetric, p.RowSlots = &e.rows, &e.rows, true, e.rows.Len()
	p.Mask.Exclude(0)
	if e.layout == byClass {
		e.listClasses()
	} else {
		e.listTwoViews()
	}
	return nil
}

func (e *evaluation) listQueriesAmongKeys() error {
	b, p := &e.batch, &e.problem
	keys, gradient := &e.keys, e.grads.Key
	if e.inBatch {
		keys = &e.cols
		p.Mask.Exclude(0)
		e.labels = append(e.labels, b.Labels...)
	}
	if e.symmetric {
		p.ColAnchors = e.n
	}
	if e.stopKey {
		gradient = Matrix{}
	}
	if err := e.add(keys, b.Key, gradient, "Key"); err != nil {
		return err
	}
	// Columns without labels come after those with labels.
	queue := b.Queue
	if queue != nil && queue.Labels() != nil {
		e.addQueue(&e.cols)
		e.labels = append(e.labels, queue.Labels()...)
		queue = nil
	}
	if !b.Negatives.isZero() {
		if err := e.add(&e.cols, b.Negatives, e.grads.Negatives, "Negatives"); err != nil {
			return err
		}
	}
	if queue != nil {
		e.addQueue(&e.cols)
	}
	if packed := e.packedQueue(); packed != nil {
		p.Cols = packed
	}
	if b.Labels != nil && e.excludesLabels {
		p.Mask.RowLabels, p.Mask.ColLabels = b.Labels, e.labels
	}
	e.pair(keys, e.n, func(i int) int { return i })
	return nil
}

func (e *evaluation) listTwoViews() {
	p, n := &e.problem, e.n
	p.Mask.Exclude(n)
	p.Mask.Exclude(-n)
	if e.batch.Labels != nil && e.excludesLabels {
		e.labels = append(append(e.labels, e.batch.Labels...), e.batch.Labels...)
		p.Mask.RowLabels, p.Mask.ColLabels = e.labels, e.labels
	}
	e.pair(&e.rows, 2*n, func(i int) int { return (i + n) % (2 * n) })
}

func (e *evaluation) listClasses() {
	b, list := &e.batch, &e.rows
	anchors := list.Len()
	for i := range anchors {
		label := i % e.n // of an example
		if b.Labels != nil {
			label = b.Labels[label]
		}
		e.labels = append(e.labels, label)
	}
	if b.Queue != nil {
		e.addQueue(list)
		if b.Labels != nil {
			e.labels = append(e.labels, b.Queue.Labels()...)
		}
	}
	e.vector = resize(e.vector, list.Dim())
	e.classes.reset(e.labels[:anchors], list.Dim())
	for i, label := range e.labels {
		list.Vector(i, e.vector)
		e.classes.add(label, e.vector, i < anchors)
	}
}

// pair makes the slot that other returns the positive of each of n rows.
func (e *evaluation) pair(list *engine.List, n int, other func(i int) int) {
	p := &e.positives
	p.Reset(list)
	for i := range n {
		j := other(i)
		if list == &e.rows && j < i {
			p.Add(j, p.Cosine[j])
		} else {
			p.Add(j, engine.Cosine(&e.rows, i, list, j))
		}
		p.Close()
	}
	e.problem.Positives = p
	e.pairTop, e.pairTotal = softmaxTotal(p.Cosine[:e.n], e.sigma)
}

// softmaxTotal returns the greatest of x, and the sum of exp((x − it)/sigma), if sigma
// is positive.
func softmaxTotal(x []float64, sigma float64) (top, total float64) {
	if sigma == 0 {
		return 0, 0
	}
	top = math.Inf(-1)
	for _, v := range x {
		top = max(top, v)
	}
	for _, v := range x {
		total += math.Exp((v - top) / sigma)
	}
	return top, total
}

// addQueue appends the keys of the queue, which are finite and of unit norm.
func (e *evaluation) addQueue(list *engine.List) {
	if q := e.batch.Queue; q.Len() > 0 {
		list.Add(engine.Matrix(q.Keys()), engine.Matrix{}, false)
	}
}

// packedQueue returns the keys of the queue as it keeps them for the kernels, if they
// are all columns and it does.
func (e *evaluation) packedQueue() *engine.List {
	if q := e.batch.Queue; q != nil && e.cols.Len() == q.Len() {
		return q.packed.List(e.problem.Pieces)
	}
	return nil
}

func (e *evaluation) run() Result {
	e.weight = 1 / e.anchors(e.n, !e.batch.Key.isZero())
	e.problem.Gain = e.weight
	if e.layout == byClass {
		e.engine.Run(&e.problem, (*classAnchors)(e))
	} else {
		e.engine.Run(&e.problem, (*pairAnchors)(e))
	}
	sum, pairs := e.engine.PairSum(&e.problem)
	e.totals[totalNegative] += sum
	e.totals[totalNegatives] += pairs
	if e.stopKey {
		e.grads.stopKey()
	}
	return e.result()
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

// pairAnchors are anchors with one positive each.
type pairAnchors evaluation

func (a *pairAnchors) Row(i int, s engine.Stat) [2]float64 {
	e := (*evaluation)(a)
	x := e.anchor(e.positives.Cosine[i], s)
	e.judge(x)
	return a.learn(i, x)
}

func (a *pairAnchors) Col(j int, s engine.Stat) [2]float64 {
	return a.learn(j, (*evaluation)(a).anchor(a.positives.Cosine[j], s))
}

func (a *pairAnchors) learn(i int, x anchor) [2]float64 {
	t := (*evaluation)(a).learn(x)
	a.positives.Pull[i] += t.positive
	return t.lse
}

// classAnchors are anchors whose positives are those of their class.
type classAnchors evaluation

func (a *classAnchors) Row(i int, s engine.Stat) [2]float64 {
	e := (*evaluation)(a)
	e.rows.Vector(i, e.vector)
	return e.learn(e.classAnchor(i, e.vector, s)).lse
}

func (a *classAnchors) Add(i int, g []float32, factor float64) {
	a.classes.addPull(&a.rows, i, factor*a.weight*a.factor, g)
}

// anchor returns an anchor with one positive.
func (e *evaluation) anchor(cosine float64, s engine.Stat) anchor {
	return anchor{positives: 1, cosine: cosine, logit: cosine * e.problem.Scale, sums: s}
}

// classAnchor returns row i, which is x, as an anchor, and counts its positives.
func (e *evaluation) classAnchor(i int, x []float32, s engine.Stat) anchor {
	n, sum := e.classes.positives(i, x)
	e.totals[totalPositive] += sum
	e.totals[totalPositives] += float64(n)
	if n == 0 {
		return anchor{sums: s}
	}
	mean := sum / float64(n)
	return anchor{positives: n, cosine: mean, logit: mean * e.problem.Scale, sums: s}
}

// judge counts a row with one positive, and whether that is more similar than its most
// similar negative by more than the rounding error of similarities, so that collapsed
// embeddings are not accurate by chance.
func (e *evaluation) judge(a anchor) {
	e.totals[totalPositive] += a.cosine
	e.totals[totalPositives]++
	if !math.IsInf(a.sums.Top, -1) {
		e.totals[totalRanked]++
	}
	if !math.IsInf(a.sums.Top, -1) && a.cosine > a.sums.Top+e.options.Precision.rounding() {
		e.totals[totalAccurate]++
	}
}

// learn adds the loss of an anchor to the totals, and returns its derivatives, both
// with the anchor's weight.
func (e *evaluation) learn(a anchor) term {
	t, w := e.term(&e.objective, a), e.weight
	e.totals[totalLoss] += w * t.loss
	e.totals[totalMoment] += w * t.moment
	e.totals[totalBias] += w * t.bias
	return term{lse: [2]float64{w * t.lse[0], w * t.lse[1]}, positive: w * t.positive}
}

// totals are what a Result is made of. Those of ranks add up.
type totals [9]float64

const (
	totalLoss   = iota
	totalMoment // Σ ∂Loss/∂logit·logit, which is −τ·∂Loss/∂τ
	totalBias
	totalAccurate
	totalRanked   // anchors that have a negative
	totalPositive // sum of cosines
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
	return Result{
		Loss:            t[totalLoss],
		TemperatureGrad: (0 - t[totalMoment]) / e.tau, // never −0
		BiasGrad:        t[totalBias],
		Accuracy:        mean(t[totalAccurate], t[totalRanked]),
		PositiveCosine:  clampCosine(mean(t[totalPositive], t[totalPositives])),
		NegativeCosine:  clampCosine(mean(t[totalNegative], t[totalNegatives])),
	}
}

// clampCosine returns s without the rounding error by which it is no cosine.
func clampCosine(s float64) float64 { return max(-1, min(s, 1)) }

func mean(sum, n float64) float64 {
	if n == 0 {
		return 0
	}
	return sum / n
}
