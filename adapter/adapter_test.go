package adapter

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/simd"
)

const unit = 0x1p-24 // u

// mapped is the map in float64, by its definition, of parameters by name. magnitude is
// the sum of the absolute values of all that is added up to an element of the result
// before it is scaled, at most.
func mapped(kind Kind, p map[string][]float64, x []float32) (y []float64, magnitude float64) {
	d := len(x)
	norm := 0.0
	for _, v := range x {
		norm += float64(v) * float64(v)
	}
	u := make([]float64, d)
	for i, v := range x {
		if norm > 0 {
			u[i] = float64(v) / math.Sqrt(norm)
		}
	}
	mul := func(x, w, b []float64, out int) (y, size []float64) {
		y, size = make([]float64, out), make([]float64, out)
		for j := range y {
			for i, v := range x {
				y[j] += v * w[i*out+j]
				size[j] += math.Abs(v * w[i*out+j])
			}
			if b != nil {
				y[j] += b[j]
				size[j] += math.Abs(b[j])
			}
		}
		return y, size
	}
	var f, size []float64
	switch kind {
	case Linear:
		f, size = mul(u, p["weight"], p["bias"], d)
	case LowRank:
		h, hs := mul(u, p["down"], nil, len(p["down"])/d)
		f, _ = mul(h, p["up"], p["bias"], d)
		_, size = mul(hs, absolute(p["up"]), absolute(p["bias"]), d)
	case MLP:
		h, hs := mul(u, p["hidden.weight"], p["hidden.bias"], len(p["hidden.bias"]))
		for i, v := range h {
			h[i] = v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
		}
		f, _ = mul(h, p["output.weight"], p["output.bias"], d)
		_, size = mul(hs, absolute(p["output.weight"]), absolute(p["output.bias"]), d)
	}
	y = make([]float64, d)
	norm = 0
	for j := range y {
		y[j] = u[j] + f[j]
		magnitude = max(magnitude, math.Abs(u[j])+size[j])
		norm += y[j] * y[j]
	}
	for j := range y {
		y[j] /= math.Sqrt(norm)
	}
	return y, magnitude / math.Sqrt(norm)
}

func absolute(x []float64) []float64 {
	a := make([]float64, len(x))
	for i, v := range x {
		a[i] = math.Abs(v)
	}
	return a
}

// parameters returns copies of those of one side, by their names within it.
func parameters(a *Adapter, side string) map[string][]float64 {
	p := map[string][]float64{}
	for _, tensor := range a.tensors() {
		outer, inner, _ := strings.Cut(tensor.Name, ".")
		if outer == side || outer == "shared" {
			for _, v := range tensor.Data {
				p[inner] = append(p[inner], float64(v))
			}
		}
	}
	return p
}

func TestApply(t *testing.T) {
	forms(t, func(t *testing.T, c Config) {
		const dim, rows = 37, 2*rowsAtOnce + 5
		rng := rand.New(rand.NewPCG(7, 7))
		a := newAdapter(c.Kind, c.Sides, dim, c.width(), 1)
		randomize(a, 5)
		x := normal(rng, rows, dim)
		clear(x.Row(3))
		for j := range dim {
			x.Row(4)[j] *= 1e-30
			x.Row(5)[j] *= 1e30
		}
		wide := contrastive.Matrix{Rows: rows, Cols: dim, Stride: dim + 3, Data: make([]float32, rows*(dim+3))}
		for _, side := range []struct {
			name      string
			transform *Transform
		}{{"query", a.Query}, {"document", a.Document}} {
			if err := side.transform.ApplyMatrix(wide, x); err != nil {
				t.Fatal(err)
			}
			one := make([]float32, dim)
			for i := range rows {
				if i > 20 && i < rows-20 {
					continue
				}
				if err := side.transform.Apply(one, x.Row(i)); err != nil {
					t.Fatal(err)
				}
				if side.name == "document" && c.Sides == Queries {
					for j, v := range x.Row(i) {
						if one[j] != v || wide.Row(i)[j] != v {
							t.Fatalf("a document is changed")
						}
					}
					continue
				}
				// Each product of k terms adds (k+2)·u of what it adds up, and scaling 4·u;
				// so does all, to first order, with the derivative of GELU, below 1.13, and
				// its error, (8·|a|+8)·u with |a| below 20.
				want, magnitude := mapped(c.Kind, parameters(a, side.name), x.Row(i))
				bound := float64(2*dim+200) * unit * 1.13 * magnitude * 2
				for j := range want {
					for _, got := range [...]float32{one[j], wide.Row(i)[j]} {
						if math.Abs(float64(got)-want[j]) > bound {
							t.Fatalf("%s row %d column %d is %v, want %v ± %.1e", side.name, i, j, got, want[j], bound)
						}
					}
				}
			}
			for i := range rows {
				for _, v := range wide.Data[i*wide.Stride+dim : (i+1)*wide.Stride] {
					if v != 0 {
						t.Fatal("written between rows")
					}
				}
			}
			in := append([]float32(nil), x.Row(0)...)
			if err := side.transform.Apply(in, in); err != nil {
				t.Fatal(err)
			}
			if err := side.transform.Apply(one, x.Row(0)); err != nil {
				t.Fatal(err)
			}
			for j, v := range one {
				if in[j] != v {
					t.Fatalf("in place it is %v, want %v", in[j], v)
				}
			}
		}
	})
}

// TestIdentity holds that an adapter begins as the identity, up to the length.
func TestIdentity(t *testing.T) {
	forms(t, func(t *testing.T, c Config) {
		const dim = 19
		x := normal(rand.New(rand.NewPCG(1, 1)), 1, dim).Row(0)
		a := newAdapter(c.Kind, c.Sides, dim, c.width(), 3)
		got, want := make([]float32, dim), make([]float32, dim)
		if err := a.Query.Apply(got, x); err != nil {
			t.Fatal(err)
		}
		simd.Normalize(want, x)
		simd.Normalize(want, want) // of unit length but for rounding
		for j := range want {
			if got[j] != want[j] {
				t.Fatalf("element %d is %v, want %v", j, got[j], want[j])
			}
		}
		if a.Dim() != dim {
			t.Errorf("Dim is %d", a.Dim())
		}
	})
}

func TestApplyAllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("pools are emptied at random under the race detector")
	}
	forms(t, func(t *testing.T, c Config) {
		const dim = 40
		a := newAdapter(c.Kind, c.Sides, dim, c.width(), 3)
		x := normal(rand.New(rand.NewPCG(1, 1)), 1, dim).Row(0)
		if n := testing.AllocsPerRun(100, func() {
			if a.Query.Apply(x, x) != nil || a.Document.Apply(x, x) != nil {
				t.Fatal("failed")
			}
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func TestApplyConcurrently(t *testing.T) {
	const dim, rows = 24, 200
	a := newAdapter(MLP, Shared, dim, 11, 3)
	randomize(a, 8)
	x := normal(rand.New(rand.NewPCG(1, 1)), rows, dim)
	want := contrastive.NewMatrix(rows, dim)
	for i := range rows {
		if err := a.Query.Apply(want.Row(i), x.Row(i)); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			got := make([]float32, dim)
			for i := range rows {
				if err := a.Document.Apply(got, x.Row(i)); err != nil {
					t.Error(err)
				}
				for j, v := range want.Row(i) {
					if got[j] != v {
						t.Errorf("row %d is another", i)
						return
					}
				}
			}
		})
	}
	group.Wait()
}

func TestBadApply(t *testing.T) {
	a := newAdapter(Linear, Queries, 3, 0, 0)
	nan := float32(math.NaN())
	m := func(rows, cols, stride, n int) contrastive.Matrix {
		return contrastive.Matrix{Rows: rows, Cols: cols, Stride: stride, Data: make([]float32, n)}
	}
	bad := m(2, 3, 3, 6)
	bad.Data[5] = nan
	for _, transform := range []*Transform{a.Query, a.Document} {
		for _, c := range []struct {
			dst, x []float32
			is     error
			want   string
		}{
			{make([]float32, 3), make([]float32, 2), contrastive.ErrShape, "adapter: Apply: x has 2 elements, the adapter is for 3"},
			{make([]float32, 4), make([]float32, 3), contrastive.ErrShape, "adapter: Apply: dst has 4 elements, the adapter is for 3"},
			{make([]float32, 3), nil, contrastive.ErrShape, "x has 0 elements"},
			{make([]float32, 3), []float32{1, nan, 1}, contrastive.ErrNotFinite, "x[1] is NaN"},
		} {
			if err := transform.Apply(c.dst, c.x); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			for _, v := range c.dst {
				if v != 0 {
					t.Error("written")
				}
			}
		}
		for _, c := range []struct {
			dst, x contrastive.Matrix
			is     error
			want   string
		}{
			{m(2, 3, 3, 6), m(2, 2, 2, 4), contrastive.ErrShape, "adapter: ApplyMatrix: x is 2×2, the adapter is for 3 columns"},
			{m(2, 4, 4, 8), m(2, 3, 3, 6), contrastive.ErrShape, "dst is 2×4, the adapter is for 3"},
			{m(1, 3, 3, 3), m(2, 3, 3, 6), contrastive.ErrShape, "dst is 1×3, x is 2×3"},
			{m(2, 3, 3, 6), m(2, 3, 2, 6), contrastive.ErrShape, "x is 2×3 with Stride 2"},
			{m(2, 3, 3, 5), m(2, 3, 3, 6), contrastive.ErrShape, "dst is 2×3 with Stride 3 and has 5 elements"},
			{m(-1, 3, 3, 5), m(2, 3, 3, 6), contrastive.ErrShape, "dst is -1×3"},
			{m(2, 3, 3, 6), bad, contrastive.ErrNotFinite, "x row 1 column 2 is NaN"},
		} {
			if err := transform.ApplyMatrix(c.dst, c.x); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			for _, v := range c.dst.Data {
				if v != 0 {
					t.Error("written")
				}
			}
		}
		if err := transform.ApplyMatrix(contrastive.Matrix{Cols: 3}, contrastive.Matrix{Cols: 3}); err != nil {
			t.Errorf("no rows: %v", err)
		}
	}
}

func TestNames(t *testing.T) {
	for want, got := range map[string]interface{ String() string }{
		"linear": Linear, "low-rank": LowRank, "mlp": MLP, "Kind(3)": Kind(3),
		"queries": Queries, "both": Both, "shared": Shared, "Sides(9)": Sides(9),
	} {
		if got.String() != want {
			t.Errorf("%v, want %q", got, want)
		}
	}
}
