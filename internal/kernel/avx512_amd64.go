//go:build !purego

package kernel

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/tile"
)

func init() {
	levels[isa.AVX512] = &avx512
	levels[isa.AVX512BF16] = &avx512bf16
}

var avx512 = Kernels{
	Shape:     tile.AVX512,
	mulPanel:  []mulPanel{asm.MulPanel4AVX512, asm.MulPanel8AVX512, asm.MulPanel12AVX512},
	mulRows:   []mulRows{asm.MulRows4AVX512, asm.MulRows8AVX512, asm.MulRows12AVX512},
	mulBlocks: []mulBlocks{asm.MulBlocks4AVX512, asm.MulBlocks8AVX512, asm.MulBlocks12AVX512},
	mulTall:   asm.MulTallAVX512,
	transpose: asm.TransposeAVX512,

	interleave: asm.InterleaveAVX512,

	gatherCols: gatherRuns[[32]float32],
	packRows:   asm.PackRowsAVX512,
	packCols:   asm.PackColsAVX512,

	dots:        asm.DotsAVX512,
	squares:     asm.SquaresAVX512,
	spreadRows:  asm.SpreadRowsAVX512,
	addRows:     asm.AddRowsAVX512,
	projectRows: asm.ProjectRowsAVX512,

	sumLanes:      asm.SumLanesAVX512,
	greatestLanes: asm.GreatestLanesAVX512,

	exp:   byVectors(tile.AVX512, asm.Exp64AVX512),
	log:   byVectors(tile.AVX512, asm.Log64AVX512),
	log1p: byVectors(tile.AVX512, asm.Log1p64AVX512),

	tallyRows:         asm.TallyRowsAVX512,
	tallyRowsStore:    asm.TallyRowsStoreAVX512,
	tallyCols:         asm.TallyColsAVX512,
	tallyBoth:         asm.TallyBothAVX512,
	tallyBothStore:    asm.TallyBothStoreAVX512,
	topBoth:           asm.TopBothAVX512,
	greatest:          asm.GreatestAVX512,
	weighBoth:         asm.WeighBothAVX512,
	weighExponentials: asm.WeighExponentialsAVX512,
	weighRows:         asm.WeighRowsAVX512,
	weighCols:         asm.WeighColsAVX512,
	tallySigmoid:      asm.TallySigmoidAVX512,
	tallySquares:      asm.TallySquaresAVX512,
	leaveOut:          asm.LeaveOutAVX512,
	leaveOutCols:      asm.LeaveOutColsAVX512,

	splitRows: [MaxPieces]splitRows{asm.SplitRows1AVX512, asm.SplitRows2AVX512, asm.SplitRows3AVX512},
	splitCols: [MaxPieces]splitCols{asm.SplitCols1AVX512, asm.SplitCols2AVX512, asm.SplitCols3AVX512},
	mulSplit:  generic.mulSplit,
}

// avx512bf16 multiplies pairs at the rate of single values: twice as fast in one
// piece, and no faster in two, which take three products.
var avx512bf16 = func() Kernels {
	k := avx512
	k.splitsUpTo = 1
	k.mulSplit = [MaxPieces]mulSplit{mulPairs(1), mulPairs(2), mulPairs(3)}
	return k
}()

// mulPairs adds up the products of two pieces, each of which is one product of the
// float32 kind of words.
func mulPairs(pieces int) mulSplit {
	heights := [...]func(c *float32, cRow int, a *uint32, aBlock int, b *uint32, bBlock, blocks, depth int, add bool){
		asm.MulPairs4AVX512BF16, asm.MulPairs8AVX512BF16, asm.MulPairs12AVX512BF16,
	}
	return func(c []float32, cRow int, a []uint32, aBlock, aPiece int, b []uint32, bBlock, rows, blocks int, add bool) {
		most := max(1, maxCallSteps/(blocks*RowWords))
		for i, p := range tile.Products[pieces] {
			left, right := a[p[0]*aPiece:], b[p[1]*SquareWords:]
			for r := 0; r < rows; {
				if tiles := min((rows-r)/avx512.Rows, most); tiles > 1 {
					asm.MulTallPairsAVX512BF16(&c[r*cRow], cRow, &left[r*RowWords], aBlock, &right[0], bBlock, blocks, RowWords, tiles, add || i > 0)
					r += tiles * avx512.Rows
					continue
				}
				steps := min(avx512.Rows, rows-r) / avx512.RowStep
				heights[steps-1](&c[r*cRow], cRow, &left[r*RowWords], aBlock, &right[0], bBlock, blocks, RowWords, add || i > 0)
				r += steps * avx512.RowStep
			}
		}
	}
}
