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
		k.mulRows(rows)
		k.mulBlocks(rows)
	}
	k.mulTall(k.BlockRows)
	k.transpose()
	k.interleave()
	k.packRuns("PackRows", k.Rows)
	k.packRuns("PackCols", 2*k.Lanes)
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

// interleave writes the kernel that lays out the rows of a row panel side by side. It
// stores whole vectors, each over the end of the one before.
func (k Kernel) interleave() {
	k.Begin("Interleave", "func(dst, src *float32, srcRow, groups int)",
		fmt.Sprintf("stores %d rows side by side, %d elements of each a group. It writes %d elements past the end.", k.Rows, k.Lanes, k.Lanes-k.Rows))
	dst := k.Pointer("dst")
	rows, n := k.spaced(k.Pointer("src"), "srcRow", k.Rows), k.Int("groups")
	k.Label("group")
	k.Comment("dst[t·Rows + r] = src[r][t]")
	v := make([]reg.VecVirtual, k.Lanes)
	for r := range v {
		if r >= k.Rows {
			v[r] = v[0] // any: it is overwritten
			continue
		}
		v[r] = k.Vec()
		k.VMOVUPS(rows.at(r), v[r])
	}
	for t, column := range k.Transposed(v) {
		k.VMOVUPS(column, dst.Offset(4*k.Rows*t))
	}
	rows.move(k.Lanes)
	k.Advance(k.Rows*k.Lanes, dst)
	k.DECQ(n)
	k.JNZ(operand.LabelRef("group"))
	k.End()
}

// packRuns writes the kernel that deals rows out to panels, a run of elements to each.
func (k Kernel) packRuns(name string, run int) {
	k.Begin(name, "func(dst *float32, dstPanel, dstSkip int, src *float32, srcSkip, panels, rows int)",
		fmt.Sprintf("deals out rows to panels, runs of %d elements to each in turn. The skips are from the end of a row to the next.", run))
	dst, src, panels, rows := k.Pointer("dst"), k.Pointer("src"), k.Int("panels"), k.Int("rows")
	dstPanel, dstSkip, srcSkip, left := k.Int("dstPanel"), k.Int("dstSkip"), k.Int("srcSkip"), k.GP64()
	for _, distance := range []reg.GPVirtual{dstPanel, dstSkip, srcSkip} {
		k.SHLQ(operand.U8(2), distance)
	}
	// Rows may be on pages of their own, which hardware does not prefetch.
	const rowsAhead = 8
	ahead := k.GP64()
	k.IMUL3Q(operand.U32(4*run), panels, ahead)
	k.ADDQ(srcSkip, ahead)
	k.IMUL3Q(operand.U32(rowsAhead), ahead, ahead)
	k.Label("row")
	k.MOVQ(panels, left)
	k.Label("run")
	k.Comment("dst[p·dstPanel + r] = src[p·run + r]")
	k.PREFETCHT0(src.Idx(ahead, 1))
	for at := 0; at < run; {
		v := k.Vec()
		lanes := k.Lanes
		for at+lanes > run {
			lanes /= 2
		}
		part, move := reg.Register(v), k.VMOVUPS
		switch lanes {
		case 8:
			part = v.AsY()
		case 4:
			part = v.AsX()
		case 2:
			part = v.AsX()
			move = func(ops ...operand.Op) { k.VMOVSD(ops...) }
		}
		move(src.Offset(4*at), part)
		move(part, dst.Offset(4*at))
		at += lanes
	}
	k.Advance(run, src)
	k.ADDQ(dstPanel, dst.Base)
	k.DECQ(left)
	k.JNZ(operand.LabelRef("run"))
	k.ADDQ(srcSkip, src.Base)
	k.ADDQ(dstSkip, dst.Base)
	k.DECQ(rows)
	k.JNZ(operand.LabelRef("row"))
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

const cacheLine = 64

// mulPanel writes the product of a left operand by columns, such as a row panel, of
// which it takes the first rows, and a right one by rows, such as a column panel.
//
// Column panels follow one another, and the first tile of each would wait for most of it:
// hardware prefetches within pages. So every tile prefetches a line of the next panel in
// unroll steps, another one than the tile before, and after some tiles all of it is in the
// second-level cache.
func (k Kernel) mulPanel(rows int) {
	k.Begin(fmt.Sprintf("MulPanel%d", rows), "func(c *float32, cRow int, a *float32, aTile, aStep int, b *float32, bStep, tiles, depth int, alpha, beta float32)",
		fmt.Sprintf("multiplies tiles of %d rows that lie side by side by rows of two vectors.", rows))
	c, row, tiles := k.Pointer("c"), k.Int("cRow"), k.Int("tiles")
	k.SHLQ(operand.U8(2), row)
	first, skip := k.Pointer("a"), k.Int("aTile")
	k.SHLQ(operand.U8(2), skip)
	t := &registerTile{Kernel: k, cols: 2 * k.Lanes, a: operand.Mem{Base: k.GP64()}, b: operand.Mem{Base: k.GP64()}}
	left, right := k.spaced(t.a, "aStep", unroll), k.spaced(t.b, "bStep", unroll)
	next := k.Int("depth")
	k.IMULQ(right.distance[1], next)
	k.Label("tile")
	k.prefetchTile(c, row, rows)
	t.clear(rows)
	k.MOVQ(first.Base, t.a.Base)
	k.Load(k.Param("b"), t.b.Base)
	k.strided(t, right, func(d, r int) operand.Mem { return left.at(d).Offset(4 * r) }, func(steps int) {
		left.advance(steps)
		if steps == unroll {
			k.PREFETCHT1(t.b.Idx(next, 1))
		}
	})
	t.storeScaled(c, row)
	k.Comment("The next tile prefetches the next lines.")
	k.ADDQ(operand.U32(cacheLine), next)
	k.ADDQ(skip, first.Base)
	k.DECQ(tiles)
	k.JNZ(operand.LabelRef("tile"))
	k.End()
}

// mulRows is mulPanel for rows that lie one after the other.
func (k Kernel) mulRows(rows int) {
	k.Begin(fmt.Sprintf("MulRows%d", rows), "func(c *float32, cRow int, a *float32, aRow int, b *float32, bStep, depth int, alpha, beta float32)",
		fmt.Sprintf("multiplies %d rows that lie one after the other by rows of two vectors.", rows))
	t := k.newTile(rows)
	left, right := k.spaced(t.a, "aRow", rows), k.spaced(t.b, "bStep", unroll)
	k.strided(t, right, func(d, r int) operand.Mem { return left.at(r).Offset(4 * d) }, left.move)
	c, row := k.Pointer("c"), k.Int("cRow")
	k.SHLQ(operand.U8(2), row)
	t.storeScaled(c, row)
	k.End()
}

// strided emits the loop of a product over the rows of the right operand. The element of
// row r, d steps on, is at left(d, r), and skip passes over steps.
func (k Kernel) strided(t *registerTile, right *spaced, left func(d, r int) operand.Mem, skip func(steps int)) {
	n := k.Int("depth")
	step := func(d int) { t.step(d, right.at(d), func(r int) operand.Mem { return left(d, r) }) }
	k.Label("block")
	k.CMPQ(n, operand.U32(unroll))
	k.JB(operand.LabelRef("tail"))
	for d := range unroll {
		step(d)
	}
	skip(unroll)
	right.advance(unroll)
	k.SUBQ(operand.U32(unroll), n)
	k.JMP(operand.LabelRef("block"))
	k.Label("tail")
	k.TESTQ(n, n)
	k.JZ(operand.LabelRef("store"))
	step(0)
	skip(1)
	right.advance(1)
	k.DECQ(n)
	k.JMP(operand.LabelRef("tail"))
	k.Label("store")
}

// perBase is how many values at equal distances a base and three multiples of the
// distance address: 0, s, 2s, 3s, 4s and 5s.
const perBase = 6

// spaced are addresses at equal distances.
type spaced struct {
	Kernel
	bases    []operand.Mem
	distance [perBase]reg.GPVirtual // odd multiples, in bytes
}

// spaced returns n addresses from p on, whose distance is a parameter, in elements.
func (k Kernel) spaced(p operand.Mem, distance string, n int) *spaced {
	s := &spaced{Kernel: k, bases: []operand.Mem{p}}
	d := k.Int(distance)
	k.SHLQ(operand.U8(2), d)
	s.distance[1] = d
	if n > 3 {
		s.distance[3] = k.GP64()
		k.LEAQ(operand.Mem{Base: d, Index: d, Scale: 2}, s.distance[3])
	}
	if n > 5 {
		s.distance[5] = k.GP64()
		k.LEAQ(operand.Mem{Base: d, Index: d, Scale: 4}, s.distance[5])
	}
	for len(s.bases)*perBase < n {
		next := operand.Mem{Base: k.GP64()}
		k.LEAQ(operand.Mem{Base: s.bases[len(s.bases)-1].Base, Index: s.distance[3], Scale: 2}, next.Base)
		s.bases = append(s.bases, next)
	}
	return s
}

// at returns the i'th address.
func (s *spaced) at(i int) operand.Mem {
	base, i := s.bases[i/perBase], i%perBase
	switch i {
	case 0:
		return base
	case 2, 4:
		return base.Idx(s.distance[1], uint8(i))
	}
	return base.Idx(s.distance[i], 1)
}

// advance moves by n distances, move by n elements.
func (s *spaced) advance(n int) {
	for _, base := range s.bases {
		s.LEAQ(base.Idx(s.distance[1], uint8(n)), base.Base)
	}
}

func (s *spaced) move(n int) { s.Advance(n, s.bases...) }

// mulBlocks writes the product of rows in blocks and column panels.
func (k Kernel) mulBlocks(rows int) {
	k.Begin(fmt.Sprintf("MulBlocks%d", rows), "func(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock int, blocks, depth int, add bool)",
		fmt.Sprintf("multiplies %d rows of blocks by column panels. The depth is a multiple of %d.", rows, unroll))
	k.blocks(k.newTile(rows), k.Lanes*2)
}

// mulTall is mulBlocks for several tiles, one below the other. The end of a tile, which
// waits for its sums, overlaps with the beginning of the next. As in mulPanel, tiles
// prefetch what the next call multiplies by: the block behind the last one, or, if blocks
// do not follow one another, that behind each.
func (k Kernel) mulTall(rows int) {
	k.Begin("MulTall", "func(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock int, blocks, depth, tiles int, add bool)",
		fmt.Sprintf("multiplies tiles of %d rows of blocks by column panels. The depth is a multiple of %d.", rows, unroll))
	k.tall(&registerTile{Kernel: k}, rows, 2*k.Lanes)
}

// tall emits mulTall after its beginning. A row of a block of the left operand has width
// elements.
func (k Kernel) tall(t *registerTile, rows, width int) {
	c, row, tiles, first := k.Pointer("c"), k.Int("cRow"), k.Int("tiles"), k.Pointer("a")
	k.SHLQ(operand.U8(2), row)
	t.cols, t.a, t.b = 2*k.Lanes, operand.Mem{Base: k.GP64()}, operand.Mem{Base: k.GP64()}
	depth, aSkip, bSkip := t.skips()
	next, block := k.Int("blocks"), k.Int("bBlock")
	k.IMULQ(block, next)
	k.SUBQ(bSkip, block)
	k.TESTQ(bSkip, bSkip)
	k.CMOVQNE(block, next)
	k.SHLQ(operand.U8(2), next)
	k.Label("tile")
	k.prefetchTile(c, row, rows)
	t.clear(rows)
	k.MOVQ(first.Base, t.a.Base)
	k.Load(k.Param("b"), t.b.Base)
	t.eachBlock(width, depth, aSkip, bSkip, func() { k.PREFETCHT1(t.b.Idx(next, 1)) })
	k.ADDQ(operand.U32(cacheLine), next)
	add := k.Load(k.Param("add"), k.GP8())
	k.TESTB(add, add)
	k.JZ(operand.LabelRef("overwrite"))
	t.storeRows("c = c + sum", c, row, func(c operand.Mem, v reg.VecVirtual) { t.VADDPS(c, v, v) })
	k.JMP(operand.LabelRef("stored"))
	k.Label("overwrite")
	t.storeRows("c = sum", c, row, nil)
	k.Label("stored")
	k.Advance(rows*width, first)
	k.DECQ(tiles)
	k.JNZ(operand.LabelRef("tile"))
	k.End()
}

// blocks emits the loop over blocks, and what comes after it. A row of a block of
// the left operand has width elements.
func (k Kernel) blocks(t *registerTile, width int) {
	depth, aSkip, bSkip := t.skips()
	t.eachBlock(width, depth, aSkip, bSkip, func() {})
	t.store()
}

// skips returns the depth, and the elements from behind those of a block that are
// multiplied to the next block.
func (t *registerTile) skips() (depth, aSkip, bSkip reg.GPVirtual) {
	depth, aSkip, bSkip = t.Int("depth"), t.Int("aBlock"), t.Int("bBlock")
	size := t.GP64()
	t.SUBQ(depth, aSkip)
	t.IMUL3Q(operand.U32(t.cols), depth, size)
	t.SUBQ(size, bSkip)
	return depth, aSkip, bSkip
}

// eachBlock emits the loop over blocks.
func (t *registerTile) eachBlock(width int, depth, aSkip, bSkip reg.GPVirtual, prefetch func()) {
	k, n, left := t.Kernel, t.Int("blocks"), t.GP64()
	k.Label("block")
	k.MOVQ(depth, left)
	k.Label("depth")
	prefetch()
	for d := range unroll {
		t.step(d, t.b.Offset(4*d*t.cols), func(r int) operand.Mem { return t.a.Offset(4 * (r*width + d)) })
	}
	k.Advance(unroll, t.a)
	k.Advance(unroll*t.cols, t.b)
	k.SUBQ(operand.U32(unroll), left)
	k.JNZ(operand.LabelRef("depth"))
	k.LEAQ(operand.Mem{Base: t.a.Base, Index: aSkip, Scale: 4}, t.a.Base)
	k.LEAQ(operand.Mem{Base: t.b.Base, Index: bSkip, Scale: 4}, t.b.Base)
	k.DECQ(n)
	k.JNZ(operand.LabelRef("block"))
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

// newTile starts a tile.
func (k Kernel) newTile(rows int) *registerTile {
	c, row := k.Pointer("c"), k.Int("cRow")
	k.SHLQ(operand.U8(2), row)
	k.prefetchTile(c, row, rows)
	t := &registerTile{Kernel: k, cols: 2 * k.Lanes, a: k.Pointer("a"), b: k.Pointer("b")}
	t.clear(rows)
	return t
}

// prefetchTile prefetches what a tile will be stored in, which otherwise stalls the end
// of it. The distance of rows is in bytes.
func (k Kernel) prefetchTile(c operand.Mem, row reg.GPVirtual, rows int) {
	p := operand.Mem{Base: k.GP64()}
	k.MOVQ(c.Base, p.Base)
	for r := range rows {
		for line := 0; line < 8*k.Lanes; line += cacheLine {
			k.PREFETCHT0(p.Offset(line))
		}
		k.PREFETCHT0(p.Offset(8*k.Lanes - 4)) // another one if the row begins within a line
		if r < rows-1 {
			k.ADDQ(row, p.Base)
		}
	}
}

// clear sets the sums of rows to 0.
func (t *registerTile) clear(rows int) {
	t.sums, t.row = t.Zeroed(2*rows), [2]reg.VecVirtual{t.Vec(), t.Vec()}
	if t.multiply == nil {
		t.multiply = func(b, a, sum operand.Op) { t.VFMADD231PS(b, a, sum) }
	}
}

// step adds the product of a row of b, which is step d's, with the elements of a at
// left(r).
func (t *registerTile) step(d int, b operand.Mem, left func(r int) operand.Mem) {
	t.Commentf("sum[r] += a[r][%d]·b[%d]", d, d)
	for i, v := range t.row {
		t.VMOVUPS(b.Offset(4*i*t.Lanes), v)
	}
	for r := range len(t.sums) / 2 {
		x := t.Vec()
		t.VBROADCASTSS(left(r), x)
		t.multiply(t.row[0], x, t.sums[2*r])
		t.multiply(t.row[1], x, t.sums[2*r+1])
	}
}

// storeScaled stores alpha·sums + beta·c in c, which is not read if beta is 0, and moves c
// behind the last row. The distance of rows is in bytes.
func (t *registerTile) storeScaled(c operand.Mem, row reg.GPVirtual) {
	alpha, beta, isZero := t.Vec(), t.Vec(), t.GP32()
	t.VBROADCASTSS(t.parameter("alpha"), alpha)
	t.VBROADCASTSS(t.parameter("beta"), beta)
	t.MOVL(t.parameter("beta"), isZero)
	t.Comment("sum = alpha·sum")
	for _, v := range t.sums {
		t.VMULPS(alpha, v, v)
	}
	t.ADDL(isZero, isZero) // without its sign
	t.JZ(operand.LabelRef("overwrite"))
	t.storeRows("c = beta·c + sum", c, row, func(c operand.Mem, v reg.VecVirtual) { t.VFMADD231PS(c, beta, v) })
	t.JMP(operand.LabelRef("stored"))
	t.Label("overwrite")
	t.storeRows("c = sum", c, row, nil)
	t.Label("stored")
}

// storeRows stores the sums in rows of c, each after update, unless that is nil, and moves
// c behind them.
func (t *registerTile) storeRows(what string, c operand.Mem, row reg.GPVirtual, update func(c operand.Mem, sum reg.VecVirtual)) {
	t.Comment(what)
	for i, v := range t.sums {
		at := c.Offset(4 * t.Lanes * (i % 2))
		if update != nil {
			update(at, v)
		}
		t.VMOVUPS(v, at)
		if i%2 == 1 {
			t.ADDQ(row, c.Base)
		}
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
	t.storeRows("c = c + sum", c, row, func(c operand.Mem, v reg.VecVirtual) { t.VADDPS(c, v, v) })
	t.End()
	t.Label("overwrite")
	t.storeRows("c = sum", c, row, nil)
	t.End()
}
