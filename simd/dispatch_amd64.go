//go:build !purego

package simd

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/wide"
)

// The calls are written out, and not made through function variables, because a
// call through a variable loses the callee's //go:noescape: arguments on the
// caller's stack would be moved to the heap.

func dot(x, y []float32) float32 {
	switch {
	case isa.Active >= isa.AVX512:
		return asm.DotAVX512(x, y)
	case isa.Active >= isa.AVX2:
		return asm.DotAVX2(x, y)
	}
	return dotGeneric(x, y)
}

func dotFloat64(x, y []float32) float64 {
	switch {
	case isa.Active >= isa.AVX512:
		return asm.DotFloat64AVX512(x, y)
	case isa.Active >= isa.AVX2:
		return asm.DotFloat64AVX2(x, y)
	}
	return wide.Dot(x, y)
}

func axpy(a float32, x, y []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.AxpyAVX512(a, x, y)
	case isa.Active >= isa.AVX2:
		asm.AxpyAVX2(a, x, y)
	default:
		axpyGeneric(a, x, y)
	}
}

func axpyRows(a0, a1, a2, a3 float32, x0, x1, x2, x3 *float32, y []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.AxpyRowsAVX512(a0, a1, a2, a3, x0, x1, x2, x3, y)
	case isa.Active >= isa.AVX2:
		asm.AxpyRowsAVX2(a0, a1, a2, a3, x0, x1, x2, x3, y)
	default:
		axpyRowsGeneric(a0, a1, a2, a3, x0, x1, x2, x3, y)
	}
}

func lerp(dst, src []float32, t float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.LerpAVX512(dst, src, t)
	case isa.Active >= isa.AVX2:
		asm.LerpAVX2(dst, src, t)
	default:
		lerpGeneric(dst, src, t)
	}
}

func expSum(x []float32, scale, shift float32) float32 {
	switch {
	case isa.Active >= isa.AVX512:
		return asm.ExpSumAVX512(x, scale, shift)
	case isa.Active >= isa.AVX2:
		return asm.ExpSumAVX2(x, scale, shift)
	}
	return expSumGeneric(x, scale, shift)
}

func expSumStore(dst, x []float32, scale, shift float32) float32 {
	switch {
	case isa.Active >= isa.AVX512:
		return asm.ExpSumStoreAVX512(dst, x, scale, shift)
	case isa.Active >= isa.AVX2:
		return asm.ExpSumStoreAVX2(dst, x, scale, shift)
	}
	return expSumStoreGeneric(dst, x, scale, shift)
}

func extremes(x []float32) (least, greatest float32) {
	switch {
	case isa.Active >= isa.AVX512:
		return asm.ExtremesAVX512(x)
	case isa.Active >= isa.AVX2:
		return asm.ExtremesAVX2(x)
	}
	return extremesGeneric(x)
}

func scaleTo(dst, src []float32, f float64) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.ScaleToAVX512(dst, src, f)
	case isa.Active >= isa.AVX2:
		asm.ScaleToAVX2(dst, src, f)
	default:
		wide.ScaleTo(dst, src, f)
	}
}

func project(dst, g, x []float32, along, f float64) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.ProjectAVX512(dst, g, x, along, f)
	case isa.Active >= isa.AVX2:
		asm.ProjectAVX2(dst, g, x, along, f)
	default:
		wide.Project(dst, g, x, along, f)
	}
}

func relu(dst, src []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.ReLUAVX512(dst, src)
	case isa.Active >= isa.AVX2:
		asm.ReLUAVX2(dst, src)
	default:
		reluGeneric(dst, src)
	}
}

func reluGrad(dst, grad, y []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.ReLUGradAVX512(dst, grad, y)
	case isa.Active >= isa.AVX2:
		asm.ReLUGradAVX2(dst, grad, y)
	default:
		reluGradGeneric(dst, grad, y)
	}
}

func gelu(dst, src []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.GELUAVX512(dst, src)
	case isa.Active >= isa.AVX2:
		asm.GELUAVX2(dst, src)
	default:
		geluGeneric(dst, src)
	}
}

func geluGrad(dst, grad, x []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.GELUGradAVX512(dst, grad, x)
	case isa.Active >= isa.AVX2:
		asm.GELUGradAVX2(dst, grad, x)
	default:
		geluGradGeneric(dst, grad, x)
	}
}

func lerpSquare(dst, src []float32, t float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.LerpSquareAVX512(dst, src, t)
	case isa.Active >= isa.AVX2:
		asm.LerpSquareAVX2(dst, src, t)
	default:
		lerpSquareGeneric(dst, src, t)
	}
}

func addSquare(dst, src []float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.AddSquareAVX512(dst, src)
	case isa.Active >= isa.AVX2:
		asm.AddSquareAVX2(dst, src)
	default:
		addSquareGeneric(dst, src)
	}
}

func adamStep(w, m, v []float32, keep, rate, correction, epsilon float32) {
	switch {
	case isa.Active >= isa.AVX512:
		asm.AdamStepAVX512(w, m, v, keep, rate, correction, epsilon)
	case isa.Active >= isa.AVX2:
		asm.AdamStepAVX2(w, m, v, keep, rate, correction, epsilon)
	default:
		adamStepGeneric(w, m, v, keep, rate, correction, epsilon)
	}
}
