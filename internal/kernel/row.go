package kernel

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/internal/wide"
)

// The kernels in this file do with the rows of a matrix what those of package simd do with
// a vector: unless they say otherwise to the same bits, where rows have at most callElements
// elements. Row r of x begins at r·xRow. They may be memory of callers.

// callElements bounds the elements of the rows of a call, unless it is of one row: the
// garbage collector cannot stop a goroutine in assembly, and these take some 20 µs.
const callElements = 1 << 16

// rowsOfCall returns how many of some rows of dim elements, which are not 0, a call takes.
func rowsOfCall(rows, dim int) int { return min(rows, max(1, callElements/dim)) }

// Dots sets dst[r] = Σ x[r·xRow + i]·y[r·yRow + i] over i < dim, computed in float64, as
// simd.DotFloat64 does.
func (k *Kernels) Dots(dst []float64, x []float32, xRow int, y []float32, yRow, dim int) {
	if dim == 0 {
		clear(dst)
		return
	}
	for r := 0; r < len(dst); {
		n := rowsOfCall(len(dst)-r, dim)
		x, y := x[r*xRow:][:(n-1)*xRow+dim], y[r*yRow:][:(n-1)*yRow+dim]
		race.ReadRows(x, xRow, n, dim)
		race.ReadRows(y, yRow, n, dim)
		k.dots(&dst[r], &x[0], xRow, &y[0], yRow, n, dim)
		r += n
	}
}

// Squares is Dots of rows with themselves.
func (k *Kernels) Squares(dst []float64, x []float32, xRow, dim int) {
	if dim == 0 {
		clear(dst)
		return
	}
	for r := 0; r < len(dst); {
		n := rowsOfCall(len(dst)-r, dim)
		x := x[r*xRow:][:(n-1)*xRow+dim]
		race.ReadRows(x, xRow, n, dim)
		k.squares(&dst[r], &x[0], xRow, n, dim)
		r += n
	}
}

// SpreadRows lays out rows times the elements of f as those of a block, where GatherCols
// finds them:
//
//	dst[i/Cols·step + r·Cols + i%Cols] = f[r]·src[r·srcRow + i]
//
// for i < dim, and 0 for what is left of the last run. That is as if simd.ScaleTo rounded
// once a product that may have an error of 2⁻⁴⁷: factors are the sum of two float32.
func (k *Kernels) SpreadRows(dst []float32, step int, src []float32, srcRow int, f []float64, dim int) {
	if len(f) == 0 || dim == 0 {
		return
	}
	runs, rest := dim/k.Cols, dim%k.Cols
	for r := 0; runs > 0 && r < len(f); {
		n := 0
		for most := rowsOfCall(len(f)-r, dim); n < most && hasHalves(f[r+n]); {
			n++
		}
		if n == 0 {
			for i := range runs {
				wide.ScaleTo(dst[i*step+r*k.Cols:], src[r*srcRow+i*k.Cols:][:k.Cols], f[r])
			}
			r++
			continue
		}
		dst, src := dst[r*k.Cols:][:(runs-1)*step+n*k.Cols], src[r*srcRow:][:(n-1)*srcRow+runs*k.Cols]
		race.ReadRows(src, srcRow, n, runs*k.Cols)
		k.spreadRows(&dst[0], step, &src[0], srcRow, &f[r], n, runs)
		r += n
	}
	if rest == 0 {
		return
	}
	dst, src = dst[runs*step:][:len(f)*k.Cols], src[runs*k.Cols:]
	for r, f := range f {
		to := dst[r*k.Cols:][:k.Cols]
		wide.ScaleTo(to, src[r*srcRow:][:rest], f)
		clear(to[rest:])
	}
}

// hasHalves reports whether two float32 add up to f within 2⁻⁴⁸ of it: the lesser is normal,
// or 0.
func hasHalves(f float64) bool {
	size := math.Abs(f)
	return size >= 0x1p-100 && size <= 0x1p127 || f == 0
}

// SumLanes adds the sums of the rows of a [Tally], spread over Lanes numbers each, to dst, in
// float64. GreatestLanes sets dst to their greatest.
func (k *Kernels) SumLanes(dst []float64, src []float32) {
	if len(dst) > 0 {
		src = src[:len(dst)*k.Lanes]
		k.sumLanes(&dst[0], &src[0], k.Lanes, len(dst))
	}
}

func (k *Kernels) GreatestLanes(dst, src []float32) {
	if len(dst) > 0 {
		src = src[:len(dst)*k.Lanes]
		k.greatestLanes(&dst[0], &src[0], len(dst))
	}
}

// AddRows sets dst[r·dstRow + i] += f[r]·src[r·srcRow + i] over i < dim, as simd.Axpy does.
func (k *Kernels) AddRows(dst []float32, dstRow int, src []float32, srcRow int, f []float32, dim int) {
	if dim == 0 {
		return
	}
	for r := 0; r < len(f); {
		n := rowsOfCall(len(f)-r, dim)
		dst, src := dst[r*dstRow:][:(n-1)*dstRow+dim], src[r*srcRow:][:(n-1)*srcRow+dim]
		race.ReadRows(src, srcRow, n, dim)
		race.WriteRows(dst, dstRow, n, dim)
		k.addRows(&dst[0], dstRow, &src[0], srcRow, &f[r], n, dim)
		r += n
	}
}

// ProjectRows sets row r of dst, which may be grad, to
//
//	(g − (g·y)y)·f[r], y = unit[r]·x
//
// of row g of grad, saturated: the way of gradients back through a normalisation. It is
// computed in float32: with u = 2⁻²⁴, the error is at most 2u of the result and, in sums of at
// least 16 lanes, (dim/16 + 10)·u·Σ|g·y|·|y|·|f[r]|. A length of y that is not much more than
// 1 keeps g·y from overflowing where g does not.
func (k *Kernels) ProjectRows(dst []float32, dstRow int, grad []float32, gradRow int, x []float32, xRow int, unit, f []float32, dim int) {
	if dim == 0 {
		return
	}
	unit = unit[:len(f)]
	for r := 0; r < len(f); {
		n := rowsOfCall(len(f)-r, dim)
		dst, grad, x := dst[r*dstRow:][:(n-1)*dstRow+dim], grad[r*gradRow:][:(n-1)*gradRow+dim], x[r*xRow:][:(n-1)*xRow+dim]
		race.ReadRows(grad, gradRow, n, dim)
		race.ReadRows(x, xRow, n, dim)
		race.WriteRows(dst, dstRow, n, dim)
		k.projectRows(&dst[0], dstRow, &grad[0], gradRow, &x[0], xRow, &unit[r], &f[r], n, dim)
		r += n
	}
}
