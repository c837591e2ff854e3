package nn

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/simd"
)

// An Optimizer changes parameters by their gradients.
type Optimizer interface {
	// Step makes one step of the given learning rate and sets the gradients to 0. A
	// schedule of learning rates is a call: see [contrastive.WarmupCosine].
	//
	// It returns an error, and changes nothing, if the rate is negative or not
	// finite, if a setting is out of its range ([contrastive.ErrParameter]), or if a
	// gradient is not finite, or so great that its square is not
	// ([contrastive.ErrNotFinite]).
	Step(rate float64) error

	// State is what the optimiser remembers. Its Data may be written: a checkpoint
	// restores it so.
	State() []Tensor
}

// updateBlock is how many elements of four slices fit in the first level of a cache.
const updateBlock = 1 << 11

// maxSquared is the greatest float32 whose square is finite.
const maxSquared = 0x1.fffffep63

// checkStep checks what all optimisers have.
func (t *trained) checkStep(rate, weightDecay float64, params []*Param) error {
	if err := t.check(params); err != nil {
		return err
	}
	if !(rate >= 0) || math.IsInf(rate, 1) {
		return fmt.Errorf("rate is %v and must be finite and not negative: %w", rate, contrastive.ErrParameter)
	}
	if !(weightDecay >= 0) || math.IsInf(weightDecay, 1) {
		return fmt.Errorf("WeightDecay is %v and must be finite and not negative: %w", weightDecay, contrastive.ErrParameter)
	}
	return checkGrads(params)
}

func checkMomentum(name string, m float64) error {
	if !(m >= 0 && m < 1) {
		return fmt.Errorf("%s is %v and must be from 0 to below 1: %w", name, m, contrastive.ErrParameter)
	}
	return nil
}

func checkGrads(params []*Param) error {
	for i, p := range params {
		if len(p.Grad) != len(p.Value) {
			return fmt.Errorf("Params[%d] (%s) has %d values and %d gradients: %w", i, p.Name, len(p.Value), len(p.Grad), contrastive.ErrShape)
		}
		bad := -1
		p.eachGrad(func(at int, grad []float32) bool {
			// The common case is one pass at the speed of memory.
			if simd.DotFloat64(grad, grad) <= math.MaxFloat32 {
				return true
			}
			for j, g := range grad {
				if !(g >= -maxSquared && g <= maxSquared) {
					bad = at + j
					return false
				}
			}
			return true
		})
		if bad >= 0 {
			return fmt.Errorf("gradient of Params[%d] (%s), element %d, is %v, whose square is not a finite float32: %w", i, p.Name, bad, p.Grad[bad], contrastive.ErrNotFinite)
		}
	}
	return nil
}

// ClipGradNorm scales all gradients by one factor so that the norm of all together is
// at most limit, and returns what it was: Pascanu, Mikolov and Bengio, "On the
// difficulty of training Recurrent Neural Networks" (2013), algorithm 1. It is called
// between the last Backward and Step; a limit of +Inf only measures.
//
// It returns an error, and changes nothing, unless limit is positive
// ([contrastive.ErrParameter]) and all gradients are finite ([contrastive.ErrNotFinite]).
func ClipGradNorm(params []*Param, limit float64) (float64, error) {
	if !(limit > 0) {
		return 0, fmt.Errorf("nn: ClipGradNorm: limit is %v and must be positive: %w", limit, contrastive.ErrParameter)
	}
	defer fpmode.Enter().Leave()
	square := 0.0
	for i, p := range params {
		p.eachGrad(func(_ int, grad []float32) bool {
			square += simd.DotFloat64(grad, grad)
			return true
		})
		if math.IsNaN(square) || math.IsInf(square, 0) {
			return 0, fmt.Errorf("nn: ClipGradNorm: a gradient of params[%d] (%s) is NaN or infinite: %w", i, p.Name, contrastive.ErrNotFinite)
		}
	}
	norm := math.Sqrt(square)
	if norm > limit {
		for _, p := range params {
			p.eachGrad(func(_ int, grad []float32) bool {
				simd.ScaleTo(grad, grad, limit/norm)
				return true
			})
		}
	}
	return norm, nil
}

// bound keeps the values of p within its bounds.
func (p *Param) bound() {
	if p.max > p.min {
		for i, v := range p.Value {
			p.Value[i] = min(max(v, p.min), p.max)
		}
	}
}

// trained is the parameters that an optimiser remembers something about.
type trained []*Param

// check returns an error if params are others than before, or one is listed twice,
// which would move twice.
func (t *trained) check(params []*Param) error {
	if *t != nil {
		if !slices.Equal(*t, params) {
			return fmt.Errorf("Params are others than at the first step: %w", contrastive.ErrParameter)
		}
		return nil
	}
	index := make(map[*Param]int, len(params))
	for i, p := range params {
		if j, ok := index[p]; ok {
			return fmt.Errorf("Params[%d] is Params[%d] (%s): %w", i, j, p.Name, contrastive.ErrParameter)
		}
		index[p] = i
	}
	return nil
}

// moments returns a slice of zeros as long as each parameter.
func moments(params []*Param) [][]float32 {
	m := make([][]float32, len(params))
	for i, p := range params {
		m[i] = make([]float32, len(p.Value))
	}
	return m
}

// momentTensors names moments by the index and the name of their parameter.
func momentTensors(all []Tensor, name string, params []*Param, m [][]float32) []Tensor {
	for i, p := range params {
		all = append(all, Tensor{name + "." + strconv.Itoa(i) + "." + p.Name, p.Shape, m[i]})
	}
	return all
}
