package nn

import (
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"

	"github.com/contrastive-go/contrastive/simd"
)

// BLAS is gonum's with matrix products from package simd, whose registers are up
// to four times as wide:
//
//	blas32.Use(nn.BLAS{})
//
// Like gonum's, its results do not depend on GOMAXPROCS.
type BLAS struct{ gonum.Implementation }

const (
	blockRows  = 16 // of C for one goroutine at a time
	blockInner = 64 // rows of B that stay in the cache meanwhile
)

var transposed = sync.Pool{New: func() any { return new([]float32) }}

// Sgemm implements [blas.Float32Level3].
func (i BLAS) Sgemm(ta, tb blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	if ta != blas.NoTrans && tb != blas.NoTrans || m <= 0 || n <= 0 || k <= 0 {
		i.Implementation.Sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		return
	}
	if tb != blas.NoTrans {
		buffer := transposed.Get().(*[]float32)
		defer transposed.Put(buffer)
		if cap(*buffer) < k*n {
			*buffer = make([]float32, k*n)
		}
		t := (*buffer)[:k*n]
		parallel(k, blockRows, func(lo, hi int) {
			for j := range n {
				for l := lo; l < hi; l++ {
					t[l*n+j] = b[j*ldb+l]
				}
			}
		})
		b, ldb = t, n
	}
	rowStride, innerStride := lda, 1
	if ta != blas.NoTrans {
		rowStride, innerStride = 1, lda
	}
	parallel(m, blockRows, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			row := c[r*ldc : r*ldc+n]
			switch beta {
			case 0:
				clear(row)
			case 1:
			default:
				for j := range row {
					row[j] *= beta
				}
			}
		}
		for r0 := lo; r0 < hi; r0 += blockRows {
			for l0 := 0; l0 < k; l0 += blockInner {
				for r := r0; r < min(r0+blockRows, hi); r++ {
					row := c[r*ldc : r*ldc+n]
					for l := l0; l < min(l0+blockInner, k); l++ {
						if f := a[r*rowStride+l*innerStride]; f != 0 {
							simd.Axpy(alpha*f, b[l*ldb:l*ldb+n], row)
						}
					}
				}
			}
		}
	})
}
