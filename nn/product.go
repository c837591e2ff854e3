package nn

import (
	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/simd"
)

// sgemm is C = op(A)·op(B) + beta·C, where beta is 0 or 1, op(A) is m×k and op(B) k×n,
// and not both are transposed.
func sgemm(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc, workers int) {
	defer fpmode.Enter().Leave()
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		if beta == 0 {
			clear(row)
		}
		switch {
		case transB:
			for j := range row {
				row[j] += simd.Dot(a[i*lda:i*lda+k], b[j*ldb:j*ldb+k])
			}
		case transA:
			for l := range k {
				simd.Axpy(a[l*lda+i], b[l*ldb:l*ldb+n], row)
			}
		default:
			for l := range k {
				simd.Axpy(a[i*lda+l], b[l*ldb:l*ldb+n], row)
			}
		}
	}
}
