package nn

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/blas"
	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/simd"
)

// Linear is y = x·W + b, with x of N×In, W of In×Out and b of Out elements. Note that
// PyTorch's weight is the transpose of W.
//
// Its three products, y = x·W, ∂L/∂W = xᵀ·dy and ∂L/∂x = dy·Wᵀ, are those of package
// blas. The error of an element of y is at most (In+1)·2⁻²⁴·Σ|x·W| + 2⁻²³·|b|, and those of
// gradients are alike; the sum over rows that is ∂L/∂b is in float32, one after the other.
type Linear struct {
	Weight *Param // In×Out
	Bias   *Param // Out; nil if there is none

	// Workers is the number of goroutines; 0 means GOMAXPROCS. It changes no bit of
	// a result.
	Workers int

	in, out  int
	x, y, dx contrastive.Matrix
}

// NewLinear returns a layer with weights that are normal with variance 2/in, for the
// rectifier that follows: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers" (2015),
// equation 10. The bias, if there is to be one, is 0; in front of normalisation it does
// nothing. It panics unless in and out are positive.
func NewLinear(in, out int, bias bool, rng *rand.Rand) *Linear {
	if in <= 0 || out <= 0 {
		panic(fmt.Sprintf("nn: NewLinear(%d, %d): dimensions must be positive", in, out))
	}
	l := &Linear{Weight: NewParam("weight", in, out), in: in, out: out}
	fillNormal(l.Weight.Value, math.Sqrt(2/float64(in)), rng)
	if bias {
		l.Bias = NewParam("bias", out)
		l.Bias.NoDecay = true
	}
	return l
}

func fillNormal(values []float32, deviation float64, rng *rand.Rand) {
	defer fpmode.Enter().Leave()
	for i := range values {
		values[i] = float32(rng.NormFloat64() * deviation)
	}
}

// Forward implements [Layer].
func (l *Linear) Forward(x contrastive.Matrix, _ bool) contrastive.Matrix {
	checkInput("Linear", x, l.in)
	l.x = x
	y := resize(&l.y, x.Rows, l.out)
	beta := float32(0)
	if l.Bias != nil {
		beta = 1
		for i := range y.Rows {
			copy(y.Row(i), l.Bias.Value)
		}
	}
	blas.Sgemm(false, false, x.Rows, l.out, l.in, 1, x.Data, x.Stride, l.Weight.Value, l.out, beta, y.Data, l.out, l.Workers)
	return y
}

// Backward implements [Layer].
func (l *Linear) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	checkGradient("Linear", dy, l.y)
	x := l.x
	blas.Sgemm(true, false, l.in, l.out, x.Rows, 1, x.Data, x.Stride, dy.Data, dy.Stride, 1, l.Weight.Grad, l.out, l.Workers)
	if l.Bias != nil {
		addRows(l.Bias.Grad, dy)
	}
	if !wanted {
		return contrastive.Matrix{}
	}
	dx := resize(&l.dx, dy.Rows, l.in)
	blas.Sgemm(false, true, dy.Rows, l.in, l.out, 1, dy.Data, dy.Stride, l.Weight.Value, l.out, 0, dx.Data, l.in, l.Workers)
	return dx
}

// addRows adds all rows of m to sum, one after the other.
func addRows(sum []float32, m contrastive.Matrix) {
	defer fpmode.Enter().Leave()
	ones := [...]float32{1, 1, 1, 1} // as many as are added while a part of sum is in registers
	for i := 0; i < m.Rows; i += len(ones) {
		simd.AxpyRows(ones[:min(len(ones), m.Rows-i)], m.Data[i*m.Stride:], m.Stride, sum)
	}
}

// Params implements [Module].
func (l *Linear) Params() []*Param {
	if l.Bias == nil {
		return []*Param{l.Weight}
	}
	return []*Param{l.Weight, l.Bias}
}

// Buffers implements [Module].
func (l *Linear) Buffers() []Tensor { return nil }

// SetWorkers sets Workers.
func (l *Linear) SetWorkers(n int) { l.Workers = n }
