package blas_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive/blas"
	"github.com/contrastive-go/contrastive/internal/floattest"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
)

type op struct {
	data   []float32
	stride int
	trans  bool
}

func (x op) at(i, j int) float64 {
	if x.trans {
		i, j = j, i
	}
	return float64(x.data[i*x.stride+j])
}

func newOp(t *testing.T, r *rand.Rand, rows, cols, extra int, trans bool) op {
	if trans {
		rows, cols = cols, rows
	}
	stride := max(1, cols) + extra
	return op{floattest.Guarded(t, r, max(0, (rows-1)*stride+cols)), stride, trans}
}

func check(t *testing.T, r *rand.Rand, m, n, k int, transA, transB bool, alpha, beta float32, workers int) {
	t.Helper()
	a, b, c := newOp(t, r, m, k, r.IntN(4), transA), newOp(t, r, k, n, r.IntN(4), transB), newOp(t, r, m, n, r.IntN(4), false)
	before := append([]float32(nil), c.data...)
	blas.Sgemm(transA, transB, m, n, k, alpha, a.data, a.stride, b.data, b.stride, beta, c.data, c.stride, workers)
	for i := range m {
		for j := range n {
			want, size := 0.0, 0.0
			for p := range k {
				x := float64(alpha) * a.at(i, p) * b.at(p, j)
				want += x
				size += math.Abs(x)
			}
			bound := float64(k+1) * size
			if beta != 0 {
				x := float64(beta) * float64(before[i*c.stride+j])
				want += x
				bound = float64(k+2) * (size + math.Abs(x))
			}
			bound = bound * floattest.U * (1 + 1e-3)
			if got := c.at(i, j); !(math.Abs(got-want) <= bound) {
				t.Fatalf("%d×%d×%d %t %t α=%v β=%v: %d, %d is %v, want %v ± %.2g", m, n, k, transA, transB, alpha, beta, i, j, got, want, bound)
			}
		}
	}
}

func TestSgemm(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, s := range [][3]int{{1, 1, 1}, {6, 16, 8}, {7, 17, 9}, {13, 33, 300}, {100, 64, 5}, {300, 40, 270}, {31, 500, 33}} {
			for f := range 4 {
				t.Run(fmt.Sprint(s, f), func(t *testing.T) {
					for _, ab := range [][2]float32{{1, 0}, {1, 1}, {-0.5, 2}} {
						check(t, r, s[0], s[1], s[2], f&1 == 1, f&2 == 2, ab[0], ab[1], 1+f)
					}
				})
			}
		}
	})
}

func BenchmarkSgemm(b *testing.B) {
	for _, s := range [][3]int{{64, 64, 64}, {256, 256, 256}, {1024, 1024, 1024}, {512, 784, 512}, {256, 65536, 128}} {
		for f := range 3 {
			for _, w := range []int{1, 2} {
				b.Run(fmt.Sprintf("%v/%d/w=%d", s, f, w), func(b *testing.B) {
					m, n, k := s[0], s[1], s[2]
					x, y, z := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
					r := rand.New(rand.NewPCG(1, 2))
					floattest.Deviates(r, x)
					floattest.Deviates(r, y)
					tA, tB := f == 1, f == 2
					lda, ldb := k, n
					if tA {
						lda = m
					}
					if tB {
						ldb = k
					}
					b.ReportAllocs()
					for b.Loop() {
						blas.Sgemm(tA, tB, m, n, k, 1, x, lda, y, ldb, 0, z, n, w)
					}
					b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}

func TestShapes(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, m := range []int{1, 2, 3, 5, 6, 8, 9, 12, 17, 65} {
			for _, n := range []int{1, 4, 8, 15, 16, 33, 70} {
				for _, k := range []int{1, 3, 31, 64, 130} {
					f := r.IntN(4)
					ab := [][2]float32{{1, 0}, {1, 1}, {-0.5, 2}, {2, 0}}[r.IntN(4)]
					check(t, r, m, n, k, f&1 == 1, f&2 == 2, ab[0], ab[1], 1+r.IntN(3))
				}
			}
		}
	})
}
