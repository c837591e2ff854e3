package main

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/contrastive-go/contrastive"
)

func TestTrain(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before, after, err := train(60, 64, null)
	if err != nil {
		t.Fatal(err)
	}
	if !(after > 2*before && after > 0.3) {
		t.Errorf("recall is %.3f, untrained %.3f", after, before)
	}
}

// The backward pass agrees with differences of the loss.
func TestBackward(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	e := newEncoder(r)
	x, y := general(12, inputs), general(12, inputs)
	views(r, x, y)
	loss := contrastive.InfoNCE{Temperature: 0.5}
	value := func() float64 {
		result, err := loss.Eval(contrastive.Batch{Query: contrastive.Matrix(e.forward(x).z), Key: contrastive.Matrix(e.forward(y).z)}, contrastive.Gradients{})
		if err != nil {
			t.Fatal(err)
		}
		return result.Loss
	}
	q, k := e.forward(x), e.forward(y)
	dq, dk := general(12, embedding), general(12, embedding)
	if _, err := loss.Eval(contrastive.Batch{Query: contrastive.Matrix(q.z), Key: contrastive.Matrix(k.z)},
		contrastive.Gradients{Query: contrastive.Matrix(dq), Key: contrastive.Matrix(dk)}); err != nil {
		t.Fatal(err)
	}
	e.backward(q, dq)
	e.backward(k, dk)
	const h = 1e-3
	for _, p := range []struct{ w, g []float32 }{{e.w1.Data, e.g1.Data}, {e.w2.Data, e.g2.Data}} {
		for i := 0; i < len(p.w); i += 37 {
			w := p.w[i]
			p.w[i] = w + h
			up := value()
			p.w[i] = w - h
			down := value()
			p.w[i] = w
			// The error of the difference is of the order h²; rectifiers may turn.
			if d := (up - down) / (2 * h); math.Abs(d-float64(p.g[i])) > 2e-3*(1+math.Abs(d)) {
				t.Errorf("weight %d: gradient %v, difference %v", i, p.g[i], d)
			}
		}
	}
}
