// Spago trains a spaGO encoder with a loss from outside its graph: AccGrad takes
// the gradients of the embeddings, and Backward goes on from there.
//
//	go run -C examples/spago .
package main

import (
	"flag"
	"fmt"
	"log"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
)

const (
	inputs, signal, hidden, embedding = 64, 8, 64, 16

	temperature = 0.1
	rate        = 0.3
)

func main() {
	steps := flag.Int("steps", 100, "training steps")
	pairs := flag.Int("pairs", 128, "pairs a step")
	smoke := flag.Bool("smoke", false, "a few small steps")
	flag.Parse()
	log.SetFlags(0)
	if *smoke {
		*steps, *pairs = 5, 16
	}
	r := rand.New(rand.NewPCG(1, 2))
	e := newEncoder(r)
	for step := range *steps {
		x, y := views(r, *pairs)
		result, err := e.step(x, y)
		if err != nil {
			log.Fatal(err)
		}
		if step%10 == 0 || step == *steps-1 {
			fmt.Printf("step %3d  loss %.3f  accuracy %.3f\n", step, result.Loss, result.Accuracy)
		}
	}
}

// An encoder is two layers with a hyperbolic tangent between them.
type encoder struct{ w1, w2 mat.Matrix }

func newEncoder(r *rand.Rand) *encoder {
	weights := func(in, out int) mat.Matrix {
		data := make([]float32, in*out)
		for i := range data {
			data[i] = float32(0.1 * r.NormFloat64())
		}
		return mat.NewDense[float32](mat.WithShape(in, out), mat.WithBacking(data), mat.WithGrad(true))
	}
	return &encoder{weights(inputs, hidden), weights(hidden, embedding)}
}

func (e *encoder) forward(x mat.Tensor) mat.Tensor {
	return ag.Mul(ag.Tanh(ag.Mul(x, e.w1)), e.w2)
}

// step trains on two views of the same points.
func (e *encoder) step(x, y mat.Tensor) (contrastive.Result, error) {
	q, k := e.forward(x), e.forward(y)
	n := x.Shape()[0]
	dq, dk := contrastive.NewMatrix(n, embedding), contrastive.NewMatrix(n, embedding)
	result, err := contrastive.CLIP{Temperature: temperature}.Eval(
		contrastive.Batch{Query: matrix(q), Key: matrix(k)},
		contrastive.Gradients{Query: dq, Key: dk})
	if err != nil {
		return result, err
	}
	q.AccGrad(tensor(dq))
	k.AccGrad(tensor(dk))
	if err := ag.Backward(q, k); err != nil {
		return result, err
	}
	for _, w := range []mat.Matrix{e.w1, e.w2} {
		weights, grad := mat.Data[float32](w), mat.Data[float32](w.Grad().(mat.Matrix))
		for i := range weights {
			weights[i] -= rate * grad[i]
		}
		w.ZeroGrad()
	}
	return result, nil
}

// matrix returns the values of a tensor of rows, tensor one of the values of m.
func matrix(t mat.Tensor) contrastive.Matrix {
	rows, cols := t.Shape()[0], t.Shape()[1]
	return contrastive.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: mat.Data[float32](t.Value().(mat.Matrix))}
}

func tensor(m contrastive.Matrix) mat.Tensor {
	return mat.NewDense[float32](mat.WithShape(m.Rows, m.Cols), mat.WithBacking(m.Data))
}

// views returns two noisy views of the same points, which most dimensions say
// nothing about.
func views(r *rand.Rand, n int) (x, y mat.Tensor) {
	a, b := contrastive.NewMatrix(n, inputs), contrastive.NewMatrix(n, inputs)
	for i := range n {
		for j := range inputs {
			common, apart := 0., 1.
			if j < signal {
				common, apart = r.NormFloat64(), 0.2
			}
			a.Row(i)[j] = float32(common + apart*r.NormFloat64())
			b.Row(i)[j] = float32(common + apart*r.NormFloat64())
		}
	}
	return tensor(a), tensor(b)
}
