package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/floattest"
)

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }

// checkProduct fails t unless the elements of c are within the documented bound of
// products, plus what was before.
func checkProduct(t *testing.T, what string, k *Kernels, c, before []float32, rows, cRow, depth int, add bool, a, b func(i, t int) float32) {
	t.Helper()
	beta := float32(0)
	if add {
		beta = 1
	}
	checkScaled(t, what, k, c, before, rows, cRow, depth, 1, beta, a, b)
}

// checkScaled is checkProduct for alpha times the product and beta times what was before,
// which may be NaN if beta is 0.
func checkScaled(t *testing.T, what string, k *Kernels, c, before []float32, rows, cRow, depth int, alpha, beta float32, a, b func(i, t int) float32) {
	t.Helper()
	roundings := float64(depth)
	if alpha != 1 {
		roundings++
	}
	if beta != 0 {
		roundings++
	}
	for i := range rows {
		for j := range k.Cols {
			want, size := 0.0, 0.0
			for d := range depth {
				p := float64(alpha) * float64(a(i, d)) * float64(b(j, d))
				want += p
				size += math.Abs(p)
			}
			if beta != 0 {
				p := float64(beta) * float64(before[i*cRow+j])
				want += p
				size += math.Abs(p)
			}
			got := float64(c[i*cRow+j])
			if bound := (roundings + 1) * u * size; !(math.Abs(got-want) <= bound) {
				t.Fatalf("%s of %d rows, depth %d: element %d, %d is %v, want %v ± %.2g", what, rows, depth, i, j, got, want, bound)
			}
		}
		if gap := c[i*cRow+k.Cols : min((i+1)*cRow, len(c))]; !floattest.Same(gap, before[i*cRow+k.Cols:][:len(gap)]) {
			t.Fatalf("%s of %d rows writes between the rows", what, rows)
		}
	}
}

// TestMulCols tests the product of packed operands.
func TestMulCols(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for rows := 1; rows <= 2*k.Rows+1; rows++ {
			for _, depth := range []int{1, 2, 3, 4, 5, 7, 8, 31, 130} {
				cRow := k.Cols + rows%3
				a := guarded(t, r, roundUp(rows, k.Rows)*depth)
				b := guarded(t, r, k.Cols*depth)
				c := guarded(t, r, (roundUp(rows, k.RowStep)-1)*cRow+k.Cols)
				before := slices.Clone(c)
				add := depth%2 == 0
				k.MulCols(c, cRow, a, depth*k.Rows, k.Rows, b, k.Cols, rows, depth, 1, float32(1-depth%2))
				checkProduct(t, "MulCols", k, c, before, rows, cRow, depth, add,
					func(i, d int) float32 { return a[i/k.Rows*depth*k.Rows+d*k.Rows+i%k.Rows] },
					func(j, d int) float32 { return b[d*k.Cols+j] })
			}
		}
	})
}

func TestMulBlocks(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for rows := 1; rows <= 2*k.Rows+1; rows++ {
			for _, blocks := range []int{1, 2, 3, 4, 5, 9} {
				for depth := BlockStep; depth <= k.Cols; depth += BlockStep {
					height := roundUp(rows, k.RowStep)
					aBlock, bBlock, cRow := (height+1)*k.Cols, (depth+2)*k.Cols, k.Cols+4
					a := guarded(t, r, (blocks-1)*aBlock+(height-1)*k.Cols+depth)
					b := guarded(t, r, (blocks-1)*bBlock+depth*k.Cols)
					c := guarded(t, r, (height-1)*cRow+k.Cols)
					before := slices.Clone(c)
					add := blocks%2 == 0
					k.MulBlocks(c, cRow, a, aBlock, b, bBlock, rows, blocks, depth, add)
					checkProduct(t, "MulBlocks", k, c, before, rows, cRow, blocks*depth, add,
						func(i, d int) float32 { return a[d/depth*aBlock+i*k.Cols+d%depth] },
						func(j, d int) float32 { return b[d/depth*bBlock+d%depth*k.Cols+j] })
				}
			}
		}
	})
}

// TestStrided tests the products of operands that are not packed.
func TestStrided(t *testing.T) {
	scales := [][2]float32{{1, 0}, {1, 1}, {-0.7, 0}, {0.3, -1.1}}
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for rows := 1; rows <= 2*k.Rows+1; rows++ {
			for i, depth := range []int{1, 2, 3, 4, 5, 7, 8, 11, 31, 130} {
				alpha, beta := scales[(rows+i)%4][0], scales[(rows+i)%4][1]
				height, cRow, bStep := roundUp(rows, k.RowStep), k.Cols+rows%3, k.Cols+i%2*5
				b := guarded(t, r, (depth-1)*bStep+k.Cols)
				right := func(j, d int) float32 { return b[d*bStep+j] }
				product := func(what string, left func(i, d int) float32, multiply func(c []float32)) {
					c := guarded(t, r, (height-1)*cRow+k.Cols)
					if beta == 0 {
						floattest.Fill(c, float32(math.NaN()))
					}
					before := slices.Clone(c)
					multiply(c)
					checkScaled(t, what, k, c, before, rows, cRow, depth, alpha, beta, left, right)
				}
				aRow := depth + i%3
				a := guarded(t, r, (height-1)*aRow+depth)
				product("MulRows", func(i, d int) float32 { return a[i*aRow+d] }, func(c []float32) {
					k.MulRows(c, cRow, a, aRow, b, bStep, rows, depth, alpha, beta)
				})
				aStep := height + i%3
				a = guarded(t, r, (depth-1)*aStep+height)
				product("MulCols", func(i, d int) float32 { return a[d*aStep+i] }, func(c []float32) {
					k.MulCols(c, cRow, a, k.Rows, aStep, b, bStep, rows, depth, alpha, beta)
				})
			}
		}
	})
}

func TestInterleave(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for rows := 1; rows <= 2*k.Rows+1; rows++ {
			for n := 1; n <= 2*k.Cols+3; n++ {
				srcRow := n + n%3
				src := guarded(t, r, (rows-1)*srcRow+n)
				dst := guarded(t, r, roundUp(rows, k.Rows)*n)
				k.Interleave(dst, src, srcRow, rows, n)
				for i := range rows {
					for j := range n {
						if got, want := dst[i/k.Rows*n*k.Rows+j*k.Rows+i%k.Rows], src[i*srcRow+j]; got != want {
							t.Fatalf("%d rows of %d: element %d, %d is %v, want %v", rows, n, i, j, got, want)
						}
					}
				}
			}
		}
	})
}

func TestPack(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for name, c := range map[string]struct {
			run  int
			pack func(dst, src []float32, srcRow, vectors, n int)
		}{"PackRows": {k.Rows, k.PackRows}, "PackCols": {k.Cols, k.PackCols}} {
			for vectors := 1; vectors <= 3*c.run+1; vectors++ {
				for n := range 6 {
					srcRow := vectors + n%3
					src := guarded(t, r, max(0, (n-1)*srcRow+vectors))
					dst := guarded(t, r, roundUp(vectors, c.run)*n)
					c.pack(dst, src, srcRow, vectors, n)
					for i := range vectors {
						for j := range n {
							if got, want := dst[i/c.run*n*c.run+j*c.run+i%c.run], src[j*srcRow+i]; got != want {
								t.Fatalf("%s of %d vectors of %d: element %d, %d is %v, want %v", name, vectors, n, i, j, got, want)
							}
						}
					}
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		n := k.Cols
		for extra := range 3 {
			dstRow, srcRow := n+extra, n+2*extra
			src := guarded(t, r, (n-1)*srcRow+n)
			dst := guarded(t, r, (n-1)*dstRow+n)
			before := slices.Clone(dst)
			k.Transpose(dst, dstRow, src, srcRow)
			for i := range dst {
				want := before[i]
				if i%dstRow < n {
					want = src[i%dstRow*srcRow+i/dstRow]
				}
				if dst[i] != want {
					t.Fatalf("element %d is %v, want %v", i, dst[i], want)
				}
			}
		}
	})
}
