package main

import (
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// BYOL is algorithm 1 of Grill et al., "Bootstrap Your Own Latent" (2020):
//
//	for k = 1 to K do
//	    draw v = t(x), v′ = t′(x)
//	    z₁ = g_θ(f_θ(v)), z₂ = g_θ(f_θ(v′))             # online
//	    z′₁ = g_ξ(f_ξ(v′)), z′₂ = g_ξ(f_ξ(v))           # target, no gradient
//	    L = 4 − 2·( cos(q_θ(z₁), z′₁) + cos(q_θ(z₂), z′₂) )
//	    θ = optimizer(θ, ∇L)
//	    ξ = τξ + (1−τ)θ                                 # τ from τ₀ to 1, a cosine
//	return encoder f_θ
//
// The loss that is shown is NegativeCosine, (L−4)/4. Both networks
// normalise each view as a batch of its own. There are no negatives; what
// keeps it from collapsing is the predictor q and the target that lags behind.
type BYOL struct {
	f, g, q         nn.Sequential // online encoder, projector, predictor
	target, targetG nn.Sequential
	momentum        float64
	optimizer       nn.Optimizer
	predictor       nn.Optimizer
	predictorRate   float64 // as a multiple of the encoder's
}

var byol = recipe{
	title: "BYOL",
	defaults: func(s *Settings) {
		// The paper's 0.996 is for 1000 epochs, and its 0.99 for 300. The predictor
		// learns faster than the encoder, so that it is near its optimum.
		s.Momentum, s.Predictor, s.PredictorRate = 0.99, 256, 5
	},
	make: func(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
		m := &BYOL{momentum: s.Momentum}
		m.f, m.g, m.q = newEncoder(s, inputs, rng), newProjector(s, rng), newPredictor(s, rng)
		m.target, m.targetG = newEncoder(s, inputs, rng), newProjector(s, rng)
		setShards(2, m.f, m.g, m.q, m.target, m.targetG)
		m.optimizer = &nn.AdamW{Params: nn.Params(m.f, m.g), WeightDecay: s.Decay}
		m.predictor, m.predictorRate = &nn.AdamW{Params: nn.Params(m.q), WeightDecay: s.Decay}, s.PredictorRate
		return m, m.follow(0)
	},
}

// newPredictor returns q: an MLP from embeddings to embeddings with one hidden
// layer.
func newPredictor(s *Settings, rng *rand.Rand) nn.Sequential {
	return append(layer(s, s.Embedding, s.Predictor, rng), nn.NewLinear(s.Predictor, s.Embedding, true, rng))
}

// Step implements Method.
func (m *BYOL) Step(b *Batch) (Stats, error) {
	x := b.Views()
	z := m.g.Forward(m.f.Forward(x, true), true)
	p := m.q.Forward(z, true)
	targets := swapped(m.targetG.Forward(m.target.Forward(x, true), true))

	dp := contrastive.NewMatrix(p.Rows, p.Cols)
	r, err := contrastive.NegativeCosine{}.Eval(
		contrastive.Batch{Query: p, Key: targets},
		contrastive.Gradients{Query: dp})
	if err != nil {
		return Stats{}, err
	}
	dz := m.q.Backward(dp, true)
	m.f.Backward(m.g.Backward(dz, true), false)
	if err := errors.Join(m.optimizer.Step(b.Rate), m.predictor.Step(b.Rate*m.predictorRate)); err != nil {
		return Stats{}, err
	}

	if err := m.follow(contrastive.CosineSchedule(m.momentum, 1, b.Step, b.Steps)); err != nil {
		return Stats{}, err
	}
	z1, z2 := halves(z)
	return Stats{Result: r, Z1: z1, Z2: z2}, nil
}

// follow moves the target towards the online network.
func (m *BYOL) follow(momentum float64) error {
	return contrastive.MomentumUpdates(nn.Values(m.target, m.targetG), nn.Values(m.f, m.g), float32(momentum))
}

// Represent implements Method.
func (m *BYOL) Represent(x contrastive.Matrix) contrastive.Matrix { return m.f.Forward(x, false) }

// State implements Method.
func (m *BYOL) State() [][]float32 {
	return slices.Concat(state(m.optimizer, m.f, m.g, m.q, m.target, m.targetG), state(m.predictor))
}
