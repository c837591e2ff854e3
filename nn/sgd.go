package nn

import (
	"fmt"

	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/simd"
)

// SGD is stochastic gradient descent with momentum, after Polyak, "Some methods of
// speeding up the convergence of iteration methods" (1964), in the form of PyTorch and of
// SimCLR and MoCo:
//
//	v = Momentum·v + g + WeightDecay·w
//	w = w − rate·v
//
// The fields must not change after the first step, but for WeightDecay and Workers.
type SGD struct {
	Params      []*Param // what is trained; see [Params]
	Momentum    float64  // from 0 to below 1; 0 is none, 0.9 is usual
	WeightDecay float64  // of parameters without NoDecay
	Workers     int      // as that of [Linear]

	trained  trained
	velocity [][]float32 // nil without momentum
	now      sgdStep
}

// sgdStep is one step for one parameter.
type sgdStep struct {
	w, v, g               []float32
	rate, momentum, decay float32
}

// Step implements [Optimizer].
func (s *SGD) Step(rate float64) error {
	err := checkMomentum("Momentum", s.Momentum)
	if err == nil {
		err = s.trained.checkStep(rate, s.WeightDecay, s.Params)
	}
	if err != nil {
		return fmt.Errorf("nn: SGD: %w", err)
	}
	s.init()
	now := &s.now
	decay := now.prepare(rate, s.Momentum, s.WeightDecay)
	for i, p := range s.Params {
		now.decay = decay
		if p.NoDecay {
			now.decay = 0
		}
		now.w, now.v, now.g = p.Value, nil, p.Grad
		switch {
		case s.velocity != nil:
			now.v = s.velocity[i]
			run(now, len(now.w), grainElements, s.Workers)
		case now.decay == 0:
			now.descend(p)
		default:
			run(now, len(now.w), grainElements, s.Workers)
		}
		p.bound()
		p.ZeroGrad()
	}
	*now = sgdStep{}
	return nil
}

// prepare sets what all parameters have in common, and returns the decay of those that
// do.
func (s *sgdStep) prepare(rate, momentum, decay float64) float32 {
	defer fpmode.Enter().Leave()
	s.rate, s.momentum = float32(rate), float32(momentum)
	return float32(decay)
}

// descend is a step without momentum and decay, for the rows that have a gradient.
func (s *sgdStep) descend(p *Param) {
	defer fpmode.Enter().Leave()
	p.eachGrad(func(at int, grad []float32) bool {
		simd.Axpy(-s.rate, grad, p.Value[at:at+len(grad)])
		return true
	})
}

func (s *sgdStep) part(lo, hi int) {
	w := s.w[lo:hi]
	if s.v == nil {
		for i, g := range s.g[lo:hi] {
			w[i] -= s.rate * (g + s.decay*w[i])
		}
		return
	}
	v := s.v[lo:hi]
	for i, g := range s.g[lo:hi] {
		v[i] = s.momentum*v[i] + (g + s.decay*w[i])
		w[i] -= s.rate * v[i]
	}
}

func (s *SGD) init() {
	if s.trained == nil {
		s.trained = append(trained{}, s.Params...)
		if s.Momentum != 0 {
			s.velocity = moments(s.Params)
		}
	}
}

// State implements [Optimizer]. There is one without momentum, too: it is empty.
func (s *SGD) State() []Tensor {
	s.init()
	if s.velocity == nil {
		return nil
	}
	return momentTensors(nil, "momentum_buffer", s.Params, s.velocity)
}
