package engine

import "github.com/contrastive-go/contrastive/internal/kernel"

// floats are operands of float32 values:
//
//	column panel, by vector   [element][column]
//	column panel, by element  [element/Cols][column][Cols]
//	stripe, by either         [element/Cols][row][Cols]
//	weights                   [row][column], for both products
//
// Blocks of a stripe, of rows by Cols elements or columns, are blockSize apart.
type floats struct{}

func (floats) words(n int) int { return n }

func (floats) stripeUnit(k *kernel.Kernels, symmetric bool) int {
	if symmetric { // stripes begin with a column panel
		return lcm(k.Rows, k.Cols)
	}
	return k.Rows
}

func (floats) inPlace() bool { return true }

func (f floats) packCols(l *layout, byVector, byElement operand, v vectors, scratch []float32) {
	c, blocks := l.k.Cols, byElement
	if blocks == nil {
		blocks = scratch
	}
	f.spread(l, blocks, c*c, v)
	for d := 0; d < l.padded; d += c {
		clear(blocks[d*c+v.rows*c : (d+c)*c])
		l.k.Transpose(byVector[d*c:], c, blocks[d*c:], c)
	}
}

func (f floats) packRows(l *plan, byVector, byElement operand, i int, v vectors, _ []float32) {
	for _, dst := range [...]operand{byVector, byElement} {
		if dst != nil {
			f.spread(&l.layout, dst[i*l.k.Cols*l.k.Cols:], l.blockSize, v)
		}
	}
}

// spread lays out vectors as [element/Cols][vector][Cols], with step from one run of Cols
// elements to the next.
func (floats) spread(l *layout, dst operand, step int, v vectors) {
	for rest, at := v.stripe, 0; rest.rows > 0; {
		var in *segment
		var here stripe
		in, here, rest = v.list.split(rest)
		l.k.SpreadRows(dst[at*l.k.Cols:], step, in.from(here.first), in.Stride, v.factors[at:at+here.rows], l.dim)
		at += here.rows
	}
}

func (floats) sharesRows() bool { return true }

func (floats) packWeights(*plan, operand, operand, []float32, int) {}

func (floats) mirror(l *plan, left operand, first int, square, _ []float32) {
	l.k.Transpose(left[first*l.k.Cols:], l.k.Cols, square, l.k.Cols)
}

func (floats) similarities(l *plan, block []float32, rows, cols operand, n int) {
	c, dim, size := l.k.Cols, roundUp(l.dim, kernel.BlockStep), l.blockSize
	for d := 0; d < dim; {
		blocks, depth := min(l.k.Depth, dim-d)/c, c
		if blocks == 0 {
			blocks, depth = 1, dim-d
		}
		l.k.MulBlocks(block, c, rows[d/c*size:], size, cols[d*c:], c*c, n, blocks, depth, d > 0)
		d += blocks * depth
	}
}

func (floats) rowGrads(l *plan, dst []float32, weights, cols operand, a area, n int, add bool) {
	c := l.k.Cols
	row, run, size := c, l.stripe*c, l.blockSize
	if l.single {
		row, run = l.padded, c
	}
	for d := a.elem; d < a.elem+a.elems; d += c {
		l.k.MulBlocks(dst[d/c*run+a.row*row:], row, weights[a.row*c:], size, cols[d*c:], c*l.padded, a.rows, n, c, add)
	}
}

func (floats) colGrads(l *plan, dst []float32, elements, weights operand, rows int, add bool) {
	c, size, beta := l.k.Cols, l.blockSize, float32(0)
	if add {
		beta = 1
	}
	for d := 0; d < l.padded; d += c {
		if vectors := elements[d/c*size:]; l.singleCols {
			l.k.MulCols(dst[d:], l.padded, weights, l.k.Rows, c, vectors, c, c, rows, 1, beta)
		} else {
			l.k.MulCols(dst[d*c:], c, vectors, l.k.Rows, c, weights, c, c, rows, 1, beta)
		}
	}
}

func lcm(a, b int) int {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
