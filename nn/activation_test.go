package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
)

func TestReLU(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	x := contrastive.Matrix{Rows: 2, Cols: 4, Stride: 5, Data: []float32{-1, 0, 2, inf, 99, -inf, 0x1p-149, -3, nan}}
	l := &ReLU{}
	y := l.Forward(x, true)
	if got := y.Data; !slices.Equal(got[:7], []float32{0, 0, 2, inf, 0, 0x1p-149, 0}) || got[7] == got[7] {
		t.Errorf("outputs %v", got)
	}
	dy := contrastive.Matrix{Rows: 2, Cols: 4, Stride: 4, Data: []float32{1, 2, 3, 4, 5, 6, 7, 8}}
	if dx := l.Backward(dy, true); !slices.Equal(dx.Data, []float32{0, 0, 3, 4, 0, 6, 0, 0}) {
		t.Errorf("gradients %v", dx.Data)
	}
	if dx := l.Backward(dy, false); dx.Data != nil {
		t.Error("a gradient that is not wanted is returned")
	}
}

// gelu is x/2·(1 + tanh(a/2)), without the cancellation of that where a is negative.
func gelu(x float64) float64 { return x / (1 + math.Exp(-geluExponent(x))) }

// geluExponent is a of the documentation.
func geluExponent(x float64) float64 { return math.Sqrt(8/math.Pi) * (x + 0.044715*x*x*x) }

func TestGELU(t *testing.T) {
	for _, x := range []float64{-2, -0.5, 0, 1, 3} {
		tanh := x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*math.Pow(x, 3))))
		if math.Abs(gelu(x)-tanh) > 1e-15 {
			t.Errorf("the reference of GELU(%g) is %g, want %g", x, gelu(x), tanh)
		}
		if exact := x / 2 * math.Erfc(-x/math.Sqrt2); math.Abs(gelu(x)-exact) > 5e-4 {
			t.Errorf("GELU(%g) is %g, x·Φ(x) is %g", x, gelu(x), exact)
		}
	}
	rng := newRand(3)
	x, dy := random(rng, 6, 9), random(rng, 6, 9)
	for i := range x.Rows {
		for j := range x.Row(i) {
			x.Row(i)[j] *= 2
		}
	}
	l := &GELU{}
	checkLayer(t, l, x, dy, func(x, _ [][]float64) [][]float64 {
		y := make([][]float64, len(x))
		for i, row := range x {
			for _, v := range row {
				y[i] = append(y[i], gelu(v))
			}
		}
		return y
	}, bounds{
		output: func(i, j int) float64 { return geluBound(float64(x.Row(i)[j])) },
		input: func(i, j int) float64 {
			// dx = dy·(σ + y·(1−σ)·a′): σ and 1−σ have the error of e^−a, y twice that,
			// a′ and what is around take 10 roundings more.
			v := float64(x.Row(i)[j])
			a := geluExponent(v)
			sigma := 1 / (1 + math.Exp(-a))
			slope := math.Sqrt(8/math.Pi) * (1 + 3*0.044715*v*v)
			size := sigma + math.Abs(v*sigma*(1-sigma)*slope)
			return math.Abs(float64(dy.Row(i)[j])) * size * (24*math.Abs(a) + 34) * u
		},
	})
}

// geluBound is the error that GELU promises.
func geluBound(x float64) float64 {
	return max((8*math.Abs(geluExponent(x))+8)*u*math.Abs(gelu(x)), 0x1p-120)
}

// TestGELUEnds: far from 0 it is x or 0, and nothing overflows on the way.
func TestGELUEnds(t *testing.T) {
	x := contrastive.NewMatrix(1, 2000)
	for i := range x.Data {
		x.Data[i] = float32(i-1000) / 50
	}
	x.Data[0], x.Data[1] = -math.MaxFloat32, math.MaxFloat32
	dy := contrastive.NewMatrix(1, 2000)
	for i := range dy.Data {
		dy.Data[i] = 1
	}
	l := &GELU{}
	y, dx := l.Forward(x, true), l.Backward(dy, true)
	for i, v := range x.Data {
		v := float64(v)
		if want := gelu(v); i > 1 && !(math.Abs(float64(y.Data[i])-want) <= geluBound(v)) {
			t.Errorf("GELU(%g) is %g, want %g", v, y.Data[i], want)
		}
		switch {
		case v >= 12 && (float64(y.Data[i]) != v || dx.Data[i] != 1):
			t.Errorf("GELU(%g) is %g with slope %g, want itself and 1", v, y.Data[i], dx.Data[i])
		case v <= -12 && (y.Data[i] != 0 || dx.Data[i] != 0):
			t.Errorf("GELU(%g) is %g with slope %g, want 0", v, y.Data[i], dx.Data[i])
		}
	}
	x.Data[0] = float32(math.NaN())
	if y := l.Forward(x, true); y.Data[0] == y.Data[0] {
		t.Errorf("GELU(NaN) is %g", y.Data[0])
	}
}
