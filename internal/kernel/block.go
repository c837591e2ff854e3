package kernel

// The kernels in this file work on a block of similarities: rows×Cols values, row r
// at r·Cols. They turn the similarities into exponentials or weights.
// An element of -Inf stands for a pair that does not count: its exponential is 0.
//
// Exponents are in units of log 2: scale·(s − shift), with scale = log₂e/τ. A
// shift is the greatest similarity, where exponents need one: the difference is
// exact for those within a factor of 2 of it, so that the exponentials that
// matter most are those whose exponents are the most accurate.

// A Tally accumulates, for each row or column of a block, the sum of e =
// 2^(exponent), the sum of e·exponent, and the greatest similarity. Those of a
// row are spread over Lanes accumulators, row r's at r·Lanes.
type Tally struct {
	Sum, Moment, Top []float32
}

// first returns the first n accumulators of t.
func (t Tally) first(n int) Tally { return Tally{t.Sum[:n], t.Moment[:n], t.Top[:n]} }

// From returns the accumulators of t from the n'th on.
func (t Tally) From(n int) Tally { return Tally{t.Sum[n:], t.Moment[n:], t.Top[n:]} }

// TallyRows adds the rows of block to t. The exponents of row r are
// scale·(s − shift[r]). If store is set, each element becomes its exponential.
func (k *Kernels) TallyRows(block []float32, rows int, scale float32, shift []float32, t Tally, store bool) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	shift, t = shift[:rows], t.first(rows*k.Lanes)
	f := k.tallyRows
	if store {
		f = k.tallyRowsStore
	}
	f(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
}

// TallyCols adds the columns of block to t, which has one accumulator for each.
// The exponents of column j are scale·(s − shift[j]).
func (k *Kernels) TallyCols(block []float32, rows int, scale float32, shift []float32, t Tally) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	shift, t = shift[:k.Cols], t.first(k.Cols)
	k.tallyCols(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
}

// TallyBoth is TallyRows and TallyCols for shifts of 0: each exponential is
// computed once. If store is set, each element becomes its exponential.
func (k *Kernels) TallyBoth(block []float32, rows int, scale float32, row, col Tally, store bool) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	row, col = row.first(rows*k.Lanes), col.first(k.Cols)
	f := k.tallyBoth
	if store {
		f = k.tallyBothStore
	}
	f(&block[0], rows, scale, &row.Sum[0], &row.Moment[0], &row.Top[0], &col.Sum[0], &col.Moment[0], &col.Top[0])
}

// TopBoth adds to the Top of row and col alone.
func (k *Kernels) TopBoth(block []float32, rows int, row, col Tally) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	row.Top, col.Top = row.Top[:rows*k.Lanes], col.Top[:k.Cols]
	k.topBoth(&block[0], rows, &row.Top[0], &col.Top[0])
}

// Greatest sets top[r] to the greatest element of row r.
func (k *Kernels) Greatest(block []float32, rows int, top []float32) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	top = top[:rows]
	k.greatest(&block[0], rows, &top[0])
}

// WeighBoth replaces each element of block by 2^(scale·s)·(row[r] + col[j]).
func (k *Kernels) WeighBoth(block []float32, rows int, scale float32, row, col []float32) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	row, col = row[:rows], col[:k.Cols]
	k.weighBoth(&block[0], rows, scale, &row[0], &col[0])
}

// WeighExponentials multiplies each element of block by row[r] + col[j]: after TallyBoth
// has stored the exponentials, what WeighBoth makes of the similarities, to the bit.
func (k *Kernels) WeighExponentials(block []float32, rows int, row, col []float32) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	row, col = row[:rows], col[:k.Cols]
	k.weighExponentials(&block[0], rows, &row[0], &col[0])
}

// WeighRows adds 2^(scale·(s − shift[r]))·weight[r] to the elements of dst, for
// the elements s of block.
func (k *Kernels) WeighRows(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	dst, shift, weight = dst[:rows*k.Cols], shift[:rows], weight[:rows]
	k.weighRows(&dst[0], &block[0], rows, scale, &shift[0], &weight[0])
}

// WeighCols adds 2^(scale·(s − shift[j]))·weight[j] to the elements of dst, for
// the elements s of block.
func (k *Kernels) WeighCols(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	dst, shift, weight = dst[:rows*k.Cols], shift[:k.Cols], weight[:k.Cols]
	k.weighCols(&dst[0], &block[0], rows, scale, &shift[0], &weight[0])
}

// TallySigmoid replaces each element s of block by w = σ(y + bias), y = scale·s,
// and adds to t, for each row, the sums of log(1 + e^(y + bias)) in Sum and of w·y in
// Moment, and the greatest s in Top; the sums of w are added to weight, which
// is laid out like t. Here scale and bias are in natural units, and at most 2^100. The
// moment is one of y alone: that of y + bias less bias times Σw would cancel.
func (k *Kernels) TallySigmoid(block []float32, rows int, scale, bias float32, t Tally, weight []float32) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	t, weight = t.first(rows*k.Lanes), weight[:rows*k.Lanes]
	k.tallySigmoid(&block[0], rows, scale, bias, &t.Sum[0], &t.Moment[0], &t.Top[0], &weight[0])
}

// TallySquares adds the sum of the squares of each row of block to sum.
func (k *Kernels) TallySquares(block []float32, rows int, sum []float32) {
	if rows == 0 {
		return
	}
	block = block[:rows*k.Cols]
	sum = sum[:rows*k.Lanes]
	k.tallySquares(&block[0], rows, &sum[0])
}

// LeaveOut replaces by -Inf each element of block whose element of guide, which may be
// block, is greater than the limit of its row. It adds those that were not -Inf to sum,
// and their number to pairs, which are laid out as those of a [Tally].
func (k *Kernels) LeaveOut(block, guide []float32, rows int, limit, sum, pairs []float32) {
	if rows == 0 {
		return
	}
	block, guide = block[:rows*k.Cols], guide[:rows*k.Cols]
	limit, sum, pairs = limit[:rows], sum[:rows*k.Lanes], pairs[:rows*k.Lanes]
	k.leaveOut(&block[0], &guide[0], rows, &limit[0], &sum[0], &pairs[0])
}

// LeaveOutCols stores the elements of block in dst, and -Inf for each whose element of
// guide, which may be block, is greater than the limit of its column.
func (k *Kernels) LeaveOutCols(dst, block, guide []float32, rows int, limit []float32) {
	if rows == 0 {
		return
	}
	dst, block, guide = dst[:rows*k.Cols], block[:rows*k.Cols], guide[:rows*k.Cols]
	limit = limit[:k.Cols]
	k.leaveOutCols(&dst[0], &block[0], &guide[0], rows, &limit[0])
}
