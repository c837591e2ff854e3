package nn

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
)

// twoParams returns one that decays and one that does not.
func twoParams() []*Param {
	weight, bias := NewParam("weight", 2, 3), NewParam("bias", 3)
	bias.NoDecay = true
	rng := newRand(11)
	for _, p := range []*Param{weight, bias} {
		fillNormal(p.Value, 1, rng)
	}
	return []*Param{weight, bias}
}

// train64 makes steps with an optimiser, and the same in float64 by update, which is
// given what belongs to one element. Updates have a few roundings each, none of which
// grows: k steps stay within 16·k·u of the sum of what they add.
func train64(t *testing.T, name string, params []*Param, o Optimizer, update func(w, g float64, decays bool, step int, memory []float64) float64) {
	t.Helper()
	const steps, rate = 20, 0.1
	rng := newRand(12)
	type element struct{ w, moved, memory []float64 }
	var want []element
	for _, p := range params {
		n := len(p.Value)
		want = append(want, element{slice64(p.Value), make([]float64, n), make([]float64, 2*n)})
	}
	for step := range steps {
		for k, p := range params {
			fillNormal(p.Grad, 1, rng)
			for i, g := range p.Grad {
				e := &want[k]
				next := update(e.w[i], float64(g), !p.NoDecay, step+1, e.memory[2*i:2*i+2])
				e.moved[i] += math.Abs(next-e.w[i]) + math.Abs(next)
				e.w[i] = next
			}
		}
		if err := o.Step(rate); err != nil {
			t.Fatal(err)
		}
	}
	for k, p := range params {
		for i, got := range p.Value {
			if d := math.Abs(float64(got) - want[k].w[i]); !(d <= 16*u*want[k].moved[i]) {
				t.Errorf("%s: %s element %d is %.9g, want %.9g", name, p.Name, i, got, want[k].w[i])
			}
		}
		for _, g := range p.Grad {
			if g != 0 {
				t.Fatalf("%s: gradients remain after a step", name)
			}
		}
	}
}

func TestAdamW(t *testing.T) {
	for _, c := range []struct{ beta1, beta2, epsilon, decay float64 }{{0, 0, 0, 0}, {0, 0, 0, 0.5}, {0.5, 0.9, 1e-3, 0.1}} {
		params := twoParams()
		a := &AdamW{Params: params, Beta1: c.beta1, Beta2: c.beta2, Epsilon: c.epsilon, WeightDecay: c.decay}
		beta1, beta2, epsilon := c.beta1, c.beta2, c.epsilon
		if beta1 == 0 {
			beta1, beta2, epsilon = 0.9, 0.999, 1e-8
		}
		train64(t, "AdamW", params, a, func(w, g float64, decays bool, step int, memory []float64) float64 {
			memory[0] = beta1*memory[0] + (1-beta1)*g
			memory[1] = beta2*memory[1] + (1-beta2)*g*g
			m := memory[0] / (1 - math.Pow(beta1, float64(step)))
			v := memory[1] / (1 - math.Pow(beta2, float64(step)))
			if decays {
				w -= 0.1 * c.decay * w
			}
			return w - 0.1*m/(math.Sqrt(v)+epsilon)
		})
	}
}

// TestAdamWKnown: with a constant gradient each step of Adam is rate·sign(gradient).
func TestAdamWKnown(t *testing.T) {
	p := NewParam("weight", 2)
	p.Value[0], p.Value[1] = 3, -4
	a := &AdamW{Params: []*Param{p}}
	for range 3 {
		p.Grad[0], p.Grad[1] = 5, -0.01
		if err := a.Step(0.5); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []float64{1.5, -2.5} {
		// ε is 10⁻⁶ of the smaller gradient.
		if math.Abs(float64(p.Value[i])-want) > 2e-6 {
			t.Errorf("element %d is %v, want %v", i, p.Value[i], want)
		}
	}
}

func TestSGD(t *testing.T) {
	for _, c := range []struct{ momentum, decay float64 }{{0, 0}, {0, 0.5}, {0.9, 0}, {0.9, 0.5}} {
		params := twoParams()
		s := &SGD{Params: params, Momentum: c.momentum, WeightDecay: c.decay}
		train64(t, "SGD", params, s, func(w, g float64, decays bool, _ int, memory []float64) float64 {
			if decays {
				g += c.decay * w
			}
			memory[0] = c.momentum*memory[0] + g
			return w - 0.1*memory[0]
		})
	}
}

func TestAdagrad(t *testing.T) {
	for _, initial := range []float64{0, 0.1} {
		params := twoParams()
		a := &Adagrad{Params: params, Initial: initial}
		train64(t, "Adagrad", params, a, func(w, g float64, _ bool, step int, memory []float64) float64 {
			if step == 1 {
				memory[0] = initial
			}
			memory[0] += g * g
			return w - 0.1*g/(math.Sqrt(memory[0])+1e-10)
		})
	}
}

// TestAdagradRows: the sums of a row of gradients 3 and 4 is 25/2, and after as much
// again 25.
func TestAdagradRows(t *testing.T) {
	p := NewParam("weight", 2, 2)
	a := &Adagrad{Params: []*Param{p}, RowWise: true}
	var want [4]float64
	for step := range 2 {
		copy(p.Grad, []float32{3, 4, 0, 0})
		if err := a.Step(0.5); err != nil {
			t.Fatal(err)
		}
		for i, g := range []float64{3, 4, 0, 0} {
			want[i] -= 0.5 * g / math.Sqrt(12.5*float64(step+1))
		}
	}
	for i, got := range p.Value {
		if math.Abs(float64(got)-want[i]) > 8*u*math.Abs(want[i]) {
			t.Errorf("element %d is %v, want %v", i, got, want[i])
		}
	}
	if state := a.State(); !slices.Equal(state[0].Data, []float32{25, 0}) || !slices.Equal(state[0].Shape, []int{2}) {
		t.Errorf("state %v of shape %v", state[0].Data, state[0].Shape)
	}
}

// TestAdagradGreat: three gradients whose squares add up to more than the greatest float32
// move the weight by nearly 1 each, as if they added up to that.
func TestAdagradGreat(t *testing.T) {
	for _, rowWise := range []bool{false, true} {
		p := NewParam("weight", 1, 1)
		a := &Adagrad{Params: []*Param{p}, RowWise: rowWise}
		for range 3 {
			p.Grad[0] = maxSquared
			if err := a.Step(1); err != nil {
				t.Fatal(err)
			}
		}
		// A quotient is within 3·u of 1: what maxSquared lacks of the greatest root, the
		// rounding of the root and its own. Sums of up to 3 round by another 6·u.
		if got := p.Value[0]; math.Abs(float64(got)+3) > 15*u {
			t.Errorf("row-wise %v: the weight is %v, want -3", rowWise, got)
		}
		if sum := a.State()[0].Data[0]; sum != math.MaxFloat32 {
			t.Errorf("row-wise %v: the sum is %v, want %v", rowWise, sum, math.MaxFloat32)
		}
	}
}

func TestClipGradNorm(t *testing.T) {
	params := []*Param{NewParam("a", 2), NewParam("b", 1)}
	set := func() {
		copy(params[0].Grad, []float32{3, 0})
		params[1].Grad[0] = -4
	}
	set()
	norm, err := ClipGradNorm(params, 2.5)
	if err != nil || norm != 5 {
		t.Errorf("norm %v, %v, want 5", norm, err)
	}
	if !slices.Equal(params[0].Grad, []float32{1.5, 0}) || params[1].Grad[0] != -2 {
		t.Errorf("gradients %v %v, want halves", params[0].Grad, params[1].Grad)
	}
	for _, limit := range []float64{5, 6, math.Inf(1)} {
		set()
		if norm, err := ClipGradNorm(params, limit); err != nil || norm != 5 || params[0].Grad[0] != 3 {
			t.Errorf("limit %v: norm %v, gradient %v, %v", limit, norm, params[0].Grad[0], err)
		}
	}
}

// TestBadSteps: an error names what is wrong, and nothing has changed.
func TestBadSteps(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	plain := func(o func(p []*Param) Optimizer) func(p []*Param) Optimizer { return o }
	adam := plain(func(p []*Param) Optimizer { return &AdamW{Params: p} })
	for _, c := range []struct {
		name string
		make func(p []*Param) Optimizer
		rate float64
		grad float64
		is   error
		want string
	}{
		{"rate", adam, nan, 1, contrastive.ErrParameter, "nn: AdamW: rate is NaN"},
		{"rate", adam, -1, 1, contrastive.ErrParameter, "nn: AdamW: rate is -1"},
		{"rate", func(p []*Param) Optimizer { return &SGD{Params: p} }, inf, 1, contrastive.ErrParameter, "nn: SGD: rate is +Inf"},
		{"gradient", adam, 1, nan, contrastive.ErrNotFinite, "nn: AdamW: gradient of Params[1] (bias), element 2, is NaN"},
		{"gradient", func(p []*Param) Optimizer { return &SGD{Params: p} }, 1, inf, contrastive.ErrNotFinite, "nn: SGD: gradient of Params[1] (bias), element 2, is +Inf"},
		{"gradient", func(p []*Param) Optimizer { return &Adagrad{Params: p} }, 1, -1e20, contrastive.ErrNotFinite, "nn: Adagrad: gradient of Params[1] (bias), element 2, is -1e+20"},
		{"decay", func(p []*Param) Optimizer { return &AdamW{Params: p, WeightDecay: -1} }, 1, 1, contrastive.ErrParameter, "WeightDecay is -1"},
		{"decay", func(p []*Param) Optimizer { return &SGD{Params: p, WeightDecay: inf} }, 1, 1, contrastive.ErrParameter, "WeightDecay is +Inf"},
		{"beta", func(p []*Param) Optimizer { return &AdamW{Params: p, Beta1: 1} }, 1, 1, contrastive.ErrParameter, "Beta1 is 1"},
		{"beta", func(p []*Param) Optimizer { return &AdamW{Params: p, Beta2: nan} }, 1, 1, contrastive.ErrParameter, "Beta2 is NaN"},
		{"epsilon", func(p []*Param) Optimizer { return &AdamW{Params: p, Epsilon: -1} }, 1, 1, contrastive.ErrParameter, "Epsilon is -1"},
		{"epsilon", func(p []*Param) Optimizer { return &Adagrad{Params: p, Epsilon: inf} }, 1, 1, contrastive.ErrParameter, "Epsilon is +Inf"},
		{"initial", func(p []*Param) Optimizer { return &Adagrad{Params: p, Initial: -1} }, 1, 1, contrastive.ErrParameter, "Initial is -1"},
		{"momentum", func(p []*Param) Optimizer { return &SGD{Params: p, Momentum: 1} }, 1, 1, contrastive.ErrParameter, "Momentum is 1"},
		{"twice", func(p []*Param) Optimizer { return &SGD{Params: append(p, p[0])} }, 1, 1, contrastive.ErrParameter, "Params[2] is Params[0] (weight)"},
	} {
		params := twoParams()
		for _, p := range params {
			for i := range p.Grad {
				p.Grad[i] = 1
			}
		}
		params[1].Grad[2] = float32(c.grad)
		before := slices.Concat(params[0].Value, params[1].Value, params[0].Grad)
		err := c.make(params).Step(c.rate)
		if err == nil || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "nn: ") {
			t.Errorf("%s: error %v, want %q that wraps %v", c.name, err, c.want, c.is)
		}
		if !slices.Equal(before, slices.Concat(params[0].Value, params[1].Value, params[0].Grad)) {
			t.Errorf("%s: something has changed", c.name)
		}
	}

	params := twoParams()
	o := &AdamW{Params: params}
	if err := o.Step(1); err != nil {
		t.Fatal(err)
	}
	o.Params = params[:1]
	if err := o.Step(1); !errors.Is(err, contrastive.ErrParameter) {
		t.Errorf("other parameters: %v", err)
	}
	params[0].Grad[1] = float32(nan)
	if _, err := ClipGradNorm(params, 1); !errors.Is(err, contrastive.ErrNotFinite) || !strings.Contains(err.Error(), "nn: ClipGradNorm: a gradient of params[0] (weight)") {
		t.Errorf("ClipGradNorm of NaN: %v", err)
	}
	for _, limit := range []float64{0, -1, nan} {
		if _, err := ClipGradNorm(nil, limit); !errors.Is(err, contrastive.ErrParameter) {
			t.Errorf("ClipGradNorm with limit %v: %v", limit, err)
		}
	}
}

func TestTemperature(t *testing.T) {
	tau := NewTemperature(0.07)
	if math.Abs(float64(tau.Value())-0.07) > 1e-8 {
		t.Errorf("τ begins at %v", tau.Value())
	}
	// ∂L/∂log(1/τ) is −τ·∂L/∂τ.
	tau.Backward(contrastive.Result{TemperatureGrad: 2})
	if want := -2 * float64(tau.Value()); math.Abs(float64(tau.Param.Grad[0])-want) > 2*u*math.Abs(want) {
		t.Errorf("gradient %v, want %v", tau.Param.Grad[0], want)
	}
	tau.Backward(contrastive.Result{TemperatureGrad: 3})
	if want := -5 * float64(tau.Value()); math.Abs(float64(tau.Param.Grad[0])-want) > 4*u*math.Abs(want) {
		t.Errorf("gradient %v after two losses, want %v", tau.Param.Grad[0], want)
	}
	o := &SGD{Params: Params(tau)}
	for _, c := range []struct {
		grad float32
		want float64
	}{{-100, 0.01}, {100, 1}} {
		tau.Param.Grad[0] = c.grad
		if err := o.Step(1); err != nil {
			t.Fatal(err)
		}
		if math.Abs(float64(tau.Value())-c.want) > 1e-6*c.want {
			t.Errorf("after a great step τ is %v, want the bound %v", tau.Value(), c.want)
		}
	}
	mustPanic(t, "NewLogitScale(0)", func() { NewTemperature(0) })

	bias := NewScalar("bias", -10)
	bias.AddGrad(2)
	bias.AddGrad(1)
	o = &SGD{Params: Params(bias), WeightDecay: 1}
	if err := o.Step(0.5); err != nil {
		t.Fatal(err)
	}
	if bias.Value() != -11.5 {
		t.Errorf("bias %v, want -11.5", bias.Value())
	}
}
