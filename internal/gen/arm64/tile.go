package arm64

import "fmt"

// Tiles writes the kernels of the matrix product.
func (k Kernel) Tiles() {
	for _, rows := range k.Heights(k.Rows) {
		k.mulPanel(rows)
	}
	for _, rows := range k.Heights(k.BlockRows) {
		k.mulRows(rows)
		k.mulBlocks(rows)
	}
	k.transpose()
	k.interleave()
	k.packRuns("PackRows", k.Rows)
	k.packRuns("PackCols", k.Cols)
}

// transpose writes the kernel that transposes a square of two vectors a side,
// by quarters.
func (k Kernel) transpose() {
	k.Begin("Transpose", "func(dst *float32, dstRow int, src *float32, srcRow int)", "stores a square of two vectors a side, transposed.")
	dst, src := k.Pointer("dst"), k.Pointer("src")
	dstRow, srcRow := k.Int("dstRow"), k.Int("srcRow")
	k.LSL(2, dstRow)
	k.LSL(2, srcRow)
	for i := range 2 {
		for j := range 2 {
			from, to := k.GP(), k.GP()
			k.MOVD(src, from)
			k.MOVD(dst, to)
			if i == 1 {
				k.ADDShifted(srcRow, 2, from)
			}
			if j == 1 {
				k.ADDShifted(dstRow, 2, to)
			}
			k.ADD(4*k.Lanes*j, from)
			k.ADD(4*k.Lanes*i, to)
			k.Comment("dst[%d·Lanes + j][%d·Lanes + i] = src[%d·Lanes + i][%d·Lanes + j]", j, i, i, j)
			v := make([]V, k.Lanes)
			for r := range v {
				v[r] = k.Vec()
				k.VLD1(from, srcRow, v[r])
			}
			for _, r := range k.Transposed(v) {
				k.VST1(to, dstRow, r)
			}
		}
	}
	k.End()
}

// interleave writes the kernel that lays out the rows of a row panel side by side.
func (k Kernel) interleave() {
	k.Begin("Interleave", "func(dst, src *float32, srcRow, groups int)",
		fmt.Sprintf("stores %d rows side by side, %d elements of each a group.", k.Rows, k.Lanes))
	dst, src, row, n, back := k.Pointer("dst"), k.Pointer("src"), k.Int("srcRow"), k.Int("groups"), k.GP()
	k.LSL(2, row)
	k.MOVDImm(-k.Rows, back)
	k.MUL(row, back)
	k.ADD(4*k.Lanes, back)
	k.Label("group")
	k.Comment("dst[t·Rows + r] = src[r][t]")
	for r := 0; r < k.Rows; r += k.Lanes {
		v := k.Vecs(k.Lanes)
		for i := range v {
			k.VLD1(src, row, v[i])
		}
		for t, column := range k.Transposed(v) {
			k.FMOVQTo(column, dst, 4*(k.Rows*t+r))
		}
	}
	k.ADDR(back, src)
	k.ADD(4*k.Rows*k.Lanes, dst)
	k.SUBS(1, n)
	k.BNE("group")
	k.End()
}

// packRuns writes the kernel that deals rows out to panels, a run of elements to each.
func (k Kernel) packRuns(name string, run int) {
	k.Begin(name, "func(dst *float32, dstPanel, dstSkip int, src *float32, srcSkip, panels, rows int)",
		fmt.Sprintf("deals out rows to panels, runs of %d elements to each in turn. The skips are from the end of a row to the next.", run))
	dst, src, panels, rows := k.Pointer("dst"), k.Pointer("src"), k.Int("panels"), k.Int("rows")
	dstPanel, dstSkip, srcSkip, left := k.Int("dstPanel"), k.Int("dstSkip"), k.Int("srcSkip"), k.GP()
	for _, distance := range []R{dstPanel, dstSkip, srcSkip} {
		k.LSL(2, distance)
	}
	k.Label("row")
	k.MOVD(panels, left)
	k.Label("run")
	k.Comment("dst[p·dstPanel + r] = src[p·run + r]")
	v := k.Vecs(run / k.Lanes)
	k.VLD1Next(src, v...)
	k.VST1(dst, dstPanel, v...)
	k.SUBS(1, left)
	k.BNE("run")
	k.ADDR(srcSkip, src)
	k.ADDR(dstSkip, dst)
	k.SUBS(1, rows)
	k.BNE("row")
	k.End()
}

// Transposed returns the transpose of a square of vectors, which it clobbers.
func (k Kernel) Transposed(v []V) []V {
	var pairs, out [4]V
	for i := range 4 {
		pairs[i] = k.Vec()
	}
	for i := 0; i < 4; i += 2 {
		k.VTRN1(v[i+1], v[i], pairs[i], s4)
		k.VTRN2(v[i+1], v[i], pairs[i+1], s4)
	}
	copy(out[:], v)
	for c := range 2 {
		k.VTRN1(pairs[2+c], pairs[c], out[c], d2)
		k.VTRN2(pairs[2+c], pairs[c], out[2+c], d2)
	}
	return out[:]
}

// mulPanel writes the product of a left operand by columns, such as a row panel, of
// which it takes the first rows, and a right one by rows, such as a column panel.
func (k Kernel) mulPanel(rows int) {
	const unroll = 8
	k.Begin(fmt.Sprintf("MulPanel%d", rows), "func(c *float32, cRow int, a *float32, aTile, aStep int, b *float32, bStep, tiles, depth int, alpha, beta float32)",
		fmt.Sprintf("multiplies tiles of %d rows that lie side by side by rows of two vectors.", rows))
	c, row, tiles := k.Pointer("c"), k.Int("cRow"), k.Int("tiles")
	k.LSL(2, row)
	first, skip := k.Pointer("a"), k.Int("aTile")
	k.LSL(2, skip)
	leftStep, rightStep := k.Int("aStep"), k.Int("bStep")
	k.LSL(2, leftStep)
	k.LSL(2, rightStep)
	k.Label("tile")
	t := k.newTile(rows)
	left, right, n := k.GP(), k.Pointer("b"), k.Int("depth")
	k.MOVD(first, left)
	step := func() {
		k.Comment("sum[r] += a[r][t]·b[t]")
		x, y := k.Vecs(rows/k.Lanes), k.Vecs(2)
		k.VLD1(left, leftStep, x...)
		k.VLD1(right, rightStep, y...)
		t.step(y, func(r int) (V, int) { return x[r/k.Lanes], r % k.Lanes })
	}
	k.SUBS(unroll, n)
	k.BLO("last")
	k.Label("block")
	for range unroll {
		step()
	}
	k.SUBS(unroll, n)
	k.BHS("block")
	k.Label("last")
	k.ADD(unroll, n)
	k.CBZ(n, "store")
	k.Label("step")
	step()
	k.SUBS(1, n)
	k.BNE("step")
	k.Label("store")
	t.storeScaled(c, row)
	k.ADDR(skip, first)
	k.SUBS(1, tiles)
	k.BNE("tile")
	k.End()
}

// mulRows is mulPanel for rows that lie one after the other.
func (k Kernel) mulRows(rows int) {
	k.Begin(fmt.Sprintf("MulRows%d", rows), "func(c *float32, cRow int, a *float32, aRow int, b *float32, bStep, depth int, alpha, beta float32)",
		fmt.Sprintf("multiplies %d rows that lie one after the other by rows of two vectors.", rows))
	t := k.newTile(rows)
	left, right, n := k.Pointer("a"), k.Pointer("b"), k.Int("depth")
	row, rightStep, back := k.Int("aRow"), k.Int("bStep"), k.GP()
	k.LSL(2, row)
	k.LSL(2, rightStep)
	k.MOVDImm(-rows, back)
	k.MUL(row, back)
	k.SUBS(k.Lanes, n)
	k.BLO("last")
	k.ADD(4*k.Lanes, back)
	k.Label("block")
	y, x := k.Vecs(2*k.Lanes), k.Vecs(rows)
	for i := 0; i < len(y); i += 2 {
		k.VLD1(right, rightStep, y[i:i+2]...)
	}
	for r := range rows {
		k.VLD1(left, row, x[r])
	}
	k.ADDR(back, left)
	k.Comment("sum[r] += a[r][t]·b[t], t = 0 to %d", k.Lanes-1)
	for step := range k.Lanes {
		t.step(y[2*step:], func(r int) (V, int) { return x[r], step })
	}
	k.SUBS(k.Lanes, n)
	k.BHS("block")
	k.SUB(4*k.Lanes, back)
	k.Label("last")
	k.ADD(k.Lanes, n)
	k.CBZ(n, "store")
	k.ADD(4, back)
	k.Label("step")
	y, x = k.Vecs(2), k.Vecs(rows)
	k.VLD1(right, rightStep, y...)
	for r := range rows {
		k.loadPart(1, left, x[r], false)
		k.ADDR(row, left)
	}
	k.ADDR(back, left)
	k.Comment("sum[r] += a[r][t]·b[t]")
	t.step(y, func(r int) (V, int) { return x[r], 0 })
	k.SUBS(1, n)
	k.BNE("step")
	k.Label("store")
	c, cRow := k.Pointer("c"), k.Int("cRow")
	k.LSL(2, cRow)
	t.storeScaled(c, cRow)
	k.End()
}

// mulBlocks writes the product of rows in blocks and column panels.
func (k Kernel) mulBlocks(rows int) {
	const unroll = 4
	k.Begin(fmt.Sprintf("MulBlocks%d", rows), "func(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock int, blocks, depth int, add bool)",
		fmt.Sprintf("multiplies %d rows of blocks by column panels. The depth is %d or %d.", rows, k.Lanes, k.Cols))
	t := k.newTile(rows)
	left, right, n, depth := k.Pointer("a"), k.Pointer("b"), k.Int("blocks"), k.Int("depth")
	leftSkip, rightSkip, next := k.Int("aBlock"), k.Int("bBlock"), k.GP()
	k.LSL(2, leftSkip)
	k.LSL(2, rightSkip)
	k.CMP(k.Lanes, depth)
	k.BEQ("short")

	// The first and the second halves of the rows have a pointer each, which
	// passes over both: two rows fill four registers, and loading them twice
	// takes fewer instructions than loading halves.
	k.MOVD(left, next)
	k.SUB((rows/2-1)*64, leftSkip)
	k.SUB(3*64, rightSkip)
	block := func() {
		for half, p := range []R{left, next} {
			y := [2][]V{k.Vecs(4), k.Vecs(4)}
			k.VLD1Next(right, y[0]...)
			if half == 0 {
				k.VLD1Next(right, y[1]...)
			} else {
				k.VLD1(right, rightSkip, y[1]...)
			}
			x := [2][]V{k.Vecs(4), k.Vecs(4)}
			for pair := range rows / 2 {
				v := x[pair%2]
				if pair+1 < rows/2 {
					k.VLD1Next(p, v...)
				} else {
					k.VLD1(p, leftSkip, v...)
				}
				k.Comment("sum[r] += a[r][t]·b[t], r = %d and %d, t = %d to %d", 2*pair, 2*pair+1, k.Lanes*half, k.Lanes*(half+1)-1)
				for step := range k.Lanes {
					for r := 2 * pair; r < 2*pair+2; r++ {
						t.multiply(r, y[step/2][step%2*2:], v[r%2*2+half], step)
					}
				}
			}
		}
	}
	k.SUBS(unroll, n)
	k.BLO("last")
	k.Label("blocks")
	for range unroll {
		block()
	}
	k.SUBS(unroll, n)
	k.BHS("blocks")
	k.Label("last")
	k.ADD(unroll, n)
	k.CBZ(n, "store")
	k.Label("block")
	block()
	k.SUBS(1, n)
	k.BNE("block")
	k.B("store")

	k.Label("short")
	row := k.GP()
	k.MOVDImm(4*k.Cols, row)
	k.SUB(4*k.Cols*rows, leftSkip)
	k.SUB(64, rightSkip)
	k.Label("half")
	y := [2][]V{k.Vecs(4), k.Vecs(4)}
	k.VLD1Next(right, y[0]...)
	k.VLD1(right, rightSkip, y[1]...)
	x := k.Vecs(rows)
	for r := range rows {
		k.VLD1(left, row, x[r])
	}
	k.ADDR(leftSkip, left)
	k.Comment("sum[r] += a[r][t]·b[t], t = 0 to %d", k.Lanes-1)
	for step := range k.Lanes {
		t.step(y[step/2][step%2*2:], func(r int) (V, int) { return x[r], step })
	}
	k.SUBS(1, n)
	k.BNE("half")
	t.store()
}

// A registerTile is sums of rows by two vectors.
type registerTile struct {
	Kernel
	sums []V
}

// newTile starts a tile.
func (k Kernel) newTile(rows int) *registerTile {
	return &registerTile{Kernel: k, sums: k.Zeroed(2 * rows)}
}

// step adds the product of two vectors of b with the elements of a, which are
// lanes of vectors.
func (t *registerTile) step(b []V, left func(r int) (V, int)) {
	for r := range len(t.sums) / 2 {
		v, lane := left(r)
		t.multiply(r, b, v, lane)
	}
}

func (t *registerTile) multiply(r int, b []V, left V, lane int) {
	for i := range 2 {
		t.Word(fmlaLane[lane], left, b[i], t.sums[2*r+i])
	}
}

// storeScaled stores alpha·sums + beta·c in c, which is not read if beta is 0, and moves c
// behind the last row. The distance of rows is in bytes.
func (t *registerTile) storeScaled(c, row R) {
	alpha := t.asm().Broadcast("alpha").(V)
	t.Comment("sum = alpha·sum")
	for _, v := range t.sums {
		t.Word(fmul, alpha, v, v)
	}
	isZero := t.load("MOVWU", t.param("beta"))
	t.LSL(33, isZero) // without its sign
	t.CBZ(isZero, "overwrite")
	beta := t.asm().Broadcast("beta").(V)
	t.update("sum = beta·c + sum", c, row, func(c, sum V) { t.VFMLA(beta, c, sum, s4) })
	t.overwrite(c, row)
}

// update updates the sums with what c holds, after which it stays where it is.
func (t *registerTile) update(what string, c, row R, f func(c, sum V)) {
	t.Comment("%s", what)
	p, old := t.GP(), t.Vecs(4)
	t.MOVD(c, p)
	for r := 0; r < len(t.sums)/2; r++ {
		v := old[r%2*2:][:2]
		t.VLD1(p, row, v...)
		for i := range 2 {
			f(v[i], t.sums[2*r+i])
		}
	}
}

// overwrite stores the sums in c, and moves it behind the last row.
func (t *registerTile) overwrite(c, row R) {
	t.Label("overwrite")
	t.Comment("c = sum")
	for r := 0; r < len(t.sums); r += 2 {
		t.VST1(c, row, t.sums[r:r+2]...)
	}
}

// store stores the sums in c, or adds them to it, and returns.
func (t *registerTile) store() {
	t.Label("store")
	c, row, add := t.Pointer("c"), t.Int("cRow"), t.Bool("add")
	t.LSL(2, row)
	t.CBZ(add, "overwrite")
	t.update("sum = c + sum", c, row, func(c, sum V) { t.Word(fadd, sum, c, sum) })
	t.overwrite(c, row)
	t.End()
}
