// Package gonum is gonum's implementation of BLAS with the matrix products of package
// blas:
//
//	blas32.Use(gonum.Implementation{})
//
// Everything in gonum that works on float32 matrices then runs on them.
package gonum

import (
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"

	products "github.com/contrastive-go/contrastive/blas"
	"github.com/contrastive-go/contrastive/simd"
)

// Implementation is gonum's Implementation but for Sgemm, Ssyrk, Ssymm, Strmm and Strsm,
// which are products of package blas, and Sgemv, Sdot, Saxpy, Sscal and Snrm2, which are
// faster with the vector kernels of package simd where vectors are adjacent and long. Those
// of level 3 use GOMAXPROCS goroutines, the same results for any number of them. Arguments,
// panics and what is read and written are as in gonum; results may differ by rounding,
// within n·u of the sum of the absolute values of n products.
//
// The zero value is ready to use, also by goroutines at the same time.
type Implementation struct {
	gonum.Implementation
}

var _ blas.Float32 = Implementation{}

// base is the greatest number of rows and columns of triangular and symmetric matrices
// that are not cut in two.
const base = 32

// From these numbers of elements on the kernels of package simd are faster than gonum's.
const (
	minDot       = 256
	minAxpy      = 64
	minGemv      = 1 << 18 // of the matrix,
	minGemvTrans = 1 << 22 // and if it is transposed
)

// isTrans reports whether t asks for a transpose, and whether it is valid.
func isTrans(t blas.Transpose) (trans, valid bool) {
	trans = t == blas.Trans || t == blas.ConjTrans
	return trans, trans || t == blas.NoTrans
}

// Sgemm computes C = alpha·op(A)·op(B) + beta·C.
func (impl Implementation) Sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	transA, validA := isTrans(tA)
	transB, validB := isTrans(tB)
	if !validA || !validB {
		impl.Implementation.Sgemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) // panics
		return
	}
	products.Sgemm(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, 0)
}

// holds reports whether a has room for rows×cols elements at a stride.
func holds(a []float32, rows, cols, stride int) bool {
	return stride >= max(1, cols) && len(a) >= cols && (len(a)-cols)/stride >= rows-1
}

func isUplo(ul blas.Uplo) bool { return ul == blas.Upper || ul == blas.Lower }

// Ssyrk computes C = alpha·A·Aᵀ + beta·C, or C = alpha·Aᵀ·A + beta·C if tA is Trans, in the
// triangle ul of C, which is symmetric.
func (impl Implementation) Ssyrk(ul blas.Uplo, tA blas.Transpose, n, k int, alpha float32, a []float32, lda int, beta float32, c []float32, ldc int) {
	trans, valid := isTrans(tA)
	rows, cols := n, k
	if trans {
		rows, cols = k, n
	}
	if !valid || !isUplo(ul) || n < 1 || k < 1 || alpha == 0 || !holds(a, rows, cols, lda) || !holds(c, n, n, ldc) {
		impl.Implementation.Ssyrk(ul, tA, n, k, alpha, a, lda, beta, c, ldc)
		return
	}
	if n <= base {
		syrk(ul, trans, n, k, alpha, a, lda, beta, c, ldc)
		return
	}
	half := n / 2
	second := half * lda // the row, or column, of A that the second half begins with
	if trans {
		second = half
	}
	rest := a[second:]
	impl.Ssyrk(ul, tA, half, k, alpha, a, lda, beta, c, ldc)
	if ul == blas.Lower {
		products.Sgemm(trans, !trans, n-half, half, k, alpha, rest, lda, a, lda, beta, c[half*ldc:], ldc, 0)
	} else {
		products.Sgemm(trans, !trans, half, n-half, k, alpha, a, lda, rest, lda, beta, c[half:], ldc, 0)
	}
	impl.Ssyrk(ul, tA, n-half, k, alpha, rest, lda, beta, c[half*ldc+half:], ldc)
}

// squares are n×n matrices that nobody uses.
var squares = sync.Pool{New: func() any { return new([]float32) }}

// newSquare returns a matrix from squares, of arbitrary elements.
func newSquare(n int) *[]float32 {
	square := squares.Get().(*[]float32)
	if cap(*square) < n*n {
		*square = make([]float32, n*n)
	}
	*square = (*square)[:n*n]
	return square
}

// syrk is Ssyrk for n of base at most: it computes both triangles, and keeps one.
func syrk(ul blas.Uplo, trans bool, n, k int, alpha float32, a []float32, lda int, beta float32, c []float32, ldc int) {
	memory := newSquare(n)
	defer squares.Put(memory)
	square := *memory
	products.Sgemm(trans, !trans, n, n, k, alpha, a, lda, a, lda, 0, square, n, 1)
	for i := range n {
		first, last := 0, i+1
		if ul == blas.Upper {
			first, last = i, n
		}
		row := c[i*ldc+first : i*ldc+last]
		for j, v := range square[i*n+first : i*n+last] {
			if beta != 0 {
				v += beta * row[j]
			}
			row[j] = v
		}
	}
}

// Ssymm computes C = alpha·A·B + beta·C, or C = alpha·B·A + beta·C if s is Right, for a
// symmetric A of which the triangle ul is read.
func (impl Implementation) Ssymm(s blas.Side, ul blas.Uplo, m, n int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	k := n
	if s == blas.Left {
		k = m
	}
	valid := (s == blas.Left || s == blas.Right) && isUplo(ul)
	if !valid || m < 1 || n < 1 || k <= base || alpha == 0 || !holds(a, k, k, lda) || !holds(b, m, n, ldb) || !holds(c, m, n, ldc) {
		impl.Implementation.Ssymm(s, ul, m, n, alpha, a, lda, b, ldb, beta, c, ldc)
		return
	}
	// The other triangle takes k² elements: less than the product takes of its own
	// memory, and its time is that of k/n products of a row.
	memory := newSquare(k)
	defer squares.Put(memory)
	whole := *memory
	for r := range k {
		first, last := 0, r+1
		if ul == blas.Upper {
			first, last = r, k
		}
		for j, v := range a[r*lda+first : r*lda+last] {
			whole[r*k+first+j] = v
			whole[(first+j)*k+r] = v
		}
	}
	if s == blas.Left {
		products.Sgemm(false, false, m, n, k, alpha, whole, k, b, ldb, beta, c, ldc, 0)
	} else {
		products.Sgemm(false, false, m, n, k, alpha, b, ldb, whole, k, beta, c, ldc, 0)
	}
}

// A triangle is op(A) of a triangular product or system, on the left of a matrix B of
// rows×cols or on its right.
type triangle struct {
	side blas.Side
	uplo blas.Uplo
	op   blas.Transpose
	diag blas.Diag

	alpha    float32
	lda, ldb int
}

// recurses reports whether arguments are valid, and the triangle large enough to cut.
func (t triangle) recurses(m, n int, a, b []float32) bool {
	k := n
	if t.side == blas.Left {
		k = m
	}
	_, valid := isTrans(t.op)
	valid = valid && isUplo(t.uplo) && (t.side == blas.Left || t.side == blas.Right) && (t.diag == blas.Unit || t.diag == blas.NonUnit)
	return valid && m > 0 && n > 0 && k > base && t.alpha != 0 && holds(a, k, k, t.lda) && holds(b, m, n, t.ldb)
}

// halves cuts the triangle, and B with it, in two. The first half of B is the one on which
// the other depends: the other gets alpha times its own product and that of off, the
// square part of op(A), with the first.
type halves struct {
	m, n   [2]int       // of the halves of B,
	k      [2]int       // of those of A
	a, b   [2][]float32 // first the half of B that depends on none
	square []float32    // the part of A between them
}

// cut returns the halves in the order of their places, and whether the second depends on
// the first: whether op(A) is lower triangular on the left of B, or upper on the right.
func (t triangle) cut(m, n int, a, b []float32) (h halves, forward bool) {
	trans, _ := isTrans(t.op)
	left := t.side == blas.Left
	if left {
		h.k = [2]int{m / 2, m - m/2}
		h.m, h.n = h.k, [2]int{n, n}
		h.b = [2][]float32{b, b[h.k[0]*t.ldb:]}
	} else {
		h.k = [2]int{n / 2, n - n/2}
		h.m, h.n = [2]int{m, m}, h.k
		h.b = [2][]float32{b, b[h.k[0]:]}
	}
	h.a = [2][]float32{a, a[h.k[0]*t.lda+h.k[0]:]}
	h.square = a[h.k[0]:]
	if t.uplo == blas.Lower {
		h.square = a[h.k[0]*t.lda:]
	}
	lower := (t.uplo == blas.Lower) != trans
	return h, lower == left
}

// multiply adds alpha times the product of the square part and half from of B to half to,
// which is multiplied by beta.
func (t triangle) multiply(h *halves, to, from int, alpha, beta float32) {
	trans, _ := isTrans(t.op)
	if t.side == blas.Left {
		products.Sgemm(trans, false, h.m[to], h.n[to], h.k[from], alpha, h.square, t.lda, h.b[from], t.ldb, beta, h.b[to], t.ldb, 0)
	} else {
		products.Sgemm(false, trans, h.m[to], h.n[to], h.k[from], alpha, h.b[from], t.ldb, h.square, t.lda, beta, h.b[to], t.ldb, 0)
	}
}

// Strmm computes B = alpha·op(A)·B, or B = alpha·B·op(A) if s is Right, for a triangular A.
func (impl Implementation) Strmm(s blas.Side, ul blas.Uplo, tA blas.Transpose, d blas.Diag, m, n int, alpha float32, a []float32, lda int, b []float32, ldb int) {
	t := triangle{s, ul, tA, d, alpha, lda, ldb}
	if !t.recurses(m, n, a, b) {
		impl.Implementation.Strmm(s, ul, tA, d, m, n, alpha, a, lda, b, ldb)
		return
	}
	h, forward := t.cut(m, n, a, b)
	// What depends on the other half is overwritten before it.
	to, from := 0, 1
	if forward {
		to, from = 1, 0
	}
	impl.Strmm(s, ul, tA, d, h.m[to], h.n[to], alpha, h.a[to], lda, h.b[to], ldb)
	t.multiply(&h, to, from, alpha, 1)
	impl.Strmm(s, ul, tA, d, h.m[from], h.n[from], alpha, h.a[from], lda, h.b[from], ldb)
}

// Strsm solves op(A)·X = alpha·B, or X·op(A) = alpha·B if s is Right, for a triangular A,
// and stores X in B.
func (impl Implementation) Strsm(s blas.Side, ul blas.Uplo, tA blas.Transpose, d blas.Diag, m, n int, alpha float32, a []float32, lda int, b []float32, ldb int) {
	t := triangle{s, ul, tA, d, alpha, lda, ldb}
	if !t.recurses(m, n, a, b) {
		impl.Implementation.Strsm(s, ul, tA, d, m, n, alpha, a, lda, b, ldb)
		return
	}
	h, forward := t.cut(m, n, a, b)
	// The half that depends on no other is solved first.
	to, from := 0, 1
	if forward {
		to, from = 1, 0
	}
	impl.Strsm(s, ul, tA, d, h.m[from], h.n[from], alpha, h.a[from], lda, h.b[from], ldb)
	t.multiply(&h, to, from, -1, alpha)
	impl.Strsm(s, ul, tA, d, h.m[to], h.n[to], 1, h.a[to], lda, h.b[to], ldb)
}

// Sgemv computes y = alpha·A·x + beta·y, or y = alpha·Aᵀ·x + beta·y if tA is Trans.
func (impl Implementation) Sgemv(tA blas.Transpose, m, n int, alpha float32, a []float32, lda int, x []float32, incX int, beta float32, y []float32, incY int) {
	trans, valid := isTrans(tA)
	rows, cols := m, n
	if trans {
		rows, cols = n, m
	}
	least := minGemv
	if trans {
		least = minGemvTrans
	}
	if !valid || m*n < least || n < minDot || alpha == 0 || incX < 1 || incY < 1 || !holds(a, m, n, lda) || !holds(x, cols, 1, incX) || !holds(y, rows, 1, incY) {
		impl.Implementation.Sgemv(tA, m, n, alpha, a, lda, x, incX, beta, y, incY)
		return
	}
	products.Sgemm(trans, false, rows, 1, cols, alpha, a, lda, x, incX, beta, y, incY, 0)
}

// Sdot returns Σ x[i]·y[i].
func (impl Implementation) Sdot(n int, x []float32, incX int, y []float32, incY int) float32 {
	if n < minDot || incX != 1 || incY != 1 || len(x) < n || len(y) < n {
		return impl.Implementation.Sdot(n, x, incX, y, incY)
	}
	return simd.Dot(x[:n], y[:n])
}

// Saxpy computes y += alpha·x.
func (impl Implementation) Saxpy(n int, alpha float32, x []float32, incX int, y []float32, incY int) {
	if n < minAxpy || alpha == 0 || incX != 1 || incY != 1 || len(x) < n || len(y) < n {
		impl.Implementation.Saxpy(n, alpha, x, incX, y, incY)
		return
	}
	simd.Axpy(alpha, x[:n], y[:n])
}

// Sscal computes x = alpha·x.
func (impl Implementation) Sscal(n int, alpha float32, x []float32, incX int) {
	if n < 0 || alpha == 0 || incX != 1 || len(x) < n {
		impl.Implementation.Sscal(n, alpha, x, incX)
		return
	}
	simd.ScaleTo(x[:n], x[:n], float64(alpha))
}

// Snrm2 returns the Euclidean norm of x.
func (impl Implementation) Snrm2(n int, x []float32, incX int) float32 {
	if n < 0 || incX != 1 || len(x) < n {
		return impl.Implementation.Snrm2(n, x, incX)
	}
	return simd.Norm(x[:n])
}
