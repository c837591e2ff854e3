package nn

import (
	"fmt"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive"
)

// BenchmarkStep trains two encoders of 384 inputs with CLIP, on one goroutine, and tells
// what share of the time is theirs, the loss's, and the optimiser's.
func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		name   string
		hidden int
	}{{"linear", 0}, {"mlp", 512}} {
		for _, batch := range []int{64, 512, 4096} {
			b.Run(fmt.Sprintf("%s/batch=%d", c.name, batch), func(b *testing.B) { benchmarkStep(b, c.hidden, batch) })
		}
	}
}

func benchmarkStep(b *testing.B, hidden, batch int) {
	const in, out = 384, 128
	rng := newRand(1)
	encoder := func() Sequential {
		if hidden == 0 {
			return Sequential{NewLinear(in, out, true, rng)}
		}
		return Sequential{NewLinear(in, hidden, true, rng), &ReLU{}, NewLinear(hidden, out, true, rng)}
	}
	queries, keys := encoder(), encoder()
	queries.SetWorkers(1)
	keys.SetWorkers(1)
	optimizer := &AdamW{Params: Params(queries, keys), WeightDecay: 0.01, Workers: 1}
	x, y := random(rng, batch, in), random(rng, batch, in)
	dq, dk := contrastive.NewMatrix(batch, out), contrastive.NewMatrix(batch, out)
	loss := contrastive.CLIP{Options: contrastive.Options{Workers: 1}}
	var encoders, losses, rest time.Duration
	for b.Loop() {
		start := time.Now()
		q, k := queries.Forward(x, true), keys.Forward(y, true)
		encoded := time.Now()
		if _, err := loss.Eval(contrastive.Batch{Query: q, Key: k}, contrastive.Gradients{Query: dq, Key: dk}); err != nil {
			b.Fatal(err)
		}
		evaluated := time.Now()
		queries.Backward(dq, false)
		keys.Backward(dk, false)
		differentiated := time.Now()
		if err := optimizer.Step(1e-4); err != nil {
			b.Fatal(err)
		}
		encoders += encoded.Sub(start) + differentiated.Sub(evaluated)
		losses += evaluated.Sub(encoded)
		rest += time.Since(differentiated)
	}
	total := (encoders + losses + rest).Seconds() / 100
	b.ReportMetric(encoders.Seconds()/total, "encoder-%")
	b.ReportMetric(losses.Seconds()/total, "loss-%")
	b.ReportMetric(rest.Seconds()/total, "rest-%")
}

// BenchmarkPass tells the time for an element of what is no product.
func BenchmarkPass(b *testing.B) {
	const rows, cols = 512, 512
	rng := newRand(1)
	x, dy := random(rng, rows, cols), random(rng, rows, cols)
	for name, l := range map[string]Layer{
		"ReLU": &ReLU{Workers: 1}, "GELU": &GELU{Workers: 1}, "Dropout": &Dropout{P: 0.1, Workers: 1},
		"LayerNorm": NewLayerNorm(cols), "BatchNorm": NewBatchNorm(cols, true),
	} {
		Sequential{l}.SetWorkers(1)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				l.Forward(x, true)
				l.Backward(dy, true)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows*cols), "ns/element")
		})
	}
	for name, o := range map[string]func(p []*Param) Optimizer{
		"AdamW":    func(p []*Param) Optimizer { return &AdamW{Params: p, Workers: 1} },
		"SGD":      func(p []*Param) Optimizer { return &SGD{Params: p, Workers: 1} },
		"momentum": func(p []*Param) Optimizer { return &SGD{Params: p, Momentum: 0.9, Workers: 1} },
		"Adagrad":  func(p []*Param) Optimizer { return &Adagrad{Params: p, Workers: 1} },
	} {
		p := NewParam("weight", rows, cols)
		b.Run(name, func(b *testing.B) {
			o := o([]*Param{p})
			for b.Loop() {
				copy(p.Grad, x.Data)
				if err := o.Step(1e-6); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows*cols), "ns/element")
		})
	}
}
