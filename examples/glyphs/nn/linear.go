package nn

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/contrastive-go/contrastive"
)

// Linear is y = x·W + b, with W of In×Out.
type Linear struct {
	In, Out int
	weight  *Param
	bias    *Param // nil if there is none

	x, y, dx contrastive.Matrix
}

// NewLinear returns a layer whose weights are normal with variance 2/in (He,
// Zhang, Ren and Sun, 2015), for the rectifier that follows, and whose bias, if
// it has one, is 0. In front of batch normalisation a bias does nothing.
func NewLinear(in, out int, bias bool, rng *rand.Rand) *Linear {
	l := &Linear{In: in, Out: out, weight: newParam(in*out, false)}
	size := math.Sqrt(2 / float64(in))
	for i := range l.weight.Value {
		l.weight.Value[i] = float32(rng.NormFloat64() * size)
	}
	if bias {
		l.bias = newParam(out, true)
	}
	return l
}

// Forward implements Layer.
func (l *Linear) Forward(x contrastive.Matrix, _ bool) contrastive.Matrix {
	checkCols("Linear", x, l.In)
	l.x = x
	y := resize(&l.y, x.Rows, l.Out)
	if l.bias == nil {
		clear(y.Data)
	} else {
		for i := range y.Rows {
			copy(y.Row(i), l.bias.Value)
		}
	}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, blas32.General(x), l.matrix(l.weight.Value), 1, blas32.General(y))
	return y
}

// Backward implements Layer.
func (l *Linear) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	checkCols("gradient of Linear", dy, l.Out)
	blas32.Gemm(blas.Trans, blas.NoTrans, 1, blas32.General(l.x), blas32.General(dy), 1, l.matrix(l.weight.Grad))
	if l.bias != nil {
		for i := range dy.Rows {
			for j, v := range dy.Row(i) {
				l.bias.Grad[j] += v
			}
		}
	}
	if !wanted {
		return contrastive.Matrix{}
	}
	dx := resize(&l.dx, dy.Rows, l.In)
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, blas32.General(dy), l.matrix(l.weight.Value), 0, blas32.General(dx))
	return dx
}

func (l *Linear) matrix(data []float32) blas32.General {
	return blas32.General{Rows: l.In, Cols: l.Out, Stride: l.Out, Data: data}
}

// Params implements Layer.
func (l *Linear) Params() []*Param {
	if l.bias == nil {
		return []*Param{l.weight}
	}
	return []*Param{l.weight, l.bias}
}

// Statistics implements Layer.
func (l *Linear) Statistics() [][]float32 { return nil }

// ReLU is y = max(x, 0).
type ReLU struct{ y, dx contrastive.Matrix }

// Forward implements Layer.
func (l *ReLU) Forward(x contrastive.Matrix, _ bool) contrastive.Matrix {
	y := resize(&l.y, x.Rows, x.Cols)
	for i := range x.Rows {
		row := y.Row(i)
		for j, v := range x.Row(i) {
			row[j] = max(v, 0)
		}
	}
	return y
}

// Backward implements Layer.
func (l *ReLU) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	if !wanted {
		return contrastive.Matrix{}
	}
	dx := resize(&l.dx, dy.Rows, dy.Cols)
	for i := range dy.Rows {
		row, y := dx.Row(i), l.y.Row(i)
		for j, v := range dy.Row(i) {
			if y[j] > 0 {
				row[j] = v
			} else {
				row[j] = 0
			}
		}
	}
	return dx
}

// Params implements Layer.
func (l *ReLU) Params() []*Param { return nil }

// Statistics implements Layer.
func (l *ReLU) Statistics() [][]float32 { return nil }
