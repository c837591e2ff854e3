//go:build !purego

package simd

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
)

func tallyRows(block []float32, rows int, scale float32, shift []float32, t Tally, store bool) {
	switch {
	case isa.Active == isa.NEON && store:
		asm.TallyRowsStoreNEON(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
	case isa.Active == isa.NEON:
		asm.TallyRowsNEON(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
	default:
		tallyRowsGeneric(block, rows, scale, shift, t, store)
	}
}

func tallyCols(block []float32, rows int, scale float32, shift []float32, t Tally) {
	if isa.Active == isa.NEON {
		asm.TallyColsNEON(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
		return
	}
	tallyColsGeneric(block, rows, scale, shift, t)
}

func tallyBoth(block []float32, rows int, scale float32, row, col Tally) {
	if isa.Active == isa.NEON {
		asm.TallyBothNEON(&block[0], rows, scale, &row.Sum[0], &row.Moment[0], &row.Top[0], &col.Sum[0], &col.Moment[0], &col.Top[0])
		return
	}
	tallyBothGeneric(block, rows, scale, row, col)
}

func topBoth(block []float32, rows int, row, col Tally) {
	if isa.Active == isa.NEON {
		asm.TopBothNEON(&block[0], rows, &row.Top[0], &col.Top[0])
		return
	}
	topBothGeneric(block, rows, row, col)
}

func greatest(block []float32, rows int, top []float32) {
	if isa.Active == isa.NEON {
		asm.GreatestNEON(&block[0], rows, &top[0])
		return
	}
	greatestGeneric(block, rows, top)
}

func weighBoth(block []float32, rows int, scale float32, row, col []float32) {
	if isa.Active == isa.NEON {
		asm.WeighBothNEON(&block[0], rows, scale, &row[0], &col[0])
		return
	}
	weighBothGeneric(block, rows, scale, row, col)
}

func weighRows(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	if isa.Active == isa.NEON {
		asm.WeighRowsNEON(&dst[0], &block[0], rows, scale, &shift[0], &weight[0])
		return
	}
	weighRowsGeneric(dst, block, rows, scale, shift, weight)
}

func weighCols(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	if isa.Active == isa.NEON {
		asm.WeighColsNEON(&dst[0], &block[0], rows, scale, &shift[0], &weight[0])
		return
	}
	weighColsGeneric(dst, block, rows, scale, shift, weight)
}

func tallySigmoid(block []float32, rows int, scale, bias float32, t Tally, weight []float32) {
	if isa.Active == isa.NEON {
		asm.TallySigmoidNEON(&block[0], rows, scale, bias, &t.Sum[0], &t.Moment[0], &t.Top[0], &weight[0])
		return
	}
	tallySigmoidGeneric(block, rows, scale, bias, t, weight)
}

func tallySquares(block []float32, rows int, sum []float32) {
	if isa.Active == isa.NEON {
		asm.TallySquaresNEON(&block[0], rows, &sum[0])
		return
	}
	tallySquaresGeneric(block, rows, sum)
}
