package arm64

import "fmt"

// With two vectors a row, 12 rows use 24 of 32 registers for sums, which leaves
// enough for the operands of a step. Left operands in blocks take more, since each
// row fills its own registers: there the tile is 8 rows, whose 16 sums still cover
// the latency of the multipliers of every core so far (4 cycles, 4 a cycle).
const (
	panelRows = 12
	tileCols  = 2 * lanes
)

// Tile writes the kernels of the matrix product.
func Tile(f *File) {
	for _, rows := range []int{12, 8, 4} {
		mulPanel(f, rows)
	}
	for _, rows := range []int{8, 4} {
		mulBlocks(f, rows)
	}
	transpose(f)
}

// transpose writes the kernel that transposes a square of two vectors a side,
// by quarters.
func transpose(f *File) {
	a := f.Func("TransposeNEON", "func(dst *float32, dstRow int, src *float32, srcRow int)", "stores a square of two vectors a side, transposed.")
	dst, src := a.Pointer("dst"), a.Pointer("src")
	dstRow, srcRow := a.Int("dstRow"), a.Int("srcRow")
	a.LSL(2, dstRow)
	a.LSL(2, srcRow)
	for i := range 2 {
		for j := range 2 {
			a.Scope(func() {
				from, to := a.GP(), a.GP()
				a.MOVD(src, from)
				a.MOVD(dst, to)
				if i == 1 {
					a.ADDShifted(srcRow, 2, from)
				}
				if j == 1 {
					a.ADDShifted(dstRow, 2, to)
				}
				a.ADD(4*lanes*j, from)
				a.ADD(4*lanes*i, to)
				v := make([]V, lanes)
				for r := range v {
					v[r] = a.Vec()
					a.VLD1(from, srcRow, v[r])
				}
				for _, r := range a.Transposed(v) {
					a.VST1(to, dstRow, r)
				}
			})
		}
	}
	a.End()
}

// Transposed returns the transpose of a square of vectors, which it clobbers.
func (a *Func) Transposed(v []V) []V {
	var pairs, out [4]V
	for i := range 4 {
		pairs[i] = a.Vec()
	}
	for i := 0; i < 4; i += 2 {
		a.VTRN1(v[i+1], v[i], pairs[i], s4)
		a.VTRN2(v[i+1], v[i], pairs[i+1], s4)
	}
	copy(out[:], v)
	for c := range 2 {
		a.VTRN1(pairs[2+c], pairs[c], out[c], d2)
		a.VTRN2(pairs[2+c], pairs[c], out[2+c], d2)
	}
	return out[:]
}

// mulPanel writes the product of a row panel, of which it takes the first rows,
// and a column panel.
func mulPanel(f *File, rows int) {
	const unroll = 8
	a := f.Func(fmt.Sprintf("MulPanel%dNEON", rows), "func(c *float32, cRow int, a, b *float32, depth int, add bool)",
		fmt.Sprintf("multiplies the first %d rows of a row panel by a column panel.", rows))
	t := a.newTile(rows)
	left, right, n := a.Pointer("a"), a.Pointer("b"), a.Int("depth")
	a.SUBS(unroll, n)
	a.BLO("last")
	a.Label("block")
	step := func(y []V) {
		x := a.Vecs(panelRows / lanes)
		a.VLD1Next(left, x...)
		t.step(y, func(r int) (V, int) { return x[r/lanes], r % lanes })
	}
	for range unroll / 2 {
		a.Scope(func() {
			y := a.Vecs(4)
			a.VLD1Next(right, y...)
			for d := range 2 {
				a.Scope(func() { step(y[2*d:]) })
			}
		})
	}
	a.SUBS(unroll, n)
	a.BHS("block")
	a.Label("last")
	a.ADD(unroll, n)
	a.CBZ(n, "store")
	a.Label("step")
	a.Scope(func() {
		y := a.Vecs(2)
		a.VLD1Next(right, y...)
		step(y)
	})
	a.SUBS(1, n)
	a.BNE("step")
	t.store()
}

// mulBlocks writes the product of rows in blocks and column panels.
func mulBlocks(f *File, rows int) {
	const unroll = 4
	a := f.Func(fmt.Sprintf("MulBlocks%dNEON", rows), "func(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock int, blocks, depth int, add bool)",
		fmt.Sprintf("multiplies %d rows of blocks by column panels. The depth is %d or %d.", rows, lanes, tileCols))
	t := a.newTile(rows)
	left, right, n, depth := a.Pointer("a"), a.Pointer("b"), a.Int("blocks"), a.Int("depth")
	leftSkip, rightSkip, next := a.Int("aBlock"), a.Int("bBlock"), a.GP()
	a.LSL(2, leftSkip)
	a.LSL(2, rightSkip)
	a.CMP(lanes, depth)
	a.BEQ("short")

	// The first and the second halves of the rows have a pointer each, which
	// passes over both: two rows fill four registers, and loading them twice
	// takes fewer instructions than loading halves.
	a.MOVD(left, next)
	a.SUB((rows/2-1)*64, leftSkip)
	a.SUB(3*64, rightSkip)
	block := func() {
		for half, p := range []R{left, next} {
			a.Scope(func() {
				y := [2][]V{a.Vecs(4), a.Vecs(4)}
				a.VLD1Next(right, y[0]...)
				if half == 0 {
					a.VLD1Next(right, y[1]...)
				} else {
					a.VLD1(right, rightSkip, y[1]...)
				}
				x := [2][]V{a.Vecs(4), a.Vecs(4)}
				for pair := range rows / 2 {
					v := x[pair%2]
					if pair+1 < rows/2 {
						a.VLD1Next(p, v...)
					} else {
						a.VLD1(p, leftSkip, v...)
					}
					for step := range lanes {
						for r := 2 * pair; r < 2*pair+2; r++ {
							t.multiply(r, y[step/2][step%2*2:], v[r%2*2+half], step)
						}
					}
				}
			})
		}
	}
	a.SUBS(unroll, n)
	a.BLO("last")
	a.Label("blocks")
	for range unroll {
		block()
	}
	a.SUBS(unroll, n)
	a.BHS("blocks")
	a.Label("last")
	a.ADD(unroll, n)
	a.CBZ(n, "store")
	a.Label("block")
	block()
	a.SUBS(1, n)
	a.BNE("block")
	a.B("store")

	a.Label("short")
	row := a.GP()
	a.MOVDImm(4*tileCols, row)
	a.SUB(4*tileCols*rows, leftSkip)
	a.SUB(64, rightSkip)
	a.Label("half")
	a.Scope(func() {
		y := [2][]V{a.Vecs(4), a.Vecs(4)}
		a.VLD1Next(right, y[0]...)
		a.VLD1(right, rightSkip, y[1]...)
		x := a.Vecs(rows)
		for r := range rows {
			a.VLD1(left, row, x[r])
		}
		a.ADDR(leftSkip, left)
		for step := range lanes {
			t.step(y[step/2][step%2*2:], func(r int) (V, int) { return x[r], step })
		}
	})
	a.SUBS(1, n)
	a.BNE("half")
	t.store()
}

// A registerTile is sums of rows by two vectors.
type registerTile struct {
	*Func
	sums []V
}

// newTile starts a tile.
func (a *Func) newTile(rows int) *registerTile {
	return &registerTile{Func: a, sums: a.Zeroed(2 * rows)}
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

// store stores the sums in c, or adds them to it, and returns.
func (t *registerTile) store() {
	t.Label("store")
	c, row, add := t.Pointer("c"), t.Int("cRow"), t.Bool("add")
	t.LSL(2, row)
	t.CBZ(add, "overwrite")
	t.Scope(func() {
		p, old := t.GP(), t.Vecs(4)
		t.MOVD(c, p)
		for r := 0; r < len(t.sums)/2; r++ {
			v := old[r%2*2:][:2]
			t.VLD1(p, row, v...)
			for i := range 2 {
				t.Word(fadd, t.sums[2*r+i], v[i], t.sums[2*r+i])
			}
		}
	})
	t.Label("overwrite")
	for r := 0; r < len(t.sums); r += 2 {
		t.VST1(c, row, t.sums[r:r+2]...)
	}
	t.End()
}
