package nn

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
)

const u = 0x1p-24 // the unit roundoff of float32

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// random returns a matrix of normal numbers with a stride beyond its columns.
func random(rng *rand.Rand, rows, cols int) contrastive.Matrix {
	m := contrastive.NewMatrix(rows, cols+3).Prefix(cols)
	for i := range rows {
		for j := range m.Row(i) {
			m.Row(i)[j] = float32(rng.NormFloat64())
		}
	}
	return m
}

// perturb moves values so that none is what it was at the beginning.
func perturb(rng *rand.Rand, params []*Param) {
	for _, p := range params {
		for i := range p.Value {
			p.Value[i] += float32(0.3 * rng.NormFloat64())
		}
	}
}

func rows64(m contrastive.Matrix) [][]float64 {
	rows := make([][]float64, m.Rows)
	for i := range rows {
		rows[i] = slice64(m.Row(i))
	}
	return rows
}

func slice64(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

// A reference is a forward pass in float64, of rows and of parameters in the order of
// Params.
type reference func(x, params [][]float64) [][]float64

// bounds are those of the errors of outputs and gradients, besides that of a difference.
type bounds struct {
	output, input func(i, j int) float64
	param         func(k, i int) float64
}

// checkLayer compares outputs and gradients of a layer in training with a reference
// and its differences. They are of fourth order with a step of 10⁻³: they have an error
// of h⁴/30 times a fifth derivative, and of 2⁻⁵³/h times the value of Σ dy·y, each some
// 10⁻¹² at the sizes here.
func checkLayer(t *testing.T, l Layer, x, dy contrastive.Matrix, ref reference, b bounds) {
	t.Helper()
	for _, p := range l.Params() {
		p.ZeroGrad()
	}
	y := l.Forward(x, true)
	x64, dy64 := rows64(x), rows64(dy)
	var params [][]float64
	for _, p := range l.Params() {
		params = append(params, slice64(p.Value))
	}
	for i, row := range ref(x64, params) {
		for j, want := range row {
			if got := float64(y.Row(i)[j]); !(math.Abs(got-want) <= b.output(i, j)) {
				t.Fatalf("output %d,%d is %g, want %g ± %g", i, j, got, want, b.output(i, j))
			}
		}
	}

	value := func() (sum float64) {
		for i, row := range ref(x64, params) {
			for j, v := range row {
				sum += dy64[i][j] * v
			}
		}
		return sum
	}
	slope := func(p *float64) float64 {
		const h = 1e-3
		old := *p
		at := func(d float64) float64 {
			*p = old + d
			return value()
		}
		d := (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
		*p = old
		return d
	}
	const slopeError = 1e-10
	dx := l.Backward(dy, true)
	for i := range x64 {
		for j := range x64[i] {
			want, got := slope(&x64[i][j]), float64(dx.Row(i)[j])
			if bound := b.input(i, j) + slopeError*(1+math.Abs(want)); !(math.Abs(got-want) <= bound) {
				t.Errorf("gradient of input %d,%d is %.9g, want %.9g ± %.2g", i, j, got, want, bound)
			}
		}
	}
	for k, p := range l.Params() {
		for i := range p.Value {
			want, got := slope(&params[k][i]), float64(p.Grad[i])
			if bound := b.param(k, i) + slopeError*(1+math.Abs(want)); !(math.Abs(got-want) <= bound) {
				t.Errorf("gradient of %s, element %d, is %.9g, want %.9g ± %.2g", p.Name, i, got, want, bound)
			}
		}
	}
}

// mustPanic checks that f panics with a text that contains want.
func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		switch v := recover().(type) {
		case string:
			if !strings.Contains(v, want) {
				t.Errorf("panic %q, want %q", v, want)
			}
		case nil:
			t.Errorf("no panic, want %q", want)
		default:
			panic(v)
		}
	}()
	f()
}
