package main

import (
	"errors"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// CLIP is figure 3 of Radford et al., "Learning Transferable Visual Models From
// Natural Language Supervision" (2021), with proportional fonts in the place of
// images and monospaced fonts in that of texts: two renderings of one character
// are a pair, and each family has a tower of its own.
//
//	I_f = image_encoder(I); T_f = text_encoder(T)
//	I_e = l2_normalize(I_f @ W_i); T_e = l2_normalize(T_f @ W_t)
//	logits = I_e @ T_e.T * exp(t)                    # t is learned
//	loss = (cross_entropy(logits, rows) + cross_entropy(logits, columns)) / 2
//
// The pairs tell the method which characters are the same across families: it is
// weakly supervised, as is CLIP by captions.
type CLIP struct {
	f, w        [2]nn.Sequential // towers, linear projections
	temperature *temperature
	optimizer   nn.Optimizer
}

var clip = recipe{
	title:    "CLIP",
	accuracy: true,
	defaults: func(s *Settings) {
		s.Temperature, s.LearnTemperature = 0.07, true
	},
	make: func(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
		m := &CLIP{temperature: newTemperature(s)}
		for i := range m.f {
			m.f[i] = newEncoder(s, inputs, rng)
			m.w[i] = nn.Sequential{nn.NewLinear(s.Features, s.Embedding, false, rng)}
		}
		m.optimizer = &nn.AdamW{Params: nn.Params(m.f[0], m.w[0], m.f[1], m.w[1]), WeightDecay: s.Decay}
		return m, nil
	},
}

// Step implements Method.
func (m *CLIP) Step(b *Batch) (Stats, error) {
	x1, x2 := halves(b.Views())
	z1 := m.w[0].Forward(m.f[0].Forward(x1, true), true)
	z2 := m.w[1].Forward(m.f[1].Forward(x2, true), true)

	// With 94 characters a batch holds most of them more than once. As the same
	// "caption", they are not negatives of each other.
	dz1, dz2 := contrastive.NewMatrix(z1.Rows, z1.Cols), contrastive.NewMatrix(z2.Rows, z2.Cols)
	tau := m.temperature.value()
	r, err := contrastive.CLIP{Temperature: tau}.Eval(
		contrastive.Batch{Query: z1, Key: z2, Labels: b.Labels},
		contrastive.Gradients{Query: dz1, Key: dz2})
	if err != nil {
		return Stats{}, err
	}
	m.f[0].Backward(m.w[0].Backward(dz1, true), false)
	m.f[1].Backward(m.w[1].Backward(dz2, true), false)
	if err := errors.Join(m.optimizer.Step(b.Rate), m.temperature.update(r, b.Rate)); err != nil {
		return Stats{}, err
	}
	return Stats{Result: r, Temperature: float64(tau), Z1: z1, Z2: z2}, nil
}

// Represent implements Method. As an image may be of any font, its representation
// is that of both towers, one after the other.
func (m *CLIP) Represent(x contrastive.Matrix) contrastive.Matrix {
	a, b := m.f[0].Forward(x, false), m.f[1].Forward(x, false)
	both := contrastive.NewMatrix(x.Rows, a.Cols+b.Cols)
	for i := range x.Rows {
		copy(both.Row(i), a.Row(i))
		copy(both.Row(i)[a.Cols:], b.Row(i))
	}
	return both
}

// Embed implements ZeroShooter.
func (m *CLIP) Embed(modality int, x contrastive.Matrix) contrastive.Matrix {
	z := m.w[modality].Forward(m.f[modality].Forward(x, false), false)
	e := contrastive.NewMatrix(z.Rows, z.Cols)
	copy(e.Data, z.Data)
	return e
}

// State implements Method.
func (m *CLIP) State() [][]float32 {
	return append(state(m.optimizer, m.f[0], m.w[0], m.f[1], m.w[1]), m.temperature.state()...)
}
