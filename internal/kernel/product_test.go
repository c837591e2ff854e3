package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/isa/isatest"
)

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }

// checkProduct fails t unless the elements of c are within the documented bound of
// products, plus what was before.
func checkProduct(t *testing.T, what string, s Shape, c, before []float32, rows, cRow, depth int, add bool, a, b func(i, t int) float32) {
	t.Helper()
	for i := range rows {
		for j := range s.Cols {
			want, size := 0.0, 0.0
			for d := range depth {
				p := float64(a(i, d)) * float64(b(j, d))
				want += p
				size += math.Abs(p)
			}
			if add {
				want += float64(before[i*cRow+j])
				size += math.Abs(float64(before[i*cRow+j])) + math.Abs(want)
			}
			got := float64(c[i*cRow+j])
			if bound := float64(depth+1) * u * size; !(math.Abs(got-want) <= bound) {
				t.Fatalf("%s of %d rows, depth %d: element %d, %d is %v, want %v ± %.2g", what, rows, depth, i, j, got, want, bound)
			}
		}
		if gap := c[i*cRow+s.Cols : min((i+1)*cRow, len(c))]; !slices.Equal(gap, before[i*cRow+s.Cols:][:len(gap)]) {
			t.Fatalf("%s of %d rows writes between the rows", what, rows)
		}
	}
}

func TestMulPanels(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		s, r := Active().Shape, rand.New(rand.NewPCG(1, 2))
		for rows := 1; rows <= 2*s.Rows+1; rows++ {
			for _, depth := range []int{1, 2, 3, 4, 5, 7, 8, 31, 130} {
				cRow := s.Cols + rows%3
				a := guarded(t, r, roundUp(rows, s.Rows)*depth)
				b := guarded(t, r, s.Cols*depth)
				c := guarded(t, r, (roundUp(rows, s.RowStep)-1)*cRow+s.Cols)
				before := slices.Clone(c)
				add := depth%2 == 0
				Active().MulPanels(c, cRow, a, depth*s.Rows, b, rows, depth, add)
				checkProduct(t, "MulPanels", s, c, before, rows, cRow, depth, add,
					func(i, d int) float32 { return a[i/s.Rows*depth*s.Rows+d*s.Rows+i%s.Rows] },
					func(j, d int) float32 { return b[d*s.Cols+j] })
			}
		}
	})
}

func TestMulBlocks(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		s, r := Active().Shape, rand.New(rand.NewPCG(1, 2))
		for rows := 1; rows <= 2*s.Rows+1; rows++ {
			for _, blocks := range []int{1, 2, 3, 4, 5, 9} {
				for depth := BlockStep; depth <= s.Cols; depth += BlockStep {
					height := roundUp(rows, s.RowStep)
					aBlock, bBlock, cRow := (height+1)*s.Cols, (depth+2)*s.Cols, s.Cols+4
					a := guarded(t, r, (blocks-1)*aBlock+(height-1)*s.Cols+depth)
					b := guarded(t, r, (blocks-1)*bBlock+depth*s.Cols)
					c := guarded(t, r, (height-1)*cRow+s.Cols)
					before := slices.Clone(c)
					add := blocks%2 == 0
					Active().MulBlocks(c, cRow, a, aBlock, b, bBlock, rows, blocks, depth, add)
					checkProduct(t, "MulBlocks", s, c, before, rows, cRow, blocks*depth, add,
						func(i, d int) float32 { return a[d/depth*aBlock+i*s.Cols+d%depth] },
						func(j, d int) float32 { return b[d/depth*bBlock+d%depth*s.Cols+j] })
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		s, r := Active().Shape, rand.New(rand.NewPCG(1, 2))
		n := s.Cols
		for extra := range 3 {
			dstRow, srcRow := n+extra, n+2*extra
			src := guarded(t, r, (n-1)*srcRow+n)
			dst := guarded(t, r, (n-1)*dstRow+n)
			before := slices.Clone(dst)
			Active().Transpose(dst, dstRow, src, srcRow)
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
