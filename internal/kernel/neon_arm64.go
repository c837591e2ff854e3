//go:build !purego

package kernel

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/tile"
)

func init() { levels[isa.NEON] = &neon }

var neon = Kernels{
	Shape:     tile.NEON,
	mulPanel:  []mulPanel{asm.MulPanel4NEON, asm.MulPanel8NEON, asm.MulPanel12NEON},
	mulRows:   []mulRows{asm.MulRows4NEON, asm.MulRows8NEON},
	mulBlocks: []mulBlocks{asm.MulBlocks4NEON, asm.MulBlocks8NEON},
	mulTall:   tall(tile.NEON, asm.MulBlocks8NEON),
	transpose: asm.TransposeNEON,

	interleave: asm.InterleaveNEON,

	gatherCols: gatherRuns[[8]float32],
	packRows:   asm.PackRowsNEON,
	packCols:   asm.PackColsNEON,

	dots:        asm.DotsNEON,
	squares:     asm.SquaresNEON,
	spreadRows:  asm.SpreadRowsNEON,
	addRows:     asm.AddRowsNEON,
	projectRows: asm.ProjectRowsNEON,

	sumLanes:      asm.SumLanesNEON,
	greatestLanes: asm.GreatestLanesNEON,

	exp:   byVectors(tile.NEON, asm.Exp64NEON),
	log:   byVectors(tile.NEON, asm.Log64NEON),
	log1p: byVectors(tile.NEON, asm.Log1p64NEON),

	tallyRows:         asm.TallyRowsNEON,
	tallyRowsStore:    asm.TallyRowsStoreNEON,
	tallyCols:         asm.TallyColsNEON,
	tallyBoth:         asm.TallyBothNEON,
	tallyBothStore:    asm.TallyBothStoreNEON,
	topBoth:           asm.TopBothNEON,
	greatest:          asm.GreatestNEON,
	weighBoth:         asm.WeighBothNEON,
	weighExponentials: asm.WeighExponentialsNEON,
	weighRows:         asm.WeighRowsNEON,
	weighCols:         asm.WeighColsNEON,
	tallySigmoid:      asm.TallySigmoidNEON,
	tallySquares:      asm.TallySquaresNEON,
	leaveOut:          asm.LeaveOutNEON,
	leaveOutCols:      asm.LeaveOutColsNEON,

	splitRows: generic.splitRows,
	splitCols: generic.splitCols,
	mulSplit:  generic.mulSplit,
}
