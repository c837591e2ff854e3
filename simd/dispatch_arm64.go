//go:build !purego

package simd

import (
	"github.com/contrastive-go/contrastive/asm"
	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/wide"
)

func dot(x, y []float32) float32 {
	if isa.Active == isa.NEON {
		return asm.DotNEON(x, y)
	}
	return dotGeneric(x, y)
}

func dotFloat64(x, y []float32) float64 {
	if isa.Active == isa.NEON {
		return asm.DotFloat64NEON(x, y)
	}
	return wide.Dot(x, y)
}

func axpy(a float32, x, y []float32) {
	if isa.Active == isa.NEON {
		asm.AxpyNEON(a, x, y)
		return
	}
	axpyGeneric(a, x, y)
}

func axpyRows(a0, a1, a2, a3 float32, x0, x1, x2, x3 *float32, y []float32) {
	if isa.Active == isa.NEON {
		asm.AxpyRowsNEON(a0, a1, a2, a3, x0, x1, x2, x3, y)
		return
	}
	axpyRowsGeneric(a0, a1, a2, a3, x0, x1, x2, x3, y)
}

func lerp(dst, src []float32, t float32) {
	if isa.Active == isa.NEON {
		asm.LerpNEON(dst, src, t)
		return
	}
	lerpGeneric(dst, src, t)
}

func expSum(x []float32, scale, shift float32) float32 {
	if isa.Active == isa.NEON {
		return asm.ExpSumNEON(x, scale, shift)
	}
	return expSumGeneric(x, scale, shift)
}

func expSumStore(dst, x []float32, scale, shift float32) float32 {
	if isa.Active == isa.NEON {
		return asm.ExpSumStoreNEON(dst, x, scale, shift)
	}
	return expSumStoreGeneric(dst, x, scale, shift)
}

func extremes(x []float32) (least, greatest float32) {
	if isa.Active == isa.NEON {
		return asm.ExtremesNEON(x)
	}
	return extremesGeneric(x)
}

func scaleTo(dst, src []float32, f float64) {
	if isa.Active == isa.NEON {
		asm.ScaleToNEON(dst, src, f)
		return
	}
	wide.ScaleTo(dst, src, f)
}

func project(dst, g, x []float32, along, f float64) {
	if isa.Active == isa.NEON {
		asm.ProjectNEON(dst, g, x, along, f)
		return
	}
	wide.Project(dst, g, x, along, f)
}

func relu(dst, src []float32) {
	if isa.Active == isa.NEON {
		asm.ReLUNEON(dst, src)
		return
	}
	reluGeneric(dst, src)
}

func reluGrad(dst, grad, y []float32) {
	if isa.Active == isa.NEON {
		asm.ReLUGradNEON(dst, grad, y)
		return
	}
	reluGradGeneric(dst, grad, y)
}

func gelu(dst, src []float32) {
	if isa.Active == isa.NEON {
		asm.GELUNEON(dst, src)
		return
	}
	geluGeneric(dst, src)
}

func geluGrad(dst, grad, x []float32) {
	if isa.Active == isa.NEON {
		asm.GELUGradNEON(dst, grad, x)
		return
	}
	geluGradGeneric(dst, grad, x)
}

func lerpSquare(dst, src []float32, t float32) {
	if isa.Active == isa.NEON {
		asm.LerpSquareNEON(dst, src, t)
		return
	}
	lerpSquareGeneric(dst, src, t)
}

func addSquare(dst, src []float32) {
	if isa.Active == isa.NEON {
		asm.AddSquareNEON(dst, src)
		return
	}
	addSquareGeneric(dst, src)
}

func adamStep(w, m, v []float32, keep, rate, correction, epsilon float32) {
	if isa.Active == isa.NEON {
		asm.AdamStepNEON(w, m, v, keep, rate, correction, epsilon)
		return
	}
	adamStepGeneric(w, m, v, keep, rate, correction, epsilon)
}
