//go:build !purego

package kernel

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
)

func init() { levels[isa.AMX] = &amx }

// amx is avx512 but for products in pieces, of which a core of Sapphire Rapids can do
// sixteen times as many as in float32: so even six should be faster than one.
var amx = func() Kernels {
	k := avx512
	k.splitsUpTo = MaxPieces
	k.mulSplit = [MaxPieces]mulSplit{mulTiles(asm.MulTiles1AMX), mulTiles(asm.MulTiles2AMX), mulTiles(asm.MulTiles3AMX)}
	return k
}()

// maxTileBlocks bounds the time that a call takes, in which the garbage collector
// cannot stop it: a block of 32 rows is at most 24 tile products of 16 cycles each.
const maxTileBlocks = 256

func mulTiles(mul func(c *float32, cRow, rows int, a *uint32, aBlock, aPiece int, b *uint32, bBlock, blocks int, add bool)) mulSplit {
	return func(c []float32, cRow int, a []uint32, aBlock, aPiece int, b []uint32, bBlock, rows, blocks int, add bool) {
		step := max(1, maxTileBlocks/blocks) * SplitSide
		for r := 0; r < rows; r += step {
			mul(&c[r*cRow], cRow, min(step, rows-r), &a[r*RowWords], aBlock, aPiece, &b[0], bBlock, blocks, add)
		}
	}
}
