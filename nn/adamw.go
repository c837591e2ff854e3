package nn

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/simd"
)

// AdamW is the method of Kingma and Ba, "Adam: A Method for Stochastic Optimization"
// (2015), algorithm 1, with the decoupled weight decay of Loshchilov and Hutter,
// "Decoupled Weight Decay Regularization" (2019), algorithm 2:
//
//	m = β₁·m + (1−β₁)·g
//	v = β₂·v + (1−β₂)·g²
//	w = (1 − rate·WeightDecay)·w − rate·m̂/(√v̂ + ε),  m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ)
//
// With a WeightDecay of 0 it is Adam. The fields must not change after the first step,
// but for WeightDecay and Workers.
type AdamW struct {
	Params       []*Param // what is trained; see [Params]
	Beta1, Beta2 float64  // below 1; 0 means 0.9 and 0.999
	Epsilon      float64  // 0 means 10⁻⁸
	WeightDecay  float64  // of parameters without NoDecay
	Workers      int      // as that of [Linear]

	trained       trained
	first, second [][]float32 // m and v
	steps         []float32   // one element, t; 2²⁴, where it ends, is as good as infinity
	now           adamWStep
}

// adamWStep is one step for one parameter.
type adamWStep struct {
	w, m, v, g                []float32
	rate1, rate2              float32 // 1−β₁, 1−β₂
	keep                      float32 // of w
	step, correction, epsilon float32 // rate/(1−β₁ᵗ), 1/√(1−β₂ᵗ), ε
}

// Step implements [Optimizer].
func (a *AdamW) Step(rate float64) error {
	beta1, beta2, epsilon := orDefault(a.Beta1, 0.9), orDefault(a.Beta2, 0.999), orDefault(a.Epsilon, 1e-8)
	if err := a.check(rate, beta1, beta2, epsilon); err != nil {
		return fmt.Errorf("nn: AdamW: %w", err)
	}
	a.init()
	a.steps[0]++
	s := &a.now
	keep := s.prepare(float64(a.steps[0]), rate, beta1, beta2, epsilon, a.WeightDecay)
	for i, p := range a.Params {
		s.keep = keep
		if p.NoDecay {
			s.keep = 1
		}
		s.w, s.m, s.v, s.g = p.Value, a.first[i], a.second[i], p.Grad
		run(s, len(s.w), grainElements, a.Workers)
		p.bound()
		p.ZeroGrad()
	}
	*s = adamWStep{}
	return nil
}

// prepare sets what all parameters have in common in step t, and returns what is kept of
// those that decay.
func (s *adamWStep) prepare(t, rate, beta1, beta2, epsilon, decay float64) (keep float32) {
	defer fpmode.Enter().Leave()
	s.rate1, s.rate2, s.epsilon = float32(1-beta1), float32(1-beta2), float32(epsilon)
	s.step = float32(rate / (1 - math.Pow(beta1, t)))
	s.correction = float32(1 / math.Sqrt(1-math.Pow(beta2, t)))
	return float32(1 - rate*decay)
}

func (a *AdamW) check(rate, beta1, beta2, epsilon float64) error {
	if err := checkMomentum("Beta1", beta1); err != nil {
		return err
	}
	if err := checkMomentum("Beta2", beta2); err != nil {
		return err
	}
	if !(epsilon >= minEpsilon) || math.IsInf(epsilon, 1) {
		return fmt.Errorf("Epsilon is %v and must be finite and at least %v: %w", epsilon, minEpsilon, contrastive.ErrParameter)
	}
	return a.trained.checkStep(rate, a.WeightDecay, a.Params)
}

// minEpsilon is the least ε that is a normal float32 with room for what it divides.
const minEpsilon = 1e-30

func (s *adamWStep) part(lo, hi int) {
	for ; lo < hi; lo += updateBlock {
		end := min(lo+updateBlock, hi)
		w, m, v, g := s.w[lo:end], s.m[lo:end], s.v[lo:end], s.g[lo:end]
		simd.Lerp(m, g, s.rate1)
		simd.LerpSquare(v, g, s.rate2)
		simd.AdamStep(w, m, v, s.keep, s.step, s.correction, s.epsilon)
	}
}

// init makes the moments, which the zero value lacks.
func (a *AdamW) init() {
	if a.steps == nil {
		a.trained = append(trained{}, a.Params...)
		a.steps, a.first, a.second = make([]float32, 1), moments(a.Params), moments(a.Params)
	}
}

// State implements [Optimizer]. The names are those of PyTorch: step, exp_avg, exp_avg_sq.
func (a *AdamW) State() []Tensor {
	a.init()
	state := []Tensor{{"step", nil, a.steps}}
	state = momentTensors(state, "exp_avg", a.Params, a.first)
	return momentTensors(state, "exp_avg_sq", a.Params, a.second)
}

func orDefault(v, d float64) float64 {
	if v == 0 {
		return d
	}
	return v
}
