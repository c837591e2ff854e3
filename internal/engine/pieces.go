package engine

import (
	"unsafe"

	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/simd"
)

// pieces are operands of float32 values that are split into as many bfloat16 pieces,
// where products of these are faster. Cols of the kernels is then kernel.SplitSide:
//
//	column panel, by either   [row/32][piece][16][32], in squares
//	stripe, by vector         [element/32][piece][row][16]
//	stripe, by element        [row/32][piece][element][16]
//	weights, left             [piece][row][16]
//	weights, right            [row/32][piece][16][32]
type pieces int

// splitSide is the number of rows and of columns of a square.
const splitSide = kernel.SplitSide

// bits returns the words of an operand.
func (o operand) bits() []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(o))), len(o))
}

// words counts two pieces for each word.
func (p pieces) words(n int) int { return n * int(p) / 2 }

func (pieces) stripeUnit(k *kernel.Kernels, _ bool) int { return k.Cols }

func (pieces) inPlace() bool { return false }

func (p pieces) packCols(l *layout, byVector, byElement operand, v vectors, scratch []float32) {
	vectors, square := l.scratch(scratch)
	v.store(l, vectors)
	for d := 0; d < l.padded; d += splitSide {
		at := p.words(d * splitSide)
		l.k.Transpose(square, splitSide, vectors[d:], l.padded)
		l.k.SplitCols(byVector[at:].bits(), square, splitSide, int(p))
		if byElement != nil {
			l.k.SplitCols(byElement[at:].bits(), vectors[d:], l.padded, int(p))
		}
	}
}

// packRows stores all vectors of a group: products take a multiple of as many.
func (p pieces) packRows(l *plan, byVector, byElement operand, i int, v vectors, scratch []float32) {
	vectors, square := l.scratch(scratch)
	v.store(&l.layout, vectors)
	if byVector != nil {
		p.splitVectors(l, byVector, i, vectors)
	}
	if byElement != nil {
		p.splitElements(l, byElement, i, vectors, square)
	}
}

func (p pieces) splitVectors(l *plan, dst operand, i int, vectors []float32) {
	for d := 0; d < l.padded; d += splitSide {
		at := p.words(d*l.stripe) + i*splitSide*kernel.RowWords
		l.k.SplitRows(dst[at:].bits(), l.stripe*kernel.RowWords, vectors[d:], l.padded, splitSide, int(p))
	}
}

func (p pieces) splitElements(l *plan, dst operand, i int, vectors, square []float32) {
	for d := 0; d < l.padded; d += splitSide {
		at := p.words(i*splitSide*l.padded) + d*kernel.RowWords
		l.k.Transpose(square, splitSide, vectors[d:], l.padded)
		l.k.SplitRows(dst[at:].bits(), l.padded*kernel.RowWords, square, splitSide, splitSide, int(p))
	}
}

// store stores vectors one after the other, padded, and zeros for the rest of a column
// panel.
func (v vectors) store(l *layout, dst []float32) {
	for r, f := range v.factors {
		row := dst[r*l.padded:][:l.padded]
		simd.ScaleTo(row[:l.dim], v.list.row(v.first+r), f)
		clear(row[l.dim:])
	}
	clear(dst[v.rows*l.padded:])
}

func (p pieces) packWeights(l *plan, left, right operand, block []float32, rows int) {
	padded := roundUp(rows, splitSide)
	clear(block[rows*splitSide : padded*splitSide])
	if left != nil {
		l.k.SplitRows(left.bits(), l.stripe*kernel.RowWords, block, splitSide, padded, int(p))
	}
	if right != nil {
		for r := 0; r < padded; r += splitSide {
			l.k.SplitCols(right[p.words(r*splitSide):].bits(), block[r*splitSide:], splitSide, int(p))
		}
	}
}

func (p pieces) mirror(l *plan, left operand, first int, square, scratch []float32) {
	l.k.Transpose(scratch, splitSide, square, splitSide)
	l.k.SplitRows(left[first*kernel.RowWords:].bits(), l.stripe*kernel.RowWords, scratch, splitSide, splitSide, int(p))
}

func (p pieces) similarities(l *plan, block []float32, rows, cols operand, n int) {
	for d := 0; d < l.padded; d += l.k.Depth {
		l.k.MulSplit(block, splitSide, rows[p.words(d*l.stripe):].bits(), p.words(splitSide*l.stripe), l.stripe*kernel.RowWords,
			cols[p.words(d*splitSide):].bits(), p.words(splitSide*splitSide), n, min(l.k.Depth, l.padded-d)/splitSide, int(p), d > 0)
	}
}

func (p pieces) rowGrads(l *plan, dst []float32, weights, cols operand, a area, n int, add bool) {
	for d := a.elem; d < a.elem+a.elems; d += splitSide {
		l.k.MulSplit(dst[d*l.stripe+a.row*splitSide:], splitSide, weights[a.row*kernel.RowWords:].bits(), p.words(splitSide*l.stripe), l.stripe*kernel.RowWords,
			cols[p.words(d*splitSide):].bits(), p.words(splitSide*l.padded), a.rows, n, int(p), add)
	}
}

func (p pieces) colGrads(l *plan, dst []float32, elements, weights operand, rows int, add bool) {
	l.k.MulSplit(dst, splitSide, elements.bits(), p.words(splitSide*l.padded), l.padded*kernel.RowWords,
		weights.bits(), p.words(splitSide*splitSide), l.padded, (rows+splitSide-1)/splitSide, int(p), add)
}

func (pieces) sharesRows() bool { return false }
