package nn

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive"
)

// normEpsilon is added to variances.
const normEpsilon = 1e-5

// LayerNorm brings each row to mean 0 and variance 1, then multiplies column j by γ[j]
// and adds β[j]: Ba, Kiros and Hinton, "Layer Normalization" (2016), equation 4. 10⁻⁵ is
// added to the variance. Means, variances and the sums of gradients over columns are in
// float64.
type LayerNorm struct {
	Gamma, Beta *Param // Dim

	Workers int // as that of [Linear]

	dim             int
	x, y, dy, dx    contrastive.Matrix
	mean, deviation []float64 // of each row; the deviation's inverse
}

// NewLayerNorm returns layer normalisation for dim columns, with γ = 1 and β = 0. It
// panics unless dim is positive.
func NewLayerNorm(dim int) *LayerNorm {
	if dim <= 0 {
		panic(fmt.Sprintf("nn: NewLayerNorm(%d): the dimension must be positive", dim))
	}
	l := &LayerNorm{dim: dim}
	l.Gamma, l.Beta = newAffine(dim)
	return l
}

// newAffine returns γ = 1 and β = 0.
func newAffine(dim int) (gamma, beta *Param) {
	gamma, beta = NewParam("weight", dim), NewParam("bias", dim)
	gamma.NoDecay, beta.NoDecay = true, true
	for i := range gamma.Value {
		gamma.Value[i] = 1
	}
	return gamma, beta
}

// Forward implements [Layer].
func (l *LayerNorm) Forward(x contrastive.Matrix, _ bool) contrastive.Matrix {
	checkInput("LayerNorm", x, l.dim)
	l.x = x
	y := resize(&l.y, x.Rows, x.Cols)
	l.mean, l.deviation = floats(l.mean, x.Rows), floats(l.deviation, x.Rows)
	run((*layerNormForward)(l), x.Rows, rowGrain(x.Cols), l.Workers)
	return y
}

type layerNormForward LayerNorm

func (l *layerNormForward) part(lo, hi int) {
	gamma, beta := l.Gamma.Value, l.Beta.Value
	for i := lo; i < hi; i++ {
		x, y := l.x.Row(i), l.y.Row(i)
		var sum, square float64
		for _, v := range x {
			sum += float64(v)
		}
		mean := sum / float64(len(x))
		for _, v := range x {
			d := float64(v) - mean
			square += d * d
		}
		inverse := 1 / math.Sqrt(square/float64(len(x))+normEpsilon)
		l.mean[i], l.deviation[i] = mean, inverse
		for j, v := range x {
			y[j] = float32((float64(v)-mean)*inverse)*gamma[j] + beta[j]
		}
	}
}

// Backward implements [Layer].
func (l *LayerNorm) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	checkGradient("LayerNorm", dy, l.y)
	l.dy = dy
	run((*layerNormParams)(l), l.dim, columnGrain, l.Workers)
	if !wanted {
		return contrastive.Matrix{}
	}
	dx := resize(&l.dx, dy.Rows, dy.Cols)
	run((*layerNormBackward)(l), dy.Rows, rowGrain(dy.Cols), l.Workers)
	return dx
}

type layerNormParams LayerNorm

// part adds to the gradients of γ and β for columns lo to hi-1.
func (l *layerNormParams) part(lo, hi int) {
	var dGamma, dBeta [columnGrain]float64
	for i := range l.dy.Rows {
		x, mean, inverse := l.x.Row(i)[lo:hi], l.mean[i], l.deviation[i]
		for j, v := range l.dy.Row(i)[lo:hi] {
			dGamma[j] += float64(v) * ((float64(x[j]) - mean) * inverse)
			dBeta[j] += float64(v)
		}
	}
	for j := range hi - lo {
		l.Gamma.Grad[lo+j] += float32(dGamma[j])
		l.Beta.Grad[lo+j] += float32(dBeta[j])
	}
}

type layerNormBackward LayerNorm

// part is dx = (g − mean g − x̂·mean(g·x̂))/σ with g = γ·dy, for rows lo to hi-1.
func (l *layerNormBackward) part(lo, hi int) {
	gamma, n := l.Gamma.Value, float64(l.dim)
	for i := lo; i < hi; i++ {
		x, dy, dx := l.x.Row(i), l.dy.Row(i), l.dx.Row(i)
		mean, inverse := l.mean[i], l.deviation[i]
		var sum, dot float64
		for j, v := range dy {
			g := float64(v) * float64(gamma[j])
			sum += g
			dot += g * ((float64(x[j]) - mean) * inverse)
		}
		sum, dot = sum/n, dot/n
		for j, v := range dy {
			g := float64(v) * float64(gamma[j])
			dx[j] = float32(inverse * (g - sum - (float64(x[j])-mean)*inverse*dot))
		}
	}
}

// Params implements [Module].
func (l *LayerNorm) Params() []*Param { return []*Param{l.Gamma, l.Beta} }

// Buffers implements [Module].
func (l *LayerNorm) Buffers() []Tensor { return nil }

// SetWorkers sets Workers.
func (l *LayerNorm) SetWorkers(n int) { l.Workers = n }
