package contrastive

import (
	"fmt"
	"sync"

	"github.com/contrastive-go/contrastive/blas"
	"github.com/contrastive-go/contrastive/internal/engine"
)

// A featureLoss compares the columns of a batch, as vectors over its rows. Eval and
// [Sharded] both walk it: alone the rows are those of a batch, and otherwise those of one
// rank, and what is a sum over rows is one over those of all ranks.
type featureLoss interface {
	// features is what the loss is as data, and compute what it is as a function of sums
	// over rows. It writes no gradient that is the caller's; store does.
	features() featureObjective
	compute(a *features) error
	store(a *features)
}

// A featureObjective is what an objective is for pairs.
type featureObjective struct {
	name       string
	options    Options
	parameters [len(objective{}.parameters)]parameter
	needsTwo   string // what there is none of with one row
}

// evaluateFeatures evaluates a loss over one batch.
func evaluateFeatures[L featureLoss](l L, b Batch, g Gradients) (Result, error) {
	o, a := l.features(), featurePool.Get().(*features)
	a.engine = acquireEngine()
	defer a.release()
	err := a.begin(o, b, g)
	if err == nil {
		err = o.checkRows(a.n)
	}
	if err == nil {
		err = l.compute(a)
	}
	if err != nil {
		return Result{}, wrap(o.name, err)
	}
	l.store(a)
	return a.result, nil
}

// checkRows returns an error unless n rows of Query are enough.
func (o *featureObjective) checkRows(n int) error {
	if n < 2 {
		return fmt.Errorf("Query has %d row, and %s needs 2: %w", n, o.needsTwo, ErrShape)
	}
	return nil
}

// features are the columns of a batch as vectors over its rows.
type features struct {
	batch Batch
	grads Gradients
	n     int       // rows of Query, of this rank,
	total int       // and of all
	ranks *peers    // nil for one batch alone
	wants [2]bool   // whether any rank wants the gradient of a view, a mean of which all need
	sums  []float64 // over rows
	sharedProducts

	engine     *engine.Engine
	problem    engine.Problem
	rows, cols engine.List
	diagonal   engine.Pairs // BarlowTwins: each column and itself
	views      [2]featureView
	column     []float64
	transposes [2]Matrix // columnsAtOnce columns of the inputs, or of a gradient, transposed

	lossGain float64
	result   Result
}

// sharedProducts are the memory of a loss of columns whose rows are spread over ranks.
type sharedProducts struct {
	left, right []float32 // the columns, one after the other
	matrix      []float32 // of the products of each with each, summed over the ranks
	pulls       []float32 // with respect to the columns
}

// A featureView is one input, transposed: row d holds its column d, less its mean
// and divided by its deviation, or by the unit of its band.
//
// A band is the columns whose greatest values, less their means, are within a factor
// of bandWidth, and its unit a power of 2 that makes the greatest of them nearly 1.
// So sums of products and their squares neither overflow nor underflow, and no
// column takes the digits of others. Most batches have one band.
type featureView struct {
	rows, grad Matrix
	mean       []float64 // of each column
	deviation  []float64 // BarlowTwins: what the values were divided by
	gradMean   []float64 // means over rows of the gradient,
	along      []float64 // BarlowTwins: and of its product with the values

	// VICReg
	band  []int     // of each column; 0 is that of the greatest
	units []float64 // of each band
	sum   []float64 // if there are several bands, the sum over them of grad, in units of 1
	push  []float64 // −∂(variance term)/∂value, over the value
}

// bandWidth is 2^bandBits. The product of two columns of a band is at least 2⁻³²
// times their correlation, and its square is normal for correlations from 2⁻³¹ up,
// which is below the rounding of float32.
const bandBits = 16

var featurePool = sync.Pool{New: func() any { return new(features) }}

// begin checks everything about a call.
func (a *features) begin(o featureObjective, b Batch, g Gradients) error {
	a.batch, a.grads, a.n, a.total, a.ranks, a.result = b, g, b.Query.Rows, b.Query.Rows, nil, Result{}
	a.wants = [...]bool{!g.Query.isZero(), !g.Key.isZero()}
	for _, p := range o.parameters {
		if err := p.check(); err != nil {
			return err
		}
	}
	if err := o.options.check(); err != nil {
		return err
	}
	if err := checkBatch(takesKey, &b, &g); err != nil {
		return err
	}
	a.problem = engine.Problem{
		Rows: &a.rows, Cols: &a.cols, Form: engine.Squares, Scale: 1,
		Terms: 1, Exponents: [2]float64{1, 1}, Workers: o.options.workers(), Pieces: o.options.Precision.pieces(),
	}
	a.problem.Mask.Exclude(0)
	return a.open()
}

// release forgets the caller's data.
func (a *features) release() {
	a.batch, a.grads, a.problem = Batch{}, Gradients{}, engine.Problem{}
	a.rows.Reset(0)
	a.cols.Reset(0)
	if a.engine != nil {
		releaseEngine(a.engine)
		a.engine = nil
	}
	a.ranks = nil
	featurePool.Put(a)
}

// open checks the inputs and makes room for them, transposed.
func (a *features) open() error {
	for v, m := range [...]Matrix{a.batch.Query, a.batch.Key} {
		a.rows.Reset(m.Cols)
		if err := addRows(&a.rows, m, Matrix{}, [...]string{"Query", "Key"}[v], false); err != nil {
			return err
		}
		view := &a.views[v]
		view.rows = transposed(view.rows, m)
		view.grad = reshapeByLines(view.grad, m.Cols, m.Rows)
	}
	return nil
}

// reshapeByLines is reshape with an odd number of cache lines from row to row, so that the
// elements of a column are not in the same few lines of a first-level cache.
func reshapeByLines(m Matrix, rows, cols int) Matrix {
	const line = 16
	stride := ((cols+line-1)/line | 1) * line
	return Matrix{Rows: rows, Cols: cols, Stride: stride, Data: resize(m.Data, rows*stride)}
}

// transposed returns src, transposed, in the memory of m if that is enough.
func transposed(m, src Matrix) Matrix {
	m = reshapeByLines(m, src.Cols, src.Rows)
	engine.Transpose(engine.Matrix(m), engine.Matrix(src))
	return m
}

// inputs are the views.
func (a *features) inputs() [2]Matrix { return [2]Matrix{a.batch.Query, a.batch.Key} }

// sumEach replaces a.sums, to which f appends sums over the rows of this rank for each view,
// by those over all rows, and returns the sums of each view.
func (a *features) sumEach(f func(v int)) (sums [2][]float64, err error) {
	a.sums = a.sums[:0]
	for v := range a.views {
		f(v)
	}
	if err := a.addUp(a.sums); err != nil {
		return sums, err
	}
	half := len(a.sums) / 2
	return [2][]float64{a.sums[:half], a.sums[half:]}, nil
}

// centre computes the means of the columns.
func (a *features) centre() error {
	sums, err := a.sumEach(func(v int) {
		m := a.inputs()[v]
		a.sums = append(a.sums, make([]float64, m.Cols)...)
		sums := a.sums[len(a.sums)-m.Cols:]
		for i := range m.Rows { // and not down the columns, which is a cache line an element
			row := m.Row(i)
			for d := range sums[:len(row)] {
				sums[d] += float64(row[d])
			}
		}
	})
	for v, s := range sums {
		view := &a.views[v]
		view.mean = append(view.mean[:0], s...)
		for d := range view.mean {
			view.mean[d] /= float64(a.total)
		}
	}
	return err
}

// centred returns column d of a view less its mean, valid until the next call; rows must
// still hold it as it was given. It is exact to float64, so that what cancels is only what
// does in the data.
func (a *features) centred(v, d int) []float64 {
	row, mean := a.views[v].rows.Row(d), a.views[v].mean[d]
	a.column = resize(a.column, len(row))
	column := a.column[:len(row)]
	for i, x := range row {
		column[i] = float64(x) - mean
	}
	return column
}

// columnsAtOnce is the number of columns that are transposed at a time where there is no memory
// for all.
const columnsAtOnce = 16

// storeColumns stores the gradient with respect to a view, of which column returns one
// column after the other, in the memory of the gradient with respect to its columns.
func (a *features) storeColumns(v int, column func(d int) []float64) {
	dst, grad := [...]Matrix{a.grads.Query, a.grads.Key}[v], a.views[v].grad
	if dst.isZero() {
		return
	}
	for d := range grad.Rows {
		row := grad.Row(d)
		for i, g := range column(d) {
			row[i] = engine.Saturate(g)
		}
	}
	for first := 0; a.grads.Accumulate && first < dst.Cols; first += columnsAtOnce {
		a.transposes[0] = transposed(a.transposes[0], dst.columns(first, min(first+columnsAtOnce, dst.Cols)))
		for d := range a.transposes[0].Rows {
			row := grad.Row(first + d)
			for i, g := range a.transposes[0].Row(d) {
				row[i] = engine.Saturate(float64(g) + float64(row[i]))
			}
		}
	}
	engine.Transpose(engine.Matrix(dst), engine.Matrix(grad))
}

// allColumns makes the columns of a view a list of vectors.
func (a *features) allColumns(p *engine.List, view *featureView, grad bool) {
	p.Reset(a.n)
	view.add(p, 0, view.rows.Rows, grad)
}

// add appends the columns from first up to end to a list.
func (v *featureView) add(p *engine.List, first, end int, grad bool) {
	part := func(m Matrix) engine.Matrix {
		return engine.Matrix{Rows: end - first, Cols: m.Cols, Stride: m.Stride, Data: m.Data[first*m.Stride:]}
	}
	dst := engine.Matrix{}
	if grad {
		dst = part(v.grad)
	}
	p.Add(part(v.rows), dst, false)
}

// square adds lossGain times the sum of the squares of the products of a.problem to the
// loss, and stores their gradients, in which Gain is twice their weight.
func (a *features) square() error {
	if a.ranks != nil {
		return a.squareShared()
	}
	a.engine.Run(&a.problem, a)
	return nil
}

// LearnRows implements engine.Anchors.
func (a *features) LearnRows(_ int, sums []engine.Stat, _ [][2]float64) {
	for i := range sums {
		a.result.Loss += a.lossGain * sums[i].Sum
	}
}

// addUp replaces sums over the rows of this rank by those over all rows.
func (a *features) addUp(sums []float64) error {
	return a.overRanks(sums, func(x, y float64) float64 { return x + y })
}

// greatest replaces numbers by the greatest of all ranks.
func (a *features) greatest(numbers []float64) error {
	return a.overRanks(numbers, func(x, y float64) float64 { return max(x, y) })
}

// overRanks combines numbers with those of the other ranks, in the order of these.
func (a *features) overRanks(numbers []float64, combine func(x, y float64) float64) error {
	if a.ranks == nil {
		return nil
	}
	all, err := a.ranks.gatherSums(numbers)
	if err != nil {
		return err
	}
	n := len(numbers)
	copy(numbers, all)
	for i, v := range all[n:] {
		numbers[i%n] = combine(numbers[i%n], v)
	}
	return nil
}

// squareShared is square over the rows of all ranks: the products of the local columns are
// summed over the ranks, and every rank holds the matrix of all. They are float32, computed
// and summed, with an error of (n+2)·u for n local rows, to which come those of the sum
// over the ranks, of u each.
func (a *features) squareShared() error {
	p := &a.problem
	m, k, n := a.rows.Len(), a.cols.Len(), a.n
	if m == 0 || k == 0 {
		return nil
	}
	a.left, a.right, a.matrix = resize(a.left, m*n), resize(a.right, k*n), resize(a.matrix, m*k)
	putVectors(a.left, &a.rows, 0)
	putVectors(a.right, &a.cols, 0)
	blas.Sgemm(false, true, m, k, n, 1, a.left, n, a.right, n, 0, a.matrix, k, p.Workers)
	if err := a.ranks.allReduce(a.matrix); err != nil {
		return err
	}
	for i := range m {
		row := a.matrix[i*k : (i+1)*k]
		sum := 0.0
		for j, v := range row {
			if p.Mask.Count > 0 && i == j {
				row[j] = 0
				if p.Positives != nil {
					row[j] = float32(p.Positives.Pull[i])
				}
				continue
			}
			sum += float64(v) * float64(v)
			row[j] = float32(p.Gain * float64(v))
		}
		a.result.Loss += a.lossGain * sum
	}
	a.pull(&a.rows, false, m, k, a.right)
	a.pull(&a.cols, true, k, m, a.left)
	return nil
}

// pull stores the gradients with respect to the m columns of a list: the products of the
// weights in a.matrix, transposed for the columns of the problem, with the k others.
func (a *features) pull(list *engine.List, transposed bool, m, k int, others []float32) {
	if !list.Wants() {
		return
	}
	stride := k
	if transposed {
		stride = m
	}
	a.pulls = resize(a.pulls, m*a.n)
	blas.Sgemm(transposed, false, m, a.n, k, 1, a.matrix, stride, others, a.n, 0, a.pulls, a.n, a.problem.Workers)
	for i := range m {
		list.Store(i, a.pulls[i*a.n:(i+1)*a.n], 1)
	}
}

// prepareFeatures is prepare for a loss of columns.
func (a *shard) prepareFeatures(l featureLoss, b Batch, g Gradients) error {
	o := l.features()
	a.features = featurePool.Get().(*features)
	a.objective = objective{name: o.name, options: o.options, parameters: o.parameters, tau: 1}
	a.batch, a.grads, a.n, a.unit = b, g, b.Query.Rows, 1
	return withFunction(o.name, a.features.begin(o, b, g))
}

// evalFeatures evaluates a loss of columns, once the ranks agree.
func (a *shard) evalFeatures(l featureLoss) (Result, error) {
	f := a.features
	f.ranks, f.total = &a.peers, a.total
	f.wants = [...]bool{a.allWants&wantsRows != 0, a.allWants&wantsKeys != 0}
	o := l.features()
	if err := withFunction("Sharded: "+o.name, o.checkRows(a.total)); err != nil {
		return Result{}, err
	}
	if err := l.compute(f); err != nil {
		return Result{}, err
	}
	all, err := a.gatherSums([]float64{f.result.Loss})
	if err != nil {
		return Result{}, err
	}
	l.store(f)
	return Result{Loss: all[0]}, nil
}
