package blas

import "github.com/contrastive-go/contrastive/internal/kernel"

// padded returns the depth of operands that are packed: the left one may come in blocks.
func (l *plan) padded(depth int) int { return roundUp(depth, l.kernels.Cols) }

// packRight packs n columns of op(B) from col on, depth rows of it from first on, in
// column panels. What lies beyond n is left as it is: it reaches only elements of the
// product that are not stored.
func (l *plan) packRight(dst []float32, col, n, first, depth int) {
	k := l.kernels
	padded := l.padded(depth)
	panel := padded * k.Cols
	for j := 0; j < n; j += k.Cols {
		clear(dst[j*padded+depth*k.Cols : j*padded+panel])
	}
	src, stride := l.right.data, l.right.stride
	if !l.right.trans {
		for t := range depth {
			k.SpreadCols(dst[t*k.Cols:], panel, src[(first+t)*stride+col:][:n])
		}
		return
	}
	for j := 0; j < n; j += k.Cols {
		transpose(k, dst[j*padded:][:panel], src[(col+j)*stride+first:], stride, min(k.Cols, n-j), depth)
	}
}

// transpose stores rows of src, of length n, as columns of a column panel.
func transpose(k *kernel.Kernels, panel, src []float32, stride, rows, n int) {
	whole := 0
	if rows == k.Cols {
		for ; whole+k.Cols <= n; whole += k.Cols {
			k.Transpose(panel[whole*k.Cols:], k.Cols, src[whole:], stride)
		}
	}
	for r := range rows {
		for t, v := range src[r*stride+whole:][:n-whole] {
			panel[(whole+t)*k.Cols+r] = v
		}
	}
}

// packLeft packs rows of alpha·op(A) from row on, depth columns of it from first on: in
// row panels if A is transposed, and in blocks if it is not, so that its elements are
// copied in runs either way.
func (l *plan) packLeft(dst []float32, row, rows, first, depth int) {
	k := l.kernels
	src, stride := l.left.data, l.left.stride
	if l.left.trans {
		for t := range depth {
			k.SpreadRows(dst[t*k.Rows:], depth*k.Rows, src[(first+t)*stride+row:][:rows])
		}
	} else {
		padded := l.padded(depth)
		height := roundUp(rows, k.RowStep)
		for i := range rows {
			k.SpreadCols(dst[i*k.Cols:], height*k.Cols, src[(row+i)*stride+first:][:depth])
			clear(dst[(padded-k.Cols)*height+i*k.Cols:][:k.Cols][k.Cols-(padded-depth):])
		}
	}
	if l.alpha != 1 {
		for i := range dst {
			dst[i] *= l.alpha
		}
	}
}

// leftSize is the number of elements of a packed block of the left operand.
func (l *plan) leftSize(rows, depth int) int {
	if l.left.trans {
		return roundUp(rows, l.kernels.Rows) * depth
	}
	return roundUp(rows, l.kernels.RowStep) * l.padded(depth)
}

// product stores the product of rows of a packed block and a column panel in c, or adds
// it to what c holds. It computes a multiple of RowStep rows, and all columns.
func (l *plan) product(c []float32, stride int, left, right []float32, first, rows, height, depth int, add bool) {
	k := l.kernels
	if l.left.trans {
		k.MulPanels(c, stride, left[first*depth:], depth*k.Rows, right, rows, depth, add)
		return
	}
	padded := l.padded(depth)
	k.MulBlocks(c, stride, left[first*k.Cols:], height*k.Cols, right, k.Cols*k.Cols, rows, padded/k.Cols, k.Cols, add)
}
