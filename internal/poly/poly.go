// Package poly holds the numbers of the kernels of all architectures and of the portable
// versions: polynomials, and bounds of their arguments.
//
// Polynomials are fitted for the least greatest relative error by Remez's algorithm,
// coefficient by coefficient from the constant term up: each is rounded to float32
// before the others are fitted again. Coefficients stand with the constant term
// first; u is 2⁻²⁴.
package poly

var (
	// Exp2 is 2^r on [0, 1), within 0.04·u.
	Exp2 = [...]float32{1, 0x1.62e42cp-1, 0x1.ebfd3ap-3, 0x1.c68af6p-5, 0x1.3cfd82p-7, 0x1.473738p-10, 0x1.c4458p-13}
	// Exp is e^r on [−½·log 2, ½·log 2], within 0.06·u.
	Exp = [...]float32{1, 1, 0x1.fffffcp-2, 0x1.55548cp-3, 0x1.555858p-5, 0x1.123dep-7, 0x1.6ac74ep-10}
	// Log1p is log(1+x)/x on [0, 1], within 0.09·u.
	Log1p = [...]float32{1, -0x1.ffffd2p-2, 0x1.554dd0p-2, -0x1.ff23e6p-3, 0x1.934b54p-3, -0x1.3a435ep-3, 0x1.b4ae08p-4, -0x1.d6b08cp-5, 0x1.4917cep-6, -0x1.af49cep-9}
)

// Log2High and Log2Low add up to log 2 within 2⁻⁴⁴. The first has few enough
// digits that its product with an integer of up to 8 bits is exact.
const (
	Log2High = 0x1.62e4p-1
	Log2Low  = 0x1.7f7d1cp-20
)

// MinExponent bounds exponents from below: 2^MinExponent rounds to 0 in float32, and
// 0·MinExponent is 0 where 0·-Inf would be NaN.
const MinExponent = -200

// MinScaled bounds scaled similarities from below, for the same reason. It is so far
// below a bias, of at most 2^100, that their sum is too.
const MinScaled = -0x1p110

// GELU(x) is x/(1 + e^−a), a = GELULinear·x + GELUCubic·x³ = √(8/π)·(x + 0.044715·x³). Beyond
// ±GELURange, where a is ±142, the quotient is x or 0.
const (
	GELULinear = 1.5957691216057308
	GELUCubic  = 0.044715 * GELULinear
	GELURange  = 12
)

// Exp64 is e^r on [−½·log 2, ½·log 2] by the power series, and TwiceAtanh64 that of (2·atanh
// s − 2s)/s³ in s²: for s of at most 1/3, and with TwiceAtanhTerms of the terms for those of
// at most 0.172. What is left off is less than 2⁻⁵⁶ of e^r and of 2·atanh s.
var (
	Exp64        = [...]float64{1, 1, 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800}
	TwiceAtanh64 = [...]float64{2. / 3, 2. / 5, 2. / 7, 2. / 9, 2. / 11, 2. / 13, 2. / 15, 2. / 17, 2. / 19, 2. / 21, 2. / 23, 2. / 25, 2. / 27, 2. / 29, 2. / 31, 2. / 33}
)

const TwiceAtanhTerms = 10

// Log2High64 and Log2Low64 add up to log 2 within 2⁻⁸⁶. The product of the first with an
// integer of up to 20 bits is exact.
const (
	Log2High64 = 0x1.62e42feep-1
	Log2Low64  = 0x1.a39ef35793c76p-33
)
