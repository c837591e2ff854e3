package contrastive

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/simd"
)

// BarlowTwins is the redundancy-reduction loss. The columns of Query and Key,
// N×D, are standardised over the batch to mean 0 and variance 1 (the biased
// variance plus 10⁻⁵, as in batch normalisation); with C = 1/N · Q̂ᵀK̂ their D×D
// cross-correlation,
//
//	L = Σᵢ (1 − Cᵢᵢ)² + λ · Σᵢ Σ_{j≠i} Cᵢⱼ²
//
// Rows are not normalised. It is equation 1 of Zbontar, Jing, Misra, LeCun and
// Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction"
// (2021).
//
// Eval takes Query and Key, of at least two rows, or it is ErrShape. The D×D matrix
// is never held. Other inputs are ErrParameter, except Labels, which mean nothing
// here; for other errors see [Loss].
type BarlowTwins struct {
	// Lambda is λ, at least 0. 0 means 0.005.
	Lambda float32

	Options
}

// Eval implements [Loss].
func (l BarlowTwins) Eval(b Batch, g Gradients) (Result, error) {
	a := featurePool.Get().(*features)
	defer a.release(&featurePool, a)
	if err := a.begin("BarlowTwins", b, g, l.Options, usesKey); err != nil {
		return Result{}, err
	}
	lambda := float64(orDefault(l.Lambda, 0.005))
	if err := checkNonNegative("BarlowTwins", "Lambda", float32(lambda)); err != nil {
		return Result{}, err
	}
	if a.n < 2 {
		return Result{}, fmt.Errorf("BarlowTwins: Query has %d row, and a correlation needs 2: %w", a.n, ErrShape)
	}
	if err := a.standardize(); err != nil {
		return Result{}, err
	}
	en, n := a.engine, float64(a.n)
	a.listAll(&en.Rows, &a.views[0], !g.Query.isZero())
	a.listAll(&en.Cols, &a.views[1], !g.Key.isZero())
	a.problem.Rows, a.problem.Cols = &en.Rows, &en.Cols
	a.problem.Form, a.problem.Scale = engine.Squares, 1
	a.problem.Gain, a.lossGain = 2*lambda/(n*n), lambda/(n*n)
	a.problem.Mask.Exclude(0)
	a.pull = a.pull[:0]
	for d := range b.Query.Cols {
		c := engine.Cosine(&en.Rows, d, &en.Cols, d) / n
		a.result.Loss += (1 - c) * (1 - c)
		a.pull = append(a.pull, -2*(1-c)/n)
	}
	en.Run(&a.problem, a)
	for v, dst := range [...]Matrix{g.Query, g.Key} {
		if !dst.isZero() {
			a.views[v].storeStandardized(dst)
		}
	}
	return a.result, nil
}

// VICReg is the variance-invariance-covariance loss. For N×D Query q and Key k,
//
//	L = Similarity · mean (q − k)² + Variance · ½(v(q) + v(k)) + Covariance · (c(q) + c(k))
//	v(x) = 1/D · Σ_d max(0, 1 − √(var(x_d) + 10⁻⁴))
//	c(x) = 1/D · Σ_d Σ_{e≠d} cov(x_d, x_e)²
//
// over columns x_d, with variances and covariances divided by N−1. Rows are not
// normalised. These are equations 1 to 6 of Bardes, Ponce and LeCun, "VICReg:
// Variance-Invariance-Covariance Regularization for Self-Supervised Learning"
// (2022), with the mean of squares and the ½ of its authors' code.
//
// Eval takes Query and Key, of at least two rows, or it is ErrShape. The D×D
// matrices are never held. Other inputs are ErrParameter, except Labels, which mean
// nothing here, and so are negative weights; for other errors see [Loss].
type VICReg struct {
	// Similarity, Variance and Covariance weigh the terms, and are at least 0.
	// If all are 0 they mean 25, 25 and 1; otherwise they are taken as they are.
	Similarity, Variance, Covariance float32

	Options
}

// Eval implements [Loss].
func (l VICReg) Eval(b Batch, g Gradients) (Result, error) {
	a := featurePool.Get().(*features)
	defer a.release(&featurePool, a)
	if err := a.begin("VICReg", b, g, l.Options, usesKey); err != nil {
		return Result{}, err
	}
	if l.Similarity == 0 && l.Variance == 0 && l.Covariance == 0 {
		l.Similarity, l.Variance, l.Covariance = 25, 25, 1
	}
	for _, p := range [...]struct {
		name  string
		value float32
	}{{"Similarity", l.Similarity}, {"Variance", l.Variance}, {"Covariance", l.Covariance}} {
		if err := checkNonNegative("VICReg", p.name, p.value); err != nil {
			return Result{}, err
		}
	}
	if a.n < 2 {
		return Result{}, fmt.Errorf("VICReg: Query has %d row, and a variance needs 2: %w", a.n, ErrShape)
	}
	if err := a.center(); err != nil {
		return Result{}, err
	}
	n, dim := float64(a.n), float64(b.Query.Cols)
	covariance := float64(l.Covariance) / dim / ((n - 1) * (n - 1))
	a.invariance(float64(l.Similarity))
	for v, dst := range [...]Matrix{g.Query, g.Key} {
		a.covariance(&a.views[v], covariance, !dst.isZero())
		a.variance(&a.views[v], float64(l.Variance)/2/dim)
	}
	for v, dst := range [...]Matrix{g.Query, g.Key} {
		if !dst.isZero() {
			a.storeCentred(dst, &a.views[v], 4*covariance, [...]float64{1, -1}[v]*2*float64(l.Similarity)/(n*dim))
		}
	}
	return a.result, nil
}

// features are the columns of a batch as vectors over its rows.
type features struct {
	evaluation
	views    [2]featureView
	lossGain float64
	pull     []float64
	column   []float64
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

// open checks the inputs and makes room for them, transposed.
func (a *features) open() error {
	for v, m := range [...]Matrix{a.batch.Query, a.batch.Key} {
		list := &a.engine.Rows
		list.Reset(m.Cols)
		if err := addRows(a.loss, list, m, Matrix{}, [...]string{"Query", "Key"}[v], false); err != nil {
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
	a.column = slices.Grow(a.column[:0], m.Rows)[:m.Rows]
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

// center copies the inputs, transposed, less their column means.
func (a *features) center() error {
	if err := a.open(); err != nil {
		return err
	}
	for v, m := range [...]Matrix{a.batch.Query, a.batch.Key} {
		view := &a.views[v]
		exponents, top := view.band[:0], math.MinInt // until all are known
		for d := range m.Cols {
			column, greatest := a.centred(m, d), 0.0
			for _, x := range column {
				greatest = max(greatest, math.Abs(x))
			}
			_, exponent := math.Frexp(greatest)
			unit := math.Ldexp(1, exponent)
			row := view.rows.Row(d)
			for i, x := range column {
				row[i] = float32(x / unit)
			}
			if greatest == 0 {
				exponent = math.MinInt
			}
			exponents, top = append(exponents, exponent), max(top, exponent)
		}
		view.band = exponents
		view.divide(top)
	}
	return nil
}

// divide divides the columns into bands, given the binary exponents of their
// greatest values in band, and the greatest of these.
func (v *featureView) divide(top int) {
	v.units = v.units[:0]
	for d, exponent := range v.band {
		v.band[d] = 0
		if exponent > math.MinInt { // a constant column is 0 in any unit
			v.band[d] = (top - exponent) / bandBits
			simd.ScaleTo(v.rows.Row(d), v.rows.Row(d), math.Ldexp(1, exponent-(top-bandBits*v.band[d])))
		}
		for len(v.units) <= v.band[d] {
			v.units = append(v.units, math.Ldexp(1, top-bandBits*len(v.units)))
		}
	}
}

// covariance adds weight times the sum of the squares of the products of different
// columns to the loss. Their gradient with respect to the columns is 4·weight times
// what is left in grad, or in sum: each product occurs twice, and has two factors.
func (a *features) covariance(view *featureView, weight float64, grad bool) {
	en, p := a.engine, &a.problem
	p.Rows, p.Cols, p.Form, p.Scale, p.Gain = &en.Rows, &en.Cols, engine.Squares, 1, 1
	a.pull = a.pull[:0]
	view.sum = view.sum[:0]
	if grad && len(view.units) > 1 {
		view.sum = extend(view.sum, view.rows.Rows*a.n)
	}
	for i, unit := range view.units {
		for j, other := range view.units {
			a.list(&en.Rows, view, i, grad)
			a.list(&en.Cols, view, j, false)
			p.Mask.Count = 0
			if i == j {
				p.Mask.Exclude(0)
			}
			a.lossGain = weight * (unit * other) * (unit * other)
			en.Run(p, a)
			if len(view.sum) > 0 {
				view.addBand(i, unit*other*other)
			}
		}
	}
}

// addBand adds factor times the gradients of the columns of a band to sum.
func (v *featureView) addBand(band int, factor float64) {
	for d, b := range v.band {
		if b == band {
			sum := v.sum[d*v.grad.Cols:]
			for i, g := range v.grad.Row(d) {
				sum[i] += factor * float64(g)
			}
		}
	}
}

// standardize copies the inputs, transposed, with mean 0 and variance 1.
func (a *features) standardize() error {
	const epsilon = 1e-5
	if err := a.open(); err != nil {
		return err
	}
	for v, m := range [...]Matrix{a.batch.Query, a.batch.Key} {
		view := &a.views[v]
		view.deviation = view.deviation[:0]
		for d := range m.Cols {
			column, squares := a.centred(m, d), 0.0
			for _, x := range column {
				squares += x * x
			}
			deviation := math.Sqrt(squares/float64(m.Rows) + epsilon)
			view.deviation = append(view.deviation, deviation)
			row := view.rows.Row(d)
			for i, x := range column {
				row[i] = float32(x / deviation)
			}
		}
	}
	return nil
}

func squares(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}

// listAll makes the columns of a view a list of vectors.
func (a *features) listAll(p *engine.Panels, view *featureView, grad bool) {
	p.Reset(a.n)
	view.add(p, 0, view.rows.Rows, grad)
}

// list makes the columns of a band a list of vectors.
func (a *features) list(p *engine.Panels, view *featureView, band int, grad bool) {
	p.Reset(a.n)
	for first := 0; first < len(view.band); {
		end := first + 1
		for end < len(view.band) && view.band[end] == view.band[first] {
			end++
		}
		if view.band[first] == band {
			view.add(p, first, end, grad)
		}
		first = end
	}
}

// add appends the columns from first up to end to a list.
func (v *featureView) add(p *engine.Panels, first, end int, grad bool) {
	part := func(m Matrix) engine.Matrix {
		return engine.Matrix{Rows: end - first, Cols: m.Cols, Stride: m.Stride, Data: m.Data[first*m.Stride:]}
	}
	dst := engine.Matrix{}
	if grad {
		dst = part(v.grad)
	}
	p.Add(part(v.rows), dst, false)
}

func (a *features) Row(_ int, s engine.Stat) [2]float64 {
	a.result.Loss += a.lossGain * s.Sum
	return [2]float64{}
}

func (a *features) Col(int, engine.Stat) [2]float64 { panic("contrastive: no column anchors") }

func (a *features) AddRow(d int, g []float32, factor float64) {
	if len(a.pull) > 0 {
		a.engine.Cols.AddScaled(factor*a.pull[d], d, g)
	}
}

func (a *features) AddCol(d int, g []float32, factor float64) {
	if len(a.pull) > 0 {
		a.engine.Rows.AddScaled(factor*a.pull[d], d, g)
	}
}

// storeStandardized writes the gradient with respect to the input, given that
// with respect to the standardised columns ẑ:
//
//	∂L/∂x = (∂L/∂ẑ − mean ∂L/∂ẑ − ẑ·mean(ẑ·∂L/∂ẑ)) / deviation
func (v *featureView) storeStandardized(dst Matrix) {
	for d := range v.rows.Rows {
		row, grad := v.rows.Row(d), v.grad.Row(d)
		var mean, along float64
		for i, g := range grad {
			mean += float64(g)
			along += float64(g) * float64(row[i])
		}
		mean /= float64(len(row))
		along /= float64(len(row))
		for i, g := range grad {
			dst.Data[i*dst.Stride+d] = engine.Saturate((float64(g) - mean - along*float64(row[i])) / v.deviation[d])
		}
	}
}

// invariance adds the mean squared distance of the views to the loss.
func (a *features) invariance(weight float64) {
	q, k := a.batch.Query, a.batch.Key
	sum := 0.0
	for i := range q.Rows {
		x, y := q.Row(i), k.Row(i)
		for d, v := range x {
			diff := float64(v) - float64(y[d])
			sum += diff * diff
		}
	}
	a.result.Loss += weight * sum / (float64(q.Rows) * float64(q.Cols))
}

// variance adds what columns lack of standard deviation 1 to the loss.
func (a *features) variance(view *featureView, weight float64) {
	const epsilon = 1e-4
	view.push = view.push[:0]
	for d := range view.rows.Rows {
		unit := view.units[view.band[d]]
		deviation := math.Sqrt(unit*unit*squares(view.rows.Row(d))/float64(a.n-1) + epsilon)
		push := 0.0
		if deviation < 1 {
			a.result.Loss += weight * (1 - deviation)
			push = weight / (float64(a.n-1) * deviation)
		}
		view.push = append(view.push, push)
	}
}

// storeCentred writes the gradient with respect to the input: covariance times that
// of the products with respect to the centred columns, less its mean, that of the
// variances, and invariance times the difference of the views.
func (a *features) storeCentred(dst Matrix, view *featureView, covariance, invariance float64) {
	q, k := a.batch.Query, a.batch.Key
	for d := range view.rows.Rows {
		unit, row := view.units[view.band[d]], view.rows.Row(d)
		grad, mean := a.column[:a.n], 0.0
		if len(view.sum) > 0 {
			copy(grad, view.sum[d*a.n:])
		} else {
			for i, g := range view.grad.Row(d) {
				grad[i] = float64(g) * (unit * unit * unit)
			}
		}
		for _, g := range grad {
			mean += g
		}
		mean /= float64(a.n)
		for i, g := range grad {
			diff := float64(q.Data[i*q.Stride+d]) - float64(k.Data[i*k.Stride+d])
			dst.Data[i*dst.Stride+d] = engine.Saturate(covariance*(g-mean) - view.push[d]*float64(row[i])*unit + invariance*diff)
		}
	}
}

// reshape returns a rows×cols matrix of arbitrary elements, reusing m's storage.
func reshape(m Matrix, rows, cols int) Matrix {
	return Matrix{Rows: rows, Cols: cols, Stride: cols, Data: slices.Grow(m.Data[:0], rows*cols)[:rows*cols]}
}
