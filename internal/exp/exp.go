// Package exp holds the portable exponentials of float32 values. They give the same
// bits on every architecture: products are converted to their own type so that no
// compiler fuses them.
package exp

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/poly"
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
	c := &poly.Exp2
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
	r := z - float32(float32(n)*poly.Log2High)
	r -= float32(float32(n) * poly.Log2Low)
	c := &poly.Exp
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
