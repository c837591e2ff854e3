//go:build !purego

package simd

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
)

func tallyRows(block []float32, rows int, scale float32, shift []float32, t Tally, store bool) {
	switch {
	case isa.Active >= isa.AVX512 && store:
		asm.TallyRowsStoreAVX512(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
	case isa.Active >= isa.AVX512:
		asm.TallyRowsAVX512(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
	case isa.Active >= isa.AVX2 && store:
		asm.TallyRowsStoreAVX2(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
	case isa.Active >= isa.AVX2:
		asm.TallyRowsAVX2(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
	default:
		tallyRowsGeneric(block, rows, scale, shift, t, store)
	}
}

func tallyCols(block []float32, rows int, scale float32, shift []float32, t Tally) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.TallyColsAVX512(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
	case isa.Active >= isa.AVX2:
		asm.TallyColsAVX2(&block[0], rows, scale, &shift[0], &t.Sum[0], &t.Moment[0], &t.Top[0])
	default:
		tallyColsGeneric(block, rows, scale, shift, t)
	}
}

func tallyBoth(block []float32, rows int, scale float32, row, col Tally) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.TallyBothAVX512(&block[0], rows, scale, &row.Sum[0], &row.Moment[0], &row.Top[0], &col.Sum[0], &col.Moment[0], &col.Top[0])
	case isa.Active >= isa.AVX2:
		asm.TallyBothAVX2(&block[0], rows, scale, &row.Sum[0], &row.Moment[0], &row.Top[0], &col.Sum[0], &col.Moment[0], &col.Top[0])
	default:
		tallyBothGeneric(block, rows, scale, row, col)
	}
}

func topBoth(block []float32, rows int, row, col Tally) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.TopBothAVX512(&block[0], rows, &row.Top[0], &col.Top[0])
	case isa.Active >= isa.AVX2:
		asm.TopBothAVX2(&block[0], rows, &row.Top[0], &col.Top[0])
	default:
		topBothGeneric(block, rows, row, col)
	}
}

func greatest(block []float32, rows int, top []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.GreatestAVX512(&block[0], rows, &top[0])
	case isa.Active >= isa.AVX2:
		asm.GreatestAVX2(&block[0], rows, &top[0])
	default:
		greatestGeneric(block, rows, top)
	}
}

func weighBoth(block []float32, rows int, scale float32, row, col []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.WeighBothAVX512(&block[0], rows, scale, &row[0], &col[0])
	case isa.Active >= isa.AVX2:
		asm.WeighBothAVX2(&block[0], rows, scale, &row[0], &col[0])
	default:
		weighBothGeneric(block, rows, scale, row, col)
	}
}

func weighRows(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.WeighRowsAVX512(&dst[0], &block[0], rows, scale, &shift[0], &weight[0])
	case isa.Active >= isa.AVX2:
		asm.WeighRowsAVX2(&dst[0], &block[0], rows, scale, &shift[0], &weight[0])
	default:
		weighRowsGeneric(dst, block, rows, scale, shift, weight)
	}
}

func weighCols(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.WeighColsAVX512(&dst[0], &block[0], rows, scale, &shift[0], &weight[0])
	case isa.Active >= isa.AVX2:
		asm.WeighColsAVX2(&dst[0], &block[0], rows, scale, &shift[0], &weight[0])
	default:
		weighColsGeneric(dst, block, rows, scale, shift, weight)
	}
}

func tallySigmoid(block []float32, rows int, scale, bias float32, t Tally, weight []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.TallySigmoidAVX512(&block[0], rows, scale, bias, &t.Sum[0], &t.Moment[0], &t.Top[0], &weight[0])
	case isa.Active >= isa.AVX2:
		asm.TallySigmoidAVX2(&block[0], rows, scale, bias, &t.Sum[0], &t.Moment[0], &t.Top[0], &weight[0])
	default:
		tallySigmoidGeneric(block, rows, scale, bias, t, weight)
	}
}

func tallySquares(block []float32, rows int, sum []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.TallySquaresAVX512(&block[0], rows, &sum[0])
	case isa.Active >= isa.AVX2:
		asm.TallySquaresAVX2(&block[0], rows, &sum[0])
	default:
		tallySquaresGeneric(block, rows, sum)
	}
}
