// Package kernel holds the kernels that package engine is made of: products of
// packed operands, what becomes of a block of similarities while it is in the cache, and
// what is done with the rows of a caller's matrix. [Kernels] are those of one level, with
// the shapes of the operands they take.
//
// There is a file for each level. Arguments are checked by the methods, so that a
// wrong length panics instead of reaching assembly. Slices must not be on a caller's
// stack if nothing is to be allocated: kernels are called through variables.
package kernel

import (
	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/tile"
)

// A Shape is the size of the register tile of the matrix products of a level, and says
// how their operands are packed.
type Shape = tile.Shape

type (
	mulPanel   = func(c *float32, cRow int, a *float32, aTile, aStep int, b *float32, bStep, tiles, depth int, alpha, beta float32)
	mulRows    = func(c *float32, cRow int, a *float32, aRow int, b *float32, bStep, depth int, alpha, beta float32)
	mulBlocks  = func(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock, blocks, depth int, add bool)
	packRuns   = func(dst *float32, dstPanel, dstSkip int, src *float32, srcSkip, panels, rows int)
	interleave = func(dst, src *float32, srcRow, groups int)
	spreadRows = func(dst *float32, step int, src *float32, srcRow int, f *float64, rows, runs int)
	tally      = func(block *float32, rows int, scale float32, shift, sum, moment, top *float32)
	tallyBoth  = func(block *float32, rows int, scale float32, sum, moment, top, colSum, colMoment, colTop *float32)
	weigh      = func(dst, block *float32, rows int, scale float32, shift, weight *float32)
	splitRows  = func(dst *uint32, piece int, src *float32, srcRow, rows int)
	splitCols  = func(dst *uint32, src *float32, srcRow int)
	mulSplit   = func(c []float32, cRow int, a []uint32, aBlock, aPiece int, b []uint32, bBlock, rows, blocks int, add bool)
	mulTall    = func(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock, blocks, depth, tiles int, add bool)
)

// Kernels are the kernels of a level.
type Kernels struct {
	Shape

	// Those of tiles of 1, 2, … times RowStep rows, up to Rows and BlockRows.
	mulPanel  []mulPanel
	mulRows   []mulRows
	mulBlocks []mulBlocks

	// mulTall is the tallest of mulBlocks for several tiles, one below the other.
	mulTall mulTall

	transpose          func(dst *float32, dstRow int, src *float32, srcRow int)
	interleave         interleave
	gatherCols         func(dst, src *float32, step, runs int)
	packRows, packCols packRuns

	dots        func(dst *float64, x *float32, xRow int, y *float32, yRow, rows, dim int)
	squares     func(dst *float64, x *float32, xRow, rows, dim int)
	spreadRows  spreadRows
	addRows     func(dst *float32, dstRow int, src *float32, srcRow int, f *float32, rows, dim int)
	projectRows func(dst *float32, dstRow int, grad *float32, gradRow int, x *float32, xRow int, unit, f *float32, rows, dim int)

	sumLanes      func(dst *float64, src *float32, step, rows int)
	greatestLanes func(dst, src *float32, rows int)

	exp, log, log1p function

	tallyRows, tallyRowsStore, tallyCols tally
	tallyBoth, tallyBothStore            tallyBoth
	topBoth                              func(block *float32, rows int, top, colTop *float32)
	greatest                             func(block *float32, rows int, top *float32)
	weighBoth                            func(block *float32, rows int, scale float32, row, col *float32)
	weighExponentials                    func(block *float32, rows int, row, col *float32)
	weighRows, weighCols                 weigh
	tallySigmoid                         func(block *float32, rows int, scale, bias float32, sum, moment, top, weight *float32)
	tallySquares                         func(block *float32, rows int, sum *float32)
	leaveOut                             func(block, guide *float32, rows int, limit, sum, pairs *float32)
	leaveOutCols                         func(dst, block, guide *float32, rows int, limit *float32)

	// splitsUpTo is the greatest number of pieces in which products are faster than
	// those of float32 values, 0 if none are.
	splitsUpTo int

	// Those of 1, 2 and 3 pieces.
	splitRows [MaxPieces]splitRows
	splitCols [MaxPieces]splitCols
	mulSplit  [MaxPieces]mulSplit
}

// levels are the kernels of the levels, nil of those of other architectures. Each file adds
// its own.
var levels = [...]*Kernels{isa.Generic: &generic, isa.AMX: nil}

// Active returns the kernels of the level in use.
func Active() *Kernels { return levels[isa.Active] }
