// Package blas multiplies matrices of float32, for encoders beside the losses of package
// contrastive. [Sgemm] is the routine of that name of the Basic Linear Algebra
// Subprograms (Dongarra, Du Croz, Duff and Hammarling, 1990), for matrices by rows, on
// the register tiles that the losses run on. Module blas/gonum gives it to gonum.
package blas

import "github.com/contrastive-go/contrastive/internal/fpmode"

// Sgemm computes
//
//	C = alpha·op(A)·op(B) + beta·C
//
// op(A) is m×k, op(B) is k×n and C is m×n. Matrices are by rows: row i of A begins at
// a[i·lda]. A is m×k, or k×m if transA is set, and then op(A) = Aᵀ; B is k×n, or n×k if
// transB is set, and then op(B) = Bᵀ.
//
// At most workers goroutines share the work, 0 means GOMAXPROCS. Their number does not
// change a bit of the result. Small products are computed by the caller alone. Those that
// help it look for another product before they end, for less than a tenth of a millisecond.
//
// As in the reference implementation of BLAS, C is not read if beta is 0, so that it may
// hold NaN, and A and B are not read if alpha or k is 0. NaN and infinities in what is
// read spread as IEEE 754 has it: 0·Inf is NaN. Nothing of C's rows beyond column n is
// read or written.
//
// C must not share elements with A or B. A and B may share theirs, and matrices that
// only interleave, as column blocks of one matrix do, share none.
//
// An element is within
//
//	(k+1)·u·|alpha|·Σ|a·b|                 if beta is 0,
//	(k+2)·u·(|alpha|·Σ|a·b| + |beta·c|)    else,    u = 2⁻²⁴
//
// of its exact value, to first order in u, if nothing overflows or underflows. Its
// products are added in float32, in an order that depends on the shape and on the level of
// package simd alone.
//
// Sgemm panics before it writes if a dimension or workers is negative, a leading
// dimension is less than the columns of its matrix, or a slice is too short.
func Sgemm(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int, workers int) {
	switch {
	case m < 0:
		panic("blas: m < 0")
	case n < 0:
		panic("blas: n < 0")
	case k < 0:
		panic("blas: k < 0")
	case workers < 0:
		panic("blas: workers < 0")
	}
	left, right := matrix{a, lda, transA}, matrix{b, ldb, transB}
	switch {
	case left.badStride(m, k):
		panic("blas: bad leading dimension of A")
	case right.badStride(k, n):
		panic("blas: bad leading dimension of B")
	case ldc < max(1, n):
		panic("blas: bad leading dimension of C")
	}
	if m == 0 || n == 0 {
		return
	}
	product := alpha != 0 && k > 0
	switch {
	case product && left.short(m, k):
		panic("blas: insufficient length of a")
	case product && right.short(k, n):
		panic("blas: insufficient length of b")
	case (matrix{c, ldc, false}).short(m, n):
		panic("blas: insufficient length of c")
	}
	if !product {
		mode := fpmode.Enter()
		defer mode.Leave()
		scale(m, n, beta, c, ldc)
		return
	}
	raceRead(left, m, k)
	raceRead(right, k, n)
	raceWrite(matrix{c, ldc, false}, m, n)
	multiply(&problem{m, n, k, alpha, left, right, beta, c, ldc}, workers)
}

// A matrix is an operand of a product.
type matrix struct {
	data   []float32
	stride int
	trans  bool
}

// stored returns the size of the matrix that is op(x), rows×cols, transposed or not.
func (x matrix) stored(rows, cols int) (int, int) {
	if x.trans {
		return cols, rows
	}
	return rows, cols
}

func (x matrix) badStride(rows, cols int) bool {
	_, cols = x.stored(rows, cols)
	return x.stride < max(1, cols)
}

// short reports whether x holds fewer elements than it needs. It does not overflow.
func (x matrix) short(rows, cols int) bool {
	rows, cols = x.stored(rows, cols)
	return len(x.data) < cols || (len(x.data)-cols)/x.stride < rows-1
}

// scale computes C = beta·C.
func scale(m, n int, beta float32, c []float32, ldc int) {
	if beta == 1 {
		return
	}
	for i := range m {
		row := c[i*ldc:][:n]
		if beta == 0 {
			clear(row)
			continue
		}
		for j := range row {
			row[j] *= beta
		}
	}
}
