package engine

import (
	"github.com/contrastive-go/contrastive/simd"
)

// Where products of bfloat16 pieces are faster than those of float32 values, the
// operands are split into pieces as they are laid out. Layouts have the order of
// those of float32, in units of simd.SplitSide, which the shapes in use then have
// for Cols: n elements take n·pieces/2 words.
//
//	column panels     [panel][elements/32][piece][16][32]
//	stripe, by rows   [elements/32][piece][row][16]
//	stripe, by cols   [rows/32][piece][element][16]
//	weights, as left  [panel][piece][row][16]
//	weights, as right [panel][rows/32][piece][16][32]

// words is the number of words of n elements in the given number of pieces.
func words(n, pieces int) int { return n * pieces / 2 }

// piecesOf returns the number of pieces that operands are split into for products of
// the wanted precision: that of a Problem's Pieces, or 0 where float32 is faster.
func piecesOf(wanted int) int {
	if simd.SplitPays(wanted) {
		return wanted
	}
	return 0
}

// splitPanel stores the layouts of column panel i, of the given vectors. The square
// is scratch.
func (p *Panels) splitPanel(i int, dims bool, vectors, square []float32) {
	const c = simd.SplitSide
	padded := p.paddedDim()
	for d := 0; d < padded; d += c {
		at := words((i*padded+d)*c, p.pieces)
		simd.Transpose(square, c, vectors[d:], padded)
		simd.SplitCols(p.colWords[at:], square, c, p.pieces)
		if dims {
			simd.SplitCols(p.dimWords[at:], vectors[d:], padded, p.pieces)
		}
	}
}

// pad clears what is not of the first n vectors of the scratch memory of a worker:
// the elements past their ends, and the vectors after them.
func (e *Engine) pad(w *scratch, n int) {
	padded := e.p.Cols.paddedDim()
	for i := range n {
		clear(w.vectors[i*padded+e.p.Cols.dim : (i+1)*padded])
	}
	clear(w.vectors[n*padded : simd.SplitSide*padded])
}

// splitRows lays out the i'th 32 rows of a stripe, which are in the scratch memory,
// for multiplyPanel.
func (e *Engine) splitRows(dst []uint32, i int, w *scratch) {
	const c = simd.SplitSide
	padded, vectors := e.p.Cols.paddedDim(), w.vectors
	for d := 0; d < padded; d += c {
		simd.SplitRows(dst[words(d*e.stripe, e.pieces)+i*c*simd.RowWords:], e.stripe*simd.RowWords, vectors[d:], padded, c, e.pieces)
	}
}

// splitElements lays out the same rows for multiplyRows.
func (e *Engine) splitElements(i int, w *scratch) {
	const c = simd.SplitSide
	padded := e.p.Cols.paddedDim()
	vectors, square := w.vectors, w.vectors[c*padded:]
	for d := 0; d < padded; d += c {
		simd.Transpose(square, c, vectors[d:], padded)
		simd.SplitRows(e.rowsTWords[words(i*c*padded, e.pieces)+d*simd.RowWords:], padded*simd.RowWords, square, c, c, e.pieces)
	}
}

// splitWeights lays out the weights of column panel p, the i'th of its part of a
// chunk.
func (e *Engine) splitWeights(w *scratch, block []float32, p, i int, left, right bool) {
	const c = simd.SplitSide
	rows := roundUp(e.rows, c)
	clear(block[e.rows*c : rows*c])
	if left {
		simd.SplitRows(w.left[words(i*e.stripe*c, e.pieces):], e.stripe*simd.RowWords, block, c, rows, e.pieces)
	}
	if right {
		for r := 0; r < rows; r += c {
			simd.SplitCols(e.rightWeights(w, p, i)[words(r*c, e.pieces):], block[r*c:], c, e.pieces)
		}
	}
}

// rightWeights is where the weights of column panel p are, the i'th of its part of a
// chunk, as a right operand.
func (e *Engine) rightWeights(w *scratch, p, i int) []uint32 {
	if e.keep {
		return e.keptWords[words(p*e.stripe*simd.SplitSide, e.pieces):]
	}
	return w.right[words(i*e.stripe*simd.SplitSide, e.pieces):]
}

// mulSplitPanel is multiplyPanel for split operands.
func (e *Engine) mulSplitPanel(block []float32, rowWords []uint32, p, rows int) {
	const c = simd.SplitSide
	cols := e.p.Cols
	padded := cols.paddedDim()
	for d := 0; d < padded; d += e.shape.Depth {
		simd.MulSplit(block, c, rowWords[words(d*e.stripe, e.pieces):], words(c*e.stripe, e.pieces), e.stripe*simd.RowWords,
			cols.colWords[words((p*padded+d)*c, cols.pieces):], words(c*c, cols.pieces), rows, min(e.shape.Depth, padded-d)/c, e.pieces, d > 0)
	}
}

// mulSplitCols is multiplyCols for split operands.
func (e *Engine) mulSplitCols(partial []float32, w *scratch, p, n int, add bool) {
	const c = simd.SplitSide
	cols := e.p.Cols
	padded := cols.paddedDim()
	for d := 0; d < padded; d += c {
		simd.MulSplit(partial[d:], padded, w.left, words(c*e.stripe, e.pieces), e.stripe*simd.RowWords,
			cols.dimWords[words((p*padded+d)*c, cols.pieces):], words(c*padded, cols.pieces), e.rows, n, e.pieces, add)
	}
}

// mulSplitRows is multiplyRows for split operands.
func (e *Engine) mulSplitRows(grad []float32, weights []uint32, rows int, add bool) {
	const c = simd.SplitSide
	padded := e.p.Cols.paddedDim()
	simd.MulSplit(grad, c, e.rowsTWords, words(c*padded, e.pieces), padded*simd.RowWords,
		weights, words(c*c, e.pieces), padded, (rows+c-1)/c, e.pieces, add)
}
