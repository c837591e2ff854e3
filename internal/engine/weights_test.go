package engine

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive/internal/isa/isatest"
)

// constant are anchors whose weights are constants, and which note their sums.
type constant struct {
	row, col   []float64
	rows, cols []Stat
}

func (c *constant) LearnRows(first int, sums []Stat, slopes [][2]float64) {
	c.rows = append(c.rows, sums...)
	for i := range slopes {
		slopes[i][0] = c.row[first+i]
	}
}

func (c *constant) LearnCols(first int, sums []Stat, slopes [][2]float64) {
	c.cols = append(c.cols, sums...)
	for j := range slopes {
		slopes[j][0] = c.col[first+j]
	}
}

// TestWeights evaluates problems a second time with the sums of the first as known.
// The gradients differ by two exponentials, each within 4 ulp, and by roundings of
// coefficients, products and sums: 16·u of gradients in which nothing cancels.
// That holds where the float32 rounding of the scale, which the sums of Stat are
// corrected for, is many times that.
func TestWeights(t *testing.T) {
	const rows, cols, dim, anchors = 21, 50, 7, 40
	isatest.Each(t, func(t *testing.T) {
		for _, scale := range [...]float64{1, 1 / 0.07, 49.3, 100, 1000.3} {
			for _, colAnchors := range [...]int{0, anchors} {
				r := rand.New(rand.NewPCG(1, uint64(scale)))
				matrix := func(n int) Matrix {
					m := Matrix{n, dim, dim, make([]float32, n*dim)}
					for i := range m.Data {
						m.Data[i] = float32(r.Float64()) // of one sign: nothing cancels in the gradients
					}
					return m
				}
				x, y := matrix(rows), matrix(cols)
				a := constant{}
				for range cols {
					a.row, a.col = append(a.row, r.Float64()), append(a.col, r.Float64())
				}
				e := New()
				e.Enter()
				defer e.Leave()
				run := func(rowWeights, colWeights []Weight) (dx, dy []float32) {
					gx, gy := matrix(rows), matrix(cols)
					// The gradients of rows that are not normalised are those with
					// respect to the vectors.
					var rowList, colList, unit List
					unit.Reset(dim)
					unit.Add(x, Matrix{}, true)
					unit.Add(y, Matrix{}, true)
					ux, uy := matrix(rows), matrix(cols)
					for i := range rows {
						unit.Vector(i, ux.Row(i))
					}
					for j := range cols {
						unit.Vector(rows+j, uy.Row(j))
					}
					rowList.Reset(dim)
					colList.Reset(dim)
					rowList.Add(ux, gx, false)
					colList.Add(uy, gy, false)
					p := Problem{Rows: &rowList, Cols: &colList, Scale: scale, Terms: 1, Exponents: [2]float64{1, 1}, Workers: 1}
					p.ColAnchors, p.RowWeights, p.ColWeights = colAnchors, rowWeights, colWeights
					a.rows, a.cols = nil, nil
					e.Run(&p, &a)
					if rowWeights != nil && len(a.rows)+len(a.cols) > 0 {
						t.Error("anchors are told sums that are known")
					}
					return gx.Data, gy.Data
				}
				dx, dy := run(nil, nil)
				p := Problem{Scale: scale, Terms: 1, Exponents: [2]float64{1, 1}}
				var rowWeights, colWeights []Weight
				for i, s := range a.rows {
					rowWeights = append(rowWeights, p.Weight(s, [2]float64{a.row[i]}))
				}
				for j, s := range a.cols {
					colWeights = append(colWeights, p.Weight(s, [2]float64{a.col[j]}))
				}
				gx, gy := run(rowWeights, colWeights)
				for _, c := range [...]struct {
					name      string
					got, want []float32
				}{{"rows", gx, dx}, {"columns", gy, dy}} {
					for i, w := range c.want {
						if got := float64(c.got[i]); !(math.Abs(got-float64(w)) <= 16*0x1p-24*math.Abs(float64(w))+0x1p-120) {
							t.Fatalf("scale %v, %d column anchors: gradient of %s: element %d is %v, want %v", scale, colAnchors, c.name, i, got, w)
						}
					}
				}
			}
		}
	})
	if k := (&Problem{Scale: 1, Terms: 1, Exponents: [2]float64{1}}).Weight(Stat{LSE: [2]float64{math.Inf(-1)}}, [2]float64{1}); k != (Weight{}) {
		t.Errorf("an anchor without pairs has %+v", k)
	}
}
