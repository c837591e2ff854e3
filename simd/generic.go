package simd

import (
	"math"
	"unsafe"

	"github.com/contrastive-go/contrastive/internal/exp"
	"github.com/contrastive-go/contrastive/internal/poly"
)

// The generic kernels give the same bits on every architecture. The language lets
// the compiler fuse x*y + z, and on arm64 it does; converting the product to its
// own type forbids that.

func dotGeneric(x, y []float32) float32 {
	y = y[:len(x)] // eliminates bounds checks below
	var s [16]float32
	for len(x) >= 16 {
		for j := range s {
			s[j] += float32(x[j] * y[j])
		}
		x, y = x[16:], y[16:]
	}
	for n := 8; n > 0; n /= 2 {
		for j := range n {
			s[j] += s[j+n]
		}
	}
	for i, v := range x {
		s[0] += float32(v * y[i])
	}
	return s[0]
}

func axpyGeneric(a float32, x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		p := float32(a * v)
		if p-p != 0 { // which is no reason for the sum to overflow
			y[i] = float32(float64(y[i]) + float64(float64(a)*float64(v)))
			continue
		}
		y[i] += p
	}
}

func axpyRowsGeneric(a0, a1, a2, a3 float32, x0, x1, x2, x3 *float32, y []float32) {
	axpyGeneric(a0, unsafe.Slice(x0, len(y)), y)
	axpyGeneric(a1, unsafe.Slice(x1, len(y)), y)
	axpyGeneric(a2, unsafe.Slice(x2, len(y)), y)
	axpyGeneric(a3, unsafe.Slice(x3, len(y)), y)
}

func lerpGeneric(dst, src []float32, t float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		p := float32(t * (v - dst[i]))
		if p-p != 0 { // as in axpyGeneric
			d := float64(dst[i])
			dst[i] = float32(d + float64(float64(t)*(float64(v)-d)))
			continue
		}
		dst[i] += p
	}
}

func reluGeneric(dst, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = max(v, 0)
	}
}

func reluGradGeneric(dst, grad, y []float32) {
	dst, grad = dst[:len(y)], grad[:len(y)]
	for i, v := range y {
		g := grad[i]
		if !(v > 0) {
			g = 0
		}
		dst[i] = g
	}
}

// geluParts returns x within ±poly.GELURange, and 1 + e^−a.
func geluParts(x float32) (t, onePlusExp float32) {
	t = max(-poly.GELURange, min(x, poly.GELURange))
	square := float32(t * t)
	z := t * (-poly.GELULinear + float32(-poly.GELUCubic*square))
	return t, 1 + exp.Exp(z)
}

func geluGeneric(dst, src []float32) {
	dst = dst[:len(src)]
	for i, x := range src {
		_, d := geluParts(x)
		dst[i] = x / d
	}
}

func geluGradGeneric(dst, grad, x []float32) {
	dst, grad = dst[:len(x)], grad[:len(x)]
	for i, x := range x {
		t, d := geluParts(x)
		sigma := 1 / d
		slope := poly.GELULinear + float32(3*poly.GELUCubic*float32(t*t))
		dst[i] = grad[i] * (sigma + float32(float32(float32(t*sigma)*(1-sigma))*slope))
	}
}

func lerpSquareGeneric(dst, src []float32, t float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += float32(t * (float32(v*v) - dst[i]))
	}
}

func addSquareGeneric(dst, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = min(dst[i]+float32(v*v), math.MaxFloat32)
	}
}

func adamStepGeneric(w, m, v []float32, keep, rate, correction, epsilon float32) {
	m, v = m[:len(w)], v[:len(w)]
	for i, x := range w {
		root := float32(math.Sqrt(float64(v[i])))
		w[i] = float32(keep*x) - float32(rate*(m[i]/(float32(correction*root)+epsilon)))
	}
}

func expSumGeneric(x []float32, scale, shift float32) float32 {
	var s [8]float32
	for i, v := range x {
		s[i%8] += exp.Exp(float32(scale*v) - shift)
	}
	return sum8(&s)
}

func expSumStoreGeneric(dst, x []float32, scale, shift float32) float32 {
	dst = dst[:len(x)]
	var s [8]float32
	for i, v := range x {
		e := exp.Exp(float32(scale*v) - shift)
		dst[i] = e
		s[i%8] += e
	}
	return sum8(&s)
}

func sum8(s *[8]float32) float32 {
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

// extremesGeneric returns the least and the greatest element. NaN may be lost.
func extremesGeneric(x []float32) (least, greatest float32) {
	least, greatest = float32(math.Inf(1)), float32(math.Inf(-1))
	for _, v := range x {
		if v < least {
			least = v
		}
		if v > greatest {
			greatest = v
		}
	}
	return least, greatest
}
