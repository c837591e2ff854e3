// Package wide holds the portable kernels on float32 values that compute in float64.
// They give the same bits on every architecture: products are converted to their own
// type so that no compiler fuses them.
package wide

import "math"

// Dot returns Σ x[i]·y[i]. It requires len(y) >= len(x).
func Dot(x, y []float32) float64 {
	y = y[:len(x)]
	var s0, s1, s2, s3 float64
	for len(x) >= 4 {
		s0 += float64(float64(x[0]) * float64(y[0]))
		s1 += float64(float64(x[1]) * float64(y[1]))
		s2 += float64(float64(x[2]) * float64(y[2]))
		s3 += float64(float64(x[3]) * float64(y[3]))
		x, y = x[4:], y[4:]
	}
	for i, v := range x {
		s0 += float64(float64(v) * float64(y[i]))
	}
	return (s0 + s2) + (s1 + s3)
}

// ScaleTo sets dst[i] = f·src[i]. It requires len(dst) >= len(src).
func ScaleTo(dst, src []float32, f float64) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = float32(float64(v) * f)
	}
}

// Project sets dst[i] = (g[i] − along·x[i])·f, saturated. It requires dst and g to be as
// long as x.
func Project(dst, g, x []float32, along, f float64) {
	dst, g = dst[:len(x)], g[:len(x)]
	for i, v := range x {
		y := (float64(g[i]) - float64(along*float64(v))) * f
		dst[i] = float32(max(-math.MaxFloat32, min(y, math.MaxFloat32)))
	}
}
