package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/floattest"
	"github.com/contrastive-go/contrastive/simd"
)

const u64 = 0x1p-53

// A rowCase is matrices of a few rows, of which the last ends at a page that faults. What
// lies between their rows is NaN.
type rowCase struct {
	*Kernels
	rows, dim  int
	xRow, yRow int
	x, y       []float32
	f, unit    []float64
}

// eachRows calls f with 0 to 3 rows of 0 to 3 runs of elements, and a few of many, on every
// level.
func eachRows(t *testing.T, f func(t *testing.T, c *rowCase)) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		dims := []int{callElements/2 + 1, callElements + 3}
		for dim := range 3*k.Cols + 1 {
			dims = append(dims, dim)
		}
		for _, dim := range dims {
			for rows := range 4 {
				c := &rowCase{Kernels: k, rows: rows, dim: dim, xRow: dim + dim%3, yRow: dim + dim%5}
				c.x, c.y = guardedRows(t, r, rows, c.xRow, dim), guardedRows(t, r, rows, c.yRow, dim)
				for range rows {
					c.f, c.unit = append(c.f, r.NormFloat64()), append(c.unit, r.Float64())
				}
				f(t, c)
			}
		}
	})
}

func guardedRows(t *testing.T, r *rand.Rand, rows, stride, dim int) []float32 {
	s := guarded(t, r, max(0, (rows-1)*stride+dim))
	for i := range s {
		if i%max(1, stride) >= dim {
			s[i] = float32(math.NaN())
		}
	}
	return s
}

// dot returns Σ x·y and Σ |x·y|.
func dot(x, y []float32) (sum, size float64) {
	for i, v := range x {
		sum += float64(v) * float64(y[i])
		size += math.Abs(float64(v) * float64(y[i]))
	}
	return sum, size
}

func TestDots(t *testing.T) {
	eachRows(t, func(t *testing.T, c *rowCase) {
		dots, squares := make([]float64, c.rows), make([]float64, c.rows)
		c.Dots(dots, c.x, c.xRow, c.y, c.yRow, c.dim)
		c.Squares(squares, c.x, c.xRow, c.dim)
		for r := range c.rows {
			x, y := c.x[r*c.xRow:][:c.dim], c.y[r*c.yRow:][:c.dim]
			want, size := dot(x, y)
			near(t, "Dots", c.dim, dots[r], want, 2*float64(c.dim+1)*u64*size)
			want, _ = dot(x, x)
			near(t, "Squares", c.dim, squares[r], want, 2*float64(c.dim+1)*u64*want)
			if c.Kernels == Active() && c.dim <= callElements && (dots[r] != simd.DotFloat64(x, y) || squares[r] != simd.DotFloat64(x, x)) {
				t.Fatalf("dim %d: dot products %v and %v, simd has %v and %v", c.dim, dots[r], squares[r], simd.DotFloat64(x, y), simd.DotFloat64(x, x))
			}
		}
	})
}

func TestSpreadRows(t *testing.T) {
	eachRows(t, func(t *testing.T, c *rowCase) {
		runs := (c.dim + c.Cols - 1) / c.Cols
		step := c.rows*c.Cols + c.dim%7
		dst := guarded(t, rand.New(rand.NewPCG(3, 4)), max(0, (runs-1)*step+c.rows*c.Cols))
		for _, size := range []float64{1, 0x1p-120, 0x1p-99, 0x1p120, 0} {
			factors, want := slices.Clone(c.f), slices.Clone(dst)
			for r := range factors {
				factors[r] *= size
			}
			c.SpreadRows(dst, step, c.x, c.xRow, factors, c.dim)
			for r, f := range factors {
				for i := range runs * c.Cols {
					v := 0.0
					if i < c.dim {
						v = f * float64(c.x[r*c.xRow+i])
					}
					at := i/c.Cols*step + r*c.Cols + i%c.Cols
					near(t, "SpreadRows", c.dim, float64(dst[at]), v, u*(1+0x1p-22)*math.Abs(v)+0x1p-149)
					want[at] = dst[at]
				}
			}
			if !floattest.Same(dst, want) {
				t.Fatalf("SpreadRows of %d rows of %d elements writes between them", c.rows, c.dim)
			}
		}
	})
}

func TestLanes(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for rows := range 9 {
			src := guarded(t, r, rows*k.Lanes)
			sums, tops := make([]float64, rows), guarded(t, r, rows)
			for i := range sums {
				sums[i] = r.NormFloat64()
			}
			was := slices.Clone(sums)
			k.SumLanes(sums, src)
			k.GreatestLanes(tops, src)
			for i, top := range tops {
				lanes := src[i*k.Lanes:][:k.Lanes]
				want, size := was[i], math.Abs(was[i])
				for _, v := range lanes {
					want, size = want+float64(v), size+math.Abs(float64(v))
				}
				near(t, "SumLanes", rows, sums[i], want, 2*float64(k.Lanes)*u64*size)
				if top != slices.Max(lanes) {
					t.Fatalf("GreatestLanes of %v is %v", lanes, top)
				}
			}
		}
	})
}

func TestAddRows(t *testing.T) {
	eachRows(t, func(t *testing.T, c *rowCase) {
		dst, f := slices.Clone(c.y), make([]float32, c.rows)
		for r := range f {
			f[r] = float32(c.f[r])
		}
		c.AddRows(dst, c.yRow, c.x, c.xRow, f, c.dim)
		want := slices.Clone(c.y)
		for r, f := range f {
			for i := range c.dim {
				at := r*c.yRow + i
				x, y := float64(f)*float64(c.x[r*c.xRow+i]), float64(c.y[at])
				near(t, "AddRows", c.dim, float64(dst[at]), x+y, u*((1+u)*math.Abs(x)+math.Abs(x+y)))
				want[at] = dst[at]
			}
			if own := slices.Clone(c.y[r*c.yRow:][:c.dim]); c.Kernels == Active() {
				simd.Axpy(f, c.x[r*c.xRow:][:c.dim], own)
				if !floattest.Same(own, dst[r*c.yRow:][:c.dim]) {
					t.Fatalf("AddRows of %d elements: %v, simd has %v", c.dim, dst[r*c.yRow:][:c.dim], own)
				}
			}
		}
		if !floattest.Same(dst, want) {
			t.Fatalf("AddRows of %d rows of %d elements writes between them", c.rows, c.dim)
		}
	})
}

func TestProjectRows(t *testing.T) {
	eachRows(t, func(t *testing.T, c *rowCase) {
		r := rand.New(rand.NewPCG(5, 6))
		dstRow := c.dim + c.dim%2
		dst := guardedRows(t, r, c.rows, dstRow, c.dim)
		want := slices.Clone(dst)
		unit, f := make([]float32, c.rows), make([]float32, c.rows)
		for i := range f {
			unit[i], f[i] = float32(c.unit[i]/math.Sqrt(float64(1+c.dim))), float32(c.f[i])
		}
		c.ProjectRows(dst, dstRow, c.x, c.xRow, c.y, c.yRow, unit, f, c.dim)
		for r := range c.rows {
			g, x := c.x[r*c.xRow:][:c.dim], c.y[r*c.yRow:][:c.dim]
			along, size := dot(g, x)
			for i := range x {
				p := float64(unit[r]) * float64(unit[r]) * float64(x[i])
				y := (float64(g[i]) - along*p) * float64(f[r])
				bound := 2*math.Abs(y) + (float64(c.dim/16)+10)*size*math.Abs(p*float64(f[r]))
				near(t, "ProjectRows", c.dim, float64(dst[r*dstRow+i]), y, (1+float64(c.dim)*u)*u*bound)
				want[r*dstRow+i] = dst[r*dstRow+i]
			}
		}
		if !floattest.Same(dst, want) {
			t.Fatalf("ProjectRows of %d rows of %d elements writes between them", c.rows, c.dim)
		}
		inPlace := slices.Clone(c.x)
		c.ProjectRows(inPlace, c.xRow, inPlace, c.xRow, c.y, c.yRow, unit, f, c.dim)
		for r := range c.rows {
			if !floattest.Same(inPlace[r*c.xRow:][:c.dim], dst[r*dstRow:][:c.dim]) {
				t.Fatalf("ProjectRows of %d elements in place: %v, want %v", c.dim, inPlace, dst)
			}
		}
	})
}

// TestProjectRowsSaturates checks that what is too large for float32 becomes the greatest.
func TestProjectRowsSaturates(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		dim := k.Cols + 1
		grad, x, dst := make([]float32, dim), make([]float32, dim), make([]float32, dim)
		for i := range grad {
			grad[i] = float32(1-2*(i%2)) * 0x1p10
		}
		k.ProjectRows(dst, dim, grad, dim, x, dim, []float32{0}, []float32{0x1p120}, dim)
		for i, v := range dst {
			if want := grad[i] / 0x1p10 * math.MaxFloat32; v != want {
				t.Fatalf("element %d is %v, want %v", i, v, want)
			}
		}
	})
}
