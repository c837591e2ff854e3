package engine

import (
	"unsafe"

	"github.com/contrastive-go/contrastive/internal/kernel"
)

// A layout is what operands of vectors depend on.
type layout struct {
	k      *kernel.Kernels
	format format
	dim    int
	padded int // dim, rounded up to whole column panels
}

// layoutOf returns the layout of vectors of dim elements, for products of the
// precision of as many bfloat16 pieces as are wanted.
func layoutOf(k *kernel.Kernels, wanted, dim int) layout {
	l := layout{k: k, format: floats{}, dim: dim, padded: roundUp(dim, k.Cols)}
	if n := k.Pieces(wanted); n > 0 {
		l.format = pieces(n)
	}
	return l
}

// An operand is memory for a matrix as products of its format read it: float32 values,
// or words of pieces in the same bits.
type operand []float32

// A format is how operands lie in memory, and the three products on them. With S the
// similarities of a stripe's rows with columns, and W their weights, these are
//
//	S = rows · colsᵀ      ∂rows += W · cols      ∂cols += Wᵀ · rows
//
// A matrix of vectors is an operand in two layouts: one by vector, for the first
// product, and one by element, for its gradients' product.
type format interface {
	// words returns the length of an operand of n elements.
	words(n int) int

	// stripeUnit returns a number whose multiples a stripe's rows are, but for the last.
	stripeUnit(k *kernel.Kernels, symmetric bool) int

	// inPlace reports whether weights are an operand as they are computed.
	inPlace() bool

	// packCols stores the operands of a column panel, the second unless it is nil. Vectors
	// past the end are zero. The scratch memory has room for packScratch elements.
	packCols(l *layout, byVector, byElement operand, v vectors, scratch []float32)

	// packRows stores the operands of a stripe's i'th group of rows, either unless it is
	// nil. The scratch memory is as in packCols.
	packRows(l *plan, byVector, byElement operand, i int, v vectors, scratch []float32)

	// packWeights stores the operands of a block of weights, unless they are in place:
	// left for the rows' gradients and right for the columns', unless it is nil.
	packWeights(l *plan, left, right operand, block []float32, rows int)

	// mirror stores a square of weights, transposed, in a left operand as its rows from first
	// on. The scratch memory has room for a square.
	mirror(l *plan, left operand, first int, square, scratch []float32)

	// similarities stores the products of rows with a column panel in block.
	similarities(l *plan, block []float32, rows, cols operand, n int)

	// rowGrads stores an area of the products of the weights of n column panels with these
	// in dst, as [element/Cols][row][Cols] of a stripe, or as [row][element] where the plan is
	// single, or adds it.
	rowGrads(l *plan, dst []float32, weights, cols operand, a area, n int, add bool)

	// sharesRows reports whether the operand of a stripe by vector is that by element, too.
	sharesRows() bool

	// colGrads stores the products of the transposed weights of a column panel with rows
	// in dst, element by element, or as [column][element] where the plan has singleCols, or
	// adds them.
	colGrads(l *plan, dst []float32, elements, weights operand, rows int, add bool)
}

// vectors are those of some slots of a list: its rows, times factors.
type vectors struct {
	list *List
	stripe
	factors []float64 // of each slot
}

// vectors returns those of some slots as the list has them.
func (l *List) vectors(s stripe) vectors { return vectors{l, s, l.scale[s.first:s.end()]} }

// weighVectors returns those of some slots of list, each times the element of coef of its
// slot.
func (w *scratch) weighVectors(list *List, s stripe, coef []float32) vectors {
	for r, c := range coef[s.first:s.end()] {
		w.factors[r] = list.scale[s.first+r] * float64(c)
	}
	return vectors{list, s, w.factors[:s.rows]}
}

// Some elements of vectors.
type elements struct{ first, end int }

// panelWords is the length of an operand of a column panel.
func (l *layout) panelWords() int { return l.format.words(l.k.Cols * l.padded) }

// setStripe sets the rows of a stripe, and with them the distance between blocks of these and
// Cols columns.
//
// Blocks that a product reads together are a little further apart than multiples of half a
// page: at these they could be in no other than the same few lines of a first-level cache.
func (l *plan) setStripe(rows int) {
	const half = 2048 / 4
	l.stripe, l.blockSize = rows, rows*l.k.Cols
	if l.format.inPlace() && l.blockSize%half == 0 {
		l.blockSize += l.k.BlockRows * l.k.Cols
	}
}

// weightWords is the distance between operands of the weights of blocks.
func (l *plan) weightWords() int { return l.format.words(l.blockSize) }

// grow returns a slice of n elements whose first is at a multiple of 64 bytes,
// the size of a cache line and of the longest vector, reusing s if it is long
// enough. The elements are arbitrary.
func grow(s []float32, n int) []float32 {
	if cap(s) >= n {
		return s[:n]
	}
	const line = 16
	s = make([]float32, n+line-1)
	skip := int(-uintptr(unsafe.Pointer(&s[0]))/4) & (line - 1)
	return s[skip : skip+n : skip+n]
}
