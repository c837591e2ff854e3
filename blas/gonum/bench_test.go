package gonum_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	reference "gonum.org/v1/gonum/blas/gonum"

	"github.com/contrastive-go/contrastive/blas/gonum"
)

// BenchmarkLevels compares each routine with gonum's.
func BenchmarkLevels(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{16, 128, 1024, 4096} {
		a, x, y := normal(r, n*n), normal(r, n), normal(r, n)
		square, triangle := normal(r, n*n), normal(r, n*n)
		for i := range n {
			triangle[i*n+i] = float32(2 * n)
		}
		for _, impl := range []struct {
			name string
			blas.Float32
		}{{"ours", gonum.Implementation{}}, {"gonum", reference.Implementation{}}} {
			run := func(name string, f func()) {
				b.Run(fmt.Sprintf("%s/n=%d/%s", name, n, impl.name), func(b *testing.B) {
					for b.Loop() {
						f()
					}
				})
			}
			run("Sdot", func() { impl.Sdot(n, x, 1, y, 1) })
			run("Saxpy", func() { impl.Saxpy(n, 1e-9, x, 1, y, 1) })
			run("Sscal", func() { impl.Sscal(n, 1, x, 1) })
			run("Snrm2", func() { impl.Snrm2(n, x, 1) })
			run("Sgemv", func() { impl.Sgemv(blas.NoTrans, n, n, 1, a, n, x, 1, 0, y, 1) })
			run("SgemvTrans", func() { impl.Sgemv(blas.Trans, n, n, 1, a, n, x, 1, 0, y, 1) })
			if n <= 1024 {
				run("Sgemm", func() { impl.Sgemm(blas.NoTrans, blas.NoTrans, n, n, n, 1, a, n, triangle, n, 0, square, n) })
				run("Ssyrk", func() { impl.Ssyrk(blas.Lower, blas.NoTrans, n, n, 1, a, n, 0, square, n) })
				run("Ssymm", func() { impl.Ssymm(blas.Left, blas.Lower, n, n, 1, a, n, triangle, n, 0, square, n) })
				run("Strmm", func() {
					impl.Strmm(blas.Left, blas.Lower, blas.NoTrans, blas.Unit, n, n, 1e-3, triangle, n, square, n)
				})
				run("Strsm", func() {
					impl.Strsm(blas.Left, blas.Lower, blas.NoTrans, blas.NonUnit, n, n, 1, triangle, n, square, n)
				})
			}
		}
	}
}
