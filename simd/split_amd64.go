//go:build !purego

package simd

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
)

// On tiles, even six products are faster than one in float32. VDPBF16PS has the rate
// of two.
func splitPays(pieces int) bool {
	return isa.Active == isa.AMX || isa.Active == isa.AVX512BF16 && pieces == 1
}

func splitRows(dst []uint32, piece int, src []float32, srcRow, rows, pieces int) {
	switch {
	case isa.Active < isa.AVX512:
		splitRowsGeneric(dst, piece, src, srcRow, rows, pieces)
	case pieces == 1:
		asm.SplitRows1AVX512(&dst[0], piece, &src[0], srcRow, rows)
	case pieces == 2:
		asm.SplitRows2AVX512(&dst[0], piece, &src[0], srcRow, rows)
	default:
		asm.SplitRows3AVX512(&dst[0], piece, &src[0], srcRow, rows)
	}
}

func splitCols(dst []uint32, src []float32, srcRow, pieces int) {
	switch {
	case isa.Active < isa.AVX512:
		splitColsGeneric(dst, src, srcRow, pieces)
	case pieces == 1:
		asm.SplitCols1AVX512(&dst[0], &src[0], srcRow)
	case pieces == 2:
		asm.SplitCols2AVX512(&dst[0], &src[0], srcRow)
	default:
		asm.SplitCols3AVX512(&dst[0], &src[0], srcRow)
	}
}

func mulSplit(c []float32, cRow int, a []uint32, aBlock, aPiece int, b []uint32, bBlock, rows, blocks, pieces int, add bool) {
	switch {
	case isa.Active == isa.AMX:
		for step := max(1, maxTileBlocks/blocks) * SplitSide; rows > 0; rows -= step {
			mulTiles(c, cRow, a, aBlock, aPiece, b, bBlock, min(step, rows), blocks, pieces, add)
			if rows > step {
				c, a = c[step*cRow:], a[step*RowWords:]
			}
		}
	case isa.Active == isa.AVX512BF16:
		for i, p := range pieceProducts[pieces] {
			mulPairs(c, cRow, a[p[0]*aPiece:], aBlock, b[p[1]*SquareWords:], bBlock, rows, blocks, add || i > 0)
		}
	default:
		mulSplitGeneric(c, cRow, a, aBlock, aPiece, b, bBlock, rows, blocks, pieces, add)
	}
}

// maxTileBlocks bounds the time that a call takes, in which the garbage collector
// cannot stop it: a block of 32 rows is at most 24 tile products of 16 cycles each.
const maxTileBlocks = 256

func mulTiles(c []float32, cRow int, a []uint32, aBlock, aPiece int, b []uint32, bBlock, rows, blocks, pieces int, add bool) {
	switch pieces {
	case 1:
		asm.MulTiles1AMX(&c[0], cRow, rows, &a[0], aBlock, aPiece, &b[0], bBlock, blocks, add)
	case 2:
		asm.MulTiles2AMX(&c[0], cRow, rows, &a[0], aBlock, aPiece, &b[0], bBlock, blocks, add)
	default:
		asm.MulTiles3AMX(&c[0], cRow, rows, &a[0], aBlock, aPiece, &b[0], bBlock, blocks, add)
	}
}

// mulPairs multiplies one piece of each operand.
func mulPairs(c []float32, cRow int, a []uint32, aBlock int, b []uint32, bBlock, rows, blocks int, add bool) {
	for r := 0; r < rows; r += avx512Shape.Rows {
		c, a := &c[r*cRow], &a[r*RowWords]
		switch min(avx512Shape.Rows, rows-r) {
		case 12:
			asm.MulPairs12AVX512BF16(c, cRow, a, aBlock, &b[0], bBlock, blocks, RowWords, add)
		case 8:
			asm.MulPairs8AVX512BF16(c, cRow, a, aBlock, &b[0], bBlock, blocks, RowWords, add)
		default:
			asm.MulPairs4AVX512BF16(c, cRow, a, aBlock, &b[0], bBlock, blocks, RowWords, add)
		}
	}
}
