package losstest

import (
	"fmt"
	"math"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// An Accuracy is what the errors of one evaluation depend on.
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
// to 128 terms in 4 lanes or more within 32·u. All together move a logit by no more
// than
//
//	ε = (error of the cosine)/τ + 8·u/τ + 2·u·|bias| + 40·u
type Accuracy struct {
	Tau, bias float64
	Gain      float64 // of the error of a logit
	Product   float64 // relative error of a matrix product, but for its length
	Cosine    float64 // error of a cosine
	Margin    float64 // by which a positive is to win
	Logit     float64 // ε
	Size      float64 // greatest product of norms, where similarities are dot products and masses have them as factors; 0 means 1
	Positive  float64 // error of the mean cosine of positives
	n, dim    float64 // rows of Query and columns
	Length    float64 // greatest number of terms of any sum
	Sum       float64 // relative error of a sum of losses of pairs
	Columns   bool
	given     bool
	Raw       bool
	Files     float64 // error of reference values that are not package ref's
}

func NewAccuracy(v Variant, b contrastive.Batch, tau, bias float32, p contrastive.Precision) Accuracy {
	a := Accuracy{Tau: 1, Gain: 1, n: float64(b.Query.Rows), dim: float64(b.Query.Cols), Columns: v.Columns}
	if !v.NoTemperature {
		a.Tau = float64(tau)
	}
	if v.Bias {
		a.bias = math.Abs(float64(bias))
		// That of a logit is no bound if losses exceed their derivatives: 20·u for each of
		// 128 terms, and 32·u for their sum in as few as 4 lanes.
		a.Sum = 52 * u
	}
	if v.Gain != 0 {
		a.Gain = v.Gain
	}
	candidates := 2*b.Query.Rows + b.Negatives.Rows
	if b.Queue != nil {
		candidates += b.Queue.Len()
	}
	a.Length = float64(candidates)
	a.Margin = 0x1p-20
	switch p {
	case contrastive.Highest:
		if kernel.Active().Pieces(kernel.MaxPieces) > 0 {
			a.Product = 3 * u
		}
	case contrastive.High:
		a.Product, a.Margin = 3*0x1p-16, 0x1p-14
	case contrastive.Medium:
		a.Product, a.Margin = 3*0x1p-8, 0x1p-6
	}
	a.Cosine = (a.dim+2)*u + a.Product
	a.Positive = 0x1p-43 // in float64, of a few hundred dimensions
	if v.OptionalKey {
		a.Positive = 4 * u // with a class of unit vectors in float32, less the vector itself
	}
	a.Logit = a.Gain * (a.Cosine/a.Tau + 8*u/a.Tau + 2*u*a.bias + 40*u)
	if v.Given {
		a.newGiven(v, b)
	}
	return a
}

// Sharded returns the accuracy of an evaluation over some ranks, with more roundings than
// that of one process: a gradient is the sum of those of up to as many blocks, each
// rounded once and added once on the way, and the vectors and sums of pieces are rounded
// once more.
func (a Accuracy) Sharded(ranks int) Accuracy {
	a.Length += float64(2*ranks + 4)
	return a
}

// newGiven sets what the errors of losses of given pairs depend on. Similarities and what
// becomes of them are float64: a sum of D products is off by (D+1)·2⁻⁵³ of its size, the
// norms by half of that each, and a few roundings follow. A gradient sums up as many
// vectors in float32 as its row has pairs: they are rounded, scaled and added.
func (a *Accuracy) newGiven(v Variant, b contrastive.Batch) {
	a.given, a.Raw = true, v.Raw
	a.Cosine, a.Product = (2*a.dim+16)*0x1p-53, 0
	a.Logit = a.Gain * a.Cosine / a.Tau
	a.Length = 1
	for i := range b.Query.Rows {
		a.Length = max(a.Length, 1+float64(HardCount(b, i)))
	}
	a.Length += 4
}

// HardCount returns how many rows of Hard query i has.
func HardCount(b contrastive.Batch, i int) int {
	if b.HardCounts != nil {
		return b.HardCounts[i]
	}
	return b.Hard.Rows / b.Query.Rows
}

// Condition accounts for a loss that is steep near a kink: HardNegative divides
// by the share of a sum that a subtraction leaves, which is at least the distance
// from the kink. It reports whether the result can be compared at all.
func (a *Accuracy) Condition(want ref.Result) bool {
	if a.given { // errors of logits that are small, and no hinge within reach
		return want.Logit*a.Cosine < 0.01 && want.Kink > 4*a.Cosine
	}
	if math.IsInf(want.Kink, 1) {
		return true
	}
	if a.Columns {
		return want.Kink > a.relative()
	}
	a.Logit *= 1 + 1/want.Kink
	return a.Logit < 0.1
}

// relative is the error of the gradients of losses on columns, relative to the
// masses of package ref: products of N terms for the matrix of columns, of D
// terms with that, and a few roundings on the way.
func (a *Accuracy) relative() float64 { return (a.n+a.dim+16)*u + 2*a.Product }

// Check compares an evaluation with the oracle.
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
func (a Accuracy) Check(t Reporter, name string, b contrastive.Batch, got contrastive.Result, g contrastive.Gradients, want ref.Result) {
	t.Helper()
	const meanCosine = 2 * (64 + 2) * u
	weight := a.Weight()
	Within(t, name+": Loss", got.Loss, want.Loss, a.Loss(want))
	Within(t, name+": TemperatureGrad", got.TemperatureGrad, want.TemperatureGrad, a.TemperatureGrad(want))
	Within(t, name+": BiasGrad", got.BiasGrad, want.BiasGrad, a.BiasGrad(want))
	if !a.Columns {
		Within(t, name+": PositiveCosine", got.PositiveCosine, want.PositiveCosine, a.Positive)
		bound := 0.0
		if want.NegativeShare > 0 {
			bound = meanCosine / want.NegativeShare
		}
		Within(t, name+": NegativeCosine", got.NegativeCosine, want.NegativeCosine, bound)
	} else if got.PositiveCosine != 0 || got.NegativeCosine != 0 {
		t.Errorf("%s: cosines %v and %v, want 0", name, got.PositiveCosine, got.NegativeCosine)
	}
	a.CheckAccuracy(t, name, got.Accuracy, want.Margins)

	flush := 0x1p-60*want.Mass + a.Length*0x1p-126/a.Tau + 10*a.Files
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
		CheckGaps(t, name+": gradient of "+m.name, m.grad)
		if a.Columns {
			checkColumns(t, name+": gradient of "+m.name, m.grad, m.want, m.mass, weight)
		} else {
			input := m.input
			if a.Raw {
				input = contrastive.Matrix{}
			}
			CheckRows(t, name+": gradient of "+m.name, input, m.grad, m.want, func(i int) float64 {
				bound := m.mass[i]*weight + flush
				if m.bend != nil {
					bound += m.bend[i] * a.Cosine
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
		bound := want.LossesMass[i]*a.LogitError()*math.Exp(2*a.Logit) + (1e-14+a.Sum)*math.Abs(want.Losses[i]) + 0x1p-120
		if want.LossesBend != nil { // of given pairs, which are no exponentials
			bound = 2*want.LossesMass[i]*a.Cosine + want.LossesBend[i]*a.Cosine*a.Cosine + 1e-14*math.Abs(want.Losses[i]) + 0x1p-120
		}
		Within(t, fmt.Sprintf("%s: loss of query %d", name, i), loss, want.Losses[i], bound+a.n*a.Files)
	}
}

// LogitError is the error of logits, of one unit of mass.
func (a Accuracy) LogitError() float64 {
	if a.Size > 0 {
		return a.Tau * a.Logit / a.Size
	}
	return a.Tau * a.Logit
}

// Loss is the error of the loss, and Weight that of the weight of a pair, relative to
// it; TemperatureGrad and BiasGrad are those of the scalars.
func (a Accuracy) Loss(want ref.Result) float64 {
	const float64Rounding = 1e-14
	loss := want.Mass * a.LogitError() * math.Exp(2*a.Logit)
	if a.Columns {
		second := a.dim * a.dim * a.relative() * a.relative()
		loss = 2*want.Mass*a.relative() + second
	}
	if a.given {
		loss += want.Bend * a.Cosine * a.Cosine
	}
	return loss + (float64Rounding+a.Sum)*math.Abs(want.Loss) + 0x1p-120 + a.Files
}

func (a Accuracy) Weight() float64 {
	if a.Columns {
		return a.relative()
	}
	return math.Expm1(4*a.Logit) + a.Length*u + 2*a.Product
}

func (a Accuracy) TemperatureGrad(want ref.Result) float64 {
	return (want.Mass*(a.Weight()+2*a.LogitError())+a.Loss(want)+10*a.Files)/a.Tau + 0x1p-120
}

func (a Accuracy) BiasGrad(want ref.Result) float64 {
	return want.Mass*a.Tau*a.Weight() + 0x1p-120 + 10*a.Files
}

// CheckAccuracy allows for anchors that win or lose by no more than the error of
// a cosine, or by the margin below which a win does not count.
func (a Accuracy) CheckAccuracy(t Reporter, name string, got float64, margins []float64) {
	t.Helper()
	if len(margins) == 0 {
		Within(t, name+": Accuracy", got, 0, 0)
		return
	}
	slack := a.Cosine + a.Margin
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

// CheckRows compares gradients whose row i is off by bound(i)/‖x‖ in the 2-norm,
// and by a rounding to float32, which saturates. For a zero x there is no division.
func CheckRows(t Reporter, name string, x, grad contrastive.Matrix, want [][]float64, bound func(i int) float64) {
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
func checkColumns(t Reporter, name string, grad contrastive.Matrix, want [][]float64, mass []float64, relative float64) {
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

// A Trial is an evaluation and what the oracle says of it.
type Trial struct {
	Name      string
	Variant   Variant
	Tau, Bias float32
	Precision contrastive.Precision
	Batch     contrastive.Batch
	Want      ref.Result
}

func NewTrial(v Variant, shape string, tau, bias float32, b contrastive.Batch) Trial {
	name := fmt.Sprintf("%s τ=%v %s", v.Name, tau, shape)
	return Trial{Name: name, Variant: v, Tau: tau, Bias: bias, Batch: b, Want: v.Ref(float64(tau), float64(bias)).Eval(Reference(b))}
}

// Run evaluates the trial and reports whether it could be compared.
func (c Trial) Run(t *testing.T) bool {
	t.Helper()
	a := NewAccuracy(c.Variant, c.Batch, c.Tau, c.Bias, c.Precision)
	if !a.Condition(c.Want) {
		return false
	}
	g := c.Variant.Destinations(c.Batch)
	got := Eval(t, c.Name, c.Variant.Make(c.Tau, c.Bias, options{Precision: c.Precision}), c.Batch, g)
	a.Check(t, c.Name, c.Batch, got, g, c.Want)
	return true
}
