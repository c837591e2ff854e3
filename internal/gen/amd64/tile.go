package amd64

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Tiles writes the kernels of the matrix product.
func (k Kernel) Tiles() {
	for _, rows := range k.Heights(k.Rows) {
		k.mulPanel(rows)
		k.mulBlocks(rows)
	}
	k.transpose()
}

// transpose writes the kernel that transposes a square of two vectors a side,
// by quarters.
func (k Kernel) transpose() {
	k.Begin("Transpose", "func(dst *float32, dstRow int, src *float32, srcRow int)", "stores a square of two vectors a side, transposed.")
	dst, src := k.Pointer("dst"), k.Pointer("src")
	dstRow, srcRow := k.Int("dstRow"), k.Int("srcRow")
	k.SHLQ(operand.U8(2), dstRow)
	k.SHLQ(operand.U8(2), srcRow)
	for i := range 2 {
		for j := range 2 {
			from, to := operand.Mem{Base: k.GP64()}, operand.Mem{Base: k.GP64()}
			k.MOVQ(src.Base, from.Base)
			k.MOVQ(dst.Base, to.Base)
			v := make([]reg.VecVirtual, k.Lanes)
			skip := func(p operand.Mem, row reg.Register) {
				t := k.GP64()
				k.IMUL3Q(operand.U32(k.Lanes), row, t)
				k.ADDQ(t, p.Base)
			}
			if i == 1 {
				skip(from, srcRow)
			}
			if j == 1 {
				skip(to, dstRow)
			}
			k.Commentf("dst[%d·Lanes + j][%d·Lanes + i] = src[%d·Lanes + i][%d·Lanes + j]", j, i, i, j)
			for r := range v {
				v[r] = k.Vec()
				k.VMOVUPS(from.Offset(4*k.Lanes*j), v[r])
				k.ADDQ(srcRow, from.Base)
			}
			for _, r := range k.Transposed(v) {
				k.VMOVUPS(r, to.Offset(4*k.Lanes*i))
				k.ADDQ(dstRow, to.Base)
			}
		}
	}
	k.End()
}

// Transposed returns the transpose of a square of vectors, which it clobbers.
func (k Kernel) Transposed(v []reg.VecVirtual) []reg.VecVirtual {
	// Pairs, then quadruples of rows, within lanes of 128 bits.
	n := len(v)
	pairs := make([]reg.VecVirtual, n)
	for i := 0; i < n; i += 2 {
		pairs[i], pairs[i+1] = k.Vec(), k.Vec()
		k.VUNPCKLPS(v[i+1], v[i], pairs[i])
		k.VUNPCKHPS(v[i+1], v[i], pairs[i+1])
	}
	quads := make([]reg.VecVirtual, n)
	for i := 0; i < n; i += 4 {
		for h := range 2 {
			lo, hi := k.Vec(), k.Vec()
			k.VUNPCKLPD(pairs[i+2+h], pairs[i+h], lo)
			k.VUNPCKHPD(pairs[i+2+h], pairs[i+h], hi)
			quads[i+2*h], quads[i+2*h+1] = lo, hi
		}
	}
	// quads[4q+c] holds column c of each group of four columns, rows 4q to 4q+3.
	out := make([]reg.VecVirtual, n)
	for c := range 4 {
		if k.Lanes == 8 {
			lo, hi := k.Vec(), k.Vec()
			k.VPERM2F128(operand.Imm(0x20), quads[4+c], quads[c], lo)
			k.VPERM2F128(operand.Imm(0x31), quads[4+c], quads[c], hi)
			out[c], out[4+c] = lo, hi
			continue
		}
		even, odd := [2]reg.VecVirtual{k.Vec(), k.Vec()}, [2]reg.VecVirtual{k.Vec(), k.Vec()}
		for h := range 2 {
			k.VSHUFF32X4(operand.Imm(0x88), quads[8*h+4+c], quads[8*h+c], even[h])
			k.VSHUFF32X4(operand.Imm(0xdd), quads[8*h+4+c], quads[8*h+c], odd[h])
		}
		for g := range 4 {
			out[4*g+c] = k.Vec()
			pair, imm := even, operand.Imm(0x88)
			if g%2 == 1 {
				pair = odd
			}
			if g >= 2 {
				imm = operand.Imm(0xdd)
			}
			k.VSHUFF32X4(imm, pair[1], pair[0], out[4*g+c])
		}
	}
	return out
}

// unroll is the number of steps of a product between two looks at how many are left.
const unroll = 4

// mulPanel writes the product of a row panel, of which it takes the first rows,
// and a column panel.
func (k Kernel) mulPanel(rows int) {
	k.Begin(fmt.Sprintf("MulPanel%d", rows), "func(c *float32, cRow int, a, b *float32, depth int, add bool)",
		fmt.Sprintf("multiplies the first %d rows of a row panel by a column panel.", rows))
	t := k.newTile(rows)
	n := k.Int("depth")
	step := func(d int) { t.step(d, func(r int) int { return d*k.Rows + r }) }
	k.Label("block")
	k.CMPQ(n, operand.U32(unroll))
	k.JB(operand.LabelRef("tail"))
	for d := range unroll {
		step(d)
	}
	k.Advance(unroll*k.Rows, t.a)
	k.Advance(unroll*t.cols, t.b)
	k.SUBQ(operand.U32(unroll), n)
	k.JMP(operand.LabelRef("block"))
	k.Label("tail")
	k.TESTQ(n, n)
	k.JZ(operand.LabelRef("store"))
	step(0)
	k.Advance(k.Rows, t.a)
	k.Advance(t.cols, t.b)
	k.DECQ(n)
	k.JMP(operand.LabelRef("tail"))
	t.store()
}

// mulBlocks writes the product of rows in blocks and column panels.
func (k Kernel) mulBlocks(rows int) {
	k.Begin(fmt.Sprintf("MulBlocks%d", rows), "func(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock int, blocks, depth int, add bool)",
		fmt.Sprintf("multiplies %d rows of blocks by column panels. The depth is a multiple of %d.", rows, unroll))
	k.blocks(k.newTile(rows), k.Lanes*2)
}

// blocks emits the loop over blocks, and what comes after it. A row of a block of
// the left operand has width elements.
func (k Kernel) blocks(t *registerTile, width int) {
	depth, aSkip, bSkip, n := k.Int("depth"), k.Int("aBlock"), k.Int("bBlock"), k.Int("blocks")
	left := k.GP64()
	k.SUBQ(depth, aSkip)
	k.IMUL3Q(operand.U32(t.cols), depth, left)
	k.SUBQ(left, bSkip)
	k.Label("block")
	k.MOVQ(depth, left)
	k.Label("depth")
	for d := range unroll {
		t.step(d, func(r int) int { return r*width + d })
	}
	k.Advance(unroll, t.a)
	k.Advance(unroll*t.cols, t.b)
	k.SUBQ(operand.U32(unroll), left)
	k.JNZ(operand.LabelRef("depth"))
	k.LEAQ(operand.Mem{Base: t.a.Base, Index: aSkip, Scale: 4}, t.a.Base)
	k.LEAQ(operand.Mem{Base: t.b.Base, Index: bSkip, Scale: 4}, t.b.Base)
	k.DECQ(n)
	k.JNZ(operand.LabelRef("block"))
	t.store()
}

// A registerTile is sums of rows by two vectors, and the operands a and b.
type registerTile struct {
	Kernel
	cols int
	sums []reg.VecVirtual
	a, b operand.Mem
	row  [2]reg.VecVirtual // of b

	multiply func(b, a, sum operand.Op) // adds b·a to sum
}

// newTile starts a tile. It prefetches what the tile will be stored in, which
// otherwise stalls the end of the kernel.
func (k Kernel) newTile(rows int) *registerTile {
	c, row := k.Pointer("c"), k.Int("cRow")
	for r := range rows {
		k.PREFETCHT0(c)
		if k.Lanes == 16 {
			k.PREFETCHT0(c.Offset(64))
		}
		if r < rows-1 {
			k.LEAQ(operand.Mem{Base: c.Base, Index: row, Scale: 4}, c.Base)
		}
	}
	return &registerTile{
		Kernel: k, cols: 2 * k.Lanes,
		a: k.Pointer("a"), b: k.Pointer("b"),
		sums: k.Zeroed(2 * rows), row: [2]reg.VecVirtual{k.Vec(), k.Vec()},
		multiply: func(b, a, sum operand.Op) { k.VFMADD231PS(b, a, sum) },
	}
}

// step adds the product of row d of b with the elements of a at offset(r).
func (t *registerTile) step(d int, offset func(r int) int) {
	t.Commentf("sum[r] += a[r][%d]·b[%d]", d, d)
	for i, v := range t.row {
		t.VMOVUPS(t.b.Offset(4*(d*t.cols+i*t.Lanes)), v)
	}
	for r := range len(t.sums) / 2 {
		x := t.Vec()
		t.VBROADCASTSS(t.a.Offset(4*offset(r)), x)
		t.multiply(t.row[0], x, t.sums[2*r])
		t.multiply(t.row[1], x, t.sums[2*r+1])
	}
}

// store stores the sums in c, or adds them to it, and returns.
func (t *registerTile) store() {
	t.Label("store")
	c, row := t.Pointer("c"), t.Int("cRow")
	t.SHLQ(operand.U8(2), row)
	add := t.Load(t.Param("add"), t.GP8())
	t.TESTB(add, add)
	t.JZ(operand.LabelRef("overwrite"))
	for _, add := range []bool{true, false} {
		what := "c = sum"
		if add {
			what = "c = c + sum"
		}
		t.Comment(what)
		p := operand.Mem{Base: t.GP64()}
		t.MOVQ(c.Base, p.Base)
		for i, v := range t.sums {
			at := p.Offset(4 * t.Lanes * (i % 2))
			if add {
				t.VADDPS(at, v, v)
			}
			t.VMOVUPS(v, at)
			if i%2 == 1 {
				t.ADDQ(row, p.Base)
			}
		}
		t.End()
		if add {
			t.Label("overwrite")
		}
	}
}
