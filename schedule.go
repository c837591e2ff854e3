package contrastive

import (
	"fmt"
	"math"
)

// CosineSchedule goes from start, at step 0 and before, to end, at step steps and
// after, in half a period of a cosine:
//
//	end − (end − start)·(cos(π·step/steps) + 1)/2
//
// BYOL raises its momentum so, from 0.996 to 1: Grill et al., "Bootstrap Your Own
// Latent" (2020), implementation details. If steps is not positive it is end at every
// step.
func CosineSchedule(start, end float64, step, steps int) float64 {
	switch {
	case steps <= 0 || step >= steps:
		return end
	case step <= 0:
		return start
	}
	// Halved, and subtracted twice at once, so that no difference exceeds the greatest
	// float64.
	half := (end/2 - start/2) * ((math.Cos(math.Pi*float64(step)/float64(steps)) + 1) / 2)
	return math.FMA(-2, half, end)
}

// WarmupCosine is the learning rate of SimCLR and of most that came after it: it
// rises in a straight line to peak, which it has at step warmup, and falls to 0
// at step steps in half a period of a cosine. Step 0, and what is before it, has
// peak/(warmup+1), so that the first step is not lost. From step steps on it is 0,
// also if the warm-up is not over then. A warmup that is negative is none.
//
// The schedule is that of Chen, Kornblith, Norouzi and Hinton, "A Simple Framework
// for Contrastive Learning of Visual Representations" (2020), section 2.2, after
// Loshchilov and Hutter, "SGDR" (2017), equation 5, without restarts.
func WarmupCosine(peak float64, step, warmup, steps int) float64 {
	step, warmup = max(step, 0), max(warmup, 0)
	switch {
	case step >= steps:
		return 0
	case step < warmup:
		return peak * ((float64(step) + 1) / (float64(warmup) + 1))
	}
	return CosineSchedule(peak, 0, step-warmup, steps-warmup)
}

// maxLogitScale is the greatest 1/τ that CLIP allows.
const maxLogitScale = 100

// A LogitScale is log(1/τ), the form in which CLIP learns its temperature:
//
//	s -= LogitScale(rate * s.Gradient(result))
//	s = s.Clamped()
//	loss.Temperature = s.Temperature()
//
// It comes from Radford et al., "Learning Transferable Visual Models From Natural
// Language Supervision" (2021), section 2.5.
type LogitScale float64

// NewLogitScale returns the LogitScale of a temperature. It panics unless that is
// positive and finite.
func NewLogitScale(temperature float32) LogitScale {
	if !(temperature > 0) || math.IsInf(float64(temperature), 1) {
		panic(fmt.Sprintf("contrastive: NewLogitScale(%v): the temperature must be positive and finite", temperature))
	}
	return LogitScale(-math.Log(float64(temperature)))
}

// Temperature returns τ, or the nearest temperature that losses take: it is at least
// 2⁻¹⁰⁰ and finite, and never the 0 that stands for a default. If s is NaN so is τ,
// which losses refuse.
func (s LogitScale) Temperature() float32 {
	return float32(min(max(math.Exp(-float64(s)), minTemperature), math.MaxFloat32))
}

// Gradient returns ∂Loss/∂log(1/τ), which is −τ·∂Loss/∂τ, of a loss evaluated at
// the temperature of s.
func (s LogitScale) Gradient(r Result) float64 {
	return -float64(s.Temperature()) * r.TemperatureGrad
}

// Clamped returns the nearest LogitScale whose 1/τ is from 1 to 100. CLIP keeps it
// from growing beyond 100, for stability; below 1, logits would say nothing.
func (s LogitScale) Clamped() LogitScale {
	return min(max(s, 0), LogitScale(math.Log(maxLogitScale)))
}
