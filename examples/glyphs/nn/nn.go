// Package nn has the few layers of a multilayer perceptron, their gradients and
// two optimisers: what the methods in the parent directory train. Matrices are
// row-major float32, a row for each example; products are gonum's.
//
// Results do not depend on GOMAXPROCS, bit for bit. Shapes that do not fit are
// errors of the program and panic, as they do in gonum.
package nn

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/contrastive-go/contrastive"
)

// A Param is a tensor that is trained, and its gradient.
type Param struct {
	Value, Grad []float32

	// NoDecay exempts biases and the parameters of normalisation from weight
	// decay.
	NoDecay bool
}

func newParam(n int, noDecay bool) *Param {
	return &Param{Value: make([]float32, n), Grad: make([]float32, n), NoDecay: noDecay}
}

// A Layer is a differentiable function of a batch. It keeps what Backward needs
// of the latest Forward, and is not safe for concurrent use.
type Layer interface {
	// Forward returns the output for the rows of x, in memory of the layer that
	// is valid until its next Forward. x must not change before Backward.
	Forward(x contrastive.Matrix, training bool) contrastive.Matrix

	// Backward takes the gradient of the output of the latest Forward, which was
	// in training. It adds to the gradients of the parameters and returns that of
	// x, or a zero Matrix if it is not wanted.
	Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix

	// Params are what is trained.
	Params() []*Param

	// Statistics are what Forward learns from the batches that pass.
	Statistics() [][]float32
}

// A Net is a sequence of layers, and itself a Layer. The empty Net is the
// identity.
type Net []Layer

// Forward implements Layer.
func (n Net) Forward(x contrastive.Matrix, training bool) contrastive.Matrix {
	for _, l := range n {
		x = l.Forward(x, training)
	}
	return x
}

// Backward implements Layer.
func (n Net) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	for i := len(n) - 1; i >= 0; i-- {
		dy = n[i].Backward(dy, wanted || i > 0)
	}
	return dy
}

// Params implements Layer.
func (n Net) Params() []*Param {
	var params []*Param
	for _, l := range n {
		params = append(params, l.Params()...)
	}
	return params
}

// Statistics implements Layer.
func (n Net) Statistics() [][]float32 {
	var s [][]float32
	for _, l := range n {
		s = append(s, l.Statistics()...)
	}
	return s
}

// Values returns the parameters of the nets, for a momentum encoder.
func Values(nets ...Net) [][]float32 {
	var values [][]float32
	for _, n := range nets {
		for _, p := range n.Params() {
			values = append(values, p.Value)
		}
	}
	return values
}

// State returns everything that tells two nets of one shape apart: parameters
// and statistics. It is what a checkpoint holds.
func State(nets ...Net) [][]float32 {
	state := Values(nets...)
	for _, n := range nets {
		state = append(state, n.Statistics()...)
	}
	return state
}

// SetShards divides the batches of all the batch normalisations of the nets; see
// [BatchNorm].
func SetShards(shards int, nets ...Net) {
	for _, n := range nets {
		for _, l := range n {
			if b, ok := l.(*BatchNorm); ok {
				b.Shards = shards
			}
		}
	}
}

// resize returns m with the given shape, keeping its memory where that suffices.
// The elements are arbitrary.
func resize(m *contrastive.Matrix, rows, cols int) contrastive.Matrix {
	if cap(m.Data) < rows*cols {
		m.Data = make([]float32, rows*cols)
	}
	*m = contrastive.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: m.Data[:rows*cols]}
	return *m
}

func checkCols(layer string, x contrastive.Matrix, want int) {
	if x.Cols != want {
		panic(fmt.Sprintf("nn: %s of %d columns got %d×%d", layer, want, x.Rows, x.Cols))
	}
}

// parallel calls f for disjoint parts of 0…n-1 that are multiples of grain, but
// for the last. What f computes must not depend on how they are cut.
func parallel(n, grain int, f func(lo, hi int)) {
	blocks := (n + grain - 1) / grain
	workers := min(runtime.GOMAXPROCS(0), blocks)
	if workers <= 1 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { f(w*blocks/workers*grain, min((w+1)*blocks/workers*grain, n)) })
	}
	wg.Wait()
}
