package simd_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/floattest"
	"github.com/contrastive-go/contrastive/internal/guard"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/simd"
)

const u = floattest.U

var (
	deviates = floattest.Deviates
	edit     = floattest.Edit
	near     = floattest.Near
	poke     = floattest.Poke
	same     = floattest.Same
	spread   = floattest.Spread
)

// eachPlace calls f with slices of every length below 300, around every loop
// boundary of every kernel: n of them, each against the page before and after,
// and at every offset within a cache line. They hold normal deviates. Short tests,
// which run on emulated processors, leave out most lengths above 80.
func eachPlace(t *testing.T, n int, f func(s [][]float32)) {
	r := rand.New(rand.NewPCG(1, 2))
	for length := range 300 {
		if testing.Short() && length > 80 && length%7 != 0 {
			continue
		}
		heads, tails := make([][]float32, n), make([][]float32, n)
		for i := range n {
			heads[i], tails[i] = guard.Float32s(t, length)
		}
		for place := range 1 << n {
			s := make([][]float32, n)
			for i := range s {
				s[i] = heads[i]
				if place>>i&1 == 1 {
					s[i] = tails[i]
				}
				deviates(r, s[i])
			}
			f(s)
		}
		for offset := range min(16, length) {
			s := make([][]float32, n)
			for i := range s {
				s[i] = tails[i][offset:]
				if i%2 == 1 {
					s[i] = tails[i][:length-offset]
				}
				deviates(r, s[i])
			}
			f(s)
		}
	}
}

// TestDot uses the documented bound. A product is rounded at most once itself and
// then once by each addition that it is part of; Higham, §3.1, bounds the error by
// the length of the longest chain times u. These are, for n terms,
//
//	generic  1 + n/16     + 4 + 15   one product; 16 sums; their tree; the tail
//	NEON         n/16 + 3 + 4 +  3   fused; 16 sums; vector loop; tree; tail
//	AVX2         n/32 + 4 + 5        fused; 32 sums; vector loop, tail; tree
//	AVX-512      n/64 + 4 + 6
func TestDot(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 2, func(s [][]float32) {
			x, y := s[0], s[1]
			want, size := 0.0, 0.0
			for i := range x {
				p := float64(x[i]) * float64(y[i]) // exact
				want += p
				size += math.Abs(p)
			}
			n := float64(len(x))
			near(t, "Dot", len(x), float64(simd.Dot(x, y)), want, (math.Floor(n/16)+24)*u*size)
			// Twice the bound: the sum that it is compared with has an error, too.
			near(t, "DotFloat64", len(x), simd.DotFloat64(x, y), want, 2*(n+1)*0x1p-53*size)
		})
	})
}

func TestAxpy(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 2, func(s [][]float32) {
			x, y, a := s[0], s[1], float32(0.7)
			before := append([]float32{}, y...)
			simd.Axpy(a, x, y)
			for i := range y {
				p := float64(a) * float64(x[i])
				near(t, "Axpy", len(x), float64(y[i]), float64(before[i])+p, 2*u*(math.Abs(p)+math.Abs(float64(before[i]))))
			}
		})
	})
}

func TestAxpyRows(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 2, func(s [][]float32) {
			x, y := s[0], s[1]
			for _, rows := range []int{0, 1, 4, 5, 9} {
				// The longest vectors for which x has as many rows, some elements apart.
				n := max(0, len(x)/max(rows, 1)-rows%3)
				stride := n + rows%3
				a := make([]float32, rows)
				for i := range a {
					a[i] = float32(i+1) / 3
				}
				y := y[:n]
				before := slices.Clone(y)
				simd.AxpyRows(a, x[:min(len(x), max(0, (rows-1)*stride+n))], stride, y)
				for j, v := range y {
					want, size := float64(before[j]), math.Abs(float64(before[j]))
					for i, f := range a {
						p := float64(f) * float64(x[i*stride+j])
						want += p
						size += math.Abs(p)
					}
					near(t, "AxpyRows", n, float64(v), want, float64(rows+1)*u*size)
				}
			}
		})
	})
}

func TestAxpyRowsPanics(t *testing.T) {
	for want, f := range map[string]func(){
		"simd: AxpyRows: stride is less than the length of y": func() { simd.AxpyRows(nil, nil, 1, make([]float32, 2)) },
		"simd: AxpyRows: x is too short": func() {
			simd.AxpyRows(make([]float32, 3), make([]float32, 2*5+2), 5, make([]float32, 3))
		},
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panics with %v, want %s", got, want)
				}
			}()
			f()
		}()
	}
}

func TestLerp(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 2, func(s [][]float32) {
			dst, src, w := s[0], s[1], float32(0.3)
			before := append([]float32{}, dst...)
			simd.Lerp(dst, src, w)
			for i := range dst {
				d, s := float64(before[i]), float64(src[i])
				near(t, "Lerp", len(src), float64(dst[i]), d+float64(w)*(s-d), 3*u*(math.Abs(d)+math.Abs(s)))
			}
		})
	})
}

func TestReLU(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 3, func(s [][]float32) {
			dst, src, grad := s[0], s[1], s[2]
			for i := range src {
				switch i % 5 {
				case 1:
					src[i] = 0
				case 3:
					src[i] = -0x1p-149
				}
			}
			simd.ReLU(dst, src)
			for i, v := range src {
				if v < 0 {
					v = 0
				}
				if dst[i] != v {
					t.Fatalf("ReLU: element %d of %d is %v, want %v", i, len(src), dst[i], v)
				}
			}
			y := slices.Clone(dst)
			simd.ReLUGrad(dst, grad, y)
			for i, v := range src {
				want := grad[i]
				if v <= 0 {
					want = 0
				}
				if dst[i] != want {
					t.Fatalf("ReLUGrad: element %d of %d is %v, want %v", i, len(src), dst[i], want)
				}
			}
		})
		nan := float32(math.NaN())
		for _, v := range []float32{nan, -nan, float32(math.Inf(1)), math.MaxFloat32, 0x1p-149} {
			for n := 1; n < 40; n++ {
				dst := make([]float32, n)
				src := slices.Repeat([]float32{v}, n)
				simd.ReLU(dst, src)
				for i := range dst {
					if dst[i] != v && (v == v || dst[i] == dst[i]) {
						t.Fatalf("ReLU of %v is %v", v, dst[i])
					}
				}
			}
		}
	})
}

// geluParts returns a, σ and a′ of the documentation.
func geluParts(x float64) (a, sigma, slope float64) {
	a = math.Sqrt(8/math.Pi) * (x + 0.044715*x*x*x)
	return a, 1 / (1 + math.Exp(-a)), math.Sqrt(8/math.Pi) * (1 + 3*0.044715*x*x)
}

func TestGELU(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 3, func(s [][]float32) {
			dst, x, grad := s[0], s[1], s[2]
			for i := range x {
				x[i] *= float32(i%5) * 2 // up to where σ is 0 or 1
			}
			simd.GELU(dst, x)
			for i, v := range dst {
				x := float64(x[i])
				a, sigma, _ := geluParts(x)
				near(t, "GELU", len(dst), float64(v), x*sigma, max((8*math.Abs(a)+8)*u*math.Abs(x*sigma), 0x1p-120))
			}
			simd.GELUGrad(dst, grad, x)
			for i, v := range dst {
				x, g := float64(x[i]), float64(grad[i])
				a, sigma, slope := geluParts(x)
				term := x * sigma * (1 - sigma) * slope
				size := math.Abs(g) * (sigma + math.Abs(term))
				near(t, "GELUGrad", len(dst), float64(v), g*(sigma+term), max((24*math.Abs(a)+34)*u*size, 0x1p-120*math.Abs(g)))
			}
		})
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for _, c := range []struct{ x, y, slope float32 }{
			{0, 0, 0.5}, {inf, inf, 1}, {math.MaxFloat32, math.MaxFloat32, 1}, {-math.MaxFloat32, 0, 0}, {nan, nan, nan},
		} {
			for n := 1; n < 40; n++ {
				x, dst, grad := slices.Repeat([]float32{c.x}, n), make([]float32, n), slices.Repeat([]float32{1}, n)
				simd.GELU(dst, x)
				for _, v := range dst {
					if v != c.y && (v == v || c.y == c.y) {
						t.Fatalf("GELU of %v is %v, want %v", c.x, v, c.y)
					}
				}
				simd.GELUGrad(dst, grad, x)
				for _, v := range dst {
					if v != c.slope && (v == v || c.slope == c.slope) {
						t.Fatalf("GELUGrad at %v is %v, want %v", c.x, v, c.slope)
					}
				}
			}
		}
	})
}

func TestAddSquare(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 2, func(s [][]float32) {
			dst, src := s[0], s[1]
			before := slices.Clone(dst)
			simd.AddSquare(dst, src)
			for i, v := range dst {
				d, s := float64(before[i]), float64(src[i])
				near(t, "AddSquare", len(src), float64(v), d+s*s, 2*u*(math.Abs(d)+s*s))
			}
		})
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for _, c := range []struct{ dst, src, want float32 }{
			{3, 4, 19}, {1, 1e30, math.MaxFloat32}, {math.MaxFloat32, math.MaxFloat32, math.MaxFloat32}, {0, inf, math.MaxFloat32}, {0, nan, nan}, {nan, 0, nan},
		} {
			for n := 1; n < 40; n++ {
				dst := slices.Repeat([]float32{c.dst}, n)
				simd.AddSquare(dst, slices.Repeat([]float32{c.src}, n))
				for _, v := range dst {
					if v != c.want && (v == v || c.want == c.want) {
						t.Fatalf("AddSquare of %v and %v is %v, want %v", c.dst, c.src, v, c.want)
					}
				}
			}
		}
	})
}

func TestLerpSquare(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 2, func(s [][]float32) {
			dst, src, w := s[0], s[1], float32(0.3)
			before := append([]float32{}, dst...)
			simd.LerpSquare(dst, src, w)
			for i := range dst {
				d, s := float64(before[i]), float64(src[i])
				near(t, "LerpSquare", len(src), float64(dst[i]), d+float64(w)*(s*s-d), 3*u*(math.Abs(d)+s*s))
			}
		})
	})
}

func TestAdamStep(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 3, func(s [][]float32) {
			w, m, v := s[0], s[1], s[2]
			for i := range v {
				v[i] = v[i] * v[i]
				if i%7 == 0 {
					v[i] = 0
				}
			}
			before := append([]float32{}, w...)
			const keep, rate, correction, epsilon = float32(0.99), float32(0.1), float32(1.7), float32(1e-3)
			simd.AdamStep(w, m, v, keep, rate, correction, epsilon)
			for i := range w {
				kept := float64(keep) * float64(before[i])
				step := float64(rate) * float64(m[i]) / (float64(correction)*math.Sqrt(float64(v[i])) + float64(epsilon))
				near(t, "AdamStep", len(w), float64(w[i]), kept-step, u*(2*math.Abs(kept)+5*math.Abs(step)))
			}
		})
	})
}

// TestUpdatesOfGreatValues takes values whose product or difference exceeds the
// greatest float32, while the result does not, at every place of a vector.
func TestUpdatesOfGreatValues(t *testing.T) {
	const most = math.MaxFloat32
	isatest.Each(t, func(t *testing.T) {
		for _, c := range []struct {
			name                  string
			f                     func(dst, src []float32, t float32)
			share, dst, src, want float32
		}{
			{"Lerp", simd.Lerp, 0.5, 3e38, -3e38, 0},
			{"Lerp", simd.Lerp, 0.5, -most, most, 0},
			{"Lerp", simd.Lerp, 0.25, -most, most, -most / 2},
			{"Lerp", simd.Lerp, 0, most, -most, most},
			{"Lerp", simd.Lerp, 1, most, -most, -most},
			{"Lerp", simd.Lerp, 1, -most, most, most},
			{"Lerp", simd.Lerp, 2, -most, 0, most},
			{"Lerp", simd.Lerp, 0x1p127, 1, 1, 1},
			{"Lerp", simd.Lerp, -0x1p127, 0, 0x1p-126, -2},
			{"Lerp", simd.Lerp, 0, 0x1p-149, 0x1p-147, 0x1p-149},
			{"Lerp", simd.Lerp, 0.5, 0x1p-149, 0x1p-149, 0x1p-149},
			{"Lerp", simd.Lerp, 0.5, most, float32(math.Inf(-1)), float32(math.Inf(-1))},
			{"Axpy", axpy, 2, -most, most, most},
			{"Axpy", axpy, -3, most, most / 2, -most / 2},
			{"Axpy", axpy, 2, most, most, float32(math.Inf(1))},
		} {
			for n := 1; n < 80; n++ {
				for i := range n {
					dst, src := make([]float32, n), make([]float32, n)
					dst[i], src[i] = c.dst, c.src
					c.f(dst, src, c.share)
					for j, got := range dst {
						want := float32(0)
						if j == i {
							want = c.want
						}
						if got != want {
							t.Fatalf("%s of %v and %v with %v: element %d of %d is %v, want %v", c.name, c.dst, c.src, c.share, j, n, got, want)
						}
					}
				}
			}
		}
	})
}

func axpy(y, x []float32, a float32) { simd.Axpy(a, x, y) }

func TestExpSum(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 2, func(s [][]float32) {
			x, dst := s[0], s[1]
			const scale, shift = 3, 1.5
			sum := simd.ExpSum(dst, x, scale, shift)
			want, bound := 0.0, 0.0
			for i, v := range x {
				e := math.Exp(scale*float64(v) - shift)
				b := (2*math.Abs(scale*float64(v)) + shift + 4) * u * e
				near(t, "ExpSum", len(x), float64(dst[i]), e, b)
				want, bound = want+e, bound+b
			}
			bound += (float64(len(x)/8) + 12) * u * want
			near(t, "ExpSum", len(x), float64(sum), want, bound)
			near(t, "ExpSum without dst", len(x), float64(simd.ExpSum(nil, x, scale, shift)), want, bound)
			if len(x) == 0 {
				return
			}
			got := float64(simd.LogSumExp(x, scale))
			top := 0.0
			for _, v := range x {
				top = max(top, math.Abs(float64(v)))
			}
			want = math.Log(want) + shift
			near(t, "LogSumExp", len(x), got, want, logSumExpBound(len(x), scale*top, want))
			in := append([]float32{}, x...)
			if again := simd.ExpSum(in, in, scale, shift); again != sum {
				t.Fatalf("ExpSum in place is %v, want %v", again, sum)
			}
		})
	})
}

// logSumExpBound is the documented bound for n elements of which the greatest
// scale·x[i] is top in magnitude. Let p be the softmax of x. The rounding of the
// products adds Σ p[i]·|scale·x[i]| ≤ top, that of their differences from the
// maximum Σ p[i]·|difference| ≤ log n, the entropy; the relative error of the sum
// is that of its terms, at most 4·u, and that of 8 float32 sums and their tree,
// at most 3 + 1; and the result is rounded.
func logSumExpBound(n int, top, result float64) float64 {
	return u * (top + math.Abs(result) + math.Log(float64(n)) + float64(min(n, 1024)/8) + 12)
}

// TestLogSumExpLong takes equal elements, in whose sum all roundings may go the
// same way.
func TestLogSumExpLong(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for _, n := range []int{1000, 1024, 1025, 70_000} {
			x := make([]float32, n)
			for step := range 40 {
				v := -0.117 * float32(step)
				for i := 1; i < n; i++ {
					x[i] = v
				}
				want := math.Log1p(float64(n-1) * math.Exp(float64(v)))
				near(t, "LogSumExp", n, float64(simd.LogSumExp(x, 1)), want, logSumExpBound(n, math.Abs(float64(v)), want))
			}
		}
	})
}

func TestNormalize(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 2, func(s [][]float32) {
			src, dst := s[0], s[1]
			for _, size := range []float32{1, 1e-30, 1e30, 0x1p-149, math.MaxFloat32 / 64} {
				want := 0.0
				for i := range src {
					src[i] = float32(math.Copysign(float64(size), float64(src[i])))
					want += float64(src[i]) * float64(src[i])
				}
				want = math.Sqrt(want)
				near(t, "Norm", len(src), float64(simd.Norm(src)), want, u*want+0x1p-150)
				near(t, "Normalize", len(src), float64(simd.Normalize(dst, src)), want, u*want+0x1p-150)
				for i := range dst {
					near(t, "Normalize", len(src), float64(dst[i]), float64(src[i])/want, 2*u)
				}
				if len(src) > 0 {
					near(t, "Cosine", len(src), float64(simd.Cosine(src, dst)), 1, 2*u)
				}
			}
		})
	})
}

func TestScaleToAndProject(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		eachPlace(t, 3, func(s [][]float32) {
			dst, g, x := s[0], s[1], s[2]
			simd.ScaleTo(dst, x, 1.0/3)
			for i := range dst {
				if want := float32(float64(x[i]) * (1.0 / 3)); dst[i] != want {
					t.Fatalf("ScaleTo: element %d of %d is %v, want %v", i, len(x), dst[i], want)
				}
			}
			simd.Project(dst, g, x, 0.25, 1.5)
			for i := range dst {
				want := (float64(g[i]) - 0.25*float64(x[i])) * 1.5
				near(t, "Project", len(x), float64(dst[i]), want, u*math.Abs(want)+0x1p-51*(math.Abs(float64(g[i]))+0.25*math.Abs(float64(x[i])))*1.5)
			}
			simd.Project(dst, g, x, 0, math.Inf(1))
			for i := range dst {
				if want := float32(math.Copysign(math.MaxFloat32, float64(g[i]))); dst[i] != want {
					t.Fatalf("Project: element %d of %d is %v, want %v", i, len(x), dst[i], want)
				}
			}
		})
	})
}

// TestNaN checks that no kernel loses a NaN, wherever it is.
func TestNaN(t *testing.T) {
	nan := float32(math.NaN())
	isNaN := func(v float32) bool { return v != v }
	lost := func(dst []float32, i int, f func()) bool {
		f()
		return !isNaN(dst[i])
	}
	isatest.Each(t, func(t *testing.T) {
		for n := 1; n < 150; n++ {
			for i := range n {
				x, y, dst := make([]float32, n), make([]float32, n), make([]float32, n)
				x[i], y[0] = nan, 1
				for name, isLost := range map[string]bool{
					"Dot":       !isNaN(simd.Dot(x, y)) || !isNaN(simd.Dot(y, x)),
					"Norm":      !isNaN(simd.Norm(x)),
					"Cosine":    !isNaN(simd.Cosine(x, y)) || !isNaN(simd.Cosine(y, x)),
					"Normalize": !isNaN(simd.Normalize(dst, x)) || !isNaN(dst[i]),
					"ExpSum":    !isNaN(simd.ExpSum(dst, x, 1, 0)) || !isNaN(dst[i]) || !isNaN(simd.ExpSum(nil, x, 1, 0)),
					"LogSumExp": !isNaN(simd.LogSumExp(x, 1)) || !isNaN(simd.LogSumExp(x, -1)),
					"ScaleTo":   lost(dst, i, func() { simd.ScaleTo(dst, x, 2) }),
					"Project":   lost(dst, i, func() { simd.Project(dst, x, y, 1, 2) }) || lost(dst, i, func() { simd.Project(dst, y, x, 1, 2) }),
				} {
					if isLost {
						t.Fatalf("%s of %d elements loses the NaN at %d", name, n, i)
					}
				}
			}
		}
	})
}

func TestSpecialValues(t *testing.T) {
	inf := float32(math.Inf(1))
	isatest.Each(t, func(t *testing.T) {
		for _, c := range []struct {
			what      string
			got, want float32
		}{
			{"Dot of nothing", simd.Dot(nil, nil), 0},
			{"Norm of nothing", simd.Norm(nil), 0},
			{"Norm of infinity", simd.Norm([]float32{1, -inf}), inf},
			{"Norm of the greatest", simd.Norm([]float32{math.MaxFloat32, math.MaxFloat32}), inf},
			{"Cosine with zero", simd.Cosine([]float32{0, 0}, []float32{1, 2}), 0},
			{"Cosine of tiny", simd.Cosine([]float32{0x1p-149, 0}, []float32{0x1p-149, 0}), 1},
			{"Cosine of opposite", simd.Cosine([]float32{1e30, 0}, []float32{-1e-30, 0}), -1},
			{"ExpSum of nothing", simd.ExpSum(nil, nil, 1, 0), 0},
			{"ExpSum of -Inf", simd.ExpSum(nil, []float32{-inf, 0}, 1, 0), 1},
			{"ExpSum of +Inf", simd.ExpSum(nil, []float32{inf, 0}, 1, 0), inf},
			{"ExpSum of great", simd.ExpSum(nil, []float32{100, 0}, 1, 0), inf},
			{"LogSumExp of nothing", simd.LogSumExp(nil, 1), -inf},
			{"LogSumExp of -Inf", simd.LogSumExp([]float32{-inf, -inf}, 1), -inf},
			{"LogSumExp of +Inf", simd.LogSumExp([]float32{1, inf}, 1), inf},
			{"LogSumExp of great", simd.LogSumExp([]float32{1e30, 1e30}, 1), 1e30},
			{"LogSumExp of small", simd.LogSumExp([]float32{-1e30, -2e30, -3e30}, 1), -1e30},
			{"LogSumExp of small by negative scale", simd.LogSumExp([]float32{1e30, 2e30, 3e30}, -1), -1e30},
			{"LogSumExp of negative scale", simd.LogSumExp([]float32{-300, 5}, -1), 300},
			{"LogSumExp of overflowing products", simd.LogSumExp([]float32{1e30}, 1e30), inf},
		} {
			if c.got != c.want {
				t.Errorf("%s is %v, want %v", c.what, c.got, c.want)
			}
		}
		if got := simd.Cosine([]float32{0, 0}, []float32{1, float32(math.NaN())}); got == got {
			t.Errorf("Cosine of zero with NaN is %v", got)
		}
		zero := []float32{1, 1}
		if n := simd.Normalize(zero, []float32{0, 0}); n != 0 || zero[0] != 0 || zero[1] != 0 {
			t.Errorf("Normalize of zero is %v of norm %v", zero, n)
		}
	})
}

// TestLong takes more elements than one call of a kernel does.
func TestLong(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		n := 1<<17 + 77
		x, y := make([]float32, n), make([]float32, n)
		for i := range x {
			x[i], y[i] = 1, 2
		}
		if got := simd.Dot(x, y); got != float32(2*n) {
			t.Errorf("Dot is %v, want %v", got, 2*n)
		}
		if got := simd.DotFloat64(x, y); got != float64(2*n) {
			t.Errorf("DotFloat64 is %v, want %v", got, 2*n)
		}
		for _, scale := range []float32{1000, -1000} {
			z := make([]float32, n)
			z[5] = scale
			if got := simd.LogSumExp(z, scale); got != 1e6 {
				t.Errorf("LogSumExp of one great element is %v, want 1e6", got)
			}
		}
		simd.Axpy(1, x, y)
		simd.Lerp(x, y, 0.5)
		if x[0] != 2 || x[n-1] != 2 || y[n-1] != 3 {
			t.Errorf("Lerp is %v, %v, %v", x[0], x[n-1], y[n-1])
		}
		simd.ReLU(y, x)
		simd.ReLUGrad(y, x, y)
		simd.LerpSquare(y, x, 0.5) // 2 + (4−2)/2
		simd.AdamStep(y, x, y, 1, 0, 1, 1)
		if y[0] != 3 || y[n-1] != 3 {
			t.Errorf("LerpSquare is %v, %v", y[0], y[n-1])
		}
		simd.ScaleTo(y, x, 3)
		if y[0] != 6 || y[n-1] != 6 {
			t.Errorf("ScaleTo is %v, %v", y[0], y[n-1])
		}
		simd.Project(y, y, x, 2, 4)
		if y[0] != 8 || y[n-1] != 8 {
			t.Errorf("Project is %v, %v", y[0], y[n-1])
		}
		near(t, "LogSumExp", n, float64(simd.LogSumExp(x, 1)), 2+math.Log(float64(n)), 64*u)
		if got := simd.ExpSum(x, x, 1, 2); float64(got) != float64(n) || x[n-1] != 1 {
			t.Errorf("ExpSum is %v, want %v", got, n)
		}
	})
}

// TestSources checks that no kernel writes to its sources.
func TestSources(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for n := range 150 {
			x, y, dst := make([]float32, n), make([]float32, n), make([]float32, n)
			deviates(r, x)
			deviates(r, y)
			xs, ys := slices.Clone(x), slices.Clone(y)
			simd.Dot(x, y)
			simd.DotFloat64(x, y)
			simd.Norm(x)
			simd.Cosine(x, y)
			simd.Normalize(dst, x)
			simd.Axpy(0.5, x, dst)
			simd.Lerp(dst, x, 0.5)
			simd.ExpSum(dst, x, 1, 0)
			simd.ExpSum(nil, x, 1, 0)
			simd.LogSumExp(x, 1)
			simd.ScaleTo(dst, x, 0.5)
			simd.Project(dst, x, y, 0.5, 2)
			simd.ReLU(dst, x)
			simd.ReLUGrad(dst, x, y)
			simd.LerpSquare(dst, x, 0.5)
			simd.AdamStep(dst, x, y, 1, 2, 3, 4)
			if !slices.Equal(x, xs) || !slices.Equal(y, ys) {
				t.Fatalf("a source of %d elements is overwritten", n)
			}
		}
	})
}

func TestPanicsBeforeWriting(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for name, f := range map[string]func(a, b []float32){
			"Dot":        func(a, b []float32) { simd.Dot(a, b) },
			"DotFloat64": func(a, b []float32) { simd.DotFloat64(a, b) },
			"Cosine":     func(a, b []float32) { simd.Cosine(a, b) },
			"Normalize":  func(a, b []float32) { simd.Normalize(a, b) },
			"Axpy":       func(a, b []float32) { simd.Axpy(1, a, b) },
			"Lerp":       func(a, b []float32) { simd.Lerp(a, b, 1) },
			"ExpSum":     func(a, b []float32) { simd.ExpSum(a, b, 1, 0) },
			"ScaleTo":    func(a, b []float32) { simd.ScaleTo(a, b, 2) },
			"Project":    func(a, b []float32) { simd.Project(a, a, b, 2, 3) },
			"ReLU":       simd.ReLU,
			"ReLUGrad":   func(a, b []float32) { simd.ReLUGrad(a, a, b) },
			"LerpSquare": func(a, b []float32) { simd.LerpSquare(a, b, 1) },
			"AdamStep":   func(a, b []float32) { simd.AdamStep(a, a, b, 1, 2, 3, 4) },
		} {
			a, b := []float32{1, 2, 3}, []float32{4, 5}
			func() {
				defer func() {
					if got := recover(); got != "simd: "+name+": slice lengths differ" {
						t.Errorf("%s panics with %v", name, got)
					}
				}()
				f(a, b)
			}()
			if a[0] != 1 || a[1] != 2 || a[2] != 3 || b[0] != 4 || b[1] != 5 {
				t.Errorf("%s writes before it panics", name)
			}
		}
	})
}

func TestZeroAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("the race hooks allocate")
	}
	isatest.Each(t, func(t *testing.T) {
		if n := testing.AllocsPerRun(100, func() {
			var x, y [64]float32
			simd.Dot(x[:], y[:])
			simd.Normalize(x[:], y[:])
			simd.Axpy(1, x[:], y[:])
			simd.Lerp(x[:], y[:], 1)
			simd.ReLU(x[:], y[:])
			simd.ReLUGrad(x[:], x[:], y[:])
			simd.LerpSquare(x[:], y[:], 1)
			simd.AdamStep(x[:], y[:], y[:], 1, 1, 1, 1)
			simd.ExpSum(x[:], y[:], 1, 0)
			simd.LogSumExp(x[:], 1)
			simd.Cosine(x[:], y[:])
		}); n != 0 {
			t.Errorf("%v allocations, want 0", n)
		}
	})
}
