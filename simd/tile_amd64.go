//go:build !purego

package simd

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
)

// Two vectors of 16 or 8 lanes a row, and as many rows as leave registers for
// the operands. A column panel of this depth takes 16 KiB.
var (
	avx512Shape = Shape{Rows: 12, Cols: 32, BlockRows: 12, RowStep: 4, Lanes: 16, Depth: 128}
	avx2Shape   = Shape{Rows: 6, Cols: 16, BlockRows: 6, RowStep: 2, Lanes: 8, Depth: 256}
)

func tileShape() Shape {
	switch {
	case isa.Active >= isa.AVX512:
		return avx512Shape
	case isa.Active >= isa.AVX2:
		return avx2Shape
	}
	return genericShape
}

func mulPanel(rows int, c []float32, cRow int, a, b []float32, depth int, add bool) {
	switch {
	case isa.Active >= isa.AVX512:
		switch rows {
		case 12:
			asm.MulPanel12AVX512(&c[0], cRow, &a[0], &b[0], depth, add)
		case 8:
			asm.MulPanel8AVX512(&c[0], cRow, &a[0], &b[0], depth, add)
		default:
			asm.MulPanel4AVX512(&c[0], cRow, &a[0], &b[0], depth, add)
		}
	case isa.Active >= isa.AVX2:
		switch rows {
		case 6:
			asm.MulPanel6AVX2(&c[0], cRow, &a[0], &b[0], depth, add)
		case 4:
			asm.MulPanel4AVX2(&c[0], cRow, &a[0], &b[0], depth, add)
		default:
			asm.MulPanel2AVX2(&c[0], cRow, &a[0], &b[0], depth, add)
		}
	default:
		mulPanelGeneric(c, cRow, a, b, depth, add)
	}
}

func mulBlocks(rows int, c []float32, cRow int, a []float32, aBlock int, b []float32, bBlock, blocks, depth int, add bool) {
	switch {
	case isa.Active >= isa.AVX512:
		switch rows {
		case 12:
			asm.MulBlocks12AVX512(&c[0], cRow, &a[0], aBlock, &b[0], bBlock, blocks, depth, add)
		case 8:
			asm.MulBlocks8AVX512(&c[0], cRow, &a[0], aBlock, &b[0], bBlock, blocks, depth, add)
		default:
			asm.MulBlocks4AVX512(&c[0], cRow, &a[0], aBlock, &b[0], bBlock, blocks, depth, add)
		}
	case isa.Active >= isa.AVX2:
		switch rows {
		case 6:
			asm.MulBlocks6AVX2(&c[0], cRow, &a[0], aBlock, &b[0], bBlock, blocks, depth, add)
		case 4:
			asm.MulBlocks4AVX2(&c[0], cRow, &a[0], aBlock, &b[0], bBlock, blocks, depth, add)
		default:
			asm.MulBlocks2AVX2(&c[0], cRow, &a[0], aBlock, &b[0], bBlock, blocks, depth, add)
		}
	default:
		mulBlocksGeneric(c, cRow, a, aBlock, b, bBlock, blocks, depth, add)
	}
}

func transpose(dst []float32, dstRow int, src []float32, srcRow int) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.TransposeAVX512(&dst[0], dstRow, &src[0], srcRow)
	case isa.Active >= isa.AVX2:
		asm.TransposeAVX2(&dst[0], dstRow, &src[0], srcRow)
	default:
		transposeGeneric(dst, dstRow, src, srcRow)
	}
}
