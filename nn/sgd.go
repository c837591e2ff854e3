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
	w, v, g        []float32 // v is nil without momentum
	rate, decay    float32
	momentum, keep float64 // keep is what is left of w without momentum
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
	for i, p := range s.Params {
		now.prepare(rate, s.Momentum, s.WeightDecay, p.NoDecay)
		now.w, now.v, now.g = p.Value, nil, p.Grad
		if s.velocity != nil {
			now.v = s.velocity[i]
		}
		if p.sparse && now.v == nil && now.decay == 0 {
			now.descend(p)
		} else {
			run(now, len(now.w), grainElements, s.Workers)
		}
		p.bound()
		p.ZeroGrad()
	}
	*now = sgdStep{}
	return nil
}

func (s *sgdStep) prepare(rate, momentum, decay float64, noDecay bool) {
	defer fpmode.Enter().Leave()
	if noDecay {
		decay = 0
	}
	s.rate, s.decay = float32(rate), float32(decay)
	s.momentum, s.keep = momentum, 1-rate*decay
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
	for ; lo < hi; lo += updateBlock {
		end := min(lo+updateBlock, hi)
		w, g := s.w[lo:end], s.g[lo:end]
		if s.v == nil {
			simd.ScaleTo(w, w, s.keep)
			simd.Axpy(-s.rate, g, w)
			continue
		}
		v := s.v[lo:end]
		simd.ScaleTo(v, v, s.momentum)
		simd.Axpy(1, g, v)
		simd.Axpy(s.decay, w, v)
		simd.Axpy(-s.rate, v, w)
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
