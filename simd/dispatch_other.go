//go:build purego || !(amd64 || arm64)

package simd

import "github.com/contrastive-go/contrastive/internal/wide"

func dot(x, y []float32) float32 { return dotGeneric(x, y) }

func dotFloat64(x, y []float32) float64 { return wide.Dot(x, y) }

func axpy(a float32, x, y []float32) { axpyGeneric(a, x, y) }

func axpyRows(a0, a1, a2, a3 float32, x0, x1, x2, x3 *float32, y []float32) {
	axpyRowsGeneric(a0, a1, a2, a3, x0, x1, x2, x3, y)
}

func lerp(dst, src []float32, t float32) { lerpGeneric(dst, src, t) }

func expSum(x []float32, scale, shift float32) float32 { return expSumGeneric(x, scale, shift) }

func expSumStore(dst, x []float32, scale, shift float32) float32 {
	return expSumStoreGeneric(dst, x, scale, shift)
}

func extremes(x []float32) (least, greatest float32) { return extremesGeneric(x) }

func scaleTo(dst, src []float32, f float64) { wide.ScaleTo(dst, src, f) }

func project(dst, g, x []float32, along, f float64) { wide.Project(dst, g, x, along, f) }

func relu(dst, src []float32) { reluGeneric(dst, src) }

func reluGrad(dst, grad, y []float32) { reluGradGeneric(dst, grad, y) }

func gelu(dst, src []float32) { geluGeneric(dst, src) }

func geluGrad(dst, grad, x []float32) { geluGradGeneric(dst, grad, x) }

func lerpSquare(dst, src []float32, t float32) { lerpSquareGeneric(dst, src, t) }

func addSquare(dst, src []float32) { addSquareGeneric(dst, src) }

func adamStep(w, m, v []float32, keep, rate, correction, epsilon float32) {
	adamStepGeneric(w, m, v, keep, rate, correction, epsilon)
}
