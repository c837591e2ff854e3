package blas_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/contrastive-go/contrastive/blas"
	"github.com/contrastive-go/contrastive/internal/floattest"
	"github.com/contrastive-go/contrastive/internal/fpmode/fpmodetest"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

// An operand is a matrix as Sgemm takes it.
type operand struct {
	data   []float32
	stride int
	trans  bool
}

// at returns an element of op(x).
func (x operand) at(i, j int) float64 {
	if x.trans {
		i, j = j, i
	}
	return float64(x.data[i*x.stride+j])
}

// A product is arguments of Sgemm.
type product struct {
	m, n, k     int
	alpha, beta float32
	a, b, c     operand
}

// newProduct returns one of normal deviates, whose operands end at pages that fault, with
// a few unused elements between the rows.
func newProduct(t *testing.T, r *rand.Rand, m, n, k int, transA, transB bool, alpha, beta float32) product {
	matrix := func(rows, cols int, trans bool) operand {
		if trans {
			rows, cols = cols, rows
		}
		stride := max(1, cols) + r.IntN(4)
		return operand{floattest.Guarded(t, r, max(0, (rows-1)*stride+cols)), stride, trans}
	}
	return product{m, n, k, alpha, beta, matrix(m, k, transA), matrix(k, n, transB), matrix(m, n, false)}
}

func (p product) String() string {
	return fmt.Sprintf("%d×%d×%d transA=%t transB=%t alpha=%v beta=%v", p.m, p.n, p.k, p.a.trans, p.b.trans, p.alpha, p.beta)
}

// run computes p by so many workers.
func (p product) run(workers int) {
	blas.Sgemm(p.a.trans, p.b.trans, p.m, p.n, p.k, p.alpha, p.a.data, p.a.stride, p.b.data, p.b.stride, p.beta, p.c.data, p.c.stride, workers)
}

// check fails t unless p, with C as it was before, is within the documented bound of its
// value in float64, and nothing between the rows has changed.
func (p product) check(t *testing.T, before []float32) {
	t.Helper()
	for i := range p.m {
		for j := range p.n {
			want, size, terms := 0.0, 0.0, float64(p.k+1)
			for d := range p.k {
				x := p.a.at(i, d) * p.b.at(d, j)
				want += x
				size += math.Abs(x)
			}
			want *= float64(p.alpha)
			size *= math.Abs(float64(p.alpha))
			if p.beta != 0 {
				x := float64(p.beta) * float64(before[i*p.c.stride+j])
				want += x
				size += math.Abs(x)
				terms++
			}
			// The bound is to first order: terms·u/(1 − terms·u) is the whole.
			bound := terms * floattest.U / (1 - terms*floattest.U) * size
			if got := p.c.at(i, j); !(math.Abs(got-want) <= bound) {
				t.Fatalf("%v: element %d, %d is %v, want %v ± %.2g", p, i, j, got, want, bound)
			}
		}
		gap := p.c.data[i*p.c.stride+p.n : min((i+1)*p.c.stride, len(p.c.data))]
		if !floattest.Same(gap, before[i*p.c.stride+p.n:][:len(gap)]) {
			t.Fatalf("%v: writes behind row %d", p, i)
		}
	}
}

var scalars = [][2]float32{{1, 0}, {1, 1}, {-0.75, 0}, {2.5, -1.3}}

// eachForm calls f with every pair of transposes, and scalars in turn.
func eachForm(f func(i int, transA, transB bool, alpha, beta float32)) {
	for i := range 4 {
		f(i, i&1 != 0, i&2 != 0, scalars[i][0], scalars[i][1])
	}
}

func TestSgemm(t *testing.T) {
	sizes := []int{1, 2, 5, 6, 8, 9, 13, 16, 17, 33, 65}
	if testing.Short() {
		sizes = []int{1, 5, 6, 8, 9, 17, 33}
	}
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, m := range sizes {
			for _, n := range sizes {
				k := sizes[r.IntN(len(sizes))] + 64*r.IntN(2)
				eachForm(func(i int, transA, transB bool, alpha, beta float32) {
					s := scalars[(m+n+i)%4]
					p := newProduct(t, r, m, n, k, transA, transB, s[0], s[1])
					if p.beta == 0 {
						for i := range p.m {
							floattest.Fill(p.c.data[i*p.c.stride:][:p.n], nan)
						}
					}
					before := slices.Clone(p.c.data)
					p.run(1)
					p.check(t, before)
				})
			}
		}
	})
}

// TestLarge tests sizes that are cut in every direction, in place and packed.
func TestLarge(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, s := range [][3]int{{70, 40, 400}, {40, 270, 390}, {130, 17, 790}, {8, 300, 65}, {3, 90, 300}, {300, 4, 130}} {
			eachForm(func(_ int, transA, transB bool, alpha, beta float32) {
				p := newProduct(t, r, s[0], s[1], s[2], transA, transB, alpha, beta)
				before := slices.Clone(p.c.data)
				p.run(2)
				p.check(t, before)
			})
		}
	})
}

// TestWorkers checks that the number of workers changes no bit.
func TestWorkers(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, s := range [][3]int{{64, 64, 400}, {20, 1000, 70}, {1000, 12, 65}, {5, 1000, 130}, {1000, 7, 130}} {
			eachForm(func(_ int, transA, transB bool, alpha, beta float32) {
				p := newProduct(t, r, s[0], s[1], s[2], transA, transB, alpha, beta)
				before := slices.Clone(p.c.data)
				p.run(1)
				want := slices.Clone(p.c.data)
				for _, workers := range []int{2, 5} {
					copy(p.c.data, before)
					p.run(workers)
					if !floattest.Same(p.c.data, want) {
						t.Fatalf("%v: %d workers have other bits", p, workers)
					}
				}
			})
		}
	})
}

func TestConcurrent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := newProduct(t, r, 120, 130, 140, false, true, 1, 0)
	p.run(1)
	want := slices.Clone(p.c.data)
	var wait sync.WaitGroup
	for range 8 {
		q := p
		q.c.data = make([]float32, len(p.c.data))
		copy(q.c.data, want) // what lies between the rows
		wait.Go(func() {
			for range 5 {
				q.run(2)
				if !floattest.Same(q.c.data, want) {
					t.Error("other bits beside other products")
					return
				}
			}
		})
	}
	wait.Wait()
}

// TestMode checks that the floating-point mode of the thread changes no bit: all elements
// are subnormal, and so are their products with alpha.
func TestMode(t *testing.T) {
	wants := map[int]float32{20: 20 * 0x1p-141, 100: 100 * 0x1p-141}
	fpmodetest.Each(t, func(t *testing.T) {
		for _, s := range [][3]int{{20, 20, 20}, {1, 100, 100}, {100, 1, 100}} {
			m, n, k := s[0], s[1], s[2]
			want := math.Float32bits(wants[k])
			a, b, c := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
			floattest.Fill(a, 0x1p-140)
			floattest.Fill(b, 1)
			blas.Sgemm(false, false, m, n, k, 0.5, a, k, b, n, 0, c, n, 2)
			for i, v := range c {
				if got := math.Float32bits(v); got != want {
					t.Fatalf("%v: element %d has bits %x, want %x", s, i, got, want)
				}
			}
		}
	})
}

// TestNonFinite compares which elements are NaN, infinite and finite with a plain loop, in
// which every product counts. All finite sums are exact.
func TestNonFinite(t *testing.T) {
	special := []float32{nan, inf, -inf, 0, 0, 1, -1, 2}
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, s := range [][3]int{{7, 19, 5}, {40, 33, 70}, {3, 70, 80}, {70, 3, 80}, {70, 2, 9}} {
			eachForm(func(i int, transA, transB bool, _, _ float32) {
				p := newProduct(t, r, s[0], s[1], s[2], transA, transB, 1, []float32{0, 1, 2, -1}[i])
				for _, x := range [][]float32{p.a.data, p.b.data, p.c.data} {
					for i := range x {
						x[i] = float32(r.IntN(3) - 1)
						if r.IntN(40) == 0 {
							x[i] = special[r.IntN(len(special))]
						}
					}
				}
				before := p.c
				before.data = slices.Clone(p.c.data)
				p.run(1)
				for i := range p.m {
					for j := range p.n {
						want := 0.0
						for d := range p.k {
							want += p.a.at(i, d) * p.b.at(d, j)
						}
						if p.beta != 0 {
							want += float64(p.beta) * before.at(i, j)
						}
						if got := p.c.at(i, j); got != want && (got == got || want == want) {
							t.Fatalf("%v: element %d, %d is %v, want %v", p, i, j, got, want)
						}
					}
				}
			})
		}
	})
}

// TestScale tests what is left of a product if alpha or k is 0: A and B are not read, C
// only if beta is not 0.
func TestScale(t *testing.T) {
	for _, c := range []struct {
		k           int
		alpha, beta float32
		want        []float32
	}{
		{3, 0, 0, []float32{0, 0, -5, 0, 0}},
		{3, 0, 1, []float32{1, nan, -5, 3, 4}},
		{3, 0, 2, []float32{2, nan, -5, 6, 8}},
		{0, 1, 0, []float32{0, 0, -5, 0, 0}},
		{0, 1, -1, []float32{-1, nan, -5, -3, -4}},
		{0, nan, 0, []float32{0, 0, -5, 0, 0}},
	} {
		got := []float32{1, nan, -5, 3, 4}
		blas.Sgemm(false, true, 2, 2, c.k, c.alpha, nil, 3, nil, 3, c.beta, got, 3, 0)
		if !slices.EqualFunc(got, c.want, func(x, y float32) bool { return x == y || x != x && y != y }) {
			t.Errorf("k=%d, alpha=%v, beta=%v: %v, want %v", c.k, c.alpha, c.beta, got, c.want)
		}
	}
	blas.Sgemm(false, false, 0, 5, 3, 1, nil, 3, nil, 5, 0, nil, 5, 0)
	blas.Sgemm(false, false, 5, 0, 3, 1, nil, 3, nil, 1, 0, nil, 1, 0)
}

func TestPanics(t *testing.T) {
	const huge = math.MaxInt / 2
	for _, c := range []struct {
		want                 string
		transA, transB       bool
		m, n, k              int
		lenA, lda, lenB, ldb int
		lenC, ldc, workers   int
	}{
		{"m < 0", false, false, -1, 3, 4, 8, 4, 12, 3, 6, 3, 0},
		{"n < 0", false, false, 2, -1, 4, 8, 4, 12, 3, 6, 3, 0},
		{"k < 0", false, false, 2, 3, -1, 8, 4, 12, 3, 6, 3, 0},
		{"workers < 0", false, false, 2, 3, 4, 8, 4, 12, 3, 6, 3, -1},
		{"bad leading dimension of A", false, false, 2, 3, 4, 8, 3, 12, 3, 6, 3, 0},
		{"bad leading dimension of A", true, false, 2, 3, 4, 8, 1, 12, 3, 6, 3, 0},
		{"bad leading dimension of A", false, false, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0},
		{"bad leading dimension of B", false, false, 2, 3, 4, 8, 4, 12, 2, 6, 3, 0},
		{"bad leading dimension of B", false, true, 2, 3, 4, 8, 4, 12, 3, 6, 3, 0},
		{"bad leading dimension of C", false, false, 2, 3, 4, 8, 4, 12, 3, 6, 2, 0},
		{"insufficient length of a", false, false, 2, 3, 4, 7, 4, 12, 3, 6, 3, 0},
		{"insufficient length of a", true, false, 2, 3, 4, 7, 2, 12, 3, 6, 3, 0},
		{"insufficient length of a", false, false, huge, 3, 4, 8, huge, 12, 3, 6, 3, 0},
		{"insufficient length of b", false, false, 2, 3, 4, 8, 4, 11, 3, 6, 3, 0},
		{"insufficient length of b", false, true, 2, 3, 4, 8, 4, 11, 4, 6, 3, 0},
		{"insufficient length of c", false, false, 2, 3, 4, 8, 4, 12, 3, 5, 3, 0},
		{"insufficient length of c", false, false, 2, 3, 0, 0, 1, 0, 3, 5, 3, 0},
	} {
		out := make([]float32, c.lenC)
		floattest.Fill(out, 7)
		func() {
			defer func() {
				if got := recover(); got != "blas: "+c.want {
					t.Errorf("panics with %v, want %q", got, "blas: "+c.want)
				}
			}()
			blas.Sgemm(c.transA, c.transB, c.m, c.n, c.k, 1, make([]float32, c.lenA), c.lda, make([]float32, c.lenB), c.ldb, 0, out, c.ldc, c.workers)
		}()
		if slices.ContainsFunc(out, func(v float32) bool { return v != 7 }) {
			t.Errorf("%s: C has changed before the panic", c.want)
		}
	}
}

// TestInterleaved multiplies column blocks of one matrix into another.
func TestInterleaved(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n, stride = 40, 130
	data := floattest.Guarded(t, r, n*stride)
	p := product{n, n, n, 1, 0, operand{data, stride, false}, operand{data[n:], stride, true}, operand{data[2*n:], stride, false}}
	before := slices.Clone(data)
	p.run(2)
	p.check(t, before[2*n:])
	for i := range n {
		if !floattest.Same(data[i*stride:][:2*n], before[i*stride:][:2*n]) {
			t.Fatalf("row %d of the operands has changed", i)
		}
	}
}

func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][3]int{{5, 9, 7}, {100, 110, 120}, {1, 1000, 800}, {1000, 3, 800}} {
		eachForm(func(_ int, transA, transB bool, alpha, beta float32) {
			p := newProduct(t, r, s[0], s[1], s[2], transA, transB, alpha, beta)
			for _, workers := range []int{1, 2} {
				if n := testing.AllocsPerRun(20, func() { p.run(workers) }); n != 0 {
					t.Errorf("%v: %v allocations by %d workers", p, n, workers)
				}
			}
		})
	}
}

func FuzzSgemm(f *testing.F) {
	f.Add(uint16(7), uint16(9), uint16(5), uint8(0), uint64(1), []byte(nil))
	f.Add(uint16(1), uint16(200), uint16(90), uint8(5), uint64(2), floattest.Edit(3, inf))
	f.Add(uint16(200), uint16(3), uint16(70), uint8(7), uint64(3), floattest.Edit(9, nan))
	f.Fuzz(func(t *testing.T, m, n, k uint16, form uint8, seed uint64, edits []byte) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := scalars[form/4%4]
		p := newProduct(t, r, int(m%300), int(n%300), int(k%600), form&1 != 0, form&2 != 0, s[0], s[1])
		floattest.Poke(p.a.data, edits)
		before := slices.Clone(p.c.data)
		p.run(1)
		want := slices.Clone(p.c.data)
		if len(edits) < 6 && p.k > 0 {
			p.check(t, before)
		}
		copy(p.c.data, before)
		p.run(3)
		if !slices.EqualFunc(p.c.data, want, func(x, y float32) bool { return x == y || x != x && y != y }) {
			t.Errorf("%v: 3 workers have other values", p)
		}
	})
}

func BenchmarkSgemm(b *testing.B) {
	for _, s := range [][3]int{{16, 16, 16}, {64, 64, 64}, {256, 256, 256}, {1024, 1024, 1024}} {
		b.Run(fmt.Sprintf("%d×%d×%d", s[0], s[1], s[2]), func(b *testing.B) {
			isatest.EachB(b, func(b *testing.B) {
				m, n, k := s[0], s[1], s[2]
				x, y, z := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
				for b.Loop() {
					blas.Sgemm(false, false, m, n, k, 1, x, k, y, n, 0, z, n, 1)
				}
				b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		})
	}
}
