package kernel

import "github.com/contrastive-go/contrastive/internal/tile"

// The kernels in this file multiply matrices in bfloat16, which some processors do
// faster than in float32. An operand is split into pieces, bfloat16 values whose sum
// is the float32 value: one piece is within 2⁻⁸ of it, two within 2⁻¹⁶, and three are
// exact. A product of n pieces leaves out those products of two pieces that are less
// than 2⁻⁸ⁿ: of three pieces it takes six products, of two three.
//
// A word holds one piece of two values, in the layouts that both AMX tiles and
// VDPBF16PS read:
//
//   - A left operand comes in blocks of any number of rows of 32 elements. A row of
//     one piece is 16 words: elements t and t+16 of the row, t in the lower half.
//   - A right operand comes in squares of 32 rows by 32 columns. Those of one piece
//     are 16 rows of 32 words: rows t and t+16 of the square; its pieces follow each
//     other.

const (
	// SplitSide is the number of elements of a row in a block, and of rows and
	// columns in a square.
	SplitSide = 32

	// MaxPieces is the number of pieces that hold a float32.
	MaxPieces = tile.MaxPieces

	// RowWords is the number of words of a row in a block, and SquareWords that of
	// a square, for each piece.
	RowWords    = SplitSide / 2
	SquareWords = SplitSide * RowWords
)

// Pieces returns the number of pieces that operands are split into for products of the
// precision of as many as are wanted, or 0 where float32 is faster.
func (k *Kernels) Pieces(wanted int) int {
	if wanted <= k.splitsUpTo {
		return wanted
	}
	return 0
}

// SplitRows splits rows of 32 elements for a block: piece p of row r is the words
// from dst[p·piece + r·16] on. The row is src[r·srcRow:].
func (k *Kernels) SplitRows(dst []uint32, piece int, src []float32, srcRow, rows, pieces int) {
	if rows == 0 {
		return
	}
	dst, src = dst[:(pieces-1)*piece+rows*RowWords], src[:(rows-1)*srcRow+SplitSide]
	k.splitRows[pieces-1](&dst[0], piece, &src[0], srcRow, rows)
}

// SplitCols splits a square, row t of which is src[t·srcRow:].
func (k *Kernels) SplitCols(dst []uint32, src []float32, srcRow, pieces int) {
	dst, src = dst[:pieces*SquareWords], src[:(SplitSide-1)*srcRow+SplitSide]
	k.splitCols[pieces-1](&dst[0], &src[0], srcRow)
}

// MulSplit stores the product of rows in blocks and squares, or adds it to what c
// holds:
//
//	c[r·cRow + j] (+)= Σ left[n][r][t] · right[n][t][j]
//
// over n < blocks and t < 32, for r < rows, rounded up to a multiple of 32, and
// j < 32. Block n begins at a[n·aBlock], and its piece p aPiece words later each;
// square n begins at b[n·bBlock]. Operands may have more pieces than are multiplied.
//
// The error of an element is at most (3·2⁻⁸ⁿ + k·u)·Σ|left·right| for n pieces,
// u = 2⁻²⁴, where sums of the n(n+1)/2 products are rounded k = 18 + blocks·n(n+1)/2
// times on AMX, and 32·blocks·n(n+1)/2 elsewhere. Subnormal numbers count as zero.
func (k *Kernels) MulSplit(c []float32, cRow int, a []uint32, aBlock, aPiece int, b []uint32, bBlock, rows, blocks, pieces int, add bool) {
	if rows == 0 {
		return
	}
	rows = (rows + SplitSide - 1) / SplitSide * SplitSide
	c = c[:(rows-1)*cRow+SplitSide]
	a = a[:(blocks-1)*aBlock+(pieces-1)*aPiece+rows*RowWords]
	b = b[:(blocks-1)*bBlock+pieces*SquareWords]
	k.mulSplit[pieces-1](c, cRow, a, aBlock, aPiece, b, bBlock, rows, blocks, add)
}
