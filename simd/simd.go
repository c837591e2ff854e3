package simd

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/race"
)

// Level returns the level in use: "generic", "neon", "avx2", "avx512", "avx512bf16"
// or "amx".
func Level() string { return isa.Active.String() }

// Levels returns the levels that this processor can run, slowest first. The last of them
// is the default, but for "amx", whose speed is not known: the one before it is.
func Levels() []string {
	var names []string
	for _, l := range isa.Available() {
		names = append(names, l.String())
	}
	return names
}

// SetLevel makes the named level the one in use. It is for tests and
// comparisons: it must not run concurrently with anything that uses this package.
// It returns an error if the level is unknown, the processor lacks it or the operating
// system does not permit it; the level stays what it was.
func SetLevel(name string) error {
	if err := isa.Set(name); err != nil {
		return fmt.Errorf("simd: SetLevel: %w", err)
	}
	return nil
}

// block is the number of elements that one call of a kernel takes: the garbage
// collector cannot stop a goroutine in assembly, and these take some 20 µs.
const block = 1 << 16

// expBlock is the number of exponentials that are added in float32. Longer sums
// are float64: their error would exceed all others of LogSumExp.
const expBlock = 1 << 10

// Dot returns Σ x[i]·y[i], which is 0 for empty slices. Where Σ |x[i]·y[i]| exceeds
// the greatest float32 it may be infinite or NaN; use [DotFloat64] there. It panics if
// the lengths differ.
func Dot(x, y []float32) float32 {
	if len(x) != len(y) {
		panic("simd: Dot: slice lengths differ")
	}
	race.Read(x)
	race.Read(y)
	if len(x) <= block {
		return dot(x, y)
	}
	sum := 0.0
	for len(x) > block {
		sum += float64(dot(x[:block], y[:block]))
		x, y = x[block:], y[block:]
	}
	return float32(sum + float64(dot(x, y)))
}

// DotFloat64 returns Σ x[i]·y[i], computed in float64, where the products are
// exact and neither overflow nor underflow. It panics if the lengths differ.
func DotFloat64(x, y []float32) float64 {
	if len(x) != len(y) {
		panic("simd: DotFloat64: slice lengths differ")
	}
	race.Read(x)
	race.Read(y)
	sum := 0.0
	for len(x) > block {
		sum += dotFloat64(x[:block], y[:block])
		x, y = x[block:], y[block:]
	}
	return sum + dotFloat64(x, y)
}

// Norm returns the Euclidean norm of x, 0 if it is empty. It is +Inf if an
// element is infinite, or if the norm exceeds the greatest float32.
func Norm(x []float32) float32 { return float32(math.Sqrt(DotFloat64(x, x))) }

// Cosine returns the cosine of the angle between x and y, and 0 if one of them is
// zero. It panics if the lengths differ.
func Cosine(x, y []float32) float32 {
	if len(x) != len(y) {
		panic("simd: Cosine: slice lengths differ")
	}
	xx, yy := DotFloat64(x, x), DotFloat64(y, y)
	if xx == 0 || yy == 0 {
		return float32(0 * (xx + yy)) // NaN if the other one has a NaN
	}
	return float32(DotFloat64(x, y) / math.Sqrt(xx) / math.Sqrt(yy))
}

// Normalize sets dst to src divided by its norm, and returns the norm. If src is
// zero, so is dst. It panics if the lengths differ.
func Normalize(dst, src []float32) float32 {
	if len(dst) != len(src) {
		panic("simd: Normalize: slice lengths differ")
	}
	norm := math.Sqrt(DotFloat64(src, src))
	inverse := 0.0
	if norm != 0 {
		inverse = 1 / norm
	}
	ScaleTo(dst, src, inverse)
	return float32(norm)
}

// Axpy sets y[i] += a·x[i]. It panics if the lengths differ.
func Axpy(a float32, x, y []float32) {
	if len(x) != len(y) {
		panic("simd: Axpy: slice lengths differ")
	}
	race.Read(x)
	race.Write(y)
	for len(x) > block {
		axpy(a, x[:block], y[:block])
		x, y = x[block:], y[block:]
	}
	axpy(a, x, y)
}

// AxpyRows sets y[j] += Σ a[i]·x[i·stride + j]: it adds the rows of a matrix, each times a
// number, as a vector times the matrix does. Where a sum of absolute values exceeds the
// greatest float32 it may be infinite or NaN. It panics if stride is less than len(y) or x
// too short.
func AxpyRows(a, x []float32, stride int, y []float32) {
	switch {
	case stride < len(y):
		panic("simd: AxpyRows: stride is less than the length of y")
	case len(a) == 0 || len(y) == 0:
		return
	case len(x) < len(y) || (len(x)-len(y))/stride < len(a)-1:
		panic("simd: AxpyRows: x is too short")
	}
	race.Read(a)
	for ; len(a) >= 4; a, x = a[4:], x[min(4*stride, len(x)):] {
		for lo := 0; lo < len(y); lo += block / 4 {
			hi := min(lo+block/4, len(y))
			for i := range 4 {
				race.Read(x[i*stride:][lo:hi])
			}
			race.Write(y[lo:hi])
			axpyRows(a[0], a[1], a[2], a[3], &x[lo], &x[stride+lo], &x[2*stride+lo], &x[3*stride+lo], y[lo:hi])
		}
	}
	for i, f := range a {
		Axpy(f, x[i*stride:][:len(y)], y)
	}
}

// Lerp sets dst[i] += t·(src[i] − dst[i]): it moves dst to src by the share t. The
// difference may exceed the greatest float32. It panics if the lengths differ.
func Lerp(dst, src []float32, t float32) {
	if len(dst) != len(src) {
		panic("simd: Lerp: slice lengths differ")
	}
	race.Read(src)
	race.Write(dst)
	if t > math.MaxFloat32/2 || t < -math.MaxFloat32/2 { // the kernels double t
		lerpGeneric(dst, src, t)
		return
	}
	for len(src) > block {
		lerp(dst[:block], src[:block], t)
		dst, src = dst[block:], src[block:]
	}
	lerp(dst, src, t)
}

// ReLU sets dst[i] = max(src[i], 0), and NaN where src[i] is. It panics if the lengths
// differ.
func ReLU(dst, src []float32) {
	if len(dst) != len(src) {
		panic("simd: ReLU: slice lengths differ")
	}
	race.Read(src)
	race.Write(dst)
	for len(src) > block {
		relu(dst[:block], src[:block])
		dst, src = dst[block:], src[block:]
	}
	relu(dst, src)
}

// ReLUGrad sets dst[i] = grad[i] where y[i] > 0, and 0 where it is not: the gradient of
// the input of [ReLU], whose output is y. Where y[i] is NaN it is one or the other. It
// panics if the lengths differ.
func ReLUGrad(dst, grad, y []float32) {
	if len(dst) != len(y) || len(grad) != len(y) {
		panic("simd: ReLUGrad: slice lengths differ")
	}
	race.Read(grad)
	race.Read(y)
	race.Write(dst)
	for len(y) > block {
		reluGrad(dst[:block], grad[:block], y[:block])
		dst, grad, y = dst[block:], grad[block:], y[block:]
	}
	reluGrad(dst, grad, y)
}

// GELU sets dst[i] = x/(1 + e^−a), a = √(8/π)·(x + 0.044715·x³), for x = src[i]: the Gaussian
// error linear unit of Hendrycks and Gimpel (2016) in its form with a hyperbolic tangent,
// since (1 + tanh(a/2))/2 is 1/(1 + e^−a). It panics if the lengths differ.
func GELU(dst, src []float32) {
	if len(dst) != len(src) {
		panic("simd: GELU: slice lengths differ")
	}
	race.Read(src)
	race.Write(dst)
	for len(src) > block {
		gelu(dst[:block], src[:block])
		dst, src = dst[block:], src[block:]
	}
	gelu(dst, src)
}

// GELUGrad sets dst[i] = grad[i]·GELU′(x[i]): the gradient of the input x of [GELU]. It
// panics if the lengths differ.
func GELUGrad(dst, grad, x []float32) {
	if len(dst) != len(x) || len(grad) != len(x) {
		panic("simd: GELUGrad: slice lengths differ")
	}
	race.Read(grad)
	race.Read(x)
	race.Write(dst)
	for len(x) > block {
		geluGrad(dst[:block], grad[:block], x[:block])
		dst, grad, x = dst[block:], grad[block:], x[block:]
	}
	geluGrad(dst, grad, x)
}

// LerpSquare sets dst[i] += t·(src[i]² − dst[i]): the running average of squares of
// RMSProp and Adam. It panics if the lengths differ.
func LerpSquare(dst, src []float32, t float32) {
	if len(dst) != len(src) {
		panic("simd: LerpSquare: slice lengths differ")
	}
	race.Read(src)
	race.Write(dst)
	for len(src) > block {
		lerpSquare(dst[:block], src[:block], t)
		dst, src = dst[block:], src[block:]
	}
	lerpSquare(dst, src, t)
}

// AddSquare sets dst[i] += src[i]²: the sum of squares of Adagrad. What is too large for
// float32 becomes MaxFloat32. It panics if the lengths differ.
func AddSquare(dst, src []float32) {
	if len(dst) != len(src) {
		panic("simd: AddSquare: slice lengths differ")
	}
	race.Read(src)
	race.Write(dst)
	for len(src) > block {
		addSquare(dst[:block], src[:block])
		dst, src = dst[block:], src[block:]
	}
	addSquare(dst, src)
}

// AdamStep sets w[i] = keep·w[i] − rate·m[i]/(correction·√v[i] + epsilon): the step of
// Adam, with m and v the averages of gradients and of their squares. It panics if the
// lengths differ.
func AdamStep(w, m, v []float32, keep, rate, correction, epsilon float32) {
	if len(m) != len(w) || len(v) != len(w) {
		panic("simd: AdamStep: slice lengths differ")
	}
	race.Read(m)
	race.Read(v)
	race.Write(w)
	for len(w) > block {
		adamStep(w[:block], m[:block], v[:block], keep, rate, correction, epsilon)
		w, m, v = w[block:], m[block:], v[block:]
	}
	adamStep(w, m, v, keep, rate, correction, epsilon)
}

// ExpSum sets dst[i] = exp(scale·x[i] − shift), unless dst is nil, and returns
// the sum of these, 0 if x is empty. It panics if dst is not nil and the lengths
// differ.
func ExpSum(dst, x []float32, scale, shift float32) float32 {
	if dst != nil && len(dst) != len(x) {
		panic("simd: ExpSum: slice lengths differ")
	}
	race.Read(x)
	race.Write(dst)
	sum := 0.0
	for {
		n := min(len(x), expBlock)
		if dst == nil {
			sum += float64(expSum(x[:n], scale, shift))
		} else {
			sum += float64(expSumStore(dst[:n], x[:n], scale, shift))
			dst = dst[n:]
		}
		if x = x[n:]; len(x) == 0 {
			return float32(sum)
		}
	}
}

// LogSumExp returns log Σ exp(scale·x[i]), -Inf if x is empty. No exponential
// overflows: the result is infinite only if some scale·x[i] is.
func LogSumExp(x []float32, scale float32) float32 {
	race.Read(x)
	least, greatest := float32(math.Inf(1)), float32(math.Inf(-1))
	for rest := x; len(rest) > 0; {
		n := min(len(rest), block)
		l, g := extremes(rest[:n])
		least, greatest = min(least, l), max(greatest, g)
		rest = rest[n:]
	}
	if len(x) == 0 {
		return float32(math.Inf(-1))
	}
	top := greatest
	if scale < 0 {
		top = least
	}
	shift := float32(scale * top)
	if math.IsInf(float64(shift), 0) || shift != shift {
		// The sum is infinite, zero or NaN whatever is subtracted, but the
		// difference of infinities would be NaN.
		return float32(math.Log(float64(ExpSum(nil, x, scale, 0))))
	}
	return float32(float64(shift) + math.Log(float64(ExpSum(nil, x, scale, shift))))
}

// ScaleTo sets dst[i] = f·src[i], computed in float64 and rounded once. It panics if
// the lengths differ.
func ScaleTo(dst, src []float32, f float64) {
	if len(dst) != len(src) {
		panic("simd: ScaleTo: slice lengths differ")
	}
	race.Read(src)
	race.Write(dst)
	for len(src) > block {
		scaleTo(dst[:block], src[:block], f)
		dst, src = dst[block:], src[block:]
	}
	scaleTo(dst, src, f)
}

// Project sets dst[i] = (g[i] − along·x[i])·f, computed in float64, where
// along·x[i] must be finite, and rounded once. What is too large for float32 becomes
// ±MaxFloat32. It panics if the lengths differ.
//
// That is the way back through [Normalize]: if g is the gradient with respect to the
// normalised x, of which n is the norm, that with respect to x has along = g·x/n² and
// f = 1/n.
func Project(dst, g, x []float32, along, f float64) {
	if len(dst) != len(x) || len(g) != len(x) {
		panic("simd: Project: slice lengths differ")
	}
	race.Read(g)
	race.Read(x)
	race.Write(dst)
	for len(x) > block {
		project(dst[:block], g[:block], x[:block], along, f)
		dst, g, x = dst[block:], g[block:], x[block:]
	}
	project(dst, g, x, along, f)
}
