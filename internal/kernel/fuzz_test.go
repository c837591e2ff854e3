package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/floattest"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
)

// A fuzzBlock is a block of similarities, as the engine makes them, of which some
// are -Inf, and what the kernels take with it.
type fuzzBlock struct {
	*Kernels
	rows               int
	scale, bias        float32
	block              []float32
	rowShift, colShift []float32
	rowCoef, colCoef   []float32
}

// FuzzBlocks compares every kernel that works on a block of similarities, on every
// level, the portable one among them, with the same in float64: for any number of
// rows, scale, bias, similarities and pairs that do not count. As in package
// engine, exponents beyond 72 bits come with shifts that make the greatest of a
// row or column 0.
func FuzzBlocks(f *testing.F) {
	for i, scale := range []float32{20, 0.001, 71, 73, 2000, 1e20} {
		f.Add(uint64(i), uint8(5*i), scale, float32(-10+5*i), uint8(40*i), []byte{})
		f.Add(uint64(i), uint8(2*i+1), scale, float32(7-i), uint8(7*i), slices.Concat(floattest.Edit(3, 1), floattest.Edit(9, -1), floattest.Edit(20, 0x1p-149)))
	}
	f.Fuzz(func(t *testing.T, seed uint64, rows uint8, scale, bias float32, excluded uint8, edits []byte) {
		if !(scale > 0 && scale < 0x1p101 && math.Abs(float64(bias)) < 0x1p100) {
			t.Skip()
		}
		isatest.Each(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2)) // the same values for every level, in its own shape
			p := fuzzBlock{Kernels: Active(), rows: int(rows % 40), scale: scale, bias: bias}
			p.block = make([]float32, p.rows*p.Cols)
			for i := range p.block {
				p.block[i] = float32(2*r.Float64() - 1)
			}
			floattest.Poke(p.block, edits)
			for i, v := range p.block {
				if v != v {
					p.block[i] = 0
				}
				p.block[i] = max(-1, min(p.block[i], 1))
				if r.IntN(256) < int(excluded) {
					p.block[i] = float32(math.Inf(-1))
				}
			}
			for range p.rows {
				p.rowCoef = append(p.rowCoef, float32(r.NormFloat64()*math.Exp2(20*r.Float64())))
			}
			for range p.Cols {
				p.colCoef = append(p.colCoef, float32(r.NormFloat64()*math.Exp2(20*r.Float64())))
			}
			p.shifts()
			p.tallies(t)
			p.weights(t)
			p.sigmoids(t)
			p.squares(t)
		})
	})
}

func (p *fuzzBlock) wide() bool { return p.scale > 72 }

func (p *fuzzBlock) shifts() {
	p.rowShift, p.colShift = make([]float32, p.rows), make([]float32, p.Cols)
	if !p.wide() {
		return
	}
	lowest := float32(math.Inf(-1))
	for i := range p.rowShift {
		p.rowShift[i] = lowest
	}
	for j := range p.colShift {
		p.colShift[j] = lowest
	}
	for k, v := range p.block {
		i, j := k/p.Cols, k%p.Cols
		p.rowShift[i], p.colShift[j] = max(p.rowShift[i], v), max(p.colShift[j], v)
	}
	for _, shifts := range [...][]float32{p.rowShift, p.colShift} {
		for i, v := range shifts {
			if v == lowest {
				shifts[i] = 0
			}
		}
	}
}

// flushed is what an exponential may lose by being flushed to 0.
const flushed = 0x1p-126

// exponential returns 2^y for an element, y, and the error that the kernels may
// have: that of the exponential, and the roundings of the difference and of the
// product with the scale.
func (p *fuzzBlock) exponential(s, shift float32) (e, y, err float64) {
	if math.IsInf(float64(s), -1) {
		return 0, 0, 0
	}
	y = float64(p.scale) * (float64(s) - float64(shift))
	if y < -200 {
		return 0, 0, flushed
	}
	e = math.Exp2(y)
	return e, y, e*math.Expm1((5+2*math.Abs(y))*u) + flushed
}

// A blockSum is what a tally of n elements should hold, with its errors.
type blockSum struct {
	sum, sumErr, moment, momentErr, size float64
	top                                  float32
	n                                    float64
}

func (s *blockSum) add(p *fuzzBlock, v, shift float32) {
	e, y, err := p.exponential(v, shift)
	s.sum += e
	s.sumErr += err
	s.moment += e * y
	// Of y itself: the roundings of the difference and of the product.
	s.momentErr += err*200 + (e+err)*2*u*(math.Abs(y)+1)
	s.size += e * math.Abs(y)
	s.top = max(s.top, v)
	s.n++
}

func (s *blockSum) check(t *testing.T, what string, tally Tally, at, lanes int) {
	t.Helper()
	sum, moment, top := 0.0, 0.0, float32(math.Inf(-1))
	for i := at; i < at+lanes; i++ {
		sum += float64(tally.Sum[i])
		moment += float64(tally.Moment[i])
		top = max(top, tally.Top[i])
	}
	near(t, what+": sum", int(s.n), sum, s.sum, s.sumErr+s.n*u*s.sum)
	near(t, what+": moment", int(s.n), moment, s.moment, s.momentErr+s.n*u*s.size)
	if top != s.top {
		t.Fatalf("%s: greatest is %v, want %v", what, top, s.top)
	}
}

// sums returns those of rows and columns.
func (p *fuzzBlock) sums() (rows, cols []blockSum) {
	lowest := blockSum{top: float32(math.Inf(-1))}
	rows, cols = slices.Repeat([]blockSum{lowest}, p.rows), slices.Repeat([]blockSum{lowest}, p.Cols)
	for k, v := range p.block {
		i, j := k/p.Cols, k%p.Cols
		rows[i].add(p, v, p.rowShift[i])
		cols[j].add(p, v, p.colShift[j])
	}
	return rows, cols
}

func (p *fuzzBlock) tallies(t *testing.T) {
	rows, cols := p.sums()
	row, col := newTally(p.rows*p.Lanes), newTally(p.Cols)
	block := slices.Clone(p.block)
	p.TallyRows(block, p.rows, p.scale, p.rowShift, row, false)
	p.TallyCols(block, p.rows, p.scale, p.colShift, col)
	bothRow, bothCol := newTally(p.rows*p.Lanes), newTally(p.Cols)
	if !p.wide() {
		p.TallyBoth(block, p.rows, p.scale, bothRow, bothCol, false)
	}
	topRow, topCol := newTally(p.rows*p.Lanes), newTally(p.Cols)
	p.TopBoth(block, p.rows, topRow, topCol)
	greatest := make([]float32, p.rows)
	p.Greatest(block, p.rows, greatest)
	if !floattest.Same(block, p.block) {
		t.Fatal("a kernel writes to the block")
	}
	for i := range rows {
		rows[i].check(t, "TallyRows", row, i*p.Lanes, p.Lanes)
		if !p.wide() {
			rows[i].check(t, "TallyBoth: row", bothRow, i*p.Lanes, p.Lanes)
		}
		if top := slices.Max(topRow.Top[i*p.Lanes : (i+1)*p.Lanes]); top != rows[i].top || greatest[i] != rows[i].top {
			t.Fatalf("TopBoth: row: %v, Greatest: %v, want %v", top, greatest[i], rows[i].top)
		}
	}
	for j := range cols {
		cols[j].check(t, "TallyCols", col, j, 1)
		if !p.wide() {
			cols[j].check(t, "TallyBoth: column", bothCol, j, 1)
		}
		if topCol.Top[j] != cols[j].top {
			t.Fatalf("TopBoth: column: %v, want %v", topCol.Top[j], cols[j].top)
		}
	}
	row = newTally(p.rows * p.Lanes)
	p.TallyRows(block, p.rows, p.scale, p.rowShift, row, true)
	for i := range rows {
		rows[i].check(t, "TallyRows that stores", row, i*p.Lanes, p.Lanes)
	}
	for k, v := range p.block {
		e, _, err := p.exponential(v, p.rowShift[k/p.Cols])
		near(t, "TallyRows: exponential", p.rows, float64(block[k]), e, err)
	}
}

func (p *fuzzBlock) weights(t *testing.T) {
	n := len(p.block)
	both, rows, cols := slices.Clone(p.block), slices.Repeat([]float32{1}, n), slices.Repeat([]float32{1}, n)
	if !p.wide() {
		p.WeighBoth(both, p.rows, p.scale, p.rowCoef, p.colCoef)
		stored := slices.Clone(p.block)
		p.TallyBoth(stored, p.rows, p.scale, newTally(p.rows*p.Lanes), newTally(p.Cols), true)
		p.WeighExponentials(stored, p.rows, p.rowCoef, p.colCoef)
		if !slices.Equal(stored, both) {
			t.Fatal("WeighExponentials of what TallyBoth stores differs from WeighBoth")
		}
	}
	p.WeighRows(rows, p.block, p.rows, p.scale, p.rowShift, p.rowCoef)
	p.WeighCols(cols, p.block, p.rows, p.scale, p.colShift, p.colCoef)
	for k, v := range p.block {
		i, j := k/p.Cols, k%p.Cols
		r, c := float64(p.rowCoef[i]), float64(p.colCoef[j])
		if !p.wide() {
			e, _, err := p.exponential(v, 0)
			near(t, "WeighBoth", p.rows, float64(both[k]), e*(r+c), (err+2*u*e)*(math.Abs(r)+math.Abs(c))+flushed)
		}
		e, _, err := p.exponential(v, p.rowShift[i])
		near(t, "WeighRows", p.rows, float64(rows[k]), 1+e*r, (err+3*u*e)*math.Abs(r)+2*u)
		e, _, err = p.exponential(v, p.colShift[j])
		near(t, "WeighCols", p.rows, float64(cols[k]), 1+e*c, (err+3*u*e)*math.Abs(c)+2*u)
	}
}

// sigmoid returns the terms of a pair of logit z = y + bias and their errors: a logit
// may have the roundings of the product and of the sum, and of the product with log₂e,
// and both terms increase with it.
func sigmoid(y, bias float64) (loss, weight, lossErr, weightErr float64) {
	terms := func(z float64) (loss, weight float64) {
		e := math.Exp(-math.Abs(z))
		if z < 0 {
			return math.Log1p(e), e / (1 + e)
		}
		return z + math.Log1p(e), 1 / (1 + e)
	}
	z := y + bias
	off := 2 * u * (math.Abs(y) + math.Abs(bias) + math.Abs(z))
	loss, weight = terms(z)
	most, heaviest := terms(z + off)
	least, lightest := terms(z - off)
	return loss, weight, max(most-loss, loss-least), max(heaviest-weight, weight-lightest) + 12*u*weight + flushed
}

func (p *fuzzBlock) sigmoids(t *testing.T) {
	block, tally, weight := slices.Clone(p.block), newTally(p.rows*p.Lanes), make([]float32, p.rows*p.Lanes)
	p.TallySigmoid(block, p.rows, p.scale, p.bias, tally, weight)
	for i := range p.rows {
		var want, err, got [3]float64
		for j := range p.Cols {
			k := i*p.Cols + j
			v := float64(p.block[k])
			if math.IsInf(v, -1) {
				if block[k] != 0 {
					t.Fatalf("TallySigmoid: the weight of what does not count is %v", block[k])
				}
				continue
			}
			y := float64(p.scale) * v
			loss, w, lossErr, weightErr := sigmoid(y, float64(p.bias))
			near(t, "TallySigmoid: weight", p.rows, float64(block[k]), w, weightErr)
			for n, term := range [3]float64{loss, w * y, w} {
				want[n] += term
				err[n] += (20+float64(p.Cols))*u*math.Abs(term) + 0x1p-120
			}
			err[0] += lossErr
			err[1] += weightErr * math.Abs(y)
			err[2] += weightErr
		}
		for l := range p.Lanes {
			at := i*p.Lanes + l
			got[0] += float64(tally.Sum[at])
			got[1] += float64(tally.Moment[at])
			got[2] += float64(weight[at])
		}
		if top, want := slices.Max(tally.Top[i*p.Lanes:(i+1)*p.Lanes]), slices.Max(p.block[i*p.Cols:(i+1)*p.Cols]); top != want {
			t.Fatalf("TallySigmoid: greatest is %v, want %v", top, want)
		}
		for n, what := range [3]string{"losses", "moments", "weights"} {
			near(t, "TallySigmoid: sum of "+what, p.rows, got[n], want[n], err[n])
		}
	}
}

func (p *fuzzBlock) squares(t *testing.T) {
	block := slices.Clone(p.block)
	want := make([]float64, p.rows)
	for k, v := range block {
		if math.IsInf(float64(v), -1) {
			block[k], v = 0, 0
		}
		want[k/p.Cols] += float64(v) * float64(v)
	}
	sum := make([]float32, p.rows*p.Lanes)
	p.TallySquares(block, p.rows, sum)
	for i := range want {
		got := 0.0
		for _, v := range sum[i*p.Lanes : (i+1)*p.Lanes] {
			got += float64(v)
		}
		near(t, "TallySquares", p.rows, got, want[i], 3*u*want[i]+float64(p.Cols)*flushed)
	}
}

// FuzzProducts compares the matrix products and the transposition of every level with
// their definitions, against pages that fault.
func FuzzProducts(f *testing.F) {
	for i := range 6 {
		f.Add(uint64(i), uint8(7*i), uint8(5*i*i), uint8(i), uint8(3*i), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, rows, depth, gap, bits uint8, add bool) {
		isatest.Each(t, func(t *testing.T) {
			k, r := Active(), rand.New(rand.NewPCG(seed, 3))
			fill := func(n int) []float32 {
				v := guarded(t, r, n)
				copy(v, floattest.Spread(r, uint16(min(n, math.MaxUint16)), float64(bits%30)))
				return v
			}
			rows, depth, gap := 1+int(rows)%(3*k.Rows), 1+int(depth), int(gap)
			cRow := k.Cols + gap%9
			a, b := fill(roundUp(rows, k.Rows)*depth), fill(k.Cols*depth)
			c := fill((roundUp(rows, k.RowStep)-1)*cRow + k.Cols)
			before := slices.Clone(c)
			beta := float32(0)
			if add {
				beta = 1
			}
			k.MulCols(c, cRow, a, depth*k.Rows, k.Rows, b, k.Cols, rows, depth, 1, beta)
			checkProduct(t, "MulCols", k, c, before, rows, cRow, depth, add,
				func(i, d int) float32 { return a[i/k.Rows*depth*k.Rows+d*k.Rows+i%k.Rows] },
				func(j, d int) float32 { return b[d*k.Cols+j] })

			blocks := 1 + gap%7
			depth = BlockStep * (1 + depth%(k.Cols/BlockStep))
			height := roundUp(rows, k.RowStep)
			aBlock, bBlock := (height+gap%3)*k.Cols, (depth+gap%2)*k.Cols
			a, b = fill((blocks-1)*aBlock+(height-1)*k.Cols+depth), fill((blocks-1)*bBlock+depth*k.Cols)
			copy(c, before)
			k.MulBlocks(c, cRow, a, aBlock, b, bBlock, rows, blocks, depth, add)
			checkProduct(t, "MulBlocks", k, c, before, rows, cRow, blocks*depth, add,
				func(i, d int) float32 { return a[d/depth*aBlock+i*k.Cols+d%depth] },
				func(j, d int) float32 { return b[d/depth*bBlock+d%depth*k.Cols+j] })

			n := k.Cols
			dstRow, srcRow := n+gap%5, n+gap%4
			src, dst := fill((n-1)*srcRow+n), fill((n-1)*dstRow+n)
			before = slices.Clone(dst)
			k.Transpose(dst, dstRow, src, srcRow)
			for i, v := range dst {
				want := before[i]
				if i%dstRow < n {
					want = src[i%dstRow*srcRow+i/dstRow]
				}
				if v != want {
					t.Fatalf("Transpose: element %d is %v, want %v", i, v, want)
				}
			}
		})
	})
}
