package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
)

func TestLinear(t *testing.T) {
	const n, in, out = 5, 7, 4
	rng := newRand(1)
	for _, bias := range []bool{true, false} {
		l := NewLinear(in, out, bias, rng)
		perturb(rng, l.Params())
		x, dy := random(rng, n, in), random(rng, n, out)
		abs := func(v float32) float64 { return math.Abs(float64(v)) }
		checkLayer(t, l, x, dy, func(x, params [][]float64) [][]float64 {
			y := make([][]float64, n)
			for i := range y {
				y[i] = make([]float64, out)
				for j := range y[i] {
					if bias {
						y[i][j] = params[1][j]
					}
					for k, v := range x[i] {
						y[i][j] += v * params[0][k*out+j]
					}
				}
			}
			return y
		}, bounds{
			// A product of k terms that is added to a value takes k+1 roundings at
			// most, each after at most k products.
			output: func(i, j int) (b float64) {
				if bias {
					b = abs(l.Bias.Value[j])
				}
				for k, v := range x.Row(i) {
					b += abs(v) * abs(l.Weight.Value[k*out+j])
				}
				return (in + 2) * u * b
			},
			input: func(i, k int) (b float64) {
				for j, v := range dy.Row(i) {
					b += abs(v) * abs(l.Weight.Value[k*out+j])
				}
				return (out + 2) * u * b
			},
			param: func(p, at int) (b float64) {
				for i := range n {
					d := abs(dy.Row(i)[at%out])
					if p == 0 {
						d *= abs(x.Row(i)[at/out])
					}
					b += d
				}
				return (n + 2) * u * b
			},
		})
	}
}

// TestLinearKnown: numbers that can be checked by hand.
func TestLinearKnown(t *testing.T) {
	l := NewLinear(2, 3, true, newRand(1))
	copy(l.Weight.Value, []float32{1, 2, 3, 4, 5, 6})
	copy(l.Bias.Value, []float32{10, 20, 30})
	x, err := contrastive.FromRows([][]float32{{1, 0}, {2, -1}})
	if err != nil {
		t.Fatal(err)
	}
	if y := l.Forward(x, true); !slices.Equal(y.Data, []float32{11, 22, 33, 8, 19, 30}) {
		t.Errorf("outputs %v", y.Data)
	}
	dy, err := contrastive.FromRows([][]float32{{1, 0, 1}, {0, 2, 0}})
	if err != nil {
		t.Fatal(err)
	}
	for pass := range 2 { // the second adds
		if dx := l.Backward(dy, true); !slices.Equal(dx.Data, []float32{4, 10, 4, 10}) {
			t.Errorf("gradient of inputs %v", dx.Data)
		}
		scale := float32(pass + 1)
		for i, want := range []float32{1, 4, 1, 0, -2, 0} {
			if l.Weight.Grad[i] != scale*want {
				t.Errorf("pass %d: gradient of weights %v", pass, l.Weight.Grad)
				break
			}
		}
		if want := []float32{scale, 2 * scale, scale}; !slices.Equal(l.Bias.Grad, want) {
			t.Errorf("pass %d: gradient of biases %v, want %v", pass, l.Bias.Grad, want)
		}
	}
	if dx := l.Backward(dy, false); dx.Data != nil {
		t.Error("a gradient that is not wanted is returned")
	}
}

// TestInitial: the deviation of n normal numbers is within 4 times its own deviation,
// 1/√(2n) relative.
func TestInitial(t *testing.T) {
	const in, out = 300, 200
	l := NewLinear(in, out, true, newRand(7))
	var square float64
	for _, v := range l.Weight.Value {
		square += float64(v) * float64(v)
	}
	got, want := math.Sqrt(square/(in*out)), math.Sqrt(2./in)
	if math.Abs(got/want-1) > 4/math.Sqrt(2*in*out) {
		t.Errorf("weights have deviation %g, want %g", got, want)
	}
	again := NewLinear(in, out, true, newRand(7))
	if !slices.Equal(again.Weight.Value, l.Weight.Value) {
		t.Error("the same seed gives other weights")
	}
}
