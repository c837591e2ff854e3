package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/guard"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
)

// A blockCase is a block of similarities against a page that faults, with some
// pairs that do not count, and what its kernels read.
type blockCase struct {
	*Kernels
	rows               int
	block              []float32
	rowShift, colShift []float32
	rowCoef, colCoef   []float32
	row, col           Tally
}

// eachBlock calls f with blocks of 0 to 9 rows on every level.
func eachBlock(t *testing.T, f func(t *testing.T, c *blockCase)) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for rows := range 10 {
			c := &blockCase{
				Kernels: k, rows: rows,
				block:    guarded(t, r, rows*k.Cols),
				rowShift: guarded(t, r, rows), colShift: guarded(t, r, k.Cols),
				rowCoef: guarded(t, r, rows), colCoef: guarded(t, r, k.Cols),
				row: guardedTally(t, rows*k.Lanes), col: guardedTally(t, k.Cols),
			}
			for i := range c.block {
				c.block[i] = float32(math.Tanh(float64(c.block[i])))
				if r.IntN(10) == 0 {
					c.block[i] = float32(math.Inf(-1))
				}
			}
			f(t, c)
		}
	})
}

func guardedTally(t *testing.T, n int) Tally {
	slice := func() []float32 {
		_, s := guard.Float32s(t, n)
		return s
	}
	tally := Tally{Sum: slice(), Moment: slice(), Top: slice()}
	for i := range tally.Top {
		tally.Top[i] = float32(math.Inf(-1))
	}
	return tally
}

const blockScale = 20

// exponential returns 2^y for an element, y, and the relative error that the
// kernels may have: that of the exponential and the rounding of the exponent.
func exponential(s, shift float32) (e, y, bound float64) {
	if math.IsInf(float64(s), -1) {
		return 0, 0, 0
	}
	y = blockScale * (float64(s) - float64(shift))
	return math.Exp2(y), y, (5 + 2*math.Abs(y)) * u
}

// sums are what a tally should hold, and its errors.
type sums struct{ sum, moment, sumBound, momentBound, top float64 }

func (s *sums) add(v, shift float32) {
	e, y, bound := exponential(v, shift)
	s.sum += e
	s.sumBound += e * bound
	s.moment += e * y
	s.momentBound += e * (math.Abs(y)*(bound+2*u) + 2*u*blockScale*4)
	s.top = max(s.top, float64(v))
}

// check compares the lanes of a tally, with n additions in each.
func (s *sums) check(t *testing.T, what string, tally Tally, at, lanes, n int) {
	t.Helper()
	sum, moment, top := 0.0, 0.0, math.Inf(-1)
	size := 0.0
	for i := at; i < at+lanes; i++ {
		sum += float64(tally.Sum[i])
		moment += float64(tally.Moment[i])
		size += math.Abs(float64(tally.Moment[i]))
		top = max(top, float64(tally.Top[i]))
	}
	adds := float64(n) * u
	near(t, what+": sum", n, sum, s.sum, s.sumBound+adds*s.sum)
	near(t, what+": moment", n, moment, s.moment, s.momentBound+adds*(s.momentBound/u+size))
	if top != s.top {
		t.Fatalf("%s: greatest is %v, want %v", what, top, s.top)
	}
}

// expect returns the sums of each row and column for the shifts.
func (c *blockCase) expect(rowShift, colShift func(i int) float32) (rows, cols []sums) {
	rows, cols = make([]sums, c.rows), make([]sums, c.Cols)
	for i := range rows {
		rows[i].top = math.Inf(-1)
	}
	for j := range cols {
		cols[j].top = math.Inf(-1)
	}
	for i := range c.rows {
		for j := range c.Cols {
			v := c.block[i*c.Cols+j]
			rows[i].add(v, rowShift(i))
			cols[j].add(v, colShift(j))
		}
	}
	return rows, cols
}

func none(int) float32 { return 0 }

func TestTallyRows(t *testing.T) {
	eachBlock(t, func(t *testing.T, c *blockCase) {
		rows, _ := c.expect(func(i int) float32 { return c.rowShift[i] }, none)
		before := slices.Clone(c.block)
		c.TallyRows(c.block, c.rows, blockScale, c.rowShift, c.row, false)
		if !slices.Equal(c.block, before) {
			t.Fatal("TallyRows writes to the block")
		}
		for i := range rows {
			rows[i].check(t, "TallyRows", c.row, i*c.Lanes, c.Lanes, c.Cols/c.Lanes)
		}
		c.TallyRows(c.block, c.rows, blockScale, c.rowShift, guardedTally(t, c.rows*c.Lanes), true)
		for i, v := range before {
			e, _, bound := exponential(v, c.rowShift[i/c.Cols])
			near(t, "TallyRows: exponential", c.rows, float64(c.block[i]), e, e*bound)
		}
	})
}

func TestTallyCols(t *testing.T) {
	eachBlock(t, func(t *testing.T, c *blockCase) {
		_, cols := c.expect(none, func(j int) float32 { return c.colShift[j] })
		c.TallyCols(c.block, c.rows, blockScale, c.colShift, c.col)
		for j := range cols {
			cols[j].check(t, "TallyCols", c.col, j, 1, c.rows)
		}
	})
}

func TestTallyBothAndTopBoth(t *testing.T) {
	eachBlock(t, func(t *testing.T, c *blockCase) {
		rows, cols := c.expect(none, none)
		stored, storedRow, storedCol := slices.Clone(c.block), guardedTally(t, c.rows*c.Lanes), guardedTally(t, c.Cols)
		c.TallyBoth(c.block, c.rows, blockScale, c.row, c.col, false)
		if !slices.Equal(c.block, stored) {
			t.Fatal("TallyBoth writes to the block")
		}
		c.TallyBoth(stored, c.rows, blockScale, storedRow, storedCol, true)
		for i, v := range c.block {
			e, _, bound := exponential(v, 0)
			near(t, "TallyBoth: exponential", c.rows, float64(stored[i]), e, e*bound)
		}
		for _, s := range [][2]Tally{{storedRow, c.row}, {storedCol, c.col}} {
			if !slices.Equal(s[0].Sum, s[1].Sum) || !slices.Equal(s[0].Moment, s[1].Moment) || !slices.Equal(s[0].Top, s[1].Top) {
				t.Fatal("TallyBoth differs if it stores the exponentials")
			}
		}
		topRow, topCol := guardedTally(t, c.rows*c.Lanes), guardedTally(t, c.Cols)
		c.TopBoth(c.block, c.rows, topRow, topCol)
		for i := range rows {
			rows[i].check(t, "TallyBoth: row", c.row, i*c.Lanes, c.Lanes, c.Cols/c.Lanes)
		}
		for j := range cols {
			cols[j].check(t, "TallyBoth: column", c.col, j, 1, c.rows)
		}
		if !slices.Equal(topRow.Top, c.row.Top) || !slices.Equal(topCol.Top, c.col.Top) {
			t.Fatal("TopBoth and TallyBoth differ")
		}
	})
}

func TestGreatest(t *testing.T) {
	eachBlock(t, func(t *testing.T, c *blockCase) {
		c.Greatest(c.block, c.rows, c.rowShift)
		for i, got := range c.rowShift {
			if want := slices.Max(c.block[i*c.Cols : (i+1)*c.Cols]); got != want {
				t.Fatalf("row %d of %d: %v, want %v", i, c.rows, got, want)
			}
		}
	})
}

func TestWeigh(t *testing.T) {
	eachBlock(t, func(t *testing.T, c *blockCase) {
		both, rows, cols := slices.Clone(c.block), guardedTally(t, len(c.block)).Sum, guardedTally(t, len(c.block)).Sum
		for i := range rows {
			rows[i], cols[i] = 1, 1
		}
		c.WeighBoth(both, c.rows, blockScale, c.rowCoef, c.colCoef)
		stored := slices.Clone(c.block)
		c.TallyBoth(stored, c.rows, blockScale, c.row, c.col, true)
		c.WeighExponentials(stored, c.rows, c.rowCoef, c.colCoef)
		if !slices.Equal(stored, both) {
			t.Fatal("WeighExponentials and WeighBoth differ")
		}
		c.WeighRows(rows, c.block, c.rows, blockScale, c.rowShift, c.rowCoef)
		c.WeighCols(cols, c.block, c.rows, blockScale, c.colShift, c.colCoef)
		for k, v := range c.block {
			i, j := k/c.Cols, k%c.Cols
			rc, cc := float64(c.rowCoef[i]), float64(c.colCoef[j])
			e, _, bound := exponential(v, 0)
			near(t, "WeighBoth", c.rows, float64(both[k]), e*(rc+cc), e*(math.Abs(rc)+math.Abs(cc))*(bound+2*u))
			e, _, bound = exponential(v, c.rowShift[i])
			near(t, "WeighRows", c.rows, float64(rows[k]), 1+e*rc, e*math.Abs(rc)*(bound+3*u)+2*u)
			e, _, bound = exponential(v, c.colShift[j])
			near(t, "WeighCols", c.rows, float64(cols[k]), 1+e*cc, e*math.Abs(cc)*(bound+3*u)+2*u)
		}
	})
}

// TestTallySigmoid takes biases up to the greatest: the moment is that of scale·s,
// which a great bias does not blur.
func TestTallySigmoid(t *testing.T) {
	for _, bias := range []float32{-3, 0, 3, -40, 40, -1e4, 1e4, -1e6, 1e6, -0x1p100, 0x1p100} {
		eachBlock(t, func(t *testing.T, c *blockCase) {
			p := fuzzBlock{Kernels: c.Kernels, rows: c.rows, scale: blockScale, bias: bias, block: c.block}
			p.sigmoids(t)
		})
	}
}

func TestTallySquares(t *testing.T) {
	eachBlock(t, func(t *testing.T, c *blockCase) {
		want := make([]float64, c.rows)
		for i, v := range c.block {
			if math.IsInf(float64(v), -1) {
				c.block[i], v = 0, 0
			}
			want[i/c.Cols] += float64(v) * float64(v)
		}
		before := slices.Clone(c.block)
		c.TallySquares(c.block, c.rows, c.row.Sum)
		for i := range want {
			got := 0.0
			for _, v := range c.row.Sum[i*c.Lanes : (i+1)*c.Lanes] {
				got += float64(v)
			}
			near(t, "TallySquares", c.rows, got, want[i], 3*u*want[i])
		}
		if !slices.Equal(c.block, before) {
			t.Fatal("TallySquares writes to the block")
		}
	})
}

// TestLeaveOut has limits among the similarities of the guide, equal to some, and beyond
// all; and as guide the block itself, and another, in which what does not count has
// similarities too.
func TestLeaveOut(t *testing.T) {
	inf := float32(math.Inf(1))
	eachBlock(t, func(t *testing.T, c *blockCase) {
		other := slices.Clone(c.block)
		for i := range other {
			other[i] = float32(i*37%101)/50 - 1
		}
		for _, own := range []bool{true, false} {
			guide := other
			if own {
				guide = slices.Clone(c.block)
			}
			limits := func(n, step int) []float32 {
				l := guardedTally(t, n).Sum
				for i := range l {
					l[i] = []float32{guide[i*step], -inf, inf, 0, float32(math.Copysign(0, -1)), guide[i*step] - 1}[i%6]
				}
				return l
			}
			if c.rows == 0 {
				c.LeaveOut(nil, nil, 0, nil, nil, nil)
				c.LeaveOutCols(nil, nil, nil, 0, nil)
				continue
			}
			rowLimits, colLimits := limits(c.rows, c.Cols), limits(c.Cols, 1)
			got, gotCols := guardedTally(t, len(c.block)).Sum, guardedTally(t, len(c.block)).Sum
			copy(got, c.block)
			from := guide
			if own {
				from = got
			}
			sum, pairs := guardedTally(t, c.rows*c.Lanes).Sum, guardedTally(t, c.rows*c.Lanes).Sum
			c.LeaveOutCols(gotCols, got, from, c.rows, colLimits)
			c.LeaveOut(got, from, c.rows, rowLimits, sum, pairs)
			for i := range c.rows {
				wantSum, size, wantPairs, gotSum, gotPairs := 0.0, 0.0, 0.0, 0.0, 0.0
				for j := range c.Cols {
					k := i*c.Cols + j
					want, wantCols := c.block[k], c.block[k]
					if guide[k] > colLimits[j] {
						wantCols = -inf
					}
					if guide[k] > rowLimits[i] {
						if want != -inf {
							wantSum += float64(want)
							size += math.Abs(float64(want))
							wantPairs++
						}
						want = -inf
					}
					if got[k] != want || gotCols[k] != wantCols {
						t.Fatalf("row %d, column %d: %v for rows and %v for columns, want %v and %v", i, j, got[k], gotCols[k], want, wantCols)
					}
				}
				for l := range c.Lanes {
					gotSum += float64(sum[i*c.Lanes+l])
					gotPairs += float64(pairs[i*c.Lanes+l])
				}
				near(t, "LeaveOut: sum", c.rows, gotSum, wantSum, float64(c.Cols/c.Lanes)*u*size)
				if gotPairs != wantPairs {
					t.Fatalf("row %d: %v pairs, want %v", i, gotPairs, wantPairs)
				}
			}
		}
	})
}

// BenchmarkBlocks has all operands in the first-level cache. What a kernel replaces stays what
// it is, or becomes 1.
func BenchmarkBlocks(b *testing.B) {
	isatest.EachB(b, func(b *testing.B) {
		const rows = 48
		k := Active()
		block, guide := make([]float32, rows*k.Cols), make([]float32, rows*k.Cols)
		zeros, halves := make([]float32, rows*k.Cols), make([]float32, rows*k.Cols)
		for i := range halves {
			halves[i] = 0.5
		}
		row, col := newTally(rows*k.Lanes), newTally(k.Cols)
		weight := make([]float32, rows*k.Lanes)
		for _, c := range []struct {
			name string
			run  func()
		}{
			{"TallyRows", func() { k.TallyRows(block, rows, 0, zeros, row, false) }},
			{"TallyRowsStore", func() { k.TallyRows(block, rows, 0, zeros, row, true) }},
			{"TallyCols", func() { k.TallyCols(block, rows, 0, zeros, col) }},
			{"TallyBoth", func() { k.TallyBoth(block, rows, 0, row, col, false) }},
			{"TallyBothStore", func() { k.TallyBoth(block, rows, 0, row, col, true) }},
			{"WeighBoth", func() { k.WeighBoth(block, rows, 0, halves, halves) }},
			{"WeighExponentials", func() { k.WeighExponentials(block, rows, halves, halves) }},
			{"WeighRows", func() { k.WeighRows(guide, block, rows, 0, zeros, halves) }},
			{"WeighCols", func() { k.WeighCols(guide, block, rows, 0, zeros, halves) }},
			{"TallySigmoid", func() { k.TallySigmoid(block, rows, 0, 0, row, weight) }},
			{"LeaveOut", func() { k.LeaveOut(block, zeros, rows, halves, row.Sum, weight) }},
		} {
			b.Run(c.name, func(b *testing.B) {
				for b.Loop() {
					c.run()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
			})
		}
	})
}
