package nn

import (
	"math"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/fpmode"
)

// A Scalar is one number that is trained, such as the bias of SigLIP:
//
//	bias := nn.NewScalar("bias", -10)
//	result, err := contrastive.SigLIP{Bias: bias.Value()}.Eval(batch, gradients)
//	bias.AddGrad(result.BiasGrad)
type Scalar struct{ Param *Param }

// NewScalar returns a number without weight decay.
func NewScalar(name string, value float32) *Scalar {
	s := &Scalar{NewParam(name)}
	s.Param.NoDecay = true
	s.Set(value)
	return s
}

// Value returns the number.
func (s *Scalar) Value() float32 { return s.Param.Value[0] }

// Set sets the number.
func (s *Scalar) Set(value float32) { s.Param.Value[0] = value }

// AddGrad adds to the number's gradient.
func (s *Scalar) AddGrad(g float64) { s.Param.Grad[0] += float32(g) }

// Params implements [Module].
func (s *Scalar) Params() []*Param { return []*Param{s.Param} }

// Buffers implements [Module].
func (s *Scalar) Buffers() []Tensor { return nil }

// A Temperature is a τ that is learned in the form of CLIP, log(1/τ), which optimisers
// keep between τ = 1 and τ = 0.01: Radford et al., "Learning Transferable Visual Models
// From Natural Language Supervision" (2021), section 2.5.
//
//	tau := nn.NewTemperature(0.07)
//	result, err := contrastive.CLIP{Temperature: tau.Value()}.Eval(batch, gradients)
//	tau.Backward(result)
type Temperature struct {
	Param *Param // log(1/τ)
}

// NewTemperature returns a τ that is to be learned, from a first value, or from the
// nearest one within its bounds. It panics unless that is positive and finite.
func NewTemperature(tau float32) *Temperature {
	defer fpmode.Enter().Leave()
	p := NewParam("logit_scale")
	p.NoDecay = true
	p.min, p.max = 0, float32(contrastive.LogitScale(math.Inf(1)).Clamped())
	p.Value[0] = float32(contrastive.NewLogitScale(tau).Clamped())
	return &Temperature{p}
}

// Value returns τ.
func (t *Temperature) Value() float32 {
	defer fpmode.Enter().Leave()
	return t.logitScale().Temperature()
}

func (t *Temperature) logitScale() contrastive.LogitScale {
	return contrastive.LogitScale(t.Param.Value[0])
}

// Backward adds to the gradient what a loss that was evaluated at τ says of it.
func (t *Temperature) Backward(r contrastive.Result) {
	defer fpmode.Enter().Leave()
	t.Param.Grad[0] += float32(t.logitScale().Gradient(r))
}

// Params implements [Module].
func (t *Temperature) Params() []*Param { return []*Param{t.Param} }

// Buffers implements [Module].
func (t *Temperature) Buffers() []Tensor { return nil }
