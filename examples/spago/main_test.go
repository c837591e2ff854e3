package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
)

func TestTrain(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	e := newEncoder(r)
	var losses []float64
	for range 40 {
		x, y := views(r, 32)
		result, err := e.step(x, y)
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, result.Loss)
	}
	if !(losses[39] < losses[0]/2) {
		t.Errorf("losses are %v", losses)
	}
}

// The gradients that AccGrad carries to the weights agree with differences of the
// loss.
func TestAccGrad(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	e := newEncoder(r)
	x, y := views(r, 10)
	loss := contrastive.CLIP{Temperature: 0.5}
	value := func(g contrastive.Gradients) (q, k mat.Tensor, value float64) {
		q, k = e.forward(x), e.forward(y)
		result, err := loss.Eval(contrastive.Batch{Query: matrix(q), Key: matrix(k)}, g)
		if err != nil {
			t.Fatal(err)
		}
		return q, k, result.Loss
	}
	dq, dk := contrastive.NewMatrix(10, embedding), contrastive.NewMatrix(10, embedding)
	q, k, _ := value(contrastive.Gradients{Query: dq, Key: dk})
	q.AccGrad(tensor(dq))
	k.AccGrad(tensor(dk))
	if err := ag.Backward(q, k); err != nil {
		t.Fatal(err)
	}
	const h = 1e-3
	for _, w := range []mat.Matrix{e.w1, e.w2} {
		weights, grad := mat.Data[float32](w), mat.Data[float32](w.Grad().(mat.Matrix))
		for i := 0; i < len(weights); i += 53 {
			v := weights[i]
			weights[i] = v + h
			_, _, up := value(contrastive.Gradients{})
			weights[i] = v - h
			_, _, down := value(contrastive.Gradients{})
			weights[i] = v
			// The error of the difference is of the order h², and that of float32 embeddings over h.
			if d := (up - down) / (2 * h); math.Abs(d-float64(grad[i])) > 2e-3*(1+math.Abs(d)) {
				t.Errorf("weight %d: gradient %v, difference %v", i, grad[i], d)
			}
		}
	}
}
