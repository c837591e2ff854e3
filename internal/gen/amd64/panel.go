package amd64

import (
	"math"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/contrastive-go/contrastive/internal/gen/poly"
)

// Panel writes the kernels that turn a block of similarities, rows of two
// vectors each, into exponentials and weights.
func Panel(c *build.Context) {
	for _, k := range kernels(c) {
		k.tallyRows("TallyRows", false)
		k.tallyRows("TallyRowsStore", true)
		k.tallyCols()
		k.tallyBoth()
		k.topBoth()
		k.greatest()
		k.weighBoth()
		k.weighRows()
		k.weighCols()
		k.tallySigmoid()
		k.tallySquares()
	}
}

// rows is a loop over the rows of a block, and the pointers that advance with it.
type rows struct {
	block  operand.Mem
	n      reg.Register
	vector []operand.Mem // one vector a row
	scalar []operand.Mem // one element a row
	blocks []operand.Mem // further blocks
}

// eachRow emits body once, in a loop over rows.
func (k Kernel) eachRow(r rows, body func()) {
	k.Label("row")
	body()
	k.Advance(2*k.lanes, append([]operand.Mem{r.block}, r.blocks...)...)
	k.Advance(k.lanes, r.vector...)
	k.Advance(1, r.scalar...)
	k.DECQ(r.n)
	k.JNZ(operand.LabelRef("row"))
}

// load returns the two vectors of a row, which may be those of columns.
func (k Kernel) load(m operand.Mem) [2]reg.VecVirtual {
	v := [2]reg.VecVirtual{k.Vec(), k.Vec()}
	k.VMOVUPS(m, v[0])
	k.VMOVUPS(m.Offset(4*k.lanes), v[1])
	return v
}

func (k Kernel) store(v [2]reg.VecVirtual, m operand.Mem) {
	k.VMOVUPS(v[0], m)
	k.VMOVUPS(v[1], m.Offset(4*k.lanes))
}

// splat loads one element into all lanes.
func (k Kernel) splat(m operand.Mem) reg.VecVirtual {
	v := k.Vec()
	k.VBROADCASTSS(m, v)
	return v
}

// exponent returns max(scale·s, minExponent).
func (k Kernel) exponent(s, scale reg.VecVirtual) reg.VecVirtual {
	y := k.Vec()
	k.VMULPS(scale, s, y)
	k.VMAXPS(k.Const(minExponent), y, y)
	return y
}

func (k Kernel) difference(s, shift reg.VecVirtual) reg.VecVirtual {
	d := k.Vec()
	k.VSUBPS(shift, s, d)
	return d
}

func (k Kernel) tallyRows(name string, store bool) {
	doc := "adds to the sums of rows."
	if store {
		doc = "is TallyRows, and stores the exponentials."
	}
	k.Begin(name, "func(block *float32, rows int, scale float32, shift, sum, moment, top *float32)", doc)
	scale := k.Broadcast("scale")
	r := rows{block: k.Pointer("block"), n: k.Int("rows")}
	shift, sum, moment, top := k.Pointer("shift"), k.Pointer("sum"), k.Pointer("moment"), k.Pointer("top")
	r.scalar, r.vector = []operand.Mem{shift}, []operand.Mem{sum, moment, top}
	k.eachRow(r, func() {
		s, d := k.load(r.block), k.splat(shift)
		total, product, greatest := k.Vec(), k.Vec(), k.Vec()
		k.VMAXPS(s[0], s[1], greatest)
		k.VMAXPS(top, greatest, greatest)
		k.VMOVUPS(greatest, top)
		var e [2]reg.VecVirtual
		for i := range s {
			y := k.exponent(k.difference(s[i], d), scale)
			e[i] = k.Exp2(y)
			if i == 0 {
				k.VMULPS(e[i], y, product)
			} else {
				k.VFMADD231PS(e[i], y, product)
			}
		}
		if store {
			k.store(e, r.block)
		}
		k.VADDPS(e[0], e[1], total)
		k.VADDPS(sum, total, total)
		k.VMOVUPS(total, sum)
		k.VADDPS(moment, product, product)
		k.VMOVUPS(product, moment)
	})
	k.End()
}

func (k Kernel) tallyCols() {
	k.Begin("TallyCols", "func(block *float32, rows int, scale float32, shift, sum, moment, top *float32)", "adds to the sums of columns.")
	scale := k.Broadcast("scale")
	r := rows{block: k.Pointer("block"), n: k.Int("rows")}
	shift := k.Pointer("shift")
	sum, moment, top := k.Pointer("sum"), k.Pointer("moment"), k.Pointer("top")
	sums, moments, tops := k.load(sum), k.load(moment), k.load(top)
	k.eachRow(r, func() {
		s := k.load(r.block)
		for i := range s {
			k.VMAXPS(s[i], tops[i], tops[i])
			y := k.Vec()
			k.VSUBPS(shift.Offset(4*k.lanes*i), s[i], y)
			y = k.exponent(y, scale)
			e := k.Exp2(y)
			k.VADDPS(e, sums[i], sums[i])
			k.VFMADD231PS(e, y, moments[i])
		}
	})
	k.store(sums, sum)
	k.store(moments, moment)
	k.store(tops, top)
	k.End()
}

func (k Kernel) tallyBoth() {
	k.Begin("TallyBoth", "func(block *float32, rows int, scale float32, sum, moment, top, colSum, colMoment, colTop *float32)", "adds to the sums of rows and columns, for shifts of 0.")
	scale := k.Broadcast("scale")
	r := rows{block: k.Pointer("block"), n: k.Int("rows")}
	sum, moment, top := k.Pointer("sum"), k.Pointer("moment"), k.Pointer("top")
	r.vector = []operand.Mem{sum, moment, top}
	colSum, colMoment, colTop := k.Pointer("colSum"), k.Pointer("colMoment"), k.Pointer("colTop")
	sums, moments, tops := k.load(colSum), k.load(colMoment), k.load(colTop)
	k.eachRow(r, func() {
		s := k.load(r.block)
		greatest := k.Vec()
		k.VMAXPS(s[0], s[1], greatest)
		k.VMAXPS(top, greatest, greatest)
		k.VMOVUPS(greatest, top)
		total, product := k.Vec(), k.Vec()
		k.VMOVUPS(sum, total)
		k.VMOVUPS(moment, product)
		for i := range s {
			k.VMAXPS(s[i], tops[i], tops[i])
			y := k.exponent(s[i], scale)
			e := k.Exp2(y)
			k.VADDPS(e, total, total)
			k.VADDPS(e, sums[i], sums[i])
			k.VMULPS(e, y, y)
			k.VADDPS(y, product, product)
			k.VADDPS(y, moments[i], moments[i])
		}
		k.VMOVUPS(total, sum)
		k.VMOVUPS(product, moment)
	})
	k.store(sums, colSum)
	k.store(moments, colMoment)
	k.store(tops, colTop)
	k.End()
}

func (k Kernel) topBoth() {
	k.Begin("TopBoth", "func(block *float32, rows int, top, colTop *float32)", "finds the greatest elements of rows and columns.")
	r := rows{block: k.Pointer("block"), n: k.Int("rows")}
	top, colTop := k.Pointer("top"), k.Pointer("colTop")
	r.vector = []operand.Mem{top}
	tops := k.load(colTop)
	k.eachRow(r, func() {
		s := k.load(r.block)
		greatest := k.Vec()
		k.VMAXPS(s[0], s[1], greatest)
		k.VMAXPS(top, greatest, greatest)
		k.VMOVUPS(greatest, top)
		for i := range s {
			k.VMAXPS(s[i], tops[i], tops[i])
		}
	})
	k.store(tops, colTop)
	k.End()
}

func (k Kernel) greatest() {
	k.Begin("Greatest", "func(block *float32, rows int, top *float32)", "stores the greatest element of each row.")
	r := rows{block: k.Pointer("block"), n: k.Int("rows")}
	top := k.Pointer("top")
	r.scalar = []operand.Mem{top}
	k.eachRow(r, func() {
		s := k.load(r.block)
		k.VMAXPS(s[0], s[1], s[0])
		k.VMOVSS(k.Reduce(s[:1], k.max).AsX(), top)
	})
	k.End()
}

func (k Kernel) weighBoth() {
	k.Begin("WeighBoth", "func(block *float32, rows int, scale float32, row, col *float32)", "weighs exponentials by the sum of a row's and a column's weight, for shifts of 0.")
	scale := k.Broadcast("scale")
	r := rows{block: k.Pointer("block"), n: k.Int("rows")}
	row := k.Pointer("row")
	r.scalar = []operand.Mem{row}
	cols := k.load(k.Pointer("col"))
	k.eachRow(r, func() {
		s, weight := k.load(r.block), k.splat(row)
		for i := range s {
			e, w := k.Exp2(k.exponent(s[i], scale)), k.Vec()
			k.VADDPS(weight, cols[i], w)
			k.VMULPS(w, e, s[i])
		}
		k.store(s, r.block)
	})
	k.End()
}

func (k Kernel) weighRows() {
	k.Begin("WeighRows", "func(dst, block *float32, rows int, scale float32, shift, weight *float32)", "adds exponentials weighed by row.")
	scale := k.Broadcast("scale")
	r := rows{block: k.Pointer("block"), n: k.Int("rows")}
	dst, shift, weight := k.Pointer("dst"), k.Pointer("shift"), k.Pointer("weight")
	r.scalar, r.blocks = []operand.Mem{shift, weight}, []operand.Mem{dst}
	k.eachRow(r, func() {
		s, w, d := k.load(r.block), k.splat(weight), k.splat(shift)
		sums := k.load(dst)
		for i := range s {
			e := k.Exp2(k.exponent(k.difference(s[i], d), scale))
			k.VFMADD231PS(e, w, sums[i])
		}
		k.store(sums, dst)
	})
	k.End()
}

func (k Kernel) weighCols() {
	k.Begin("WeighCols", "func(dst, block *float32, rows int, scale float32, shift, weight *float32)", "adds exponentials weighed by column.")
	scale := k.Broadcast("scale")
	r := rows{block: k.Pointer("block"), n: k.Int("rows")}
	dst, shift := k.Pointer("dst"), k.Pointer("shift")
	weights := k.load(k.Pointer("weight"))
	r.blocks = []operand.Mem{dst}
	k.eachRow(r, func() {
		s, sums := k.load(r.block), k.load(dst)
		for i := range s {
			y := k.Vec()
			k.VSUBPS(shift.Offset(4*k.lanes*i), s[i], y)
			e := k.Exp2(k.exponent(y, scale))
			k.VFMADD231PS(e, weights[i], sums[i])
		}
		k.store(sums, dst)
	})
	k.End()
}

func (k Kernel) tallySigmoid() {
	k.Begin("TallySigmoid", "func(block *float32, rows int, scale, bias float32, sum, moment, top, weight *float32)", "replaces elements by their sigmoids and adds to the sums of rows.")
	scale, bias := k.Broadcast("scale"), k.Broadcast("bias")
	r := rows{block: k.Pointer("block"), n: k.Int("rows")}
	sum, moment, top, weight := k.Pointer("sum"), k.Pointer("moment"), k.Pointer("top"), k.Pointer("weight")
	r.vector = []operand.Mem{sum, moment, top, weight}
	zero := k.Vec()
	k.VXORPS(zero, zero, zero)
	k.eachRow(r, func() {
		s := k.load(r.block)
		greatest := k.Vec()
		k.VMAXPS(s[0], s[1], greatest)
		k.VMAXPS(top, greatest, greatest)
		k.VMOVUPS(greatest, top)
		for i := range s {
			y, z, x := k.Vec(), k.Vec(), k.Vec()
			k.VMULPS(scale, s[i], y)
			k.VMAXPS(k.Const(minScaled), y, y)
			k.VADDPS(bias, y, z)
			// x = −|z|·log₂e
			k.VORPS(k.ConstBits(1<<31), z, x)
			k.VMULPS(k.Const(math.Log2E), x, x)
			k.VMAXPS(k.Const(minExponent), x, x)
			e := k.Exp2(x)
			log, term := k.Horner(e, poly.Log1p), k.Vec()
			k.VMULPS(e, log, log)
			k.VMAXPS(zero, z, term)
			k.VADDPS(term, log, log)
			k.VADDPS(sum, log, log)
			k.VMOVUPS(log, sum)
			// w = (z < 0 ? e : 1) / (1 + e)
			one, w := k.Vec(), k.Vec()
			k.VMOVUPS(k.Const(1), one)
			k.VADDPS(one, e, w)
			k.selectNegative(z, e, one)
			k.VDIVPS(w, one, w)
			k.VMOVUPS(w, r.block.Offset(4*k.lanes*i))
			k.VMULPS(w, y, y)
			k.VADDPS(moment, y, y)
			k.VMOVUPS(y, moment)
			k.VADDPS(weight, w, w)
			k.VMOVUPS(w, weight)
		}
	})
	k.End()
}

// minScaled bounds scale·s from below, for the reason that minExponent bounds
// exponents. It is so far below a bias, of at most 2^100, that their sum is too.
const minScaled = -0x1p110

// selectNegative sets those lanes of dst to v in which the sign of z is set.
func (k Kernel) selectNegative(z, v, dst reg.VecVirtual) {
	if k.lanes == 16 {
		m := k.K()
		k.VPMOVD2M(z, m)
		k.VMOVAPS(v, m, dst)
		return
	}
	k.VBLENDVPS(z, v, dst, dst)
}

func (k Kernel) tallySquares() {
	k.Begin("TallySquares", "func(block *float32, rows int, sum *float32)", "adds the squares of elements to the sums of rows.")
	r := rows{block: k.Pointer("block"), n: k.Int("rows")}
	sum := k.Pointer("sum")
	r.vector = []operand.Mem{sum}
	k.eachRow(r, func() {
		s, total := k.load(r.block), k.Vec()
		k.VMOVUPS(sum, total)
		for i := range s {
			k.VFMADD231PS(s[i], s[i], total)
		}
		k.VMOVUPS(total, sum)
	})
	k.End()
}
