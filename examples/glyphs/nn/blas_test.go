package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"

	"github.com/contrastive-go/contrastive"
)

// stored returns a random matrix as its transpose or not, with a stride that is
// greater than its columns, and a function for its elements.
func stored(rng *rand.Rand, t blas.Transpose, rows, cols int) (data []float32, stride int, at func(i, j int) float64) {
	if t == blas.Trans {
		rows, cols = cols, rows
	}
	m := randomMatrix(rng, rows, cols+3)
	return m.Data, cols + 3, func(i, j int) float64 {
		if t == blas.Trans {
			i, j = j, i
		}
		return float64(m.Row(i)[j])
	}
}

// TestSgemm checks products in all forms against sums in float64. A sum of k
// products, α times it and β·C are at most k+3 roundings of 2⁻²⁴ from exact.
func TestSgemm(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, shape := range [][3]int{{1, 1, 1}, {5, 7, 3}, {40, 33, 130}, {64, 64, 64}, {100, 17, 65}} {
		m, n, k := shape[0], shape[1], shape[2]
		for _, ta := range []blas.Transpose{blas.NoTrans, blas.Trans} {
			for _, tb := range []blas.Transpose{blas.NoTrans, blas.Trans} {
				for _, f := range [][2]float32{{1, 0}, {1, 1}, {-0.5, 2}} {
					alpha, beta := f[0], f[1]
					a, lda, atA := stored(rng, ta, m, k)
					b, ldb, atB := stored(rng, tb, k, n)
					c := randomMatrix(rng, m, n+2)
					before := contrastive.NewMatrix(m, n+2)
					copy(before.Data, c.Data)
					if beta == 0 {
						c.Row(0)[0] = float32(math.NaN()) // β = 0 overwrites
					}
					BLAS{}.Sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c.Data, n+2)
					name := fmt.Sprintf("%d×%d×%d, transposed %c %c, α %g, β %g", m, n, k, ta, tb, alpha, beta)
					for i := range m {
						for j := range n {
							want, size := 0.0, 0.0
							for l := range k {
								p := float64(alpha) * atA(i, l) * atB(l, j)
								want += p
								size += math.Abs(p)
							}
							if beta != 0 {
								want += float64(beta) * float64(before.Row(i)[j])
								size += math.Abs(float64(beta) * float64(before.Row(i)[j]))
							}
							if got := float64(c.Row(i)[j]); !(math.Abs(got-want) <= float64(k+3)*0x1p-24*size) {
								t.Fatalf("%s: element %d,%d is %g, want %g", name, i, j, got, want)
							}
						}
						for j := n; j < n+2; j++ {
							if c.Row(i)[j] != before.Row(i)[j] {
								t.Fatalf("%s: wrote behind row %d", name, i)
							}
						}
					}
				}
			}
		}
	}
}

// BenchmarkSgemm compares with gonum at the size of an encoder's first layer.
func BenchmarkSgemm(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	x, w, y := randomMatrix(rng, 512, 784), randomMatrix(rng, 784, 512), randomMatrix(rng, 512, 512)
	for _, c := range []struct {
		name string
		blas blas.Float32Level3
	}{{"gonum", gonum.Implementation{}}, {"simd", BLAS{}}} {
		b.Run("forward/"+c.name, func(b *testing.B) {
			for b.Loop() {
				c.blas.Sgemm(blas.NoTrans, blas.NoTrans, 512, 512, 784, 1, x.Data, 784, w.Data, 512, 0, y.Data, 512)
			}
		})
		b.Run("weights/"+c.name, func(b *testing.B) {
			for b.Loop() {
				c.blas.Sgemm(blas.Trans, blas.NoTrans, 784, 512, 512, 1, x.Data, 784, y.Data, 512, 0, w.Data, 512)
			}
		})
		b.Run("input/"+c.name, func(b *testing.B) {
			for b.Loop() {
				c.blas.Sgemm(blas.NoTrans, blas.Trans, 512, 784, 512, 1, y.Data, 512, w.Data, 512, 0, x.Data, 784)
			}
		})
	}
}
