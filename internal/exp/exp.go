// Package exp holds the portable exponentials of float32 values. They give the same
// bits on every architecture: products are converted to their own type so that no
// compiler fuses them.
package exp

import "math"

// The polynomials are those of the assembly. They are fitted for the least
// greatest relative error by Remez's algorithm, coefficient by coefficient from
// the constant term up: each is rounded to float32 before the others are fitted
// again.
var (
	// exp2Poly is 2^r on [0, 1), within 0.04·u, u = 2⁻²⁴.
	exp2Poly = [...]float32{1, 0x1.62e42cp-1, 0x1.ebfd3ap-3, 0x1.c68af6p-5, 0x1.3cfd82p-7, 0x1.473738p-10, 0x1.c4458p-13}
	// expPoly is e^r on [−½·log 2, ½·log 2], within 0.06·u.
	expPoly = [...]float32{1, 1, 0x1.fffffcp-2, 0x1.55548cp-3, 0x1.555858p-5, 0x1.123dep-7, 0x1.6ac74ep-10}
)

// log2High and log2Low add up to log 2 within 2⁻⁴⁴. The first has few enough
// digits that its product with an integer of up to 8 bits is exact.
const (
	log2High = 0x1.62e4p-1
	log2Low  = 0x1.7f7d1cp-20
)

// Exp2 returns 2^y, with a relative error of at most 4·u, u = 2⁻²⁴, while
// the result is normal: each step of the polynomial, whose result is in [1, 2),
// rounds a product and a sum, and those before the last are multiplied by less
// than 0.7. Results round to 0 below 2^-150 and are +Inf from 2^128 up.
func Exp2(y float32) float32 {
	switch {
	case y <= -150:
		return 0
	case y >= 128:
		return float32(math.Inf(1))
	case y != y:
		return y
	}
	n := int32(y)
	if float32(n) > y {
		n--
	}
	r := y - float32(n)
	c := &exp2Poly
	p := float32(c[6]*r) + c[5]
	p = float32(p*r) + c[4]
	p = float32(p*r) + c[3]
	p = float32(p*r) + c[2]
	p = float32(p*r) + c[1]
	p = float32(p*r) + c[0]
	return scaleByPower(p, n)
}

// Exp returns e^z, with a relative error of at most 4·u while the result is
// normal. The remainder of z after n·log 2 is within 2⁻²⁵ of exact.
func Exp(z float32) float32 {
	switch {
	case z <= -104:
		return 0
	case z >= 90:
		return float32(math.Inf(1))
	case z != z:
		return z
	}
	t := float32(z * math.Log2E)
	n := int32(t + 0.5)
	if float32(n) > t+0.5 {
		n--
	}
	r := z - float32(float32(n)*log2High)
	r -= float32(float32(n) * log2Low)
	c := &expPoly
	p := float32(c[6]*r) + c[5]
	p = float32(p*r) + c[4]
	p = float32(p*r) + c[3]
	p = float32(p*r) + c[2]
	p = float32(p*r) + c[1]
	p = float32(p*r) + c[0]
	return scaleByPower(p, n)
}

// scaleByPower returns p·2^n for n from -252 up to 254, in two factors for each
// of which there is a normal number.
func scaleByPower(p float32, n int32) float32 {
	half := n >> 1
	return p * math.Float32frombits(uint32(half+127)<<23) * math.Float32frombits(uint32(n-half+127)<<23)
}
