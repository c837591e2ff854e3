package nn

import "github.com/contrastive-go/contrastive"

// A Scalar is a parameter that stands alone, such as a temperature. As a Layer it
// is the identity.
type Scalar struct{ param *Param }

// NewScalar returns a parameter without weight decay.
func NewScalar(value float32) *Scalar {
	s := &Scalar{newParam(1, true)}
	s.Set(value)
	return s
}

// Value returns the parameter.
func (s *Scalar) Value() float32 { return s.param.Value[0] }

// Set sets the parameter.
func (s *Scalar) Set(value float32) { s.param.Value[0] = value }

// AddGrad adds to the parameter's gradient.
func (s *Scalar) AddGrad(g float32) { s.param.Grad[0] += g }

// Forward implements Layer.
func (s *Scalar) Forward(x contrastive.Matrix, _ bool) contrastive.Matrix { return x }

// Backward implements Layer.
func (s *Scalar) Backward(dy contrastive.Matrix, _ bool) contrastive.Matrix { return dy }

// Params implements Layer.
func (s *Scalar) Params() []*Param { return []*Param{s.param} }

// Statistics implements Layer.
func (s *Scalar) Statistics() [][]float32 { return nil }
