package contrastive

import "math"

// CosineSchedule goes from start, at step 0, to end, at step steps and after, in
// half a period of a cosine:
//
//	end − (end − start)·(cos(π·step/steps) + 1)/2
//
// BYOL raises its momentum so, from 0.996 to 1: Grill et al., "Bootstrap Your Own
// Latent" (2020), implementation details. If steps is not positive the result is end.
func CosineSchedule(start, end float64, step, steps int) float64 {
	switch {
	case step >= steps:
		return end
	case step <= 0:
		return start
	}
	return end - (end-start)*(math.Cos(math.Pi*float64(step)/float64(steps))+1)/2
}

// WarmupCosine is the learning rate of SimCLR and of most that came after it: it
// rises in a straight line to peak, which it has at step warmup, and falls to 0
// at step steps in half a period of a cosine. Step 0 has peak/(warmup+1), so that
// the first step is not lost. After steps it is 0.
//
// The schedule is that of Chen, Kornblith, Norouzi and Hinton, "A Simple Framework
// for Contrastive Learning of Visual Representations" (2020), section 2.2, after
// Loshchilov and Hutter, "SGDR" (2017), equation 5, without restarts.
func WarmupCosine(peak float64, step, warmup, steps int) float64 {
	if step < warmup {
		return peak * float64(max(step, 0)+1) / float64(warmup+1)
	}
	return CosineSchedule(peak, 0, step-max(warmup, 0), steps-max(warmup, 0))
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

// NewLogitScale returns the LogitScale of a temperature, which must be positive.
func NewLogitScale(temperature float32) LogitScale {
	return LogitScale(-math.Log(float64(temperature)))
}

// Temperature returns τ.
func (s LogitScale) Temperature() float32 { return float32(math.Exp(-float64(s))) }

// Gradient returns ∂Loss/∂log(1/τ), which is −τ·∂Loss/∂τ, of a loss evaluated at
// the temperature of s.
func (s LogitScale) Gradient(r Result) float64 {
	return -math.Exp(-float64(s)) * r.TemperatureGrad
}

// Clamped returns the nearest LogitScale whose 1/τ is from 1 to 100. CLIP keeps it
// from growing beyond 100, for stability; below 1, logits would say nothing.
func (s LogitScale) Clamped() LogitScale {
	return min(max(s, 0), LogitScale(math.Log(maxLogitScale)))
}
