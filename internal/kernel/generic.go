package kernel

import (
	"math"
	"slices"
	"unsafe"

	"github.com/contrastive-go/contrastive/internal/exp"
	"github.com/contrastive-go/contrastive/internal/poly"
	"github.com/contrastive-go/contrastive/internal/tile"
)

const (
	genericRows = 2
	genericCols = 4
)

// generic gives the same bits on every architecture. The language lets the compiler
// fuse x*y + z, and on arm64 it does; converting the product to its own type forbids
// that.
var generic = Kernels{
	Shape:     Shape{Rows: genericRows, Cols: genericCols, BlockRows: genericRows, RowStep: genericRows, Lanes: genericCols, Depth: 1024},
	mulPanel:  []mulPanel{mulPanelGeneric},
	mulBlocks: []mulBlocks{mulBlocksGeneric},
	transpose: transposeGeneric,

	spreadRows: spreadRuns[[genericRows]float32],
	spreadCols: spreadRuns[[genericCols]float32],

	tallyRows: func(block *float32, rows int, scale float32, shift, sum, moment, top *float32) {
		tallyRowsGeneric(block, rows, scale, shift, sum, moment, top, false)
	},
	tallyRowsStore: func(block *float32, rows int, scale float32, shift, sum, moment, top *float32) {
		tallyRowsGeneric(block, rows, scale, shift, sum, moment, top, true)
	},
	tallyCols:    tallyColsGeneric,
	tallyBoth:    tallyBothGeneric,
	topBoth:      topBothGeneric,
	greatest:     greatestGeneric,
	weighBoth:    weighBothGeneric,
	weighRows:    weighRowsGeneric,
	weighCols:    weighColsGeneric,
	tallySigmoid: tallySigmoidGeneric,
	tallySquares: tallySquaresGeneric,

	splitRows: [MaxPieces]splitRows{splitRowsGeneric(1), splitRowsGeneric(2), splitRowsGeneric(3)},
	splitCols: [MaxPieces]splitCols{splitColsGeneric(1), splitColsGeneric(2), splitColsGeneric(3)},
	mulSplit:  [MaxPieces]mulSplit{mulSplitGeneric(1), mulSplitGeneric(2), mulSplitGeneric(3)},
}

func mulPanelGeneric(c *float32, cRow int, a, b *float32, depth int, add bool) {
	var s genericTile
	left, right := unsafe.Slice(a, depth*genericRows), unsafe.Slice(b, depth*genericCols)
	for len(right) >= genericCols && len(left) >= genericRows {
		s.add(left[0], left[1], right)
		left, right = left[genericRows:], right[genericCols:]
	}
	s.store(c, cRow, add)
}

func mulBlocksGeneric(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock, blocks, depth int, add bool) {
	var s genericTile
	left := unsafe.Slice(a, (blocks-1)*aBlock+genericCols+depth)
	right := unsafe.Slice(b, (blocks-1)*bBlock+depth*genericCols)
	for n := range blocks {
		left, right := left[n*aBlock:][:genericCols+depth], right[n*bBlock:][:depth*genericCols]
		for t := range depth {
			s.add(left[t], left[genericCols+t], right[t*genericCols:])
		}
	}
	s.store(c, cRow, add)
}

func transposeGeneric(dst *float32, dstRow int, src *float32, srcRow int) {
	to := unsafe.Slice(dst, (genericCols-1)*dstRow+genericCols)
	from := unsafe.Slice(src, (genericCols-1)*srcRow+genericCols)
	for i := range genericCols {
		for j, v := range from[i*srcRow:][:genericCols] {
			to[j*dstRow+i] = v
		}
	}
}

// A genericTile is the sums of the generic kernels. Eight are as many as stay in the
// registers of every architecture.
type genericTile struct {
	s00, s01, s02, s03, s10, s11, s12, s13 float32
}

func (s *genericTile) add(x, y float32, b []float32) {
	_ = b[3]
	s.s00 += float32(x * b[0])
	s.s01 += float32(x * b[1])
	s.s02 += float32(x * b[2])
	s.s03 += float32(x * b[3])
	s.s10 += float32(y * b[0])
	s.s11 += float32(y * b[1])
	s.s12 += float32(y * b[2])
	s.s13 += float32(y * b[3])
}

func (s *genericTile) store(c *float32, cRow int, add bool) {
	rows := unsafe.Slice(c, cRow+genericCols)
	c0, c1 := rows[:genericCols:genericCols], rows[cRow:cRow+genericCols]
	if add {
		s.s00, s.s01, s.s02, s.s03 = c0[0]+s.s00, c0[1]+s.s01, c0[2]+s.s02, c0[3]+s.s03
		s.s10, s.s11, s.s12, s.s13 = c1[0]+s.s10, c1[1]+s.s11, c1[2]+s.s12, c1[3]+s.s13
	}
	c0[0], c0[1], c0[2], c0[3] = s.s00, s.s01, s.s02, s.s03
	c1[0], c1[1], c1[2], c1[3] = s.s10, s.s11, s.s12, s.s13
}

// tallyOf is the tally of n accumulators.
func tallyOf(n int, sum, moment, top *float32) Tally {
	return Tally{unsafe.Slice(sum, n), unsafe.Slice(moment, n), unsafe.Slice(top, n)}
}

// row returns the accumulators of row r.
func (t Tally) row(r int) (sum, moment, top []float32) {
	return genericRow(t.Sum, r), genericRow(t.Moment, r), genericRow(t.Top, r)
}

// genericRow returns row r of a block, or the accumulators of the row.
func genericRow(s []float32, r int) []float32 {
	return s[r*genericCols : r*genericCols+genericCols : r*genericCols+genericCols]
}

func tallyRowsGeneric(block *float32, rows int, scale float32, shift, sum, moment, top *float32, store bool) {
	b, shifts, tally := unsafe.Slice(block, rows*genericCols), unsafe.Slice(shift, rows), tallyOf(rows*genericCols, sum, moment, top)
	for r := range rows {
		s := genericRow(b, r)
		sum, moment, top := tally.row(r)
		for j, v := range s {
			top[j] = max(top[j], v)
			y := max((v-shifts[r])*scale, poly.MinExponent)
			e := exp.Exp2(y)
			sum[j] += e
			moment[j] += float32(e * y)
			if store {
				s[j] = e
			}
		}
	}
}

func tallyColsGeneric(block *float32, rows int, scale float32, shift, sum, moment, top *float32) {
	b, shifts, t := unsafe.Slice(block, rows*genericCols), unsafe.Slice(shift, genericCols), tallyOf(genericCols, sum, moment, top)
	for r := range rows {
		for j, v := range genericRow(b, r) {
			t.Top[j] = max(t.Top[j], v)
			y := max((v-shifts[j])*scale, poly.MinExponent)
			e := exp.Exp2(y)
			t.Sum[j] += e
			t.Moment[j] += float32(e * y)
		}
	}
}

func tallyBothGeneric(block *float32, rows int, scale float32, sum, moment, top, colSum, colMoment, colTop *float32) {
	b, row, col := unsafe.Slice(block, rows*genericCols), tallyOf(rows*genericCols, sum, moment, top), tallyOf(genericCols, colSum, colMoment, colTop)
	for r := range rows {
		sum, moment, top := row.row(r)
		for j, v := range genericRow(b, r) {
			y := max(v*scale, poly.MinExponent)
			e := exp.Exp2(y)
			m := float32(e * y)
			top[j], col.Top[j] = max(top[j], v), max(col.Top[j], v)
			sum[j], col.Sum[j] = sum[j]+e, col.Sum[j]+e
			moment[j], col.Moment[j] = moment[j]+m, col.Moment[j]+m
		}
	}
}

func topBothGeneric(block *float32, rows int, top, colTop *float32) {
	b, tops, colTops := unsafe.Slice(block, rows*genericCols), unsafe.Slice(top, rows*genericCols), unsafe.Slice(colTop, genericCols)
	for r := range rows {
		top := genericRow(tops, r)
		for j, v := range genericRow(b, r) {
			top[j], colTops[j] = max(top[j], v), max(colTops[j], v)
		}
	}
}

func greatestGeneric(block *float32, rows int, top *float32) {
	b, tops := unsafe.Slice(block, rows*genericCols), unsafe.Slice(top, rows)
	for r := range tops {
		tops[r] = slices.Max(genericRow(b, r))
	}
}

func weighBothGeneric(block *float32, rows int, scale float32, row, col *float32) {
	b, rowWeights, colWeights := unsafe.Slice(block, rows*genericCols), unsafe.Slice(row, rows), unsafe.Slice(col, genericCols)
	for r, weight := range rowWeights {
		s := genericRow(b, r)
		for j, v := range s {
			s[j] = exp.Exp2(max(v*scale, poly.MinExponent)) * (weight + colWeights[j])
		}
	}
}

func weighRowsGeneric(dst, block *float32, rows int, scale float32, shift, weight *float32) {
	d, b := unsafe.Slice(dst, rows*genericCols), unsafe.Slice(block, rows*genericCols)
	shifts, weights := unsafe.Slice(shift, rows), unsafe.Slice(weight, rows)
	for r := range rows {
		d := genericRow(d, r)
		for j, v := range genericRow(b, r) {
			d[j] += float32(exp.Exp2(max((v-shifts[r])*scale, poly.MinExponent)) * weights[r])
		}
	}
}

func weighColsGeneric(dst, block *float32, rows int, scale float32, shift, weight *float32) {
	d, b := unsafe.Slice(dst, rows*genericCols), unsafe.Slice(block, rows*genericCols)
	shifts, weights := unsafe.Slice(shift, genericCols), unsafe.Slice(weight, genericCols)
	for r := range rows {
		d := genericRow(d, r)
		for j, v := range genericRow(b, r) {
			d[j] += float32(exp.Exp2(max((v-shifts[j])*scale, poly.MinExponent)) * weights[j])
		}
	}
}

func tallySigmoidGeneric(block *float32, rows int, scale, bias float32, sum, moment, top, weight *float32) {
	b, weights, tally := unsafe.Slice(block, rows*genericCols), unsafe.Slice(weight, rows*genericCols), tallyOf(rows*genericCols, sum, moment, top)
	for r := range rows {
		s, weights := genericRow(b, r), genericRow(weights, r)
		sum, moment, top := tally.row(r)
		for j, v := range s {
			top[j] = max(top[j], v)
			y := max(float32(v*scale), poly.MinScaled)
			z := y + bias
			e := exp.Exp2(max(float32(-max(z, -z)*math.Log2E), poly.MinExponent)) // in (0, 1]: cannot overflow
			w := 1 / (1 + e)
			if z < 0 {
				w *= e
			}
			sum[j] += max(z, 0) + float32(math.Log1p(float64(e)))
			moment[j] += float32(w * y)
			weights[j] += w
			s[j] = w
		}
	}
}

func tallySquaresGeneric(block *float32, rows int, sum *float32) {
	b, sums := unsafe.Slice(block, rows*genericCols), unsafe.Slice(sum, rows*genericCols)
	for r := range rows {
		sums := genericRow(sums, r)
		for j, v := range genericRow(b, r) {
			sums[j] += float32(v * v)
		}
	}
}

// nextPiece returns the nearest bfloat16 to v, ties away from zero, as the upper
// half of a float32's bits, and what is left of v, exactly.
func nextPiece(v float32) (bits uint32, rest float32) {
	bits = (math.Float32bits(v) + 0x8000) &^ 0xffff
	return bits, v - math.Float32frombits(bits)
}

// splitPair splits two values; piece p goes to dst[p·piece].
func splitPair(dst []uint32, piece int, lo, hi float32, pieces int) {
	for p := range pieces {
		var l, h uint32
		l, lo = nextPiece(lo)
		h, hi = nextPiece(hi)
		dst[p*piece] = l>>16 | h
	}
}

func splitRowsGeneric(pieces int) splitRows {
	return func(dst *uint32, piece int, src *float32, srcRow, rows int) {
		to := unsafe.Slice(dst, (pieces-1)*piece+rows*RowWords)
		from := unsafe.Slice(src, (rows-1)*srcRow+SplitSide)
		for r := range rows {
			row := from[r*srcRow:][:SplitSide]
			for t := range RowWords {
				splitPair(to[r*RowWords+t:], piece, row[t], row[t+RowWords], pieces)
			}
		}
	}
}

func splitColsGeneric(pieces int) splitCols {
	return func(dst *uint32, src *float32, srcRow int) {
		to := unsafe.Slice(dst, pieces*SquareWords)
		from := unsafe.Slice(src, (SplitSide-1)*srcRow+SplitSide)
		for t := range RowWords {
			lo, hi := from[t*srcRow:], from[(t+RowWords)*srcRow:]
			for j := range SplitSide {
				splitPair(to[t*SplitSide+j:], SquareWords, lo[j], hi[j], pieces)
			}
		}
	}
}

func mulSplitGeneric(pieces int) mulSplit {
	return func(c []float32, cRow int, a []uint32, aBlock, aPiece int, b []uint32, bBlock, rows, blocks int, add bool) {
		for r := range rows {
			var sum [SplitSide]float32
			for n := range blocks {
				for _, p := range tile.Products[pieces] {
					left := a[n*aBlock+p[0]*aPiece+r*RowWords:][:RowWords]
					right := b[n*bBlock+p[1]*SquareWords:][:SquareWords]
					for t, x := range left {
						lo, hi := math.Float32frombits(x<<16), math.Float32frombits(x&^0xffff)
						for j, y := range right[t*SplitSide : (t+1)*SplitSide] {
							sum[j] += float32(lo * math.Float32frombits(y<<16))
							sum[j] += float32(hi * math.Float32frombits(y&^0xffff))
						}
					}
				}
			}
			row := c[r*cRow : r*cRow+SplitSide]
			for j, v := range sum {
				if add {
					v += row[j]
				}
				row[j] = v
			}
		}
	}
}
