package nn

import (
	"math"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/simd"
)

// ReLU is y = max(x, 0), element by element; NaN stays NaN. Its derivative at 0 is 0.
type ReLU struct {
	Workers int // as that of [Linear]

	x, y, dy, dx contrastive.Matrix
}

// Forward implements [Layer].
func (l *ReLU) Forward(x contrastive.Matrix, _ bool) contrastive.Matrix {
	checkMatrix("ReLU", "Forward", x)
	l.x = x
	y := resize(&l.y, x.Rows, x.Cols)
	run((*reluForward)(l), x.Rows, rowGrain(x.Cols), l.Workers)
	return y
}

type reluForward ReLU

func (l *reluForward) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		simd.ReLU(l.y.Row(i), l.x.Row(i))
	}
}

// Backward implements [Layer].
func (l *ReLU) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	checkGradient("ReLU", dy, l.y)
	if !wanted {
		return contrastive.Matrix{}
	}
	l.dy = dy
	dx := resize(&l.dx, dy.Rows, dy.Cols)
	run((*reluBackward)(l), dy.Rows, rowGrain(dy.Cols), l.Workers)
	return dx
}

type reluBackward ReLU

func (l *reluBackward) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		simd.ReLUGrad(l.dx.Row(i), l.dy.Row(i), l.y.Row(i))
	}
}

// Params implements [Module].
func (l *ReLU) Params() []*Param { return nil }

// Buffers implements [Module].
func (l *ReLU) Buffers() []Tensor { return nil }

// SetWorkers sets Workers.
func (l *ReLU) SetWorkers(n int) { l.Workers = n }

// GELU is the Gaussian error linear unit in its form with a hyperbolic tangent,
//
//	y = x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))) = x/(1 + e^−a),
//	a = √(8/π)·(x + 0.044715·x³)
//
// of Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016), section 2. It is
// PyTorch's GELU(approximate="tanh"), and differs from x·Φ(x) by less than 5·10⁻⁴. The
// error of y is at most (8·|a| + 8)·2⁻²⁴·|y|, or 2⁻¹²⁰ where that is greater.
type GELU struct {
	Workers int // as that of [Linear]

	x, y, dy, dx contrastive.Matrix
	sigmoid      contrastive.Matrix // 1/(1 + e^−a)
}

const (
	geluCubic = 0.044715

	// Beyond ±geluRange the sigmoid is 0 or 1 in float32: a is ±142.
	geluRange = 12
)

var geluScale = float32(math.Sqrt(8 / math.Pi))

// Forward implements [Layer].
func (l *GELU) Forward(x contrastive.Matrix, _ bool) contrastive.Matrix {
	checkMatrix("GELU", "Forward", x)
	l.x = x
	y := resize(&l.y, x.Rows, x.Cols)
	resize(&l.sigmoid, x.Rows, x.Cols)
	run((*geluForward)(l), x.Rows, rowGrain(x.Cols), l.Workers)
	return y
}

type geluForward GELU

func (l *geluForward) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		x, y, s := l.x.Row(i), l.y.Row(i), l.sigmoid.Row(i)
		for j, v := range x {
			v = clamp(v)
			s[j] = v + v*v*v*geluCubic
		}
		simd.ExpSum(s, s, -geluScale, 0)
		for j, e := range s {
			s[j] = 1 / (1 + e)
			y[j] = x[j] * s[j]
		}
	}
}

// clamp returns the nearest number within ±geluRange, or NaN. The branches are seldom
// taken, and cost less than min and max.
func clamp(v float32) float32 {
	if v > geluRange {
		return geluRange
	}
	if v < -geluRange {
		return -geluRange
	}
	return v
}

// Backward implements [Layer].
func (l *GELU) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	checkGradient("GELU", dy, l.y)
	if !wanted {
		return contrastive.Matrix{}
	}
	l.dy = dy
	dx := resize(&l.dx, dy.Rows, dy.Cols)
	run((*geluBackward)(l), dy.Rows, rowGrain(dy.Cols), l.Workers)
	return dx
}

type geluBackward GELU

// part is dy·(σ + y·(1−σ)·a′).
func (l *geluBackward) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		x, y, s, dx := l.x.Row(i), l.y.Row(i), l.sigmoid.Row(i), l.dx.Row(i)
		for j, v := range l.dy.Row(i) {
			t := clamp(x[j])
			dx[j] = v * (s[j] + y[j]*(1-s[j])*geluScale*(1+3*geluCubic*t*t))
		}
	}
}

// Params implements [Module].
func (l *GELU) Params() []*Param { return nil }

// Buffers implements [Module].
func (l *GELU) Buffers() []Tensor { return nil }

// SetWorkers sets Workers.
func (l *GELU) SetWorkers(n int) { l.Workers = n }
