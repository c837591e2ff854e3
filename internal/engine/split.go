package engine

import (
	"github.com/contrastive-go/contrastive/internal/kernel"
)

// Where products of bfloat16 pieces are faster than those of float32 values, the
// operands are split into pieces as they are laid out. Layouts have the order of
// those of float32, in units of kernel.SplitSide, which the shapes in use then have
// for Cols: n elements take n·pieces/2 words.
//
//	column panels     [panel][elements/32][piece][16][32]
//	stripe, by rows   [elements/32][piece][row][16]
//	stripe, by cols   [rows/32][piece][element][16]
//	weights, as left  [panel][piece][row][16]
//	weights, as right [panel][rows/32][piece][16][32]

// words is the number of words of n elements in the given number of pieces.
func words(n, pieces int) int { return n * pieces / 2 }

// splitPanel stores the layouts of column panel i, of the given vectors. The square
// is scratch.
func (p *Panels) splitPanel(i int, dims bool, vectors, square []float32) {
	const c = kernel.SplitSide
	padded := p.paddedDim()
	for d := 0; d < padded; d += c {
		at := words((i*padded+d)*c, p.pieces)
		p.k.Transpose(square, c, vectors[d:], padded)
		p.k.SplitCols(p.colWords[at:], square, c, p.pieces)
		if dims {
			p.k.SplitCols(p.dimWords[at:], vectors[d:], padded, p.pieces)
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
	clear(w.vectors[n*padded : kernel.SplitSide*padded])
}

// splitRows lays out the i'th 32 rows of a stripe, which are in the scratch memory,
// for multiplyPanel.
func (e *Engine) splitRows(dst []uint32, i int, w *scratch) {
	const c = kernel.SplitSide
	padded, vectors := e.p.Cols.paddedDim(), w.vectors
	for d := 0; d < padded; d += c {
		e.k.SplitRows(dst[words(d*e.stripe, e.pieces)+i*c*kernel.RowWords:], e.stripe*kernel.RowWords, vectors[d:], padded, c, e.pieces)
	}
}

// splitElements lays out the same rows for multiplyRows.
func (e *Engine) splitElements(i int, w *scratch) {
	const c = kernel.SplitSide
	padded := e.p.Cols.paddedDim()
	vectors, square := w.vectors, w.vectors[c*padded:]
	for d := 0; d < padded; d += c {
		e.k.Transpose(square, c, vectors[d:], padded)
		e.k.SplitRows(e.rowsTWords[words(i*c*padded, e.pieces)+d*kernel.RowWords:], padded*kernel.RowWords, square, c, c, e.pieces)
	}
}

// splitWeights lays out the weights of column panel p, the i'th of its part of a
// chunk.
func (e *Engine) splitWeights(w *scratch, block []float32, p, i int, left, right bool) {
	const c = kernel.SplitSide
	rows := roundUp(e.rows, c)
	clear(block[e.rows*c : rows*c])
	if left {
		e.k.SplitRows(w.left[words(i*e.stripe*c, e.pieces):], e.stripe*kernel.RowWords, block, c, rows, e.pieces)
	}
	if right {
		for r := 0; r < rows; r += c {
			e.k.SplitCols(e.rightWeights(w, p, i)[words(r*c, e.pieces):], block[r*c:], c, e.pieces)
		}
	}
}

// rightWeights is where the weights of column panel p are, the i'th of its part of a
// chunk, as a right operand.
func (e *Engine) rightWeights(w *scratch, p, i int) []uint32 {
	if e.keep {
		return e.keptWords[words(p*e.stripe*kernel.SplitSide, e.pieces):]
	}
	return w.right[words(i*e.stripe*kernel.SplitSide, e.pieces):]
}

// mulSplitPanel is multiplyPanel for split operands.
func (e *Engine) mulSplitPanel(block []float32, rowWords []uint32, p, rows int) {
	const c = kernel.SplitSide
	cols := e.p.Cols
	padded := cols.paddedDim()
	for d := 0; d < padded; d += e.k.Depth {
		e.k.MulSplit(block, c, rowWords[words(d*e.stripe, e.pieces):], words(c*e.stripe, e.pieces), e.stripe*kernel.RowWords,
			cols.colWords[words((p*padded+d)*c, cols.pieces):], words(c*c, cols.pieces), rows, min(e.k.Depth, padded-d)/c, e.pieces, d > 0)
	}
}

// mulSplitCols is multiplyCols for split operands.
func (e *Engine) mulSplitCols(partial []float32, w *scratch, p, n int, add bool) {
	const c = kernel.SplitSide
	cols := e.p.Cols
	padded := cols.paddedDim()
	for d := 0; d < padded; d += c {
		e.k.MulSplit(partial[d:], padded, w.left, words(c*e.stripe, e.pieces), e.stripe*kernel.RowWords,
			cols.dimWords[words((p*padded+d)*c, cols.pieces):], words(c*padded, cols.pieces), e.rows, n, e.pieces, add)
	}
}

// mulSplitRows is multiplyRows for split operands.
func (e *Engine) mulSplitRows(grad []float32, weights []uint32, rows int, add bool) {
	const c = kernel.SplitSide
	padded := e.p.Cols.paddedDim()
	e.k.MulSplit(grad, c, e.rowsTWords, words(c*padded, e.pieces), padded*kernel.RowWords,
		weights, words(c*c, e.pieces), padded, (rows+c-1)/c, e.pieces, add)
}
