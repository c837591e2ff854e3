package arm64

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/gen/poly"
)

// Panel writes the kernels that turn a block of similarities, rows of two
// vectors each, into exponentials and weights.
func Panel(f *File) {
	tallyRows(f, "TallyRowsNEON", false)
	tallyRows(f, "TallyRowsStoreNEON", true)
	tallyCols(f)
	tallyBoth(f)
	topBoth(f)
	greatest(f)
	weighBoth(f)
	weighRows(f)
	weighCols(f)
	tallySigmoid(f)
	tallySquares(f)
}

// rows is a loop over the rows of a block, and the pointers that advance with it.
type rows struct {
	block, n R
	vector   []R // one vector a row
	blocks   []R // further blocks
}

// eachRow emits body once, in a loop over rows. Elements that there is one of for
// a row are advanced over by what loads or stores them.
func (a *Func) eachRow(r rows, body func()) {
	a.Label("row")
	a.Scope(body)
	for _, p := range append([]R{r.block}, r.blocks...) {
		a.ADD(4*tileCols, p)
	}
	for _, p := range r.vector {
		a.ADD(4*lanes, p)
	}
	a.SUBS(1, r.n)
	a.BNE("row")
}

// load returns the two vectors of a row, which may be those of columns.
func (a *Func) loadRow(p R) []V {
	v := a.Vecs(2)
	a.VLD1At(p, v...)
	return v
}

// vector returns the vector at p, and element all lanes of the one at p, which
// it advances.
func (a *Func) vector(p R) V {
	v := a.Vec()
	a.VLD1At(p, v)
	return v
}

func (a *Func) element(p R) V {
	v := a.Vec()
	a.VLD1R(p, v)
	return v
}

// A power is the constants of Exp2, in registers.
type power struct {
	least, normal V
	poly          []V
}

// Power loads the constants of Exp2.
func (a *Func) Power() power {
	return power{least: a.Splat(minExponent), normal: a.Splat(-126), poly: a.Coefficients(poly.Exp2)}
}

// minExponent is the least argument of Exp2: below, 2^y rounds to 0 in float32,
// and 0·minExponent is 0, where 0·-Inf is NaN.
const minExponent = -200

// exponent replaces s by max(scale·s, minExponent).
func (a *Func) exponent(c power, s, scale V) {
	a.Word(fmul, scale, s, s)
	a.Word(fmax, c.least, s, s)
}

// Exp2 sets e, which may be y, to 2^y for y from minExponent up to 128, in the steps
// of its namesake for AVX2 and with its bound: the relative error is at most 2·u,
// u = 2⁻²⁴, while the result is normal. Lesser results are 0.
func (a *Func) Exp2(c power, y, e V) {
	a.Scope(func() {
		n, r := a.Vec(), a.Vec()
		a.Unary(frintm, y, n)
		a.Word(fsub, n, y, r)
		p := a.Horner(r, c.poly)
		a.Word(fcmge, c.normal, n, r)
		a.Unary(fcvtns, n, n)
		a.VSHL(23, n, n)
		a.VADD(n, p, p)
		a.VAND(r, p, e)
	})
}

// greater stores the greatest of two vectors and the one at top there.
func (a *Func) greater(s []V, top R) {
	a.Scope(func() {
		greatest := a.vector(top)
		a.Word(fmax, s[0], greatest, greatest)
		a.Word(fmax, s[1], greatest, greatest)
		a.VST1At(top, greatest)
	})
}

func tallyRows(f *File, name string, store bool) {
	doc := "adds to the sums of rows."
	if store {
		doc = "is TallyRows, and stores the exponentials."
	}
	a := f.Func(name, "func(block *float32, rows int, scale float32, shift, sum, moment, top *float32)", doc)
	scale, c := a.Broadcast("scale"), a.Power()
	r := rows{block: a.Pointer("block"), n: a.Int("rows")}
	shift, sum, moment, top := a.Pointer("shift"), a.Pointer("sum"), a.Pointer("moment"), a.Pointer("top")
	r.vector = []R{sum, moment, top}
	a.eachRow(r, func() {
		s, d := a.loadRow(r.block), a.element(shift)
		a.greater(s, top)
		total, product := a.vector(sum), a.vector(moment)
		for _, v := range s {
			a.Scope(func() {
				y, e := a.Vec(), v
				a.Word(fsub, d, v, y)
				a.exponent(c, y, scale)
				a.Exp2(c, y, e)
				a.Word(fadd, e, total, total)
				a.VFMLA(e, y, product, s4)
			})
		}
		if store {
			a.VST1At(r.block, s...)
		}
		a.VST1At(sum, total)
		a.VST1At(moment, product)
	})
	a.End()
}

func tallyCols(f *File) {
	a := f.Func("TallyColsNEON", "func(block *float32, rows int, scale float32, shift, sum, moment, top *float32)", "adds to the sums of columns.")
	scale, c := a.Broadcast("scale"), a.Power()
	r := rows{block: a.Pointer("block"), n: a.Int("rows")}
	shifts := a.loadRow(a.Pointer("shift"))
	sum, moment, top := a.Pointer("sum"), a.Pointer("moment"), a.Pointer("top")
	sums, moments, tops := a.loadRow(sum), a.loadRow(moment), a.loadRow(top)
	a.eachRow(r, func() {
		s := a.loadRow(r.block)
		for i, v := range s {
			a.Scope(func() {
				a.Word(fmax, v, tops[i], tops[i])
				y, e := a.Vec(), v
				a.Word(fsub, shifts[i], v, y)
				a.exponent(c, y, scale)
				a.Exp2(c, y, e)
				a.Word(fadd, e, sums[i], sums[i])
				a.VFMLA(e, y, moments[i], s4)
			})
		}
	})
	a.VST1At(sum, sums...)
	a.VST1At(moment, moments...)
	a.VST1At(top, tops...)
	a.End()
}

func tallyBoth(f *File) {
	a := f.Func("TallyBothNEON", "func(block *float32, rows int, scale float32, sum, moment, top, colSum, colMoment, colTop *float32)", "adds to the sums of rows and columns, for shifts of 0.")
	scale, c := a.Broadcast("scale"), a.Power()
	r := rows{block: a.Pointer("block"), n: a.Int("rows")}
	sum, moment, top := a.Pointer("sum"), a.Pointer("moment"), a.Pointer("top")
	r.vector = []R{sum, moment, top}
	colSum, colMoment, colTop := a.Pointer("colSum"), a.Pointer("colMoment"), a.Pointer("colTop")
	sums, moments, tops := a.loadRow(colSum), a.loadRow(colMoment), a.loadRow(colTop)
	a.eachRow(r, func() {
		s := a.loadRow(r.block)
		a.greater(s, top)
		total, product := a.vector(sum), a.vector(moment)
		for i, v := range s {
			a.Scope(func() {
				a.Word(fmax, v, tops[i], tops[i])
				y, e := v, a.Vec()
				a.exponent(c, y, scale)
				a.Exp2(c, y, e)
				a.Word(fadd, e, total, total)
				a.Word(fadd, e, sums[i], sums[i])
				a.Word(fmul, e, y, y)
				a.Word(fadd, y, product, product)
				a.Word(fadd, y, moments[i], moments[i])
			})
		}
		a.VST1At(sum, total)
		a.VST1At(moment, product)
	})
	a.VST1At(colSum, sums...)
	a.VST1At(colMoment, moments...)
	a.VST1At(colTop, tops...)
	a.End()
}

func topBoth(f *File) {
	a := f.Func("TopBothNEON", "func(block *float32, rows int, top, colTop *float32)", "finds the greatest elements of rows and columns.")
	r := rows{block: a.Pointer("block"), n: a.Int("rows")}
	top, colTop := a.Pointer("top"), a.Pointer("colTop")
	r.vector = []R{top}
	tops := a.loadRow(colTop)
	a.eachRow(r, func() {
		s := a.loadRow(r.block)
		a.greater(s, top)
		for i, v := range s {
			a.Word(fmax, v, tops[i], tops[i])
		}
	})
	a.VST1At(colTop, tops...)
	a.End()
}

func greatest(f *File) {
	a := f.Func("GreatestNEON", "func(block *float32, rows int, top *float32)", "stores the greatest element of each row.")
	r := rows{block: a.Pointer("block"), n: a.Int("rows")}
	top := a.Pointer("top")
	a.eachRow(r, func() {
		s := a.loadRow(r.block)
		a.Word(fmax, s[1], s[0], s[0])
		a.Unary(fmaxv, s[0], s[0])
		a.storePart(1, s[0], top)
	})
	a.End()
}

func weighBoth(f *File) {
	a := f.Func("WeighBothNEON", "func(block *float32, rows int, scale float32, row, col *float32)", "weighs exponentials by the sum of a row's and a column's weight, for shifts of 0.")
	scale, c := a.Broadcast("scale"), a.Power()
	r := rows{block: a.Pointer("block"), n: a.Int("rows")}
	row, cols := a.Pointer("row"), a.loadRow(a.Pointer("col"))
	a.eachRow(r, func() {
		s, weight := a.loadRow(r.block), a.element(row)
		for i, v := range s {
			a.Scope(func() {
				w := a.Vec()
				a.exponent(c, v, scale)
				a.Exp2(c, v, v)
				a.Word(fadd, weight, cols[i], w)
				a.Word(fmul, w, v, v)
			})
		}
		a.VST1At(r.block, s...)
	})
	a.End()
}

func weighRows(f *File) {
	a := f.Func("WeighRowsNEON", "func(dst, block *float32, rows int, scale float32, shift, weight *float32)", "adds exponentials weighed by row.")
	scale, c := a.Broadcast("scale"), a.Power()
	r := rows{block: a.Pointer("block"), n: a.Int("rows")}
	dst, shift, weight := a.Pointer("dst"), a.Pointer("shift"), a.Pointer("weight")
	r.blocks = []R{dst}
	a.eachRow(r, func() {
		s, w, d := a.loadRow(r.block), a.element(weight), a.element(shift)
		sums := a.loadRow(dst)
		for i, v := range s {
			a.Scope(func() {
				a.Word(fsub, d, v, v)
				a.exponent(c, v, scale)
				a.Exp2(c, v, v)
				a.VFMLA(v, w, sums[i], s4)
			})
		}
		a.VST1At(dst, sums...)
	})
	a.End()
}

func weighCols(f *File) {
	a := f.Func("WeighColsNEON", "func(dst, block *float32, rows int, scale float32, shift, weight *float32)", "adds exponentials weighed by column.")
	scale, c := a.Broadcast("scale"), a.Power()
	r := rows{block: a.Pointer("block"), n: a.Int("rows")}
	dst := a.Pointer("dst")
	shifts, weights := a.loadRow(a.Pointer("shift")), a.loadRow(a.Pointer("weight"))
	r.blocks = []R{dst}
	a.eachRow(r, func() {
		s, sums := a.loadRow(r.block), a.loadRow(dst)
		for i, v := range s {
			a.Scope(func() {
				a.Word(fsub, shifts[i], v, v)
				a.exponent(c, v, scale)
				a.Exp2(c, v, v)
				a.VFMLA(v, weights[i], sums[i], s4)
			})
		}
		a.VST1At(dst, sums...)
	})
	a.End()
}

func tallySigmoid(f *File) {
	a := f.Func("TallySigmoidNEON", "func(block *float32, rows int, scale, bias float32, sum, moment, top, weight *float32)", "replaces elements by their sigmoids and adds to the sums of rows.")
	scale, bias, c := a.Broadcast("scale"), a.Broadcast("bias"), a.Power()
	one := c.poly[0]
	log1p := append([]V{one}, a.Coefficients(poly.Log1p[1:])...)
	least, negativeLog2e, zero := a.Splat(minScaled), a.Splat(-math.Log2E), a.Zeroed(1)[0]
	r := rows{block: a.Pointer("block"), n: a.Int("rows")}
	sum, moment, top, weight := a.Pointer("sum"), a.Pointer("moment"), a.Pointer("top"), a.Pointer("weight")
	r.vector = []R{sum, moment, top, weight}
	a.eachRow(r, func() {
		s := a.loadRow(r.block)
		a.greater(s, top)
		for _, v := range s {
			a.Scope(func() {
				y, z, e := a.Vec(), a.Vec(), a.Vec()
				a.Word(fmul, scale, v, y)
				a.Word(fmax, least, y, y)
				a.Word(fadd, bias, y, z)
				// The exponent is −|z|·log₂e.
				a.Unary(fabs, z, e)
				a.exponent(c, e, negativeLog2e)
				a.Exp2(c, e, e)
				a.Scope(func() {
					log := a.Horner(e, log1p)
					a.Word(fmul, e, log, log)
					a.Word(fmax, zero, z, v)
					a.Word(fadd, v, log, log)
					a.addTo(sum, log)
				})
				// v = (z < 0 ? e : 1) / (1 + e)
				a.Word(fcmgt, z, zero, v)
				a.VBSL(one, e, v)
				a.Word(fadd, one, e, e)
				a.Word(fdiv, e, v, v)
				a.Word(fmul, v, y, y)
				a.addTo(moment, y)
				a.VMOV(v, z)
				a.addTo(weight, z)
			})
		}
		a.VST1At(r.block, s...)
	})
	a.End()
}

// addTo adds v to the vector at p. It clobbers v.
func (a *Func) addTo(p R, v V) {
	a.Scope(func() {
		a.Word(fadd, a.vector(p), v, v)
		a.VST1At(p, v)
	})
}

// minScaled bounds scale·s from below, for the reason that minExponent bounds
// exponents. It is so far below a bias, of at most 2^100, that their sum is too.
const minScaled = -0x1p110

func tallySquares(f *File) {
	a := f.Func("TallySquaresNEON", "func(block *float32, rows int, sum *float32)", "adds the squares of elements to the sums of rows.")
	r := rows{block: a.Pointer("block"), n: a.Int("rows")}
	sum := a.Pointer("sum")
	r.vector = []R{sum}
	a.eachRow(r, func() {
		s, total := a.loadRow(r.block), a.vector(sum)
		for _, v := range s {
			a.VFMLA(v, v, total, s4)
		}
		a.VST1At(sum, total)
	})
	a.End()
}
