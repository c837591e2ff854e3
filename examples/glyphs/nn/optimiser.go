package nn

import "math"

// An Optimiser changes parameters by their gradients.
type Optimiser interface {
	// Step makes one step of the given learning rate and sets the gradients to 0.
	Step(rate float64)

	// State returns what the optimiser remembers, for a checkpoint: slices that
	// may be read and written in place.
	State() [][]float32
}

const parameterGrain = 4096

// Adam is the method of Kingma and Ba (2015), algorithm 1, with β₁ = 0.9,
// β₂ = 0.999 and ε = 10⁻⁸, and with the decoupled weight decay of Loshchilov and
// Hutter (2019).
type Adam struct {
	Decay float64

	params        []*Param
	first, second [][]float32
	steps         []float32 // one element: how many steps have been made
}

// NewAdam returns an optimiser of the parameters of the nets.
func NewAdam(decay float64, nets ...Net) *Adam {
	a := &Adam{Decay: decay, params: paramsOf(nets), steps: make([]float32, 1)}
	a.first, a.second = likeParams(a.params), likeParams(a.params)
	return a
}

// Step implements Optimiser.
func (a *Adam) Step(rate float64) {
	const beta1, beta2, epsilon = 0.9, 0.999, 1e-8
	a.steps[0]++
	t := float64(a.steps[0])
	step := float32(rate / (1 - math.Pow(beta1, t)))
	correction := float32(1 / math.Sqrt(1-math.Pow(beta2, t)))
	for k, p := range a.params {
		keep := float32(1 - rate*a.Decay)
		if p.NoDecay {
			keep = 1
		}
		m, v := a.first[k], a.second[k]
		parallel(len(p.Value), parameterGrain, func(lo, hi int) {
			w, m, v, grad := p.Value[lo:hi], m[lo:hi], v[lo:hi], p.Grad[lo:hi]
			for i, g := range grad {
				m[i] += (1 - beta1) * (g - m[i])
				v[i] += (1 - beta2) * (g*g - v[i])
				w[i] = keep*w[i] - step*m[i]/(float32(math.Sqrt(float64(v[i])))*correction+epsilon)
			}
			clear(grad)
		})
	}
}

// State implements Optimiser.
func (a *Adam) State() [][]float32 {
	return append(append([][]float32{a.steps}, a.first...), a.second...)
}

// SGD is stochastic gradient descent with momentum, and with weight decay added
// to the gradient.
type SGD struct {
	Momentum, Decay float64

	params   []*Param
	velocity [][]float32
}

// NewSGD returns an optimiser of the parameters of the nets.
func NewSGD(momentum, decay float64, nets ...Net) *SGD {
	s := &SGD{Momentum: momentum, Decay: decay, params: paramsOf(nets)}
	s.velocity = likeParams(s.params)
	return s
}

// Step implements Optimiser.
func (s *SGD) Step(rate float64) {
	step, momentum := float32(rate), float32(s.Momentum)
	for k, p := range s.params {
		decay := float32(s.Decay)
		if p.NoDecay {
			decay = 0
		}
		velocity := s.velocity[k]
		parallel(len(p.Value), parameterGrain, func(lo, hi int) {
			w, v, grad := p.Value[lo:hi], velocity[lo:hi], p.Grad[lo:hi]
			for i, g := range grad {
				v[i] = momentum*v[i] + g + decay*w[i]
				w[i] -= step * v[i]
			}
			clear(grad)
		})
	}
}

// State implements Optimiser.
func (s *SGD) State() [][]float32 { return s.velocity }

func paramsOf(nets []Net) []*Param {
	var params []*Param
	for _, n := range nets {
		params = append(params, n.Params()...)
	}
	return params
}

func likeParams(params []*Param) [][]float32 {
	like := make([][]float32, len(params))
	for i, p := range params {
		like[i] = make([]float32, len(p.Value))
	}
	return like
}
