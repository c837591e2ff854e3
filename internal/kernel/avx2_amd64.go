//go:build !purego

package kernel

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/tile"
)

func init() { levels[isa.AVX2] = &avx2 }

var avx2 = Kernels{
	Shape:     tile.AVX2,
	mulPanel:  []mulPanel{asm.MulPanel2AVX2, asm.MulPanel4AVX2, asm.MulPanel6AVX2},
	mulRows:   []mulRows{asm.MulRows2AVX2, asm.MulRows4AVX2, asm.MulRows6AVX2},
	mulBlocks: []mulBlocks{asm.MulBlocks2AVX2, asm.MulBlocks4AVX2, asm.MulBlocks6AVX2},
	mulTall:   asm.MulTallAVX2,
	transpose: asm.TransposeAVX2,

	interleave: asm.InterleaveAVX2,

	gatherCols: gatherRuns[[16]float32],
	packRows:   asm.PackRowsAVX2,
	packCols:   asm.PackColsAVX2,

	dots:        asm.DotsAVX2,
	squares:     asm.SquaresAVX2,
	spreadRows:  asm.SpreadRowsAVX2,
	addRows:     asm.AddRowsAVX2,
	projectRows: asm.ProjectRowsAVX2,

	sumLanes:      asm.SumLanesAVX2,
	greatestLanes: asm.GreatestLanesAVX2,

	exp:   byVectors(tile.AVX2, asm.Exp64AVX2),
	log:   byVectors(tile.AVX2, asm.Log64AVX2),
	log1p: byVectors(tile.AVX2, asm.Log1p64AVX2),

	tallyRows:         asm.TallyRowsAVX2,
	tallyRowsStore:    asm.TallyRowsStoreAVX2,
	tallyCols:         asm.TallyColsAVX2,
	tallyBoth:         asm.TallyBothAVX2,
	tallyBothStore:    asm.TallyBothStoreAVX2,
	topBoth:           asm.TopBothAVX2,
	greatest:          asm.GreatestAVX2,
	weighBoth:         asm.WeighBothAVX2,
	weighExponentials: asm.WeighExponentialsAVX2,
	weighRows:         asm.WeighRowsAVX2,
	weighCols:         asm.WeighColsAVX2,
	tallySigmoid:      asm.TallySigmoidAVX2,
	tallySquares:      asm.TallySquaresAVX2,
	leaveOut:          asm.LeaveOutAVX2,
	leaveOutCols:      asm.LeaveOutColsAVX2,

	splitRows: generic.splitRows,
	splitCols: generic.splitCols,
	mulSplit:  generic.mulSplit,
}
