package gonum_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	reference "gonum.org/v1/gonum/blas/gonum"
	"gonum.org/v1/gonum/blas/testblas"

	"github.com/contrastive-go/contrastive/blas/gonum"
	"github.com/contrastive-go/contrastive/simd"
)

// u is the unit roundoff of float32.
const u = 0x1p-24

// A double is Implementation for the suite of package testblas, which is for float64. It
// computes in float32, and in float64 by gonum. Where the two agree within the error of
// float32, it answers with the latter, which the suite then compares with what it wants;
// where they do not, or an element is written that should not be, with the former.
type double struct {
	impl  gonum.Implementation
	exact reference.Implementation
}

func single(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

// agree stores want in dst where got is within bound of it, relative to scale, and got
// elsewhere.
func agree(dst []float64, got []float32, want []float64, scale float64) {
	for i, v := range want {
		if g := float64(got[i]); math.Abs(g-v) <= scale || g == v || g != g && v != v {
			dst[i] = v
		} else {
			dst[i] = g
		}
	}
}

// scaleOf is a bound of the error of sums of n products of x and y, of z besides, and of
// their conversion to float32.
func scaleOf(n int, alpha float64, x, y []float64, beta float64, z []float64) float64 {
	return 4 * float64(n+2) * u * (float64(n)*math.Abs(alpha)*greatest(x)*greatest(y) + math.Abs(beta)*greatest(z))
}

func greatest(x []float64) float64 {
	g := 0.0
	for _, v := range x {
		if v == v {
			g = max(g, math.Abs(v))
		}
	}
	return g
}

func (d double) Dgemm(tA, tB blas.Transpose, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	got, want := single(c), append([]float64(nil), c...)
	d.impl.Sgemm(tA, tB, m, n, k, float32(alpha), single(a), lda, single(b), ldb, float32(beta), got, ldc)
	d.exact.Dgemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, want, ldc)
	agree(c, got, want, scaleOf(k, alpha, a, b, beta, c))
}

func (d double) Dsyrk(ul blas.Uplo, tA blas.Transpose, n, k int, alpha float64, a []float64, lda int, beta float64, c []float64, ldc int) {
	got, want := single(c), append([]float64(nil), c...)
	d.impl.Ssyrk(ul, tA, n, k, float32(alpha), single(a), lda, float32(beta), got, ldc)
	d.exact.Dsyrk(ul, tA, n, k, alpha, a, lda, beta, want, ldc)
	agree(c, got, want, scaleOf(k, alpha, a, a, beta, c))
}

func (d double) Dsymm(s blas.Side, ul blas.Uplo, m, n int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	got, want := single(c), append([]float64(nil), c...)
	d.impl.Ssymm(s, ul, m, n, float32(alpha), single(a), lda, single(b), ldb, float32(beta), got, ldc)
	d.exact.Dsymm(s, ul, m, n, alpha, a, lda, b, ldb, beta, want, ldc)
	agree(c, got, want, scaleOf(max(m, n), alpha, a, b, beta, c))
}

func (d double) Dtrmm(s blas.Side, ul blas.Uplo, tA blas.Transpose, diag blas.Diag, m, n int, alpha float64, a []float64, lda int, b []float64, ldb int) {
	got, want := single(b), append([]float64(nil), b...)
	d.impl.Strmm(s, ul, tA, diag, m, n, float32(alpha), single(a), lda, got, ldb)
	d.exact.Dtrmm(s, ul, tA, diag, m, n, alpha, a, lda, want, ldb)
	agree(b, got, want, scaleOf(max(m, n), alpha, append([]float64{1}, a...), b, 0, nil))
}

func (d double) Dtrsm(s blas.Side, ul blas.Uplo, tA blas.Transpose, diag blas.Diag, m, n int, alpha float64, a []float64, lda int, b []float64, ldb int) {
	got, want := single(b), append([]float64(nil), b...)
	d.impl.Strsm(s, ul, tA, diag, m, n, float32(alpha), single(a), lda, got, ldb)
	d.exact.Dtrsm(s, ul, tA, diag, m, n, alpha, a, lda, want, ldb)
	agree(b, got, want, scaleOf(max(m, n), 1, append([]float64{1}, a...), append([]float64{1}, want...), 0, nil))
}

func (d double) Dgemv(tA blas.Transpose, m, n int, alpha float64, a []float64, lda int, x []float64, incX int, beta float64, y []float64, incY int) {
	got, want := single(y), append([]float64(nil), y...)
	d.impl.Sgemv(tA, m, n, float32(alpha), single(a), lda, single(x), incX, float32(beta), got, incY)
	d.exact.Dgemv(tA, m, n, alpha, a, lda, x, incX, beta, want, incY)
	agree(y, got, want, scaleOf(max(m, n), alpha, a, x, beta, y))
}

func (d double) Daxpy(n int, alpha float64, x []float64, incX int, y []float64, incY int) {
	got, want := single(y), append([]float64(nil), y...)
	d.impl.Saxpy(n, float32(alpha), single(x), incX, got, incY)
	d.exact.Daxpy(n, alpha, x, incX, want, incY)
	agree(y, got, want, scaleOf(1, alpha, x, []float64{1}, 1, y))
}

func (d double) Dscal(n int, alpha float64, x []float64, incX int) {
	got, want := single(x), append([]float64(nil), x...)
	d.impl.Sscal(n, float32(alpha), got, incX)
	d.exact.Dscal(n, alpha, want, incX)
	agree(x, got, want, scaleOf(1, alpha, x, []float64{1}, 0, nil))
}

func (d double) Ddot(n int, x []float64, incX int, y []float64, incY int) float64 {
	got := d.impl.Sdot(n, single(x), incX, single(y), incY)
	want := d.exact.Ddot(n, x, incX, y, incY)
	var out [1]float64
	agree(out[:], []float32{got}, []float64{want}, scaleOf(n, 1, x, y, 0, nil))
	return out[0]
}

func (d double) Dnrm2(n int, x []float64, incX int) float64 {
	got := d.impl.Snrm2(n, single(x), incX)
	want := d.exact.Dnrm2(n, x, incX)
	if math.IsInf(float64(got), 1) && want > math.MaxFloat32 {
		return want
	}
	var out [1]float64
	agree(out[:], []float32{got}, []float64{want}, 4*u*want)
	return out[0]
}

// eachLevel runs f on every level of package simd.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	defer simd.SetLevel(simd.Level())
	for _, level := range simd.Levels() {
		if err := simd.SetLevel(level); err != nil {
			t.Fatal(err)
		}
		t.Run(level, f)
	}
}

// TestSuite runs gonum's own tests.
func TestSuite(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"Gemm": func(t *testing.T) { testblas.TestDgemm(t, double{}) },
			"Syrk": func(t *testing.T) { testblas.DsyrkTest(t, double{}) },
			"Symm": func(t *testing.T) { testblas.DsymmTest(t, double{}) },
			"Trmm": func(t *testing.T) { testblas.DtrmmTest(t, double{}) },
			"Trsm": func(t *testing.T) { testblas.DtrsmTest(t, double{}) },
			"Gemv": func(t *testing.T) { testblas.DgemvTest(t, double{}) },
			"Axpy": func(t *testing.T) { testblas.DaxpyTest(t, double{}) },
			"Scal": func(t *testing.T) { testblas.DscalTest(t, double{}) },
			"Dot":  func(t *testing.T) { testblas.DdotTest(t, double{}) },
			"Nrm2": func(t *testing.T) { testblas.Dnrm2Test(t, double{}) },
		} {
			t.Run(name, test)
		}
	})
}

func normal(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func doubles(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// compare fails t unless the float32 routine agrees with gonum's float64 one, elements
// that neither writes included. Each gets copies of the operands, the last of which it
// overwrites.
func compare(t *testing.T, what string, bound float64, got []float32, want []float64) {
	t.Helper()
	for i, v := range want {
		if !(math.Abs(float64(got[i])-v) <= bound) {
			t.Fatalf("%s: element %d is %v, want %v ± %.2g", what, i, got[i], v, bound)
		}
	}
}

// TestLarge compares the routines of level 3 with gonum's in float64, in every form, of
// sizes that are cut, on every level of package simd.
func TestLarge(t *testing.T) { eachLevel(t, testLarge) }

func testLarge(t *testing.T) {
	var impl gonum.Implementation
	var exact reference.Implementation
	r := rand.New(rand.NewPCG(1, 2))
	uplos := []blas.Uplo{blas.Upper, blas.Lower}
	sides := []blas.Side{blas.Left, blas.Right}
	transposes := []blas.Transpose{blas.NoTrans, blas.Trans, blas.ConjTrans}
	for _, size := range [][2]int{{33, 70}, {48, 48}, {101, 40}, {130, 129}} {
		m, n := size[0], size[1]
		k := max(m, n)
		lda, ldb := k+3, k+1
		a, b, c := normal(r, k*lda), normal(r, k*ldb), normal(r, k*ldb)
		const alpha, beta = -0.75, 0.5
		for i := range k {
			a[i*lda+i] = 4 + a[i*lda+i]/4 // systems are well-conditioned
			for j := range k {
				if j != i {
					a[i*lda+j] /= float32(k)
				}
			}
		}
		for _, ul := range uplos {
			for _, tA := range transposes {
				what := fmt.Sprintf("%d×%d %c %c", m, n, ul, tA)
				got, want := append([]float32(nil), c...), doubles(c)
				impl.Ssyrk(ul, tA, m, n, alpha, b, ldb, beta, got, ldb)
				exact.Dsyrk(ul, tA, m, n, alpha, doubles(b), ldb, beta, want, ldb)
				compare(t, "Ssyrk "+what, scaleOf(n, alpha, doubles(b), doubles(b), beta, doubles(c)), got, want)
				for _, s := range sides {
					what := fmt.Sprintf("%s %c", what, s)
					got, want := append([]float32(nil), c...), doubles(c)
					impl.Ssymm(s, ul, m, n, alpha, a, lda, b, ldb, beta, got, ldb)
					exact.Dsymm(s, ul, m, n, alpha, doubles(a), lda, doubles(b), ldb, beta, want, ldb)
					compare(t, "Ssymm "+what, scaleOf(k, alpha, doubles(a), doubles(b), beta, doubles(c)), got, want)
					for _, d := range []blas.Diag{blas.Unit, blas.NonUnit} {
						what := fmt.Sprintf("%s %c", what, d)
						got, want := append([]float32(nil), b...), doubles(b)
						impl.Strmm(s, ul, tA, d, m, n, alpha, a, lda, got, ldb)
						exact.Dtrmm(s, ul, tA, d, m, n, alpha, doubles(a), lda, want, ldb)
						compare(t, "Strmm "+what, scaleOf(k, alpha, doubles(a), doubles(b), 0, nil), got, want)
						got, want = append([]float32(nil), b...), doubles(b)
						impl.Strsm(s, ul, tA, d, m, n, alpha, a, lda, got, ldb)
						exact.Dtrsm(s, ul, tA, d, m, n, alpha, doubles(a), lda, want, ldb)
						compare(t, "Strsm "+what, scaleOf(k, 1, doubles(a), want, 0, nil), got, want)
					}
				}
			}
		}
	}
}

// TestLong compares the routines of levels 1 and 2 with gonum's in float64, of lengths at
// which they are not gonum's, with vectors that lie apart and elements that are not theirs.
func TestLong(t *testing.T) { eachLevel(t, testLong) }

func testLong(t *testing.T) {
	var impl gonum.Implementation
	var exact reference.Implementation
	r := rand.New(rand.NewPCG(1, 2))
	const alpha, beta = -0.75, 0.5
	for _, n := range []int{256, 300, 1001} {
		for _, inc := range []int{1, 2, -1} {
			what := fmt.Sprintf("%d elements, %d apart", n, inc)
			x, y := normal(r, 2*n+3), normal(r, 2*n+3)
			xs, ys := doubles(x), doubles(y)
			dot := exact.Ddot(n, xs, inc, ys, inc)
			compare(t, "Sdot "+what, scaleOf(n, 1, xs, ys, 0, nil), []float32{impl.Sdot(n, x, inc, y, inc)}, []float64{dot})
			got, want := append([]float32(nil), y...), doubles(y)
			impl.Saxpy(n, alpha, x, inc, got, inc)
			exact.Daxpy(n, alpha, xs, inc, want, inc)
			compare(t, "Saxpy "+what, scaleOf(1, alpha, xs, []float64{1}, 1, ys), got, want)
			if inc < 0 {
				continue // gonum's scale and norm leave such vectors
			}
			got, want = append([]float32(nil), x...), doubles(x)
			impl.Sscal(n, alpha, got, inc)
			exact.Dscal(n, alpha, want, inc)
			compare(t, "Sscal "+what, scaleOf(1, alpha, xs, []float64{1}, 0, nil), got, want)
			norm := exact.Dnrm2(n, xs, inc)
			compare(t, "Snrm2 "+what, 4*u*norm, []float32{impl.Snrm2(n, x, inc)}, []float64{norm})
		}
	}
	for _, c := range []struct {
		trans      blas.Transpose
		m, n       int
		incX, incY int
	}{
		{blas.NoTrans, 700, 400, 1, 1},
		{blas.NoTrans, 700, 400, 2, 3},
		{blas.Trans, 2100, 2000, 1, 1},
		{blas.Trans, 2100, 2000, 3, 2},
	} {
		what := fmt.Sprintf("Sgemv %c %d×%d, %d and %d apart", c.trans, c.m, c.n, c.incX, c.incY)
		long := max(c.m, c.n)
		lda := c.n + 3
		a, x, y := normal(r, c.m*lda), normal(r, long*c.incX), normal(r, long*c.incY)
		as, xs, ys := doubles(a), doubles(x), doubles(y)
		got, want := append([]float32(nil), y...), doubles(y)
		impl.Sgemv(c.trans, c.m, c.n, alpha, a, lda, x, c.incX, beta, got, c.incY)
		exact.Dgemv(c.trans, c.m, c.n, alpha, as, lda, xs, c.incX, beta, want, c.incY)
		compare(t, what, scaleOf(long, alpha, as, xs, beta, ys), got, want)
	}
}

// TestBadTransposes: what is no transpose is a panic with gonum's words, before C is written.
func TestBadTransposes(t *testing.T) {
	words := func(f func()) (v any) {
		defer func() { v = recover() }()
		f()
		return nil
	}
	a, b, c := make([]float32, 4), make([]float32, 4), []float32{1, 2, 3, 4}
	for _, tr := range [][2]blas.Transpose{{'X', blas.Trans}, {blas.NoTrans, 0}} {
		got := words(func() { gonum.Implementation{}.Sgemm(tr[0], tr[1], 2, 2, 2, 1, a, 2, b, 2, 0, c, 2) })
		want := words(func() { reference.Implementation{}.Sgemm(tr[0], tr[1], 2, 2, 2, 1, a, 2, b, 2, 0, c, 2) })
		if got != want || want == nil {
			t.Errorf("Sgemm with transposes %q panics with %v, want %v", tr, got, want)
		}
	}
	if [4]float32(c) != [4]float32{1, 2, 3, 4} {
		t.Errorf("C is %v", c)
	}
}

// TestOtherTriangle checks that what a routine must not read changes nothing.
func TestOtherTriangle(t *testing.T) {
	const n, cols = 90, 40
	r := rand.New(rand.NewPCG(1, 2))
	var impl gonum.Implementation
	a, b := normal(r, n*n), normal(r, n*cols)
	for i := range n {
		a[i*n+i] += 8
		for j := i + 1; j < n; j++ {
			a[i*n+j] = float32(math.NaN())
		}
	}
	for name, f := range map[string]func(b, c []float32){
		"Ssymm": func(b, c []float32) { impl.Ssymm(blas.Left, blas.Lower, n, cols, 1, a, n, b, cols, 0, c, cols) },
		"Strmm": func(b, c []float32) {
			impl.Strmm(blas.Left, blas.Lower, blas.NoTrans, blas.NonUnit, n, cols, 1, a, n, b, cols)
		},
		"Strsm": func(b, c []float32) {
			impl.Strsm(blas.Left, blas.Lower, blas.NoTrans, blas.NonUnit, n, cols, 1, a, n, b, cols)
		},
	} {
		b, c := append([]float32(nil), b...), make([]float32, n*cols)
		f(b, c)
		for i, v := range append(b, c...) {
			if v != v {
				t.Fatalf("%s: element %d is NaN", name, i)
			}
		}
	}
}

// TestSsyrkOverwrites: C may hold NaN if beta is 0, and its other triangle is not written.
func TestSsyrkOverwrites(t *testing.T) {
	const k = 7
	var impl gonum.Implementation
	for _, n := range []int{5, 70} {
		a := normal(rand.New(rand.NewPCG(3, 4)), n*k)
		for _, ul := range []blas.Uplo{blas.Upper, blas.Lower} {
			for tA, lda := range map[blas.Transpose]int{blas.NoTrans: k, blas.Trans: n} {
				c := make([]float32, n*n)
				for i := range c {
					c[i] = float32(math.NaN())
				}
				impl.Ssyrk(ul, tA, n, k, 1, a, lda, 0, c, n)
				for i, v := range c {
					row, col := i/n, i%n
					written := row == col || (row < col) == (ul == blas.Upper)
					if (v == v) != written {
						t.Fatalf("%d×%d %c %c: element %d, %d is %v", n, k, ul, tA, row, col, v)
					}
				}
			}
		}
	}
}

// TestAllocs checks that the routines of level 3 allocate nothing once they have run.
func TestAllocs(t *testing.T) {
	const n = 70
	r := rand.New(rand.NewPCG(1, 2))
	var impl gonum.Implementation
	a, b, c := normal(r, n*n), normal(r, n*n), normal(r, n*n)
	for i := range n {
		a[i*n+i] = n
	}
	for name, f := range map[string]func(){
		"Sgemm": func() { impl.Sgemm(blas.NoTrans, blas.Trans, n, n, n, 1, a, n, b, n, 0, c, n) },
		"Ssyrk": func() { impl.Ssyrk(blas.Lower, blas.NoTrans, n, n, 1, a, n, 0, c, n) },
		"Ssymm": func() { impl.Ssymm(blas.Left, blas.Upper, n, n, 1, a, n, b, n, 0, c, n) },
		"Strmm": func() { impl.Strmm(blas.Left, blas.Lower, blas.NoTrans, blas.Unit, n, n, 1e-3, a, n, b, n) },
		"Strsm": func() { impl.Strsm(blas.Left, blas.Lower, blas.NoTrans, blas.NonUnit, n, n, 1, a, n, b, n) },
	} {
		if got := testing.AllocsPerRun(20, f); got != 0 {
			t.Errorf("%s allocates %v times", name, got)
		}
	}
}

// TestUse checks that blas32 takes it.
func TestUse(t *testing.T) {
	before := blas32.Implementation()
	defer blas32.Use(before)
	blas32.Use(gonum.Implementation{})
	x := blas32.General{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 2, 3, 4}}
	y := blas32.General{Rows: 2, Cols: 2, Stride: 2, Data: make([]float32, 4)}
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, x, x, 0, y)
	if want := [4]float32{5, 11, 11, 25}; [4]float32(y.Data) != want {
		t.Errorf("x·xᵀ is %v, want %v", y.Data, want)
	}
}
