package contrastive

import (
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// features are the columns of a batch as vectors over its rows.
type features struct {
	batch Batch
	grads Gradients
	n     int // rows of Query

	engine     *engine.Engine
	problem    engine.Problem
	rows, cols engine.List
	diagonal   engine.Pairs // BarlowTwins: each column and itself
	views      [2]featureView
	column     []float64

	lossGain float64
	result   Result
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
	deviation  []float64 // BarlowTwins: what the values were divided by

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

func newFeatures() *features {
	a := featurePool.Get().(*features)
	a.engine = acquireEngine()
	return a
}

// begin checks everything about a call but the values of the embeddings.
func (a *features) begin(b Batch, g Gradients, o Options, parameters ...parameter) error {
	a.batch, a.grads, a.n, a.result = b, g, b.Query.Rows, Result{}
	for _, p := range parameters {
		if err := p.check(); err != nil {
			return err
		}
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := checkBatch(takesKey, &b, &g); err != nil {
		return err
	}
	a.problem = engine.Problem{
		Rows: &a.rows, Cols: &a.cols, Form: engine.Squares, Scale: 1,
		Terms: 1, Exponents: [2]float64{1, 1}, Workers: o.workers(), Pieces: o.Precision.pieces(),
	}
	a.problem.Mask.Exclude(0)
	return nil
}

// release forgets the caller's data.
func (a *features) release() {
	a.batch, a.grads, a.problem = Batch{}, Gradients{}, engine.Problem{}
	a.rows.Reset(0)
	a.cols.Reset(0)
	releaseEngine(a.engine)
	a.engine = nil
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
		view.rows = reshape(view.rows, m.Cols, m.Rows)
		view.grad = reshape(view.grad, m.Cols, m.Rows)
	}
	return nil
}

// centred returns column d of m less its mean, valid until the next call. It is
// exact to float64, so that what cancels is only what does in the data.
func (a *features) centred(m Matrix, d int) []float64 {
	a.column = resize(a.column, m.Rows)
	mean := 0.0
	for i := range a.column {
		x := float64(m.Data[i*m.Stride+d])
		a.column[i] = x
		mean += x
	}
	mean /= float64(m.Rows)
	for i := range a.column {
		a.column[i] -= mean
	}
	return a.column
}

// listAll makes the columns of a view a list of vectors.
func (a *features) listAll(p *engine.List, view *featureView, grad bool) {
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

// Row implements engine.Anchors.
func (a *features) Row(_ int, s engine.Stat) [2]float64 {
	a.result.Loss += a.lossGain * s.Sum
	return [2]float64{}
}
