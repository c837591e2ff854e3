package contrastive_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
)

func TestWarmupCosine(t *testing.T) {
	for _, c := range []struct {
		step, warmup, steps int
		want                float64
	}{
		{-1, 4, 10, 0.2}, {0, 4, 10, 0.2}, {1, 4, 10, 0.4}, {3, 4, 10, 0.8}, // warm-up
		{4, 4, 10, 1}, {7, 4, 10, 0.5}, {10, 4, 10, 0}, {11, 4, 10, 0}, // cosine
		{0, 0, 10, 1}, {5, 0, 10, 0.5}, {0, -3, 10, 1}, // no warm-up
		{3, 4, 4, 0.8}, {4, 4, 4, 0}, {0, 0, 0, 0}, // nothing but warm-up
	} {
		within(t, "WarmupCosine", contrastive.WarmupCosine(3, c.step, c.warmup, c.steps), 3*c.want, 1e-15)
	}
}

func TestLogitScale(t *testing.T) {
	for _, tau := range []float32{0.01, 0.07, 0.5, 1} {
		s := contrastive.NewLogitScale(tau)
		within(t, "Temperature", float64(s.Temperature()), float64(tau), float64(tau)*u)
		r := contrastive.Result{TemperatureGrad: -3}
		within(t, "Gradient", s.Gradient(r), 3*float64(tau), 1e-14)
		within(t, "Clamped", float64(s.Clamped()), float64(s), 1e-7) // 0.01 is not exact in float32
	}
	for _, c := range []struct{ tau, want float32 }{{0.001, 0.01}, {5, 1}} {
		if got := contrastive.NewLogitScale(c.tau).Clamped().Temperature(); got != c.want {
			t.Errorf("τ %v is clamped to %v, want %v", c.tau, got, c.want)
		}
	}
}

// The gradient is that of the loss as a function of the scale.
func TestLogitScaleGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 1))
	b := contrastive.Batch{Query: normal(r, 12, 16), Key: normal(r, 12, 16)}
	loss := func(s contrastive.LogitScale) contrastive.Result {
		return eval(t, "CLIP", contrastive.CLIP{Temperature: s.Temperature()}, b, contrastive.Gradients{})
	}
	s := contrastive.NewLogitScale(0.25)
	const h = 1e-3
	// The temperature is rounded to float32: its relative error of u is one of u in the scale.
	difference := (loss(s+h).Loss - loss(s-h).Loss) / (2 * h)
	g := s.Gradient(loss(s))
	within(t, "Gradient", g, difference, math.Abs(g)*(h*h+4*u/h))
}
