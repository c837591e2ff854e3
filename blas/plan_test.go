package blas

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"weak"

	"github.com/contrastive-go/contrastive/internal/floattest"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/kernel"
)

func TestCut(t *testing.T) {
	for length := 1; length < 70; length++ {
		for most := 1; most < 20; most++ {
			for unit := 1; unit < 6; unit++ {
				c := newCut(length, most, unit)
				next := 0
				for i := range c.parts() {
					first, n := c.part(i)
					if first != next || n < 1 || n > max(most, unit)+unit-1 {
						t.Fatalf("cut of %d in parts of %d, unit %d: part %d is %d, %d", length, most, unit, i, first, n)
					}
					next += n
				}
				if next != length {
					t.Fatalf("cut of %d in parts of %d, unit %d ends at %d", length, most, unit, next)
				}
			}
		}
	}
}

// TestPlans runs products by plans that cut them more finely than the caches of any
// processor would, and by new multiplications of every kind.
func TestPlans(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		k := kernel.Active()
		for trial := range 60 {
			m, n, deep := 1+r.IntN(90), 1+r.IntN(90), 1+r.IntN(90)
			p := problem{m: m, n: n, k: deep, alpha: 1, beta: float32(r.IntN(2)), c: make([]float32, m*n), stride: n}
			random := func(rows, cols int, trans bool) matrix {
				x := matrix{make([]float32, rows*cols), cols, trans}
				if trans {
					x.stride = rows
				}
				floattest.Deviates(r, x.data)
				return x
			}
			p.a, p.b = random(m, deep, r.IntN(2) == 1), random(deep, n, r.IntN(2) == 1)
			floattest.Deviates(r, p.c)
			before := append([]float32(nil), p.c...)
			workers := 1 + r.IntN(4)
			x := newMultiplication()
			if trial%3 == 0 {
				x.solve(&p, k, workers)
			} else {
				l := planOf(p, k, workers)
				if !l.byVectors {
					l.left, l.right = packing(r.IntN(3)), packing(r.IntN(3))
					if p.b.trans && l.right == inPlace {
						l.right = byEach
					}
					l.depth = newCut(deep, 1+r.IntN(40), 1+r.IntN(4))
					l.rows = newCut(m, 1+r.IntN(40), k.Rows)
					l.cols = newCut(n, 1+r.IntN(40), k.Cols)
					l.shares = 1 + r.IntN(4)
				}
				x.run(l, workers)
			}
			for i := range m {
				for j := range n {
					want := float64(p.beta) * float64(before[i*n+j])
					size := math.Abs(want)
					for d := range deep {
						y := p.a.at(i, d) * p.b.at(d, j)
						want += y
						size += math.Abs(y)
					}
					// A cut adds one rounding.
					bound := float64(2*deep+2) * floattest.U * size
					if got := float64(p.c[i*n+j]); !(math.Abs(got-want) <= bound) {
						t.Fatalf("%d×%d×%d, %+v: element %d, %d is %v, want %v", m, n, deep, x.plan, i, j, got, want)
					}
				}
			}
		}
	})
}

// TestForgets holds that a multiplication, which goes back to a pool, keeps none of its
// operands from the collector.
func TestForgets(t *testing.T) {
	k := kernel.Active()
	for _, c := range []struct {
		name           string
		m, n, deep     int
		transA, transB bool
	}{
		{"small", 13, 17, 20, false, false},
		{"in place", 2*k.Rows + 1, 2*k.Cols + 1, 60, false, false},
		{"packed", 150, 300, 20, true, true},
		{"dot products", 3, 70, 80, false, true},
		{"sums", 3, 70, 80, false, false},
		{"by columns", 70, 3, 80, true, true},
	} {
		x := newMultiplication()
		var operands [3]weak.Pointer[float32]
		func() {
			left := matrix{make([]float32, c.m*c.deep), c.deep, c.transA}
			if c.transA {
				left.stride = c.m
			}
			right := matrix{make([]float32, c.deep*c.n), c.n, c.transB}
			if c.transB {
				right.stride = c.deep
			}
			p := problem{m: c.m, n: c.n, k: c.deep, alpha: 1, a: left, b: right, c: make([]float32, c.m*c.n), stride: c.n}
			for i, s := range [...][]float32{left.data, right.data, p.c} {
				operands[i] = weak.Make(&s[0])
			}
			x.solve(&p, k, 2)
		}()
		runtime.GC()
		for i, p := range operands {
			if p.Value() != nil {
				t.Errorf("%s: operand %d is kept", c.name, i)
			}
		}
		runtime.KeepAlive(x)
	}
}

func (x matrix) at(i, j int) float64 {
	if x.trans {
		i, j = j, i
	}
	return float64(x.data[i*x.stride+j])
}
