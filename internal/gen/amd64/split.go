package amd64

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/contrastive-go/contrastive/internal/tile"
)

// Splits writes the kernels that split the operands of products in bfloat16. They are
// float32 values split into pieces. A word holds one piece of two values, one in
// each half: of a row of 32, elements t and t+16; of 32 rows, those of rows t and
// t+16.
func (k Kernel) Splits() {
	for pieces := 1; pieces <= tile.MaxPieces; pieces++ {
		k.splitRows(pieces)
		k.splitCols(pieces)
	}
}

// PairProducts writes the products of pairs by AVX512_BF16.
func (k Kernel) PairProducts() {
	for _, rows := range k.Heights(k.Rows) {
		k.mulPairs(rows)
	}
	k.mulTallPairs(k.Rows)
}

// TileProducts writes the products on AMX tiles.
func (k Kernel) TileProducts() {
	for pieces := 1; pieces <= tile.MaxPieces; pieces++ {
		k.mulTiles(pieces)
	}
}

// splitRows writes the kernel that splits rows of a left operand.
func (k Kernel) splitRows(pieces int) {
	k.Begin(fmt.Sprintf("SplitRows%d", pieces), "func(dst *uint32, piece int, src *float32, srcRow, rows int)",
		fmt.Sprintf("splits rows of two vectors into %d pieces, each of which is piece words from the one before.", pieces))
	dst, src, row, n := k.Pointer("dst"), k.Pointer("src"), k.Int("srcRow"), k.Int("rows")
	k.SHLQ(operand.U8(2), row)
	var skip [tile.MaxPieces]reg.GPVirtual // to piece p
	for p := 1; p < pieces; p++ {
		skip[p] = k.Int("piece")
		k.IMUL3Q(operand.U32(4*p), skip[p], skip[p])
	}
	s := k.newSplitter()
	k.Label("row")
	v := k.load(src)
	for p := range pieces {
		at := dst
		if p > 0 {
			at = dst.Idx(skip[p], 1)
		}
		k.VMOVUPS(s.next(&v, p < pieces-1), at)
	}
	k.ADDQ(row, src.Base)
	k.Advance(k.Lanes, dst)
	k.DECQ(n)
	k.JNZ(operand.LabelRef("row"))
	k.End()
}

// splitCols writes the kernel that splits a square, as a right operand.
func (k Kernel) splitCols(pieces int) {
	k.Begin(fmt.Sprintf("SplitCols%d", pieces), "func(dst *uint32, src *float32, srcRow int)",
		fmt.Sprintf("splits a square of two vectors a side into %d pieces, one after the other.", pieces))
	dst, src, row, n := k.Pointer("dst"), k.Pointer("src"), k.Int("srcRow"), k.GP64()
	k.SHLQ(operand.U8(2), row)
	half := operand.Mem{Base: k.GP64()}
	k.IMUL3Q(operand.U32(k.Lanes), row, half.Base)
	k.ADDQ(src.Base, half.Base)
	k.MOVQ(operand.U32(k.Lanes), n)
	s := k.newSplitter()
	k.Label("row")
	lo, hi := k.load(src), k.load(half)
	for i := range lo {
		v := [2]reg.VecVirtual{lo[i], hi[i]}
		for p := range pieces {
			k.VMOVUPS(s.next(&v, p < pieces-1), dst.Offset(4*k.Lanes*(2*k.Lanes*p+i)))
		}
	}
	k.ADDQ(row, src.Base)
	k.ADDQ(row, half.Base)
	k.Advance(2*k.Lanes, dst)
	k.DECQ(n)
	k.JNZ(operand.LabelRef("row"))
	k.End()
}

// A splitter splits pairs of vectors.
type splitter struct {
	Kernel
	half, mask operand.Op
}

func (k Kernel) newSplitter() splitter {
	return splitter{k, k.ConstBits(0x8000), k.ConstBits(0xffff0000)}
}

// next returns the first piece of the values in v: those of v[0] in the lower
// halves of its words, those of v[1] in the upper. With more, it leaves in v what
// is left of the values, which is exact.
//
// A piece is the nearest bfloat16, ties away from zero: half of its last place is
// added to the magnitude, whose lower bits are dropped. The piece is within 2⁻⁸ of
// the value, and so is what is left: n pieces are within 2⁻⁸ⁿ, and three hold all
// 24 bits.
func (s splitter) next(v *[2]reg.VecVirtual, more bool) reg.VecVirtual {
	s.Comment("piece = x + half of its last place, without the lower bits; x −= piece; two pieces make a word")
	rounded := [2]reg.VecVirtual{s.Vec(), s.Vec()}
	for i, x := range v {
		s.VPADDD(s.half, x, rounded[i])
	}
	if more {
		for i, x := range v {
			piece, rest := s.Vec(), s.Vec()
			s.VPANDD(s.mask, rounded[i], piece)
			s.VSUBPS(piece, x, rest)
			v[i] = rest
		}
	}
	word := s.Vec()
	s.VPSRLD(operand.U8(16), rounded[0], word)
	const orAnd = 0xf8 // a | b&c
	s.VPTERNLOGD(operand.U8(orAnd), s.mask, rounded[1], word)
	return word
}

// mulPairs writes the product of one piece of each operand by VDPBF16PS. It is
// mulBlocks, but for the instruction: a depth of one is two products.
func (k Kernel) mulPairs(rows int) {
	k.Begin(fmt.Sprintf("MulPairs%d", rows), "func(c *float32, cRow int, a *uint32, aBlock int, b *uint32, bBlock int, blocks, depth int, add bool)",
		fmt.Sprintf("multiplies %d rows by column panels, of pairs. The depth is a multiple of %d.", rows, unroll))
	t := k.newTile(rows)
	t.multiply = k.VDPBF16PS
	k.blocks(t, k.Lanes)
}

// mulTallPairs is mulPairs for several tiles, one below the other.
func (k Kernel) mulTallPairs(rows int) {
	k.Begin("MulTallPairs", "func(c *float32, cRow int, a *uint32, aBlock int, b *uint32, bBlock int, blocks, depth, tiles int, add bool)",
		fmt.Sprintf("multiplies tiles of %d rows by column panels, of pairs. The depth is a multiple of %d.", rows, unroll))
	k.tall(&registerTile{Kernel: k, multiply: k.VDPBF16PS}, rows, k.Lanes)
}

// Tiles of the matrix product: sums of 32 rows by 32 columns, and the operands.
const (
	tileSum tmm = 0 // to 3, in the order of c
	tileA   tmm = 4 // and 5
	tileB   tmm = 6 // and 7

	tileSide = 16           // rows, and words of a row
	tileSize = 4 * 16 * 16  // bytes
	pairSize = 2 * tileSize // bytes of two tiles side by side: one piece of a block
)

// mulTiles writes the product of operands in pieces on AMX tiles. No tile holds
// anything when it is called or when it returns: nothing in between lets the
// goroutine move to another thread.
func (k Kernel) mulTiles(pieces int) {
	k.Begin(fmt.Sprintf("MulTiles%d", pieces), "func(c *float32, cRow int, rows int, a *uint32, aBlock, aPiece int, b *uint32, bBlock int, blocks int, add bool)",
		fmt.Sprintf("multiplies rows, a multiple of 32, by column panels, of %d pieces.", pieces))
	c, cRow := k.Pointer("c"), k.Int("cRow")
	aRows, aBlock := k.Pointer("a"), k.Int("aBlock")
	bBlock := k.Int("bBlock")
	for _, r := range []reg.Register{cRow, aBlock, bBlock} {
		k.SHLQ(operand.U8(2), r)
	}
	config := operand.Mem{Base: k.GP64()}
	k.LEAQ(k.tileConfig(), config.Base)
	k.LDTILECFG(config)

	rows, err := k.Param("rows").Resolve() // counted in memory, for want of registers
	if err != nil {
		panic(err)
	}
	add, err := k.Param("add").Resolve()
	if err != nil {
		panic(err)
	}
	row := k.GP64() // of a tile, in bytes
	k.MOVQ(operand.U32(4*tileSide), row)
	var a [tile.MaxPieces]operand.Mem
	for p := range pieces {
		a[p] = operand.Mem{Base: k.GP64(), Index: row, Scale: 1}
	}
	b := operand.Mem{Base: k.GP64(), Index: row, Scale: 2}
	lower := operand.Mem{Base: k.GP64(), Index: cRow, Scale: 1} // the lower two sums
	upper := c.Idx(cRow, 1)
	sums := []operand.Mem{upper, upper.Offset(4 * tileSide), lower, lower.Offset(4 * tileSide)}

	k.Label("rows")
	k.MOVQ(cRow, lower.Base)
	k.SHLQ(operand.U8(4), lower.Base)
	k.ADDQ(c.Base, lower.Base)
	k.CMPB(add.Addr, operand.U8(0))
	k.JE(operand.LabelRef("zero"))
	for i, m := range sums {
		k.TILELOADD(m, tileSum+tmm(i))
	}
	k.JMP(operand.LabelRef("multiply"))
	k.Label("zero")
	for i := range sums {
		k.TILEZERO(tileSum + tmm(i))
	}

	k.Label("multiply")
	k.MOVQ(aRows.Base, a[0].Base)
	for p := 1; p < pieces; p++ {
		k.Load(k.Param("aPiece"), a[p].Base)
		k.IMUL3Q(operand.U32(4*p), a[p].Base, a[p].Base)
		k.ADDQ(aRows.Base, a[p].Base)
	}
	k.Load(k.Param("b"), b.Base)
	n := k.Int("blocks")
	k.Label("block")
	last := [2]int{-1, -1}
	for _, product := range tile.Products[pieces] {
		k.Commentf("sum += a·b of pieces %d and %d", product[0], product[1])
		if p := product[0]; p != last[0] {
			k.TILELOADD(a[p], tileA)
			k.TILELOADD(a[p].Offset(tileSize), tileA+1)
		}
		if p := product[1]; p != last[1] {
			k.TILELOADD(b.Offset(p*pairSize), tileB)
			k.TILELOADD(b.Offset(p*pairSize+4*tileSide), tileB+1)
		}
		last = product
		for i := range sums {
			k.TDPBF16PS(tileB+tmm(i%2), tileA+tmm(i/2), tileSum+tmm(i))
		}
	}
	for p := range pieces {
		k.ADDQ(aBlock, a[p].Base)
	}
	k.ADDQ(bBlock, b.Base)
	k.DECQ(n)
	k.JNZ(operand.LabelRef("block"))

	for i, m := range sums {
		k.TILESTORED(tileSum+tmm(i), m)
	}
	k.ADDQ(operand.U32(2*tileSize), aRows.Base)
	k.MOVQ(cRow, c.Base) // lower + 16 rows
	k.SHLQ(operand.U8(4), c.Base)
	k.ADDQ(lower.Base, c.Base)
	k.SUBQ(operand.U8(2*tileSide), rows.Addr)
	k.JNZ(operand.LabelRef("rows"))
	k.TILERELEASE()
	k.RET()
}

// tileConfig returns the memory operand of LDTILECFG: palette 1, all eight tiles
// of 16 rows of 64 bytes.
func (k Kernel) tileConfig() operand.Mem {
	const name = "tileConfig"
	if m, ok := k.constants[0]; ok {
		return m
	}
	m := k.StaticGlobal(name)
	k.DataAttributes(attr.RODATA | attr.NOPTR)
	config := [64]byte{0: 1}
	for t := range 8 {
		config[16+2*t], config[48+t] = 4*tileSide, tileSide
	}
	for _, v := range config {
		k.AppendDatum(operand.U8(v))
	}
	k.constants[0] = m
	return m
}
