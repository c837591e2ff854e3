package main

import (
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// SimSiam is algorithm 1 of Chen and He, "Exploring Simple Siamese Representation
// Learning" (2021):
//
//	for x in loader:
//	    x1, x2 = aug(x), aug(x)
//	    z1, z2 = f(x1), f(x2)                       # encoder and projector
//	    p1, p2 = h(z1), h(z2)                       # predictor
//	    L = D(p1, z2)/2 + D(p2, z1)/2               # D(p, z) = −cos(p, z.detach())
//	    L.backward(); update(f, h)
//
// The projector ends in batch normalisation, and the predictor is a bottleneck
// (section 4.4). Its learning rate stays as it is (section 4.2, "fixed lr"), and is
// higher than the encoder's: a predictor that is up to date keeps all dimensions in
// use. Without detach, the stop-gradient, the loss falls to −1 within a
// few steps and all images have one embedding (section 4.1, figure 2).
type SimSiam struct {
	f, g, h        nn.Sequential // encoder, projector, predictor
	noStopGradient bool
	optimizer      nn.Optimizer
	predictor      nn.Optimizer
	predictorRate  float64
}

var simSiam = recipe{
	title:    "SimSiam",
	defaults: func(s *Settings) { s.Predictor, s.PredictorRate = 64, 10 },
	make: func(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
		m := &SimSiam{noStopGradient: s.NoStopGradient}
		m.f, m.g = newEncoder(s, inputs, rng), newProjector(s, rng)
		if s.Norm == "batch" {
			m.g = append(m.g, nn.NewBatchNorm(s.Embedding, false))
		}
		m.h = newPredictor(s, rng)
		setShards(2, m.f, m.g, m.h)
		m.optimizer = &nn.AdamW{Params: nn.Params(m.f, m.g), WeightDecay: s.Decay}
		m.predictor, m.predictorRate = &nn.AdamW{Params: nn.Params(m.h), WeightDecay: s.Decay}, s.Rate*s.PredictorRate
		return m, nil
	},
}

// Step implements Method.
func (m *SimSiam) Step(b *Batch) (Stats, error) {
	x := b.Views()
	z := m.g.Forward(m.f.Forward(x, true), true)
	p := m.h.Forward(z, true)
	targets := swapped(z)

	dp := contrastive.NewMatrix(p.Rows, p.Cols)
	r, err := contrastive.NegativeCosine{}.Eval(
		contrastive.Batch{Query: p, Key: targets},
		contrastive.Gradients{Query: dp})
	if err != nil {
		return Stats{}, err
	}
	dz := m.h.Backward(dp, true)

	if m.noStopGradient {
		// The cosine is symmetric: the targets' gradient is that of a query.
		dTargets := contrastive.NewMatrix(z.Rows, z.Cols)
		if _, err := (contrastive.NegativeCosine{}).Eval(
			contrastive.Batch{Query: targets, Key: p},
			contrastive.Gradients{Query: dTargets}); err != nil {
			return Stats{}, err
		}
		for i, g := range swapped(dTargets).Data {
			dz.Data[i] += g
		}
	}
	m.f.Backward(m.g.Backward(dz, true), false)
	if err := errors.Join(m.optimizer.Step(b.Rate), m.predictor.Step(m.predictorRate)); err != nil {
		return Stats{}, err
	}
	z1, z2 := halves(z)
	return Stats{Result: r, Z1: z1, Z2: z2}, nil
}

// Represent implements Method.
func (m *SimSiam) Represent(x contrastive.Matrix) contrastive.Matrix { return m.f.Forward(x, false) }

// State implements Method.
func (m *SimSiam) State() [][]float32 {
	return slices.Concat(state(m.optimizer, m.f, m.g, m.h), state(m.predictor))
}
