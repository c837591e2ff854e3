//go:build !purego

package simd

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
)

// Two vectors of 4 lanes a row, and as many rows as leave registers for the
// operands. A column panel of this depth takes 16 KiB.
var neonShape = Shape{Rows: 12, Cols: 8, BlockRows: 8, RowStep: 4, Lanes: 4, Depth: 512}

func tileShape() Shape {
	if isa.Active == isa.NEON {
		return neonShape
	}
	return genericShape
}

func mulPanel(rows int, c []float32, cRow int, a, b []float32, depth int, add bool) {
	if isa.Active != isa.NEON {
		mulPanelGeneric(c, cRow, a, b, depth, add)
		return
	}
	switch rows {
	case 12:
		asm.MulPanel12NEON(&c[0], cRow, &a[0], &b[0], depth, add)
	case 8:
		asm.MulPanel8NEON(&c[0], cRow, &a[0], &b[0], depth, add)
	default:
		asm.MulPanel4NEON(&c[0], cRow, &a[0], &b[0], depth, add)
	}
}

func mulBlocks(rows int, c []float32, cRow int, a []float32, aBlock int, b []float32, bBlock, blocks, depth int, add bool) {
	if isa.Active != isa.NEON {
		mulBlocksGeneric(c, cRow, a, aBlock, b, bBlock, blocks, depth, add)
		return
	}
	switch rows {
	case 8:
		asm.MulBlocks8NEON(&c[0], cRow, &a[0], aBlock, &b[0], bBlock, blocks, depth, add)
	default:
		asm.MulBlocks4NEON(&c[0], cRow, &a[0], aBlock, &b[0], bBlock, blocks, depth, add)
	}
}

func transpose(dst []float32, dstRow int, src []float32, srcRow int) {
	if isa.Active == isa.NEON {
		asm.TransposeNEON(&dst[0], dstRow, &src[0], srcRow)
		return
	}
	transposeGeneric(dst, dstRow, src, srcRow)
}
