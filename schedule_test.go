package contrastive_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// Each is computed as its formula says, in float64, where a cosine and four more
// operations are rounded.
const scheduleError = 6 * 0x1p-53

func TestCosineSchedule(t *testing.T) {
	const start, end = 0.996, 1
	for _, c := range []struct {
		step, steps int
		want        float64
	}{
		{-1, 100, start}, {math.MinInt, 100, start}, {0, 100, start}, // before and at the first step
		{50, 100, 0.998}, {25, 100, end - (end-start)*(math.Cos(math.Pi/4)+1)/2}, {99, 100, end - (end-start)*(math.Cos(math.Pi*0.99)+1)/2},
		{100, 100, end}, {101, 100, end}, {math.MaxInt, 100, end}, // at the last and after
		{0, 1, start}, {1, 1, end}, {0, math.MaxInt, start}, {math.MaxInt, math.MaxInt, end},
		{0, 0, end}, {-1, 0, end}, {5, 0, end}, // no steps at all
		{-10, -5, end}, {-5, -5, end}, {0, -5, end}, {5, -1, end}, {math.MinInt, -1, end}, {0, math.MinInt, end},
	} {
		got := contrastive.CosineSchedule(start, end, c.step, c.steps)
		if losstest.Within(t, fmt.Sprintf("step %d of %d", c.step, c.steps), got, c.want, scheduleError); (c.want == start || c.want == end) && got != c.want {
			t.Errorf("step %d of %d: %v, want %v exactly", c.step, c.steps, got, c.want)
		}
	}
	for _, ends := range [][2]float64{{0, 2}, {2, 0}, {-math.MaxFloat64, math.MaxFloat64}, {math.MaxFloat64, -math.MaxFloat64}, {0x1p-1021, 0x1p-1018}, {0.3, 0.3}} {
		last := ends[0]
		for step := range 101 {
			v := contrastive.CosineSchedule(ends[0], ends[1], step, 100)
			if !(min(last, ends[1]) <= v && v <= max(last, ends[1])) {
				t.Errorf("from %v to %v, step %d: %v after %v", ends[0], ends[1], step, v, last)
			}
			last = v
		}
	}
}

func TestWarmupCosine(t *testing.T) {
	for _, c := range []struct {
		step, warmup, steps int
		want                float64
	}{
		{-1, 4, 10, 0.2}, {math.MinInt, 4, 10, 0.2}, {0, 4, 10, 0.2}, {1, 4, 10, 0.4}, {3, 4, 10, 0.8}, // warm-up
		{4, 4, 10, 1}, {7, 4, 10, 0.5}, {9, 4, 10, (1 - math.Cos(math.Pi/6)) / 2}, // cosine
		{10, 4, 10, 0}, {11, 4, 10, 0}, {math.MaxInt, 4, 10, 0}, // the end
		{0, 0, 10, 1}, {5, 0, 10, 0.5}, {-5, 0, 10, 1}, // no warm-up
		{0, -3, 10, 1}, {5, -3, 10, 0.5}, {-5, -1, 10, 1}, {0, math.MinInt, 10, 1}, {5, math.MinInt, 10, 0.5},
		{0, 4, 4, 0.2}, {3, 4, 4, 0.8}, {4, 4, 4, 0}, {5, 4, 4, 0}, // nothing but warm-up
		{3, 30, 5, 4.0 / 31}, {5, 30, 5, 0}, {20, 30, 5, 0}, {30, 30, 5, 0}, // a warm-up that is cut off
		{0, math.MaxInt, math.MaxInt, 1 / (float64(math.MaxInt) + 1)}, {math.MaxInt - 1, math.MaxInt, math.MaxInt, float64(math.MaxInt) / (float64(math.MaxInt) + 1)}, {math.MaxInt, math.MaxInt, math.MaxInt, 0},
		{0, 0, 0, 0}, {-1, 0, 0, 0}, {0, 4, 0, 0}, {0, 4, -5, 0}, {-10, 4, -5, 0}, {-10, -20, -5, 0}, {5, 3, math.MinInt, 0}, // no steps
	} {
		for _, peak := range []float64{3, math.MaxFloat64, 0} {
			want := peak * c.want
			got := contrastive.WarmupCosine(peak, c.step, c.warmup, c.steps)
			if losstest.Within(t, fmt.Sprintf("step %d, warm-up %d of %d", c.step, c.warmup, c.steps), got, want, scheduleError*peak); (c.want == 0 || c.want == 1) && got != want {
				t.Errorf("step %d, warm-up %d of %d: %v, want %v exactly", c.step, c.warmup, c.steps, got, want)
			}
		}
	}
}

func TestLogitScale(t *testing.T) {
	for _, tau := range []float32{0.01, 0.07, 0.5, 1} {
		s := contrastive.NewLogitScale(tau)
		losstest.Within(t, "Temperature", float64(s.Temperature()), float64(tau), float64(tau)*u)
		r := contrastive.Result{TemperatureGrad: -3}
		losstest.Within(t, "Gradient", s.Gradient(r), 3*float64(tau), 3*float64(tau)*u)
		losstest.Within(t, "Clamped", float64(s.Clamped()), float64(s), u) // 0.01 is not exact in float32
	}
	for _, c := range []struct{ tau, want float32 }{{0.001, 0.01}, {5, 1}} {
		if got := contrastive.NewLogitScale(c.tau).Clamped().Temperature(); got != c.want {
			t.Errorf("τ %v is clamped to %v, want %v", c.tau, got, c.want)
		}
	}
}

// TestLogitScaleRange takes scales of all sizes: none becomes the temperature 0, which
// would be a default, or one that losses refuse.
func TestLogitScaleRange(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 1))
	b := contrastive.Batch{Query: losstest.Normal(r, 2, 3), Key: losstest.Normal(r, 2, 3)}
	scales := []float64{math.Inf(-1), -math.MaxFloat64, -0x1p-1074, 0, 0x1p-1074, math.MaxFloat64, math.Inf(1)}
	for s := -1000.0; s <= 1000; s += 0.25 {
		scales = append(scales, s)
	}
	for _, v := range scales {
		s := contrastive.LogitScale(v)
		tau, want := s.Temperature(), min(max(math.Exp(-v), 0x1p-100), math.MaxFloat32)
		losstest.Within(t, fmt.Sprintf("temperature of %v", v), float64(tau), want, u*want)
		res, err := contrastive.CLIP{Temperature: tau}.Eval(b, contrastive.Gradients{})
		if err != nil {
			t.Errorf("scale %v: %v", v, err)
		}
		if g := s.Gradient(res); g != -float64(tau)*res.TemperatureGrad || math.IsNaN(g) || math.IsInf(g, 0) {
			t.Errorf("scale %v: gradient %v of %v", v, g, res.TemperatureGrad)
		}
	}
	nan := contrastive.LogitScale(math.NaN())
	if tau := nan.Temperature(); tau == tau {
		t.Errorf("the temperature of NaN is %v", tau)
	}
	for _, s := range []contrastive.LogitScale{nan, nan.Clamped()} {
		if _, err := (contrastive.CLIP{Temperature: s.Temperature()}).Eval(b, contrastive.Gradients{}); !errors.Is(err, contrastive.ErrParameter) {
			t.Errorf("a loss at the temperature of %v: %v", s, err)
		}
	}

	for _, tau := range []float32{0x1p-149, 0x1p-100, math.MaxFloat32} {
		s := contrastive.NewLogitScale(tau)
		if got, want := s.Temperature(), max(tau, 0x1p-100); !(math.Abs(float64(got-want)) <= 0x1p-23*float64(want)) {
			t.Errorf("NewLogitScale(%v) has the temperature %v, want %v", tau, got, want)
		}
	}
	for _, tau := range []float32{0, -0.07, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, fmt.Sprintf("contrastive: NewLogitScale(%v): ", tau)) {
					t.Errorf("NewLogitScale(%v) panics with %q", tau, text)
				}
			}()
			contrastive.NewLogitScale(tau)
		}()
	}
}

// The gradient is that of the loss as a function of the scale.
func TestLogitScaleGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 1))
	b := contrastive.Batch{Query: losstest.Normal(r, 12, 16), Key: losstest.Normal(r, 12, 16)}
	loss := func(s contrastive.LogitScale) contrastive.Result {
		return losstest.Eval(t, "CLIP", contrastive.CLIP{Temperature: s.Temperature()}, b, contrastive.Gradients{})
	}
	s := contrastive.NewLogitScale(0.25)
	const h = 1e-3
	// The temperature is rounded to float32: its relative error of u is one of u in the scale.
	difference := (loss(s+h).Loss - loss(s-h).Loss) / (2 * h)
	g := s.Gradient(loss(s))
	losstest.Within(t, "Gradient", g, difference, math.Abs(g)*(h*h+4*u/h))
}
