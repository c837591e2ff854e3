package nn

import (
	"fmt"
	"math"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/simd"
)

// normEpsilon is added to variances.
const normEpsilon = 1e-5

// LayerNorm brings each row to mean 0 and variance 1, then multiplies column j by γ[j]
// and adds β[j]: Ba, Kiros and Hinton, "Layer Normalization" (2016), equation 4. 10⁻⁵ is
// added to the variance. Means, variances and the sums of gradients are in float64.
type LayerNorm struct {
	Gamma, Beta *Param // Dim

	Workers int // as that of [Linear]

	dim          int
	ones         []float32
	x, y, dy, dx contrastive.Matrix
	normal       contrastive.Matrix // x̂
	inverse      []float64          // 1/√(variance+ε) of each row
}

// NewLayerNorm returns layer normalisation for dim columns, with γ = 1 and β = 0. It
// panics unless dim is positive.
func NewLayerNorm(dim int) *LayerNorm {
	if dim <= 0 {
		panic(fmt.Sprintf("nn: NewLayerNorm(%d): the dimension must be positive", dim))
	}
	l := &LayerNorm{dim: dim, ones: slices.Repeat([]float32{1}, dim)}
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
	resize(&l.normal, x.Rows, x.Cols)
	l.inverse = floats(l.inverse, x.Rows)
	run((*layerNormForward)(l), x.Rows, rowGrain(x.Cols), l.Workers)
	return y
}

type layerNormForward LayerNorm

func (l *layerNormForward) part(lo, hi int) {
	gamma, beta := l.Gamma.Value, l.Beta.Value
	for i := lo; i < hi; i++ {
		normal, y := l.normal.Row(i), l.y.Row(i)
		_, l.inverse[i] = standardise(normal, l.x.Row(i), l.ones)
		for j, v := range normal {
			y[j] = v*gamma[j] + beta[j]
		}
	}
}

// standardise sets dst to x less its mean, times inverse, 1/√(variance+ε), where ones is
// as long as x. Of the roundings to float32 the first is of what is left without the
// mean, so that an offset takes no digits; with that of the variance and the last an
// element is within 3·2⁻²⁴ of its value, relative.
func standardise(dst, x, ones []float32) (mean, inverse float64) {
	n := float64(len(x))
	mean = simd.DotFloat64(x, ones) / n
	simd.Project(dst, x, ones, mean, 1)
	inverse = 1 / math.Sqrt(simd.DotFloat64(dst, dst)/n+normEpsilon)
	simd.ScaleTo(dst, dst, inverse)
	return mean, inverse
}

// unstandardise sets d, the gradient of what standardise has made, normal, to that of
// its x: (d − mean d − normal·mean(d·normal))·f, where f is inverse.
func unstandardise(d, normal, ones []float32, f float64) {
	n := float64(len(d))
	along := simd.DotFloat64(d, normal) / n
	simd.Project(d, d, ones, simd.DotFloat64(d, ones)/n, 1)
	simd.Project(d, d, normal, along, f)
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
		normal := l.normal.Row(i)[lo:hi]
		for j, v := range l.dy.Row(i)[lo:hi] {
			dGamma[j] += float64(v) * float64(normal[j])
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
	gamma := l.Gamma.Value
	for i := lo; i < hi; i++ {
		dx := l.dx.Row(i)
		for j, v := range l.dy.Row(i) {
			dx[j] = v * gamma[j]
		}
		unstandardise(dx, l.normal.Row(i), l.ones, l.inverse[i])
	}
}

// Params implements [Module].
func (l *LayerNorm) Params() []*Param { return []*Param{l.Gamma, l.Beta} }

// Buffers implements [Module].
func (l *LayerNorm) Buffers() []Tensor { return nil }

// SetWorkers sets Workers.
func (l *LayerNorm) SetWorkers(n int) { l.Workers = n }
