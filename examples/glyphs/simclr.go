package main

import (
	"errors"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// SimCLR is algorithm 1 of Chen, Kornblith, Norouzi and Hinton, "A Simple
// Framework for Contrastive Learning of Visual Representations" (2020):
//
//	for sampled minibatch {xₖ} do
//	    draw two augmentation functions t, t′; x̃₂ₖ₋₁ = t(xₖ), x̃₂ₖ = t′(xₖ)
//	    h = f(x̃); z = g(h)
//	    L = NT-Xent(z), of each view among the 2N
//	    update networks f and g to minimise L
//	return encoder network f(·), and throw away g(·)
//
// The losses of DCL, hard and debiased negatives, Barlow Twins, VICReg and SupCon
// train in the same loop; their files say in what they differ.
type SimCLR struct {
	f, g        nn.Sequential // encoder, projector
	loss        func(tau float32) contrastive.Loss
	labels      func(*Batch) []int
	temperature *temperature // nil if the loss has none
	optimizer   nn.Optimizer
}

var simCLR = recipe{
	title:    "SimCLR",
	accuracy: true,
	cached:   true,
	defaults: func(s *Settings) { s.Temperature = 0.1 },
	make: func(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
		ntXent := func(tau float32) contrastive.Loss { return contrastive.NTXent{Temperature: tau} }
		// Two views of one image are not each other's negatives, should a batch be
		// so large that it holds the image twice.
		m := newSimCLR(s, newEncoder(s, inputs, rng), newProjector(s, rng), ntXent, (*Batch).Instances)
		if s.Chunk > 0 {
			return newLargeBatch(m, s, inputs), nil
		}
		return m, nil
	},
}

func newSimCLR(s *Settings, f, g nn.Sequential, loss func(tau float32) contrastive.Loss, labels func(*Batch) []int) *SimCLR {
	m := &SimCLR{f: f, g: g, loss: loss, labels: labels, optimizer: &nn.AdamW{Params: nn.Params(f, g), WeightDecay: s.Decay}}
	if s.Temperature > 0 {
		m.temperature = newTemperature(s)
	}
	return m
}

// Step implements Method.
func (m *SimCLR) Step(b *Batch) (Stats, error) {
	x := b.Views()
	h := m.f.Forward(x, true)
	z := m.g.Forward(h, true)

	z1, z2 := halves(z)
	dz := contrastive.NewMatrix(z.Rows, z.Cols)
	dz1, dz2 := halves(dz)
	tau := m.temperature.value()
	r, err := m.loss(tau).Eval(
		contrastive.Batch{Query: z1, Key: z2, Labels: m.labels(b)},
		contrastive.Gradients{Query: dz1, Key: dz2})
	if err != nil {
		return Stats{}, err
	}

	dh := m.g.Backward(dz, true)
	m.f.Backward(dh, false)
	if err := errors.Join(m.optimizer.Step(b.Rate), m.temperature.update(r, b.Rate)); err != nil {
		return Stats{}, err
	}
	return Stats{Result: r, Temperature: float64(tau), Z1: z1, Z2: z2}, nil
}

// Represent implements Method.
func (m *SimCLR) Represent(x contrastive.Matrix) contrastive.Matrix { return m.f.Forward(x, false) }

// State implements Method.
func (m *SimCLR) State() [][]float32 {
	return append(state(m.optimizer, m.f, m.g), m.temperature.state()...)
}
