package blas

import "github.com/contrastive-go/contrastive/internal/kernel"

// packRight packs n columns of op(B) from col on, depth rows of it from first on, in
// column panels. What lies beyond n is left as it is: it reaches only elements of the
// product that are not stored.
func (l *plan) packRight(dst []float32, col, n, first, depth int) {
	k := l.kernels
	src, stride := l.b.data, l.b.stride
	if !l.b.trans {
		k.PackCols(dst, src[first*stride+col:], stride, n, depth)
		return
	}
	for j := 0; j < n; j += k.Cols {
		transpose(k, dst[j*depth:][:depth*k.Cols], src[(col+j)*stride+first:], stride, min(k.Cols, n-j), depth)
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

// packLeft packs rows of op(A) from row on, depth columns of it from first on, in row
// panels.
func (l *plan) packLeft(dst []float32, row, rows, first, depth int) lines {
	k := l.kernels
	src, stride := l.a.data, l.a.stride
	if l.a.trans {
		k.PackRows(dst, src[first*stride+row:], stride, rows, depth)
	} else if rows > 0 {
		k.Interleave(dst, src[row*stride+first:], stride, rows, depth)
	}
	return l.rowPanels(dst, depth)
}

func (l *plan) rowPanels(data []float32, depth int) lines {
	return lines{data, depth * l.kernels.Rows, l.kernels.Rows, true}
}

// leftSize is the number of elements of a packed block of the left operand.
func (l *plan) leftSize(rows, depth int) int { return roundUp(rows, l.kernels.Rows) * depth }

// lines are rows of a left operand as products take it, one after the other or side by
// side, packed or in place.
type lines struct {
	data       []float32
	tile       int  // the distance of one tile to the next, if they lie side by side
	stride     int  // that of rows, or of columns if they lie side by side
	sideBySide bool // rows do
}

// leftInPlace returns rows of op(A) as they are.
func (l *plan) leftInPlace(row, first int) lines {
	x := l.a
	if x.trans {
		return lines{x.data[first*x.stride+row:], l.kernels.Rows, x.stride, true}
	}
	return lines{x.data[row*x.stride+first:], 0, x.stride, false}
}

// multiply computes C = alpha·left·right + beta·C for rows of the left operand, rounded
// up to a multiple of RowStep, and a column panel, whose rows are step apart.
func (x lines) multiply(k *kernel.Kernels, c []float32, stride int, right []float32, step, rows, depth int, alpha, beta float32) {
	if x.sideBySide {
		k.MulCols(c, stride, x.data, x.tile, x.stride, right, step, rows, depth, alpha, beta)
	} else {
		k.MulRows(c, stride, x.data, x.stride, right, step, rows, depth, alpha, beta)
	}
}

// from returns x without its first rows, a multiple of Rows or, if no more than RowStep
// are left, of RowStep.
func (x lines) from(k *kernel.Kernels, rows int) lines {
	if x.sideBySide {
		x.data = x.data[rows/k.Rows*x.tile+rows%k.Rows:]
	} else {
		x.data = x.data[rows*x.stride:]
	}
	return x
}
