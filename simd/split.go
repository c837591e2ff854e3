package simd

import "math"

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
	MaxPieces = 3

	// RowWords is the number of words of a row in a block, and SquareWords that of
	// a square, for each piece.
	RowWords    = SplitSide / 2
	SquareWords = SplitSide * RowWords
)

// SplitPays reports whether products of operands in pieces are, on the level in use,
// faster than those of float32 values.
func SplitPays(pieces int) bool { return splitPays(pieces) }

// SplitRows splits rows of 32 elements for a block: piece p of row r is the words
// from dst[p·piece + r·16] on. The row is src[r·srcRow:].
func SplitRows(dst []uint32, piece int, src []float32, srcRow, rows, pieces int) {
	if rows == 0 {
		return
	}
	dst, src = dst[:(pieces-1)*piece+rows*RowWords], src[:(rows-1)*srcRow+SplitSide]
	splitRows(dst, piece, src, srcRow, rows, pieces)
}

// SplitCols splits a square, row t of which is src[t·srcRow:].
func SplitCols(dst []uint32, src []float32, srcRow, pieces int) {
	splitCols(dst[:pieces*SquareWords], src[:(SplitSide-1)*srcRow+SplitSide], srcRow, pieces)
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
func MulSplit(c []float32, cRow int, a []uint32, aBlock, aPiece int, b []uint32, bBlock, rows, blocks, pieces int, add bool) {
	if rows == 0 {
		return
	}
	rows = (rows + SplitSide - 1) / SplitSide * SplitSide
	c = c[:(rows-1)*cRow+SplitSide]
	a = a[:(blocks-1)*aBlock+(pieces-1)*aPiece+rows*RowWords]
	b = b[:(blocks-1)*bBlock+pieces*SquareWords]
	mulSplit(c, cRow, a, aBlock, aPiece, b, bBlock, rows, blocks, pieces, add)
}

// pieceProducts are the pieces of the two operands that are multiplied.
var pieceProducts = [MaxPieces + 1][][2]int{
	1: {{0, 0}},
	2: {{1, 0}, {0, 1}, {0, 0}},
	3: {{2, 0}, {1, 1}, {0, 2}, {1, 0}, {0, 1}, {0, 0}},
}

// nextPiece returns the nearest bfloat16 to v, ties away from zero, as the upper
// half of a float32's bits, and what is left of v, exactly.
func nextPiece(v float32) (bits uint32, rest float32) {
	bits = (math.Float32bits(v) + 0x8000) &^ 0xffff
	return bits, v - math.Float32frombits(bits)
}

// splitPair splits two values; piece p goes to dst[p·piece].
func splitPair(dst []uint32, piece int, lo, hi float32, pieces int) {
	for p := range pieces {
		var l, h uint32
		l, lo = nextPiece(lo)
		h, hi = nextPiece(hi)
		dst[p*piece] = l>>16 | h
	}
}

func splitRowsGeneric(dst []uint32, piece int, src []float32, srcRow, rows, pieces int) {
	for r := range rows {
		row := src[r*srcRow : r*srcRow+SplitSide]
		for t := range RowWords {
			splitPair(dst[r*RowWords+t:], piece, row[t], row[t+RowWords], pieces)
		}
	}
}

func splitColsGeneric(dst []uint32, src []float32, srcRow, pieces int) {
	for t := range RowWords {
		lo, hi := src[t*srcRow:], src[(t+RowWords)*srcRow:]
		for j := range SplitSide {
			splitPair(dst[t*SplitSide+j:], SquareWords, lo[j], hi[j], pieces)
		}
	}
}

func mulSplitGeneric(c []float32, cRow int, a []uint32, aBlock, aPiece int, b []uint32, bBlock, rows, blocks, pieces int, add bool) {
	for r := range rows {
		var sum [SplitSide]float32
		for n := range blocks {
			for _, p := range pieceProducts[pieces] {
				left := a[n*aBlock+p[0]*aPiece+r*RowWords:][:RowWords]
				right := b[n*bBlock+p[1]*SquareWords:][:SquareWords]
				for t, x := range left {
					lo, hi := math.Float32frombits(x<<16), math.Float32frombits(x&^0xffff)
					for j, y := range right[t*SplitSide : (t+1)*SplitSide] {
						sum[j] += float32(lo * math.Float32frombits(y<<16))
						sum[j] += float32(hi * math.Float32frombits(y&^0xffff))
					}
				}
			}
		}
		row := c[r*cRow : r*cRow+SplitSide]
		for j, v := range sum {
			if add {
				v += row[j]
			}
			row[j] = v
		}
	}
}
