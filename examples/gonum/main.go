// Gonum trains an encoder that is nothing but gonum's matrix products, to show all
// that a program without a framework needs: the embeddings go to the loss as they
// are, and its gradients to the encoder's backward pass.
//
//	go run -C examples ./gonum
//
// Two noisy views of points in 64 dimensions, of which 8 matter, are to be matched.
package main

import (
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"

	"github.com/contrastive-go/contrastive"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

const (
	inputs, signal, hidden, embedding = 64, 8, 64, 16

	rate = 0.3
)

func main() {
	steps := flag.Int("steps", 300, "training steps")
	batch := flag.Int("batch", 256, "pairs a step")
	flag.Parse()
	log.SetFlags(0)
	if _, _, err := train(*steps, *batch, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// train returns the recall of held-out pairs before and after.
func train(steps, batch int, out *os.File) (before, after float64, err error) {
	r := rand.New(rand.NewPCG(1, 2))
	e := newEncoder(r)
	x, y := general(batch, inputs), general(batch, inputs)
	testX, testY := general(500, inputs), general(500, inputs)
	views(r, testX, testY)
	if before, err = recall(e, testX, testY); err != nil {
		return 0, 0, err
	}
	dq, dk := general(batch, embedding), general(batch, embedding)
	for step := range steps {
		views(r, x, y)
		q, k := e.forward(x), e.forward(y)

		result, err := contrastive.InfoNCE{Temperature: 0.1, Symmetric: true}.Eval(
			contrastive.Batch{Query: contrastive.Matrix(q.z), Key: contrastive.Matrix(k.z)},
			contrastive.Gradients{Query: contrastive.Matrix(dq), Key: contrastive.Matrix(dk)})
		if err != nil {
			return 0, 0, err
		}

		e.backward(q, dq)
		e.backward(k, dk)
		e.step(rate)
		if step%50 == 0 || step == steps-1 {
			fmt.Fprintf(out, "step %3d  loss %.3f  accuracy %.3f\n", step, result.Loss, result.Accuracy)
		}
	}
	if after, err = recall(e, testX, testY); err != nil {
		return 0, 0, err
	}
	fmt.Fprintf(out, "held-out pairs found among 500: %.3f, untrained %.3f\n", after, before)
	return before, after, nil
}

// views fills x and y with two views of the same points.
func views(r *rand.Rand, x, y blas32.General) {
	for i := range x.Rows {
		for j := range inputs {
			common, apart := 0., 1. // dimensions in which the views have nothing in common
			if j < signal {
				common, apart = r.NormFloat64(), 0.2
			}
			x.Data[i*x.Stride+j] = float32(common + apart*r.NormFloat64())
			y.Data[i*y.Stride+j] = float32(common + apart*r.NormFloat64())
		}
	}
}

func recall(e *encoder, x, y blas32.General) (float64, error) {
	found, err := contrastive.RecallAt(contrastive.Matrix(e.forward(x).z), contrastive.Matrix(e.forward(y).z), 1)
	if err != nil {
		return 0, err
	}
	return found[0], nil
}

func general(rows, cols int) blas32.General { return blas32.General(contrastive.NewMatrix(rows, cols)) }

// An encoder is two layers with a rectifier between them.
type encoder struct{ w1, w2, g1, g2 blas32.General }

// activations are what the backward pass needs of a forward pass.
type activations struct{ x, h, z blas32.General }

func newEncoder(r *rand.Rand) *encoder {
	e := &encoder{general(inputs, hidden), general(hidden, embedding), general(inputs, hidden), general(hidden, embedding)}
	for _, w := range []blas32.General{e.w1, e.w2} {
		for i := range w.Data {
			w.Data[i] = float32(0.1 * r.NormFloat64())
		}
	}
	return e
}

func (e *encoder) forward(x blas32.General) activations {
	a := activations{x, general(x.Rows, hidden), general(x.Rows, embedding)}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, x, e.w1, 0, a.h)
	for i, v := range a.h.Data {
		a.h.Data[i] = max(0, v)
	}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, a.h, e.w2, 0, a.z)
	return a
}

// backward adds to the gradients of the weights, given that of the embeddings.
func (e *encoder) backward(a activations, dz blas32.General) {
	dh := general(dz.Rows, hidden)
	blas32.Gemm(blas.Trans, blas.NoTrans, 1, a.h, dz, 1, e.g2)
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, dz, e.w2, 0, dh)
	for i, v := range a.h.Data {
		if v == 0 {
			dh.Data[i] = 0
		}
	}
	blas32.Gemm(blas.Trans, blas.NoTrans, 1, a.x, dh, 1, e.g1)
}

func (e *encoder) step(rate float32) {
	for _, p := range [][2]blas32.General{{e.w1, e.g1}, {e.w2, e.g2}} {
		for i, g := range p[1].Data {
			p[0].Data[i] -= rate * g
		}
		clear(p[1].Data)
	}
}
