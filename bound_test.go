package contrastive_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// An accuracy is what the errors of one evaluation depend on.
//
// Elements of unit vectors are off by u, relatively, and a dot product of D terms
// in float32 by D·u·Σ|terms|, in any order (Higham, Accuracy and Stability of
// Numerical Algorithms, §3.1); Σ|terms| ≤ 1 for unit vectors. So a cosine is off
// by at most (D+2)·u, and more if the product is of lower precision:
//
//	Highest 3·2⁻²⁴ on AMX: x = a + b + c in three parts of 8 bits, |b| ≤ 2⁻⁸|x|
//	        and |c| ≤ 2⁻¹⁶|x|, of which b·c', c·b' and c·c' are dropped
//	High    3·2⁻¹⁶: b·b' and what c is in are dropped
//	Medium  3·2⁻⁸: two roundings to 8 bits, and their product
//
// The exponent of a weight is a logit less a shift, computed in float32 from the
// cosine, the shift and the scale log₂e/τ: three roundings of values up to 2/τ;
// a bias adds two of its size. The exponential is within 4 ulp, and a sum of up
// to 512 terms in chains of 32 within 32·u. All together move a logit by no more
// than
//
//	ε = (error of the cosine)/τ + 8·u/τ + 2·u·|bias| + 40·u
type accuracy struct {
	tau, bias float64
	gain      float64 // of the error of a logit
	product   float64 // relative error of a matrix product, but for its length
	cosine    float64 // error of a cosine
	margin    float64 // by which a positive is to win
	logit     float64 // ε
	positive  float64 // error of the mean cosine of positives
	n, dim    float64 // rows of Query and columns
	length    float64 // greatest number of terms of any sum
	sum       float64 // relative error of a sum of losses of pairs
	columns   bool
	given     bool
	raw       bool
	files     float64 // error of reference values that are not package ref's
}

func newAccuracy(v variant, b contrastive.Batch, tau, bias float32, p contrastive.Precision) accuracy {
	a := accuracy{tau: 1, gain: 1, n: float64(b.Query.Rows), dim: float64(b.Query.Cols), columns: v.columns}
	if !v.noTemperature {
		a.tau = float64(tau)
	}
	if v.bias {
		a.bias = math.Abs(float64(bias))
		a.sum = 129 * u // 512 terms in as few as 4 chains: that of a logit is no bound if losses exceed their derivatives
	}
	if v.gain != 0 {
		a.gain = v.gain
	}
	candidates := 2*b.Query.Rows + b.Negatives.Rows
	if b.Queue != nil {
		candidates += b.Queue.Len()
	}
	a.length = float64(candidates)
	a.margin = 0x1p-20
	switch p {
	case contrastive.Highest:
		if kernel.Active().Pieces(kernel.MaxPieces) > 0 {
			a.product = 3 * u
		}
	case contrastive.High:
		a.product, a.margin = 3*0x1p-16, 0x1p-14
	case contrastive.Medium:
		a.product, a.margin = 3*0x1p-8, 0x1p-6
	}
	a.cosine = (a.dim+2)*u + a.product
	a.positive = 0x1p-43 // in float64, of a few hundred dimensions
	if v.optionalKey {
		a.positive = 4 * u // with a class of unit vectors in float32, less the vector itself
	}
	a.logit = a.gain * (a.cosine/a.tau + 8*u/a.tau + 2*u*a.bias + 40*u)
	if v.given {
		a.newGiven(v, b)
	}
	return a
}

// newGiven sets what the errors of losses of given pairs depend on. Similarities and what
// becomes of them are float64: a sum of D products is off by (D+1)·2⁻⁵³ of its size, the
// norms by half of that each, and a few roundings follow. A gradient sums up as many
// vectors in float32 as its row has pairs: they are rounded, scaled and added.
func (a *accuracy) newGiven(v variant, b contrastive.Batch) {
	a.given, a.raw = true, v.raw
	a.cosine, a.product = (2*a.dim+16)*0x1p-53, 0
	a.logit = a.gain * a.cosine / a.tau
	a.length = 1
	for i := range b.Query.Rows {
		a.length = max(a.length, 1+float64(hardCount(b, i)))
	}
	a.length += 4
}

// hardCount returns how many rows of Hard query i has.
func hardCount(b contrastive.Batch, i int) int {
	if b.HardCounts != nil {
		return b.HardCounts[i]
	}
	return b.Hard.Rows / b.Query.Rows
}

// condition accounts for a loss that is steep near a kink: HardNegative divides
// by the share of a sum that a subtraction leaves, which is at least the distance
// from the kink. It reports whether the result can be compared at all.
func (a *accuracy) condition(want ref.Result) bool {
	if a.given { // errors of logits that are small, and no hinge within reach
		return want.Logit*a.cosine < 0.01 && want.Kink > 4*a.cosine
	}
	if math.IsInf(want.Kink, 1) {
		return true
	}
	if a.columns {
		return want.Kink > a.relative()
	}
	a.logit *= 1 + 1/want.Kink
	return a.logit < 0.1
}

// relative is the error of the gradients of losses on columns, relative to the
// masses of package ref: products of N terms for the matrix of columns, of D
// terms with that, and a few roundings on the way.
func (a *accuracy) relative() float64 { return (a.n+a.dim+16)*u + 2*a.product }

// check compares an evaluation with the oracle.
//
// By definition of Mass, errors of ε in logits move the loss by Mass·τ·ε to first
// order, and by e^(2ε) times that altogether. Since Mass is proportional to the
// loss where that is near 0, this asks for relative accuracy there.
//
// A weight is a product of two exponentials of differences of two logits: its
// relative error is at most e^(4ε)−1. The gradient of a row sums unit vectors
// with these weights, which costs another (number of terms)·u, and its error is,
// in the 2-norm, as much of the sum of their magnitudes, which is the mass of the
// row. The projection that follows shortens it, and ‖x‖ divides it.
//
// The mean cosine of the negatives is the difference of a sum over all pairs, from
// sums of up to 64 vectors in float32 of elements that are off by u, and of a sum
// over the excluded pairs: its error is 2·(64+2)·u of the number of all pairs,
// divided by that of the negatives.
//
// Weights less than 2⁻⁶⁰ of an anchor's greatest may be flushed to zero, as may
// float32 numbers below 2⁻¹²⁶ anywhere.
func (a accuracy) check(t *testing.T, name string, b contrastive.Batch, got contrastive.Result, g contrastive.Gradients, want ref.Result) {
	t.Helper()
	const meanCosine = 2 * (64 + 2) * u
	weight := a.weight()
	within(t, name+": Loss", got.Loss, want.Loss, a.loss(want))
	within(t, name+": TemperatureGrad", got.TemperatureGrad, want.TemperatureGrad, a.temperatureGrad(want))
	within(t, name+": BiasGrad", got.BiasGrad, want.BiasGrad, a.biasGrad(want))
	if !a.columns {
		within(t, name+": PositiveCosine", got.PositiveCosine, want.PositiveCosine, a.positive)
		bound := 0.0
		if want.NegativeShare > 0 {
			bound = meanCosine / want.NegativeShare
		}
		within(t, name+": NegativeCosine", got.NegativeCosine, want.NegativeCosine, bound)
	} else if got.PositiveCosine != 0 || got.NegativeCosine != 0 {
		t.Errorf("%s: cosines %v and %v, want 0", name, got.PositiveCosine, got.NegativeCosine)
	}
	a.checkAccuracy(t, name, got.Accuracy, want.Margins)

	flush := 0x1p-60*want.Mass + a.length*0x1p-126/a.tau + 10*a.files
	for _, m := range [...]struct {
		name        string
		input, grad contrastive.Matrix
		want        [][]float64
		mass, bend  []float64
	}{
		{"Query", b.Query, g.Query, want.Query, want.QueryMass, want.QueryBend},
		{"Key", b.Key, g.Key, want.Key, want.KeyMass, want.KeyBend},
		{"Negatives", b.Negatives, g.Negatives, want.Negatives, want.NegativesMass, nil},
		{"Hard", b.Hard, g.Hard, want.Hard, want.HardMass, want.HardBend},
	} {
		if m.grad.Data == nil {
			continue
		}
		checkGaps(t, name+": gradient of "+m.name, m.grad)
		if a.columns {
			checkColumns(t, name+": gradient of "+m.name, m.grad, m.want, m.mass, weight)
		} else {
			input := m.input
			if a.raw {
				input = contrastive.Matrix{}
			}
			checkRows(t, name+": gradient of "+m.name, input, m.grad, m.want, func(i int) float64 {
				bound := m.mass[i]*weight + flush
				if m.bend != nil {
					bound += m.bend[i] * a.cosine
				}
				return bound
			})
		}
	}
	if g.Losses != nil && len(g.Losses) != len(want.Losses) {
		t.Errorf("%s: losses of %d queries, want %d", name, len(g.Losses), len(want.Losses))
		return
	}
	for i, loss := range g.Losses {
		bound := want.LossesMass[i]*a.tau*a.logit*math.Exp(2*a.logit) + (1e-14+a.sum)*math.Abs(want.Losses[i]) + 0x1p-120
		if want.LossesBend != nil { // of given pairs, which are no exponentials
			bound = 2*want.LossesMass[i]*a.cosine + want.LossesBend[i]*a.cosine*a.cosine + 1e-14*math.Abs(want.Losses[i]) + 0x1p-120
		}
		within(t, fmt.Sprintf("%s: loss of query %d", name, i), loss, want.Losses[i], bound+a.n*a.files)
	}
}

// loss is the error of the loss, and weight that of the weight of a pair, relative to
// it; temperatureGrad and biasGrad are those of the scalars.
func (a accuracy) loss(want ref.Result) float64 {
	const float64Rounding = 1e-14
	loss := want.Mass * a.tau * a.logit * math.Exp(2*a.logit)
	if a.columns {
		second := a.dim * a.dim * a.relative() * a.relative()
		loss = 2*want.Mass*a.relative() + second
	}
	if a.given {
		loss += want.Bend * a.cosine * a.cosine
	}
	return loss + (float64Rounding+a.sum)*math.Abs(want.Loss) + 0x1p-120 + a.files
}

func (a accuracy) weight() float64 {
	if a.columns {
		return a.relative()
	}
	return math.Expm1(4*a.logit) + a.length*u + 2*a.product
}

func (a accuracy) temperatureGrad(want ref.Result) float64 {
	return (want.Mass*a.tau*(a.weight()/a.tau+2*a.logit)+a.loss(want)+10*a.files)/a.tau + 0x1p-120
}

func (a accuracy) biasGrad(want ref.Result) float64 {
	return want.Mass*a.tau*a.weight() + 0x1p-120 + 10*a.files
}

// checkAccuracy allows for anchors that win or lose by no more than the error of
// a cosine, or by the margin below which a win does not count.
func (a accuracy) checkAccuracy(t *testing.T, name string, got float64, margins []float64) {
	t.Helper()
	if len(margins) == 0 {
		within(t, name+": Accuracy", got, 0, 0)
		return
	}
	slack := a.cosine + a.margin
	least, most := 0, 0
	for _, m := range margins {
		if m > slack {
			least++
		}
		if m > -slack {
			most++
		}
	}
	n := float64(len(margins))
	if !(got >= (float64(least)-1e-9)/n && got <= (float64(most)+1e-9)/n) {
		t.Errorf("%s: Accuracy = %v, want %v to %v", name, got, float64(least)/n, float64(most)/n)
	}
}

// checkRows compares gradients whose row i is off by bound(i)/‖x‖ in the 2-norm,
// and by a rounding to float32, which saturates. For a zero x there is no division.
func checkRows(t *testing.T, name string, x, grad contrastive.Matrix, want [][]float64, bound func(i int) float64) {
	t.Helper()
	for i := range want {
		var norm, size, diff float64
		for d, w := range want[i] {
			w = max(-math.MaxFloat32, min(math.MaxFloat32, w))
			if x.Data != nil {
				norm = math.Hypot(norm, float64(x.Row(i)[d]))
			}
			size = math.Hypot(size, w)
			diff = math.Hypot(diff, float64(grad.Row(i)[d])-w)
		}
		if x.Data == nil {
			norm = 1
		}
		if norm == 0 {
			if diff != 0 {
				t.Errorf("%s row %d = %v, want zeros", name, i, grad.Row(i))
			}
			continue
		}
		limit := bound(i)/norm + u*size + math.Sqrt(float64(grad.Cols))*0x1p-126
		if !(diff <= limit) {
			t.Errorf("%s row %d is off by %.3g of %.3g, want at most %.3g", name, i, diff, size, limit)
			return
		}
	}
}

// checkColumns is checkRows by columns.
func checkColumns(t *testing.T, name string, grad contrastive.Matrix, want [][]float64, mass []float64, relative float64) {
	t.Helper()
	for d := range want[0] {
		var size, diff float64
		for i := range want {
			w := max(-math.MaxFloat32, min(math.MaxFloat32, want[i][d]))
			size = math.Hypot(size, w)
			diff = math.Hypot(diff, float64(grad.Row(i)[d])-w)
		}
		limit := mass[d]*relative + u*size + 0x1p-120
		if !(diff <= limit) {
			t.Errorf("%s column %d is off by %.3g of %.3g, want at most %.3g", name, d, diff, size, limit)
			return
		}
	}
}

// A trial is an evaluation and what the oracle says of it.
type trial struct {
	name      string
	v         variant
	tau, bias float32
	precision contrastive.Precision
	batch     contrastive.Batch
	want      ref.Result
}

func newTrial(v variant, shape string, tau, bias float32, b contrastive.Batch) trial {
	name := fmt.Sprintf("%s τ=%v %s", v.name, tau, shape)
	return trial{name: name, v: v, tau: tau, bias: bias, batch: b, want: v.ref(float64(tau), float64(bias)).Eval(reference(b))}
}

// run evaluates the trial and reports whether it could be compared.
func (c trial) run(t *testing.T) bool {
	t.Helper()
	a := newAccuracy(c.v, c.batch, c.tau, c.bias, c.precision)
	if !a.condition(c.want) {
		return false
	}
	g := c.v.destinations(c.batch)
	got := eval(t, c.name, c.v.make(c.tau, c.bias, options{Precision: c.precision}), c.batch, g)
	a.check(t, c.name, c.batch, got, g, c.want)
	return true
}
