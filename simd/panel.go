package simd

// The kernels in this file work on a block of similarities: rows×Cols values,
// row r at r·Cols, where Cols is that of the [Shape] in use. They turn the
// similarities into exponentials or weights while the block is in the cache.
// An element of -Inf stands for a pair that does not count: its exponential is 0.
//
// Exponents are in units of log 2: scale·(s − shift), with scale = log₂e/τ. A
// shift is the greatest similarity, where exponents need one: the difference is
// exact for those within a factor of 2 of it, so that the exponentials that
// matter most are those whose exponents are the most accurate.

// minExponent bounds exponents from below: 2^minExponent rounds to 0 in
// float32, and 0·minExponent is 0 where 0·-Inf would be NaN.
const minExponent = -200

// A Tally accumulates, for each row or column of a block, the sum of e =
// 2^(exponent), the sum of e·exponent, and the greatest similarity. Those of a
// row are spread over Shape.Lanes accumulators, row r's at r·Lanes.
type Tally struct {
	Sum, Moment, Top []float32
}

// first returns the first n accumulators of t.
func (t Tally) first(n int) Tally { return Tally{t.Sum[:n], t.Moment[:n], t.Top[:n]} }

// TallyRows adds the rows of block to t. The exponents of row r are
// scale·(s − shift[r]). If store is set, each element becomes its exponential.
func TallyRows(block []float32, rows int, scale float32, shift []float32, t Tally, store bool) {
	if rows == 0 {
		return
	}
	s := tileShape()
	block = block[:rows*s.Cols]
	shift, t = shift[:rows], t.first(rows*s.Lanes)
	tallyRows(block, rows, scale, shift, t, store)
}

// TallyCols adds the columns of block to t, which has one accumulator for each.
// The exponents of column j are
// scale·(s − shift[j]).
func TallyCols(block []float32, rows int, scale float32, shift []float32, t Tally) {
	if rows == 0 {
		return
	}
	s := tileShape()
	block = block[:rows*s.Cols]
	shift, t = shift[:s.Cols], t.first(s.Cols)
	tallyCols(block, rows, scale, shift, t)
}

// TallyBoth is TallyRows and TallyCols for shifts of 0: each exponential is
// computed once.
func TallyBoth(block []float32, rows int, scale float32, row, col Tally) {
	if rows == 0 {
		return
	}
	s := tileShape()
	block = block[:rows*s.Cols]
	row, col = row.first(rows*s.Lanes), col.first(s.Cols)
	tallyBoth(block, rows, scale, row, col)
}

// TopBoth adds to the Top of row and col alone.
func TopBoth(block []float32, rows int, row, col Tally) {
	if rows == 0 {
		return
	}
	s := tileShape()
	block = block[:rows*s.Cols]
	row.Top, col.Top = row.Top[:rows*s.Lanes], col.Top[:s.Cols]
	topBoth(block, rows, row, col)
}

// Greatest sets top[r] to the greatest element of row r.
func Greatest(block []float32, rows int, top []float32) {
	if rows == 0 {
		return
	}
	s := tileShape()
	block = block[:rows*s.Cols]
	top = top[:rows]
	greatest(block, rows, top)
}

// WeighBoth replaces each element of block by 2^(scale·s)·(row[r] + col[j]).
func WeighBoth(block []float32, rows int, scale float32, row, col []float32) {
	if rows == 0 {
		return
	}
	s := tileShape()
	block = block[:rows*s.Cols]
	row, col = row[:rows], col[:s.Cols]
	weighBoth(block, rows, scale, row, col)
}

// WeighRows adds 2^(scale·(s − shift[r]))·weight[r] to the elements of dst, for
// the elements s of block.
func WeighRows(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	if rows == 0 {
		return
	}
	s := tileShape()
	block = block[:rows*s.Cols]
	dst, shift, weight = dst[:rows*s.Cols], shift[:rows], weight[:rows]
	weighRows(dst, block, rows, scale, shift, weight)
}

// WeighCols adds 2^(scale·(s − shift[j]))·weight[j] to the elements of dst, for
// the elements s of block.
func WeighCols(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	if rows == 0 {
		return
	}
	s := tileShape()
	block = block[:rows*s.Cols]
	dst, shift, weight = dst[:rows*s.Cols], shift[:s.Cols], weight[:s.Cols]
	weighCols(dst, block, rows, scale, shift, weight)
}

// TallySigmoid replaces each element s of block by w = σ(y + bias), y = scale·s,
// and adds to t, for each row, the sums of log(1 + e^(y + bias)) in Sum and of w·y in
// Moment, and the greatest s in Top; the sums of w are added to weight, which
// is laid out like t. Here scale and bias are in natural units, and at most 2^100. The
// moment is one of y alone: that of y + bias less bias times Σw would cancel.
func TallySigmoid(block []float32, rows int, scale, bias float32, t Tally, weight []float32) {
	if rows == 0 {
		return
	}
	s := tileShape()
	block = block[:rows*s.Cols]
	t, weight = t.first(rows*s.Lanes), weight[:rows*s.Lanes]
	tallySigmoid(block, rows, scale, bias, t, weight)
}

// TallySquares adds the sum of the squares of each row of block to sum.
func TallySquares(block []float32, rows int, sum []float32) {
	if rows == 0 {
		return
	}
	s := tileShape()
	block = block[:rows*s.Cols]
	sum = sum[:rows*s.Lanes]
	tallySquares(block, rows, sum)
}
