package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// BenchmarkStep trains two encoders, of 384 inputs, 512 hidden units and 128 outputs, with
// CLIP and Adam: written by hand with the products of gonum as they come, and with package
// nn. It tells what share of a step is the encoders', the loss's, and the optimiser's.
func BenchmarkStep(b *testing.B) {
	for _, batch := range []int{64, 512, 2048} {
		rng := rand.New(rand.NewPCG(1, 2))
		x, y := normal(rng, batch, widths[0]), normal(rng, batch, widths[0])
		for name, towers := range map[string][2]tower{
			"gonum": {newByHand(rng), newByHand(rng)},
			"nn":    {newByNN(rng), newByNN(rng)},
		} {
			b.Run(fmt.Sprintf("%s/batch=%d", name, batch), func(b *testing.B) { benchmarkStep(b, towers, x, y) })
		}
	}
}

var widths = [3]int{384, 512, 128}

// A tower is an encoder with its optimiser.
type tower interface {
	forward(x blas32.General) contrastive.Matrix
	backward(dz contrastive.Matrix)
	step()
}

func benchmarkStep(b *testing.B, towers [2]tower, x, y blas32.General) {
	dq, dk := contrastive.NewMatrix(x.Rows, widths[2]), contrastive.NewMatrix(x.Rows, widths[2])
	var encoders, loss, rest time.Duration
	for b.Loop() {
		start := time.Now()
		q, k := towers[0].forward(x), towers[1].forward(y)
		encoded := time.Now()
		if _, err := (contrastive.CLIP{}).Eval(contrastive.Batch{Query: q, Key: k}, contrastive.Gradients{Query: dq, Key: dk}); err != nil {
			b.Fatal(err)
		}
		evaluated := time.Now()
		towers[0].backward(dq)
		towers[1].backward(dk)
		differentiated := time.Now()
		towers[0].step()
		towers[1].step()
		encoders += encoded.Sub(start) + differentiated.Sub(evaluated)
		loss += evaluated.Sub(encoded)
		rest += time.Since(differentiated)
	}
	total := (encoders + loss + rest).Seconds() / 100
	b.ReportMetric(encoders.Seconds()/total, "encoder-%")
	b.ReportMetric(loss.Seconds()/total, "loss-%")
	b.ReportMetric(rest.Seconds()/total, "rest-%")
}

type byNN struct {
	net       nn.Sequential
	optimizer *nn.AdamW
}

func newByNN(rng *rand.Rand) *byNN {
	net := nn.Sequential{nn.NewLinear(widths[0], widths[1], false, rng), &nn.ReLU{}, nn.NewLinear(widths[1], widths[2], false, rng)}
	return &byNN{net, &nn.AdamW{Params: nn.Params(net)}}
}

func (t *byNN) forward(x blas32.General) contrastive.Matrix {
	return t.net.Forward(contrastive.Matrix(x), true)
}
func (t *byNN) backward(dz contrastive.Matrix) { t.net.Backward(dz, false) }
func (t *byNN) step() {
	if err := t.optimizer.Step(1e-4); err != nil {
		panic(err)
	}
}

type byHand struct {
	w, g, m, v [2]blas32.General
	x, h, z    blas32.General
	steps      float64
}

func newByHand(rng *rand.Rand) *byHand {
	t := new(byHand)
	for i := range t.w {
		t.w[i] = normal(rng, widths[i], widths[i+1])
		blas32.Implementation().Sscal(len(t.w[i].Data), float32(math.Sqrt(2/float64(widths[i]))), t.w[i].Data, 1)
		t.g[i], t.m[i], t.v[i] = zeros(widths[i], widths[i+1]), zeros(widths[i], widths[i+1]), zeros(widths[i], widths[i+1])
	}
	return t
}

func zeros(rows, cols int) blas32.General { return blas32.General(contrastive.NewMatrix(rows, cols)) }

func (t *byHand) forward(x blas32.General) contrastive.Matrix {
	t.x, t.h, t.z = x, zeros(x.Rows, widths[1]), zeros(x.Rows, widths[2])
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, x, t.w[0], 0, t.h)
	for i, v := range t.h.Data {
		t.h.Data[i] = max(0, v)
	}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, t.h, t.w[1], 0, t.z)
	return contrastive.Matrix(t.z)
}

func (t *byHand) backward(dz contrastive.Matrix) {
	dh := zeros(dz.Rows, widths[1])
	blas32.Gemm(blas.Trans, blas.NoTrans, 1, t.h, blas32.General(dz), 1, t.g[1])
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, blas32.General(dz), t.w[1], 0, dh)
	for i, v := range t.h.Data {
		if v == 0 {
			dh.Data[i] = 0
		}
	}
	blas32.Gemm(blas.Trans, blas.NoTrans, 1, t.x, dh, 1, t.g[0])
}

func (t *byHand) step() {
	t.steps++
	c1, c2 := float32(1-math.Pow(0.9, t.steps)), float32(1-math.Pow(0.999, t.steps))
	for k := range t.w {
		w, m, v := t.w[k].Data, t.m[k].Data, t.v[k].Data
		for i, g := range t.g[k].Data {
			m[i] += 0.1 * (g - m[i])
			v[i] += 0.001 * (g*g - v[i])
			w[i] -= 1e-4 * (m[i] / c1) / (float32(math.Sqrt(float64(v[i]/c2))) + 1e-8)
		}
		clear(t.g[k].Data)
	}
}

// TestByHand: both encoders of the benchmark take the same steps, but for rounding.
func TestByHand(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	a, b := newByHand(rng), newByNN(rng)
	for i, l := range []int{0, 2} {
		copy(b.net[l].Params()[0].Value, a.w[i].Data)
	}
	x, dz := normal(rng, 16, widths[0]), contrastive.Matrix(normal(rng, 16, widths[2]))
	for range 3 {
		a.forward(x)
		b.forward(x)
		a.backward(dz)
		b.backward(dz)
		a.step()
		b.step()
	}
	// Each step moves a weight by 10⁻⁴ at most, and by as much as that either way where
	// the gradient is near 0.
	for i, l := range []int{0, 2} {
		var moved, apart float64
		for j, w := range b.net[l].Params()[0].Value {
			apart += math.Abs(float64(w - a.w[i].Data[j]))
			moved += 3e-4
		}
		if apart > 1e-2*moved {
			t.Errorf("layer %d: the weights are %.3g apart on average, after steps of %.3g", i, apart/float64(len(a.w[i].Data)), moved/float64(len(a.w[i].Data)))
		}
	}
}
