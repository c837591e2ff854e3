package vec

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/poly"
)

// Blocks writes the kernels that turn a block of similarities, rows of two vectors
// each, into exponentials and weights.
func Blocks(a Asm) {
	tallyRows(a, "TallyRows", false)
	tallyRows(a, "TallyRowsStore", true)
	tallyCols(a)
	tallyBoth(a, "TallyBoth", false)
	tallyBoth(a, "TallyBothStore", true)
	topBoth(a)
	greatest(a)
	weighBoth(a)
	weighExponentials(a)
	weighRows(a)
	weighCols(a)
	tallySigmoid(a)
	tallySquares(a)
	leaveOut(a)
	leaveOutCols(a)
}

// exponent returns max(scale·s, poly.MinExponent).
func exponent(a Asm, s, scale Vector) Vector {
	y := a.Vec()
	a.Mul(scale, s, y)
	a.Max(a.Const(poly.MinExponent), y, y)
	return y
}

// shiftedExponent is exponent of s − shift.
func shiftedExponent(a Asm, s Vector, shift Operand, scale Vector) Vector {
	d := a.Vec()
	a.Sub(shift, s, d)
	return exponent(a, d, scale)
}

// greater stores in top the greatest of it and of the vectors of a row.
func greater(a Asm, s [2]Vector, top Pointer) {
	a.Comment("top = max(top, s)")
	t := a.Vec()
	a.Max(s[0], s[1], t)
	a.Max(top, t, t)
	a.Store(t, top)
}

func tallyRows(a Asm, name string, store bool) {
	doc := "adds to the sums of rows."
	if store {
		doc = "is TallyRows, and stores the exponentials."
	}
	a.Begin(name, "func(block *float32, rows int, scale float32, shift, sum, moment, top *float32)", doc)
	scale := a.Broadcast("scale")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	shift, sum, moment, top := a.Pointer("shift"), a.Pointer("sum"), a.Pointer("moment"), a.Pointer("top")
	r.Elements, r.Vectors = []Pointer{shift}, []Pointer{sum, moment, top}
	a.EachRow(r, func() {
		s, d := a.LoadRow(r.Block), a.LoadElement(shift)
		total, product := a.Running(sum), a.Running(moment)
		greater(a, s, top)
		var e [2]Vector
		for i := range s {
			a.Comment("y = max(scale·(s − shift), −%d), e = 2^y, moment += e·y", -poly.MinExponent)
			y := shiftedExponent(a, s[i], d, scale)
			e[i] = Exp2(a, y)
			product.AddProduct(e[i], y)
		}
		if store {
			a.Comment("s = e")
			a.StoreRow(e, r.Block)
		}
		a.Comment("sum += e")
		total.AddRow(e)
		total.Store()
		product.Store()
	})
	a.End()
}

func tallyCols(a Asm) {
	a.Begin("TallyCols", "func(block *float32, rows int, scale float32, shift, sum, moment, top *float32)", "adds to the sums of columns.")
	scale := a.Broadcast("scale")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	shifts := a.LoadCols(a.Pointer("shift"))
	sum, moment, top := a.Pointer("sum"), a.Pointer("moment"), a.Pointer("top")
	sums, moments, tops := a.LoadRow(sum), a.LoadRow(moment), a.LoadRow(top)
	a.EachRow(r, func() {
		s := a.LoadRow(r.Block)
		for i := range s {
			a.Comment("top = max(top, s), y = max(scale·(s − shift), −%d), e = 2^y, sum += e, moment += e·y", -poly.MinExponent)
			a.Max(s[i], tops[i], tops[i])
			y := shiftedExponent(a, s[i], shifts[i], scale)
			e := Exp2(a, y)
			a.Add(e, sums[i], sums[i])
			a.FMA(e, y, moments[i])
		}
	})
	a.StoreRow(sums, sum)
	a.StoreRow(moments, moment)
	a.StoreRow(tops, top)
	a.End()
}

func tallyBoth(a Asm, name string, store bool) {
	doc := "adds to the sums of rows and columns, for shifts of 0."
	if store {
		doc = "is TallyBoth, and stores the exponentials."
	}
	a.Begin(name, "func(block *float32, rows int, scale float32, sum, moment, top, colSum, colMoment, colTop *float32)", doc)
	scale := a.Broadcast("scale")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	sum, moment, top := a.Pointer("sum"), a.Pointer("moment"), a.Pointer("top")
	r.Vectors = []Pointer{sum, moment, top}
	colSum, colMoment, colTop := a.Pointer("colSum"), a.Pointer("colMoment"), a.Pointer("colTop")
	sums, moments, tops := a.LoadRow(colSum), a.LoadRow(colMoment), a.LoadRow(colTop)
	a.EachRow(r, func() {
		s := a.LoadRow(r.Block)
		greater(a, s, top)
		total, product := a.Vec(), a.Vec()
		a.Move(sum, total)
		a.Move(moment, product)
		for i := range s {
			a.Comment("y = max(scale·s, −%d), e = 2^y, sum += e, moment += e·y, of the row and of the columns", -poly.MinExponent)
			a.Max(s[i], tops[i], tops[i])
			y := exponent(a, s[i], scale)
			e := Exp2(a, y)
			if store {
				a.Comment("s = e")
				a.Store(e, a.At(r.Block, i))
			}
			a.Add(e, total, total)
			a.Add(e, sums[i], sums[i])
			a.Mul(e, y, y)
			a.Add(y, product, product)
			a.Add(y, moments[i], moments[i])
		}
		a.Store(total, sum)
		a.Store(product, moment)
	})
	a.StoreRow(sums, colSum)
	a.StoreRow(moments, colMoment)
	a.StoreRow(tops, colTop)
	a.End()
}

func topBoth(a Asm) {
	a.Begin("TopBoth", "func(block *float32, rows int, top, colTop *float32)", "finds the greatest elements of rows and columns.")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	top, colTop := a.Pointer("top"), a.Pointer("colTop")
	r.Vectors = []Pointer{top}
	tops := a.LoadRow(colTop)
	a.EachRow(r, func() {
		s := a.LoadRow(r.Block)
		greater(a, s, top)
		a.Comment("colTop = max(colTop, s)")
		for i := range s {
			a.Max(s[i], tops[i], tops[i])
		}
	})
	a.StoreRow(tops, colTop)
	a.End()
}

func greatest(a Asm) {
	a.Begin("Greatest", "func(block *float32, rows int, top *float32)", "stores the greatest element of each row.")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	top := a.Pointer("top")
	r.Elements = []Pointer{top}
	a.EachRow(r, func() {
		a.Comment("top = max over lanes of s")
		s := a.LoadRow(r.Block)
		a.Max(s[0], s[1], s[0])
		a.StoreElement(a.Greatest(s[0]), top)
	})
	a.End()
}

func weighBoth(a Asm) {
	a.Begin("WeighBoth", "func(block *float32, rows int, scale float32, row, col *float32)", "weighs exponentials by the sum of a row's and a column's weight, for shifts of 0.")
	scale := a.Broadcast("scale")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	row := a.Pointer("row")
	r.Elements = []Pointer{row}
	cols := a.LoadRow(a.Pointer("col"))
	a.EachRow(r, func() {
		s, weight := a.LoadRow(r.Block), a.LoadElement(row)
		for i := range s {
			a.Comment("y = max(scale·s, −%d), s = 2^y·(row + col)", -poly.MinExponent)
			e, w := Exp2(a, exponent(a, s[i], scale)), a.Vec()
			a.Add(weight, cols[i], w)
			a.Mul(w, e, s[i])
		}
		a.StoreRow(s, r.Block)
	})
	a.End()
}

func weighExponentials(a Asm) {
	a.Begin("WeighExponentials", "func(block *float32, rows int, row, col *float32)", "multiplies elements by the sum of a row's and a column's weight.")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	row := a.Pointer("row")
	r.Elements = []Pointer{row}
	cols := a.LoadRow(a.Pointer("col"))
	a.EachRow(r, func() {
		a.Comment("e *= row + col")
		e, weight := a.LoadRow(r.Block), a.LoadElement(row)
		for i := range e {
			w := a.Vec()
			a.Add(weight, cols[i], w)
			a.Mul(w, e[i], e[i])
		}
		a.StoreRow(e, r.Block)
	})
	a.End()
}

func weighRows(a Asm) {
	a.Begin("WeighRows", "func(dst, block *float32, rows int, scale float32, shift, weight *float32)", "adds exponentials weighed by row.")
	scale := a.Broadcast("scale")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	dst, shift, weight := a.Pointer("dst"), a.Pointer("shift"), a.Pointer("weight")
	r.Elements, r.Blocks = []Pointer{shift, weight}, []Pointer{dst}
	a.EachRow(r, func() {
		s, w, d := a.LoadRow(r.Block), a.LoadElement(weight), a.LoadElement(shift)
		sums := a.LoadRow(dst)
		for i := range s {
			a.Comment("y = max(scale·(s − shift), −%d), dst += 2^y·weight", -poly.MinExponent)
			e := Exp2(a, shiftedExponent(a, s[i], d, scale))
			a.FMA(e, w, sums[i])
		}
		a.StoreRow(sums, dst)
	})
	a.End()
}

func weighCols(a Asm) {
	a.Begin("WeighCols", "func(dst, block *float32, rows int, scale float32, shift, weight *float32)", "adds exponentials weighed by column.")
	scale := a.Broadcast("scale")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	dst, shifts := a.Pointer("dst"), a.LoadCols(a.Pointer("shift"))
	weights := a.LoadRow(a.Pointer("weight"))
	r.Blocks = []Pointer{dst}
	a.EachRow(r, func() {
		s, sums := a.LoadRow(r.Block), a.LoadRow(dst)
		for i := range s {
			a.Comment("y = max(scale·(s − shift), −%d), dst += 2^y·weight", -poly.MinExponent)
			e := Exp2(a, shiftedExponent(a, s[i], shifts[i], scale))
			a.FMA(e, weights[i], sums[i])
		}
		a.StoreRow(sums, dst)
	})
	a.End()
}

func tallySigmoid(a Asm) {
	a.Begin("TallySigmoid", "func(block *float32, rows int, scale, bias float32, sum, moment, top, weight *float32)", "replaces elements by their sigmoids and adds to the sums of rows.")
	scale, bias := a.Broadcast("scale"), a.Broadcast("bias")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	sum, moment, top, weight := a.Pointer("sum"), a.Pointer("moment"), a.Pointer("top"), a.Pointer("weight")
	r.Vectors = []Pointer{sum, moment, top, weight}
	zero := a.Zeroed(1)[0]
	a.EachRow(r, func() {
		s := a.LoadRow(r.Block)
		greater(a, s, top)
		for i := range s {
			a.Comment("y = max(scale·s, −2^%d), z = y + bias", math.Ilogb(poly.MinScaled))
			y, z, x := a.Vec(), a.Vec(), a.Vec()
			a.Mul(scale, s[i], y)
			a.Max(a.Const(poly.MinScaled), y, y)
			a.Add(bias, y, z)
			a.Comment("e = e^−|z| = 2^max(−|z|·log₂e, −%d)", -poly.MinExponent)
			a.NegAbs(z, x)
			a.Mul(a.Const(math.Log2E), x, x)
			a.Max(a.Const(poly.MinExponent), x, x)
			e := Exp2(a, x)
			a.Comment("sum += log(1 + e^z) = max(z, 0) + log(1 + e)")
			polynomial(a, "log(1 + e)/e", "e", poly.Log1p[:])
			log, term := a.Horner(e, poly.Log1p[:]), a.Vec()
			a.Mul(e, log, log)
			a.Max(zero, z, term)
			a.Add(term, log, log)
			a.Add(sum, log, log)
			a.Store(log, sum)
			a.Comment("w = (z < 0 ? e : 1) / (1 + e), s = w")
			numerator, w := a.Vec(), a.Vec()
			a.Move(a.Const(1), numerator)
			a.Add(numerator, e, w)
			a.IfNegative(z, e, numerator)
			a.Div(w, numerator, w)
			a.Store(w, a.At(r.Block, i))
			a.Comment("moment += w·y, weight += w")
			a.Mul(w, y, y)
			a.Add(moment, y, y)
			a.Store(y, moment)
			a.Add(weight, w, w)
			a.Store(w, weight)
		}
	})
	a.End()
}

func tallySquares(a Asm) {
	a.Begin("TallySquares", "func(block *float32, rows int, sum *float32)", "adds the squares of elements to the sums of rows.")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	sum := a.Pointer("sum")
	r.Vectors = []Pointer{sum}
	a.EachRow(r, func() {
		a.Comment("sum += s²")
		s, total := a.LoadRow(r.Block), a.Vec()
		a.Move(sum, total)
		for i := range s {
			a.FMA(s[i], s[i], total)
		}
		a.Store(total, sum)
	})
	a.End()
}

// beyond plus a similarity is no less than any other, and -Inf if the similarity is.
const beyond = 0x1p127

func leaveOut(a Asm) {
	a.Begin("LeaveOut", "func(block, guide *float32, rows int, limit, sum, pairs *float32)", "replaces elements whose guide is greater than the limit of their row by -Inf, and adds those that were not to sum, and their number to pairs.")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	guide, limit, sum, pairs := a.Pointer("guide"), a.Pointer("limit"), a.Pointer("sum"), a.Pointer("pairs")
	r.Blocks, r.Elements, r.Vectors = []Pointer{guide}, []Pointer{limit}, []Pointer{sum, pairs}
	a.EachRow(r, func() {
		s, g, l := a.LoadRow(r.Block), a.LoadRow(guide), a.LoadElement(limit)
		total, number := a.Vec(), a.Vec()
		a.Move(sum, total)
		a.Move(pairs, number)
		for i := range s {
			a.Comment("g = -Inf where s is")
			counts := a.Vec()
			a.Move(a.Const(beyond), counts)
			a.Add(counts, s[i], counts)
			a.Min(counts, g[i], g[i])
			a.Comment("where g > limit: sum += s, pairs += 1, s = -Inf")
			out, term := a.Greater(g[i], l), a.Zeroed(2)
			a.Select(out, s[i], term[0])
			a.Select(out, a.Const(1), term[1])
			a.Add(term[0], total, total)
			a.Add(term[1], number, number)
			a.Select(out, a.Const(float32(math.Inf(-1))), s[i])
		}
		a.StoreRow(s, r.Block)
		a.Store(total, sum)
		a.Store(number, pairs)
	})
	a.End()
}

func leaveOutCols(a Asm) {
	a.Begin("LeaveOutCols", "func(dst, block, guide *float32, rows int, limit *float32)", "stores elements, or -Inf for those whose guide is greater than the limit of their column.")
	r := Rows{Block: a.Pointer("block"), N: a.Int("rows")}
	dst, guide, limits := a.Pointer("dst"), a.Pointer("guide"), a.LoadCols(a.Pointer("limit"))
	r.Blocks = []Pointer{dst, guide}
	a.EachRow(r, func() {
		a.Comment("dst = g > limit ? -Inf : s")
		s, g := a.LoadRow(r.Block), a.LoadRow(guide)
		for i := range s {
			a.Select(a.Greater(g[i], limits[i]), a.Const(float32(math.Inf(-1))), s[i])
		}
		a.StoreRow(s, dst)
	})
	a.End()
}
