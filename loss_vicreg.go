package contrastive

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/simd"
)

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
// matrices are never held, but by [Sharded]. Negative weights are ErrParameter, and other
// inputs [ErrUnused]; for other errors see [Loss].
type VICReg struct {
	// Similarity, Variance and Covariance weigh the terms, and are at least 0.
	// If all are 0 they mean 25, 25 and 1; otherwise they are taken as they are.
	Similarity, Variance, Covariance float32

	Options
}

// Eval implements [Loss].
func (l VICReg) Eval(b Batch, g Gradients) (Result, error) { return evaluateFeatures(l, b, g) }

// weights returns l with its defaults.
func (l VICReg) weights() VICReg {
	if l.Similarity == 0 && l.Variance == 0 && l.Covariance == 0 {
		l.Similarity, l.Variance, l.Covariance = 25, 25, 1
	}
	return l
}

func (l VICReg) features() featureObjective {
	w := l.weights()
	o := featureObjective{name: "VICReg", options: l.Options, needsTwo: "a variance"}
	o.parameters[0] = parameter{"Similarity", w.Similarity, isNonNegative}
	o.parameters[1] = parameter{"Variance", w.Variance, isNonNegative}
	o.parameters[2] = parameter{"Covariance", w.Covariance, isNonNegative}
	return o
}

func (l VICReg) compute(a *features) error {
	l = l.weights()
	if err := a.centreInBands(); err != nil {
		return err
	}
	if err := a.invariance(float64(l.Similarity)); err != nil {
		return err
	}
	squares, err := a.sumEach(func(v int) {
		view := &a.views[v]
		for d := range view.rows.Rows {
			a.sums = append(a.sums, sumSquares(view.rows.Row(d)))
		}
	})
	if err != nil {
		return err
	}
	for v := range a.views {
		view := &a.views[v]
		if err := a.covariance(view, l.covarianceOf(a), a.wants[v]); err != nil {
			return err
		}
		a.variance(view, squares[v], float64(l.Variance)/2/float64(a.batch.Query.Cols))
	}
	return a.meanCentred()
}

// covarianceOf returns what the square of a product of two centred columns weighs.
func (l VICReg) covarianceOf(a *features) float64 {
	n := float64(a.total)
	return float64(l.Covariance) / float64(a.batch.Query.Cols) / ((n - 1) * (n - 1))
}

// centreInBands copies the inputs, transposed, less their column means.
func (a *features) centreInBands() error {
	if err := a.centre(); err != nil {
		return err
	}
	a.sums = a.sums[:0]
	for v := range a.views {
		for d := range a.batch.Query.Cols {
			greatest := 0.0
			for _, x := range a.centred(v, d) {
				if x = math.Abs(x); x > greatest {
					greatest = x
				}
			}
			a.sums = append(a.sums, greatest)
		}
	}
	if err := a.greatest(a.sums); err != nil {
		return err
	}
	for v := range a.views {
		view := &a.views[v]
		exponents, top := view.band[:0], math.MinInt // until all are known
		for d := range a.batch.Query.Cols {
			greatest := a.sums[v*a.batch.Query.Cols+d]
			_, exponent := math.Frexp(greatest)
			inverse := math.Ldexp(1, -exponent)
			row := view.rows.Row(d)
			for i, x := range a.centred(v, d) {
				row[i] = float32(x * inverse)
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
func (a *features) covariance(view *featureView, weight float64, grad bool) error {
	p := &a.problem
	p.Gain = 1
	view.sum = view.sum[:0]
	if grad && len(view.units) > 1 {
		view.sum = zeros(view.sum, view.rows.Rows*a.n)
	}
	for i, unit := range view.units {
		for j, other := range view.units {
			a.bandColumns(&a.rows, view, i, grad)
			a.bandColumns(&a.cols, view, j, false)
			p.Mask.Count = 0
			if i == j {
				p.Mask.Exclude(0)
			}
			a.lossGain = weight * (unit * other) * (unit * other)
			if err := a.square(); err != nil {
				return err
			}
			if len(view.sum) > 0 {
				view.addBand(i, unit*other*other)
			}
		}
	}
	return nil
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

// bandColumns makes the columns of a band a list of vectors.
func (a *features) bandColumns(p *engine.List, view *featureView, band int, grad bool) {
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

func sumSquares(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}

// invariance adds the mean squared distance of the views to the loss.
func (a *features) invariance(weight float64) error {
	q, k := a.batch.Query, a.batch.Key
	sum := 0.0
	for i := range q.Rows {
		x, y := q.Row(i), k.Row(i)
		for d, v := range x {
			diff := float64(v) - float64(y[d])
			sum += diff * diff
		}
	}
	a.sums = append(a.sums[:0], sum)
	if err := a.addUp(a.sums); err != nil {
		return err
	}
	a.result.Loss += weight * a.sums[0] / (float64(a.total) * float64(q.Cols))
	return nil
}

// variance adds what columns lack of standard deviation 1 to the loss, given the sums of
// their squares.
func (a *features) variance(view *featureView, squares []float64, weight float64) {
	const epsilon = 1e-4
	view.push = view.push[:0]
	for d := range view.rows.Rows {
		unit := view.units[view.band[d]]
		deviation := math.Sqrt(unit*unit*squares[d]/float64(a.total-1) + epsilon)
		push := 0.0
		if deviation < 1 {
			a.result.Loss += weight * (1 - deviation)
			push = weight / (float64(a.total-1) * deviation)
		}
		view.push = append(view.push, push)
	}
}

// covarianceGrad returns column d of the gradient of the products with respect to the
// centred columns, valid until the next call.
func (a *features) covarianceGrad(view *featureView, d int) []float64 {
	a.column = resize(a.column, a.n)
	if len(view.sum) > 0 {
		copy(a.column, view.sum[d*a.n:])
		return a.column
	}
	unit := view.units[view.band[d]]
	for i, g := range view.grad.Row(d) {
		a.column[i] = float64(g) * (unit * unit * unit)
	}
	return a.column
}

// meanCentred computes what store needs of all rows.
func (a *features) meanCentred() error {
	sums, err := a.sumEach(func(v int) {
		for d := range a.batch.Query.Cols {
			sum := 0.0
			if a.wants[v] {
				for _, g := range a.covarianceGrad(&a.views[v], d) {
					sum += g
				}
			}
			a.sums = append(a.sums, sum)
		}
	})
	for v, s := range sums {
		view := &a.views[v]
		view.gradMean = view.gradMean[:0]
		for _, sum := range s {
			view.gradMean = append(view.gradMean, sum/float64(a.total))
		}
	}
	return err
}

// store writes the gradients with respect to the inputs: that of the products with respect
// to the centred columns, less its mean, that of the variances, and that of the difference
// of the views.
func (l VICReg) store(a *features) {
	l = l.weights()
	covariance := 4 * l.covarianceOf(a)
	for v := range a.views {
		view := &a.views[v]
		invariance := [...]float64{1, -1}[v] * 2 * float64(l.Similarity) / (float64(a.total) * float64(a.batch.Query.Cols))
		a.storeColumns(v, func(d int) []float64 {
			q, k := a.inputColumns(d)
			column, row := a.covarianceGrad(view, d), view.rows.Row(d)
			mean, push, unit := view.gradMean[d], view.push[d], view.units[view.band[d]]
			for i, g := range column {
				diff := float64(q[i]) - float64(k[i])
				column[i] = covariance*(g-mean) - push*float64(row[i])*unit + invariance*diff
			}
			return column
		})
	}
}

// inputColumns returns column d of Query and of Key, for columns one after the other.
func (a *features) inputColumns(d int) (q, k []float32) {
	if d%columnsAtOnce == 0 {
		for v, m := range a.inputs() {
			a.transposes[v] = transposed(a.transposes[v], m.columns(d, min(d+columnsAtOnce, m.Cols)))
		}
	}
	return a.transposes[0].Row(d % columnsAtOnce), a.transposes[1].Row(d % columnsAtOnce)
}
