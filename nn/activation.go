package nn

import (
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
}

// Forward implements [Layer].
func (l *GELU) Forward(x contrastive.Matrix, _ bool) contrastive.Matrix {
	checkMatrix("GELU", "Forward", x)
	l.x = x
	y := resize(&l.y, x.Rows, x.Cols)
	run((*geluForward)(l), x.Rows, rowGrain(x.Cols), l.Workers)
	return y
}

type geluForward GELU

func (l *geluForward) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		simd.GELU(l.y.Row(i), l.x.Row(i))
	}
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

func (l *geluBackward) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		simd.GELUGrad(l.dx.Row(i), l.dy.Row(i), l.x.Row(i))
	}
}

// Params implements [Module].
func (l *GELU) Params() []*Param { return nil }

// Buffers implements [Module].
func (l *GELU) Buffers() []Tensor { return nil }

// SetWorkers sets Workers.
func (l *GELU) SetWorkers(n int) { l.Workers = n }
