// Gonum trains an encoder on matrices of gonum: they go to package nn and to the loss as
// they are, without a copy.
//
//	go run -C examples ./gonum
//
// Points of 8 dimensions are seen in 64, through two linear maps with noise, one for each
// view. The views of a point are to be matched.
package main

import (
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

const (
	inputs, signal, hidden, embedding = 64, 8, 64, 16

	noise = 1.5 // deviation, beside some 2.8 of the signal
	rate  = 3e-3
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
	rng := rand.New(rand.NewPCG(1, 2))
	w := newWorld(rng)
	towers := [2]nn.Sequential{newEncoder(rng), newEncoder(rng)}
	optimizer := &nn.AdamW{Params: nn.Params(towers[0], towers[1])}
	test := w.views(rng, 500)
	if before, err = recall(towers, test); err != nil {
		return 0, 0, err
	}
	dq, dk := contrastive.NewMatrix(batch, embedding), contrastive.NewMatrix(batch, embedding)
	for step := range steps {
		x := w.views(rng, batch)
		q := towers[0].Forward(contrastive.Matrix(x[0]), true)
		k := towers[1].Forward(contrastive.Matrix(x[1]), true)
		result, err := contrastive.CLIP{Temperature: 0.1}.Eval(
			contrastive.Batch{Query: q, Key: k},
			contrastive.Gradients{Query: dq, Key: dk})
		if err != nil {
			return 0, 0, err
		}
		towers[0].Backward(dq, false)
		towers[1].Backward(dk, false)
		if err := optimizer.Step(contrastive.WarmupCosine(rate, step, 10, steps)); err != nil {
			return 0, 0, err
		}
		if step%50 == 0 || step == steps-1 {
			fmt.Fprintf(out, "step %3d  loss %.3f  accuracy %.3f\n", step, result.Loss, result.Accuracy)
		}
	}
	if after, err = recall(towers, test); err != nil {
		return 0, 0, err
	}
	fmt.Fprintf(out, "held-out pairs found among 500: %.3f, untrained %.3f\n", after, before)
	return before, after, nil
}

func newEncoder(rng *rand.Rand) nn.Sequential {
	return nn.Sequential{nn.NewLinear(inputs, hidden, true, rng), &nn.ReLU{}, nn.NewLinear(hidden, embedding, true, rng)}
}

// A world is what the views are of: two maps from points to inputs.
type world [2]blas32.General

func newWorld(rng *rand.Rand) world {
	return world{normal(rng, signal, inputs), normal(rng, signal, inputs)}
}

// views returns two views of as many points.
func (w world) views(rng *rand.Rand, points int) (views [2]blas32.General) {
	z := normal(rng, points, signal)
	for i := range views {
		views[i] = normal(rng, points, inputs)
		blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, z, w[i], noise, views[i])
	}
	return views
}

func normal(rng *rand.Rand, rows, cols int) blas32.General {
	m := blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	return m
}

func recall(towers [2]nn.Sequential, x [2]blas32.General) (float64, error) {
	found, err := contrastive.RecallAt(
		towers[0].Forward(contrastive.Matrix(x[0]), false),
		towers[1].Forward(contrastive.Matrix(x[1]), false), 1)
	if err != nil {
		return 0, err
	}
	return found[0], nil
}
