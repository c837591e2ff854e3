package contrastive

import (
	"fmt"
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
	a := newFeatures()
	defer a.release()
	if l.Similarity == 0 && l.Variance == 0 && l.Covariance == 0 {
		l.Similarity, l.Variance, l.Covariance = 25, 25, 1
	}
	err := a.begin(b, g, l.Options,
		parameter{"Similarity", l.Similarity, isNonNegative},
		parameter{"Variance", l.Variance, isNonNegative},
		parameter{"Covariance", l.Covariance, isNonNegative})
	if err == nil && a.n < 2 {
		err = fmt.Errorf("Query has %d row, and a variance needs 2: %w", a.n, ErrShape)
	}
	if err == nil {
		err = a.center()
	}
	if err != nil {
		return Result{}, wrap("VICReg", err)
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

func (VICReg) inputs(Batch) inputs { return takesKey }

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
	p := &a.problem
	p.Gain = 1
	view.sum = view.sum[:0]
	if grad && len(view.units) > 1 {
		view.sum = zeros(view.sum, view.rows.Rows*a.n)
	}
	for i, unit := range view.units {
		for j, other := range view.units {
			a.list(&a.rows, view, i, grad)
			a.list(&a.cols, view, j, false)
			p.Mask.Count = 0
			if i == j {
				p.Mask.Exclude(0)
			}
			a.lossGain = weight * (unit * other) * (unit * other)
			a.engine.Run(p, a)
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

// list makes the columns of a band a list of vectors.
func (a *features) list(p *engine.List, view *featureView, band int, grad bool) {
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

func squares(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
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
			a.grads.store(&dst.Data[i*dst.Stride+d], covariance*(g-mean)-view.push[d]*float64(row[i])*unit+invariance*diff)
		}
	}
}
