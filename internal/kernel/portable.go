package kernel

import (
	"math"
	"slices"
	"unsafe"

	"github.com/contrastive-go/contrastive/internal/exp"
	"github.com/contrastive-go/contrastive/internal/poly"
	"github.com/contrastive-go/contrastive/internal/tile"
	"github.com/contrastive-go/contrastive/internal/wide"
)

// maxCols is the greatest number of columns of a shape.
const maxCols = 64

// Portable returns kernels of a shape, whose Lanes are its Cols, in plain loops that
// give the same bits on every architecture. The language lets the compiler fuse
// x*y + z, and on arm64 it does; converting the product to its own type forbids that.
// They are those of the generic level, but for its products; and in tests those of
// shapes and splits that no processor at hand has.
func Portable(s Shape, splitsUpTo int) Kernels {
	w := width(s.Cols)
	k := Kernels{
		Shape:      s,
		transpose:  w.transpose,
		interleave: interleaveLoop(s),
		gatherCols: gatherLoop(s.Cols),
		packRows:   packLoop(s.Rows),
		packCols:   packLoop(s.Cols),

		dots:        dotsLoop,
		squares:     squaresLoop,
		spreadRows:  spreadRowsLoop(s.Cols),
		addRows:     addRowsLoop,
		projectRows: projectRowsLoop,

		sumLanes:      sumLanesLoop(s.Lanes),
		greatestLanes: greatestLanesLoop(s.Lanes),

		exp:   functionLoop(math.Exp),
		log:   functionLoop(math.Log),
		log1p: functionLoop(math.Log1p),

		tallyRows: func(block *float32, rows int, scale float32, shift, sum, moment, top *float32) {
			w.tallyRows(block, rows, scale, shift, sum, moment, top, false)
		},
		tallyRowsStore: func(block *float32, rows int, scale float32, shift, sum, moment, top *float32) {
			w.tallyRows(block, rows, scale, shift, sum, moment, top, true)
		},
		tallyCols: w.tallyCols,
		tallyBoth: func(block *float32, rows int, scale float32, sum, moment, top, colSum, colMoment, colTop *float32) {
			w.tallyBoth(block, rows, scale, sum, moment, top, colSum, colMoment, colTop, false)
		},
		tallyBothStore: func(block *float32, rows int, scale float32, sum, moment, top, colSum, colMoment, colTop *float32) {
			w.tallyBoth(block, rows, scale, sum, moment, top, colSum, colMoment, colTop, true)
		},
		topBoth:           w.topBoth,
		greatest:          w.greatest,
		weighBoth:         w.weighBoth,
		weighExponentials: w.weighExponentials,
		weighRows:         w.weighRows,
		weighCols:         w.weighCols,
		tallySigmoid:      w.tallySigmoid,
		tallySquares:      w.tallySquares,
		leaveOut:          w.leaveOut,
		leaveOutCols:      w.leaveOutCols,
		splitsUpTo:        splitsUpTo,
	}
	for rows := s.RowStep; rows <= s.Rows; rows += s.RowStep {
		k.mulPanel = append(k.mulPanel, w.mulPanel(rows))
	}
	for rows := s.RowStep; rows <= s.BlockRows; rows += s.RowStep {
		k.mulRows = append(k.mulRows, w.mulRows(rows))
		k.mulBlocks = append(k.mulBlocks, w.mulBlocks(rows))
	}
	k.mulTall = tall(s, k.mulBlocks[len(k.mulBlocks)-1])
	for i := range MaxPieces {
		k.splitRows[i], k.splitCols[i], k.mulSplit[i] = portableSplitRows(i+1), portableSplitCols(i+1), portableMulSplit(i+1)
	}
	return k
}

func functionLoop(f func(float64) float64) function {
	return func(x *float64, n int) {
		numbers := unsafe.Slice(x, n)
		for i, v := range numbers {
			numbers[i] = f(v)
		}
	}
}

func dotsLoop(dst *float64, x *float32, xRow int, y *float32, yRow, rows, dim int) {
	left, right := unsafe.Slice(x, (rows-1)*xRow+dim), unsafe.Slice(y, (rows-1)*yRow+dim)
	sums := unsafe.Slice(dst, rows)
	for r := range sums {
		sums[r] = wide.Dot(left[r*xRow:][:dim], right[r*yRow:][:dim])
	}
}

func squaresLoop(dst *float64, x *float32, xRow, rows, dim int) {
	dotsLoop(dst, x, xRow, x, xRow, rows, dim)
}

func spreadRowsLoop(cols int) spreadRows {
	return func(dst *float32, step int, src *float32, srcRow int, f *float64, rows, runs int) {
		to, from := unsafe.Slice(dst, (runs-1)*step+rows*cols), unsafe.Slice(src, (rows-1)*srcRow+runs*cols)
		for r, f := range unsafe.Slice(f, rows) {
			for i := range runs {
				wide.ScaleTo(to[i*step+r*cols:][:cols], from[r*srcRow+i*cols:][:cols], f)
			}
		}
	}
}

func addRowsLoop(dst *float32, dstRow int, src *float32, srcRow int, f *float32, rows, dim int) {
	to, from := unsafe.Slice(dst, (rows-1)*dstRow+dim), unsafe.Slice(src, (rows-1)*srcRow+dim)
	for r, f := range unsafe.Slice(f, rows) {
		to := to[r*dstRow:][:dim]
		for i, v := range from[r*srcRow:][:dim] {
			to[i] += float32(f * v)
		}
	}
}

func projectRowsLoop(dst *float32, dstRow int, grad *float32, gradRow int, x *float32, xRow int, unit, f *float32, rows, dim int) {
	to, from := unsafe.Slice(dst, (rows-1)*dstRow+dim), unsafe.Slice(grad, (rows-1)*gradRow+dim)
	xs, factors := unsafe.Slice(x, (rows-1)*xRow+dim), unsafe.Slice(f, rows)
	for r, unit := range unsafe.Slice(unit, rows) {
		to, g, x, f := to[r*dstRow:][:dim], from[r*gradRow:][:dim], xs[r*xRow:][:dim], factors[r]
		along := float32(wide.Dot(g, x) * float64(unit))
		for i, g := range g {
			y := float32(g-float32(along*float32(unit*x[i]))) * f
			to[i] = max(-math.MaxFloat32, min(y, math.MaxFloat32))
		}
	}
}

// sumLanesLoop has four sums, which do not wait for each other.
func sumLanesLoop(lanes int) func(dst *float64, src *float32, step, rows int) {
	return func(dst *float64, src *float32, step, rows int) {
		from := unsafe.Slice(src, (rows-1)*step+lanes)
		for r := range unsafe.Slice(dst, rows) {
			v := from[r*step:][:lanes]
			a, b, c, d := float64(v[0]), float64(v[1]), float64(v[2]), float64(v[3])
			for v = v[4:]; len(v) >= 4; v = v[4:] {
				a, b, c, d = a+float64(v[0]), b+float64(v[1]), c+float64(v[2]), d+float64(v[3])
			}
			unsafe.Slice(dst, rows)[r] += (a + b) + (c + d)
		}
	}
}

func greatestLanesLoop(lanes int) func(dst, src *float32, rows int) {
	return func(dst, src *float32, rows int) {
		from := unsafe.Slice(src, rows*lanes)
		for r := range unsafe.Slice(dst, rows) {
			unsafe.Slice(dst, rows)[r] = slices.Max(from[r*lanes:][:lanes])
		}
	}
}

// A width is the number of columns of a block, and of the accumulators of a row.
type width int

// block returns one of rows.
func (w width) block(p *float32, rows int) []float32 { return unsafe.Slice(p, rows*int(w)) }

// row returns row r of a block.
func (w width) row(s []float32, r int) []float32 {
	return s[r*int(w) : (r+1)*int(w) : (r+1)*int(w)]
}

// tally returns the accumulators of row r.
func (w width) tally(t Tally, r int) (sum, moment, top []float32) {
	return w.row(t.Sum, r), w.row(t.Moment, r), w.row(t.Top, r)
}

func (w width) mulPanel(rows int) mulPanel {
	return func(c *float32, cRow int, a *float32, aTile, aStep int, b *float32, bStep, tiles, depth int, alpha, beta float32) {
		left, right := unsafe.Slice(a, (tiles-1)*aTile+(depth-1)*aStep+rows), unsafe.Slice(b, (depth-1)*bStep+int(w))
		w.product(c, cRow, tiles*rows, depth, alpha, beta, func(r, t int) (float32, []float32) {
			return left[r/rows*aTile+t*aStep+r%rows], right[t*bStep:]
		})
	}
}

func (w width) mulRows(rows int) mulRows {
	return func(c *float32, cRow int, a *float32, aRow int, b *float32, bStep, depth int, alpha, beta float32) {
		left, right := unsafe.Slice(a, (rows-1)*aRow+depth), unsafe.Slice(b, (depth-1)*bStep+int(w))
		w.product(c, cRow, rows, depth, alpha, beta, func(r, t int) (float32, []float32) { return left[r*aRow+t], right[t*bStep:] })
	}
}

// tall returns the product of several tiles by that of one.
func tall(s Shape, tile mulBlocks) mulTall {
	return func(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock, blocks, depth, tiles int, add bool) {
		for i := range tiles {
			at := i * s.BlockRows
			tile((*float32)(unsafe.Add(unsafe.Pointer(c), 4*at*cRow)), cRow, (*float32)(unsafe.Add(unsafe.Pointer(a), 4*at*s.Cols)), aBlock, b, bBlock, blocks, depth, add)
		}
	}
}

func (w width) mulBlocks(rows int) mulBlocks {
	return func(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock, blocks, depth int, add bool) {
		left := unsafe.Slice(a, (blocks-1)*aBlock+(rows-1)*int(w)+depth)
		right := unsafe.Slice(b, (blocks-1)*bBlock+depth*int(w))
		beta := float32(0)
		if add {
			beta = 1
		}
		w.product(c, cRow, rows, blocks*depth, 1, beta, func(r, t int) (float32, []float32) {
			n := t / depth
			return left[n*aBlock+r*int(w)+t%depth], right[n*bBlock+t%depth*int(w):]
		})
	}
}

// product sums the products of an element and a row of the other operand, in order.
func (w width) product(c *float32, cRow, rows, depth int, alpha, beta float32, factors func(r, t int) (float32, []float32)) {
	var lanes [maxCols]float32
	dst, sums := unsafe.Slice(c, (rows-1)*cRow+int(w)), lanes[:w]
	for r := range rows {
		clear(sums)
		for t := range depth {
			x, y := factors(r, t)
			for j, v := range y[:w] {
				sums[j] += float32(x * v)
			}
		}
		for j, v := range sums {
			v = float32(v * alpha)
			if beta != 0 {
				v += float32(beta * dst[r*cRow+j])
			}
			dst[r*cRow+j] = v
		}
	}
}

func (w width) transpose(dst *float32, dstRow int, src *float32, srcRow int) {
	to, from := unsafe.Slice(dst, int(w-1)*dstRow+int(w)), unsafe.Slice(src, int(w-1)*srcRow+int(w))
	for i := range int(w) {
		for j := range int(w) {
			to[j*dstRow+i] = from[i*srcRow+j]
		}
	}
}

func packLoop(run int) packRuns {
	return func(dst *float32, dstPanel, dstSkip int, src *float32, srcSkip, panels, rows int) {
		dstRow, srcRow := panels*dstPanel+dstSkip, panels*run+srcSkip
		to := unsafe.Slice(dst, (panels-1)*dstPanel+(rows-1)*dstRow+run)
		from := unsafe.Slice(src, (rows-1)*srcRow+panels*run)
		for t := range rows {
			for p := range panels {
				copy(to[p*dstPanel+t*dstRow:][:run], from[t*srcRow+p*run:])
			}
		}
	}
}

func interleaveLoop(s Shape) interleave {
	return func(dst, src *float32, srcRow, groups int) {
		n := groups * s.Lanes
		to, from := unsafe.Slice(dst, n*s.Rows), unsafe.Slice(src, (s.Rows-1)*srcRow+n)
		for r := range s.Rows {
			for t, v := range from[r*srcRow:][:n] {
				to[t*s.Rows+r] = v
			}
		}
	}
}

func gatherLoop(run int) func(dst, src *float32, step, runs int) {
	return func(dst, src *float32, step, runs int) {
		to, from := unsafe.Slice(dst, runs*run), unsafe.Slice(src, (runs-1)*step+run)
		for i := range runs {
			copy(to[i*run:][:run], from[i*step:])
		}
	}
}

// tallyOf is the tally of n accumulators.
func tallyOf(n int, sum, moment, top *float32) Tally {
	return Tally{unsafe.Slice(sum, n), unsafe.Slice(moment, n), unsafe.Slice(top, n)}
}

func (w width) tallyRows(block *float32, rows int, scale float32, shift, sum, moment, top *float32, store bool) {
	b, shifts, tally := w.block(block, rows), unsafe.Slice(shift, rows), tallyOf(rows*int(w), sum, moment, top)
	for r := range rows {
		s := w.row(b, r)
		sum, moment, top := w.tally(tally, r)
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

func (w width) tallyCols(block *float32, rows int, scale float32, shift, sum, moment, top *float32) {
	b, shifts, t := w.block(block, rows), w.block(shift, 1), tallyOf(int(w), sum, moment, top)
	for r := range rows {
		for j, v := range w.row(b, r) {
			t.Top[j] = max(t.Top[j], v)
			y := max((v-shifts[j])*scale, poly.MinExponent)
			e := exp.Exp2(y)
			t.Sum[j] += e
			t.Moment[j] += float32(e * y)
		}
	}
}

func (w width) tallyBoth(block *float32, rows int, scale float32, sum, moment, top, colSum, colMoment, colTop *float32, store bool) {
	b, row, col := w.block(block, rows), tallyOf(rows*int(w), sum, moment, top), tallyOf(int(w), colSum, colMoment, colTop)
	for r := range rows {
		s := w.row(b, r)
		sum, moment, top := w.tally(row, r)
		for j, v := range s {
			y := max(v*scale, poly.MinExponent)
			e := exp.Exp2(y)
			m := float32(e * y)
			top[j], col.Top[j] = max(top[j], v), max(col.Top[j], v)
			sum[j], col.Sum[j] = sum[j]+e, col.Sum[j]+e
			moment[j], col.Moment[j] = moment[j]+m, col.Moment[j]+m
			if store {
				s[j] = e
			}
		}
	}
}

func (w width) topBoth(block *float32, rows int, top, colTop *float32) {
	b, tops, colTops := w.block(block, rows), w.block(top, rows), w.block(colTop, 1)
	for r := range rows {
		top := w.row(tops, r)
		for j, v := range w.row(b, r) {
			top[j], colTops[j] = max(top[j], v), max(colTops[j], v)
		}
	}
}

func (w width) greatest(block *float32, rows int, top *float32) {
	b, tops := w.block(block, rows), unsafe.Slice(top, rows)
	for r := range tops {
		tops[r] = slices.Max(w.row(b, r))
	}
}

func (w width) weighBoth(block *float32, rows int, scale float32, row, col *float32) {
	b, rowWeights, colWeights := w.block(block, rows), unsafe.Slice(row, rows), w.block(col, 1)
	for r, weight := range rowWeights {
		s := w.row(b, r)
		for j, v := range s {
			s[j] = exp.Exp2(max(v*scale, poly.MinExponent)) * (weight + colWeights[j])
		}
	}
}

func (w width) weighExponentials(block *float32, rows int, row, col *float32) {
	b, rowWeights, colWeights := w.block(block, rows), unsafe.Slice(row, rows), w.block(col, 1)
	for r, weight := range rowWeights {
		e := w.row(b, r)
		for j, c := range colWeights {
			e[j] *= weight + c
		}
	}
}

func (w width) weighRows(dst, block *float32, rows int, scale float32, shift, weight *float32) {
	d, b := w.block(dst, rows), w.block(block, rows)
	shifts, weights := unsafe.Slice(shift, rows), unsafe.Slice(weight, rows)
	for r := range rows {
		d := w.row(d, r)
		for j, v := range w.row(b, r) {
			d[j] += float32(exp.Exp2(max((v-shifts[r])*scale, poly.MinExponent)) * weights[r])
		}
	}
}

func (w width) weighCols(dst, block *float32, rows int, scale float32, shift, weight *float32) {
	d, b := w.block(dst, rows), w.block(block, rows)
	shifts, weights := w.block(shift, 1), w.block(weight, 1)
	for r := range rows {
		d := w.row(d, r)
		for j, v := range w.row(b, r) {
			d[j] += float32(exp.Exp2(max((v-shifts[j])*scale, poly.MinExponent)) * weights[j])
		}
	}
}

func (w width) tallySigmoid(block *float32, rows int, scale, bias float32, sum, moment, top, weight *float32) {
	b, weights, tally := w.block(block, rows), w.block(weight, rows), tallyOf(rows*int(w), sum, moment, top)
	for r := range rows {
		s, weights := w.row(b, r), w.row(weights, r)
		sum, moment, top := w.tally(tally, r)
		for j, v := range s {
			top[j] = max(top[j], v)
			y := max(float32(v*scale), poly.MinScaled)
			z := y + bias
			e := exp.Exp2(max(float32(-max(z, -z)*math.Log2E), poly.MinExponent)) // in (0, 1]: cannot overflow
			p := 1 / (1 + e)
			if z < 0 {
				p *= e
			}
			sum[j] += max(z, 0) + float32(math.Log1p(float64(e)))
			moment[j] += float32(p * y)
			weights[j] += p
			s[j] = p
		}
	}
}

func (w width) tallySquares(block *float32, rows int, sum *float32) {
	b, sums := w.block(block, rows), w.block(sum, rows)
	for r := range rows {
		sums := w.row(sums, r)
		for j, v := range w.row(b, r) {
			sums[j] += float32(v * v)
		}
	}
}

func (w width) leaveOut(block, guide *float32, rows int, limit, sum, pairs *float32) {
	b, g, limits := w.block(block, rows), w.block(guide, rows), unsafe.Slice(limit, rows)
	sums, numbers := w.block(sum, rows), w.block(pairs, rows)
	for r, limit := range limits {
		s, sum, pairs := w.row(b, r), w.row(sums, r), w.row(numbers, r)
		for j, g := range w.row(g, r) {
			if g > limit && !math.IsInf(float64(s[j]), -1) {
				sum[j] += s[j]
				pairs[j]++
				s[j] = float32(math.Inf(-1))
			}
		}
	}
}

func (w width) leaveOutCols(dst, block, guide *float32, rows int, limit *float32) {
	d, b, g, limits := w.block(dst, rows), w.block(block, rows), w.block(guide, rows), w.block(limit, 1)
	for k, v := range b {
		if g[k] > limits[k%int(w)] {
			v = float32(math.Inf(-1))
		}
		d[k] = v
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

func portableSplitRows(pieces int) splitRows {
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

func portableSplitCols(pieces int) splitCols {
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

func portableMulSplit(pieces int) mulSplit {
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
