package arm64

import (
	"math"
	"slices"

	"github.com/contrastive-go/contrastive/internal/gen/poly"
)

// An exponential is the constants of Exp, in registers.
type exponential struct {
	least, greatest, log2e, log2High, log2Low, half, one V

	poly []V
}

// Exponential loads the constants of Exp.
func (a *Func) Exponential() exponential {
	e := exponential{
		least: a.Splat(-105), greatest: a.Splat(90),
		log2e: a.Splat(math.Log2E), log2High: a.Splat(poly.Log2High), log2Low: a.Splat(poly.Log2Low),
		half: a.Splat(0.5), poly: a.Coefficients(poly.Exp),
	}
	e.one = e.poly[0]
	return e
}

// Coefficients loads those of a polynomial, one register for each value.
func (a *Func) Coefficients(c []float32) []V {
	v := make([]V, len(c))
	for i := range c {
		if j := slices.Index(c, c[i]); j < i {
			v[i] = v[j]
		} else {
			v[i] = a.Splat(c[i])
		}
	}
	return v
}

// Horner returns the polynomial of x with coefficients c, constant term first.
func (a *Func) Horner(x V, c []V) V {
	p, next := a.Vec(), a.Vec()
	last := len(c) - 1
	a.VMOV(c[last-1], p)
	a.VFMLA(c[last], x, p, s4)
	for i := last - 2; i >= 0; i-- {
		a.VMOV(c[i], next)
		a.VFMLA(p, x, next, s4)
		p, next = next, p
	}
	return p
}

// Exp returns e^z, in the steps of its namesake for amd64 and with its bound: the
// relative error is at most 2·u, u = 2⁻²⁴, of a normal result and 1 unit in the
// last place of a subnormal one, besides. NaN stays. It clobbers z.
func (a *Func) Exp(c exponential, z V) V {
	// Beyond these the result rounds to 0 or to infinity.
	a.Word(fmax, c.least, z, z)
	a.Word(fmin, c.greatest, z, z)
	n, half := a.Vec(), a.Vec()
	a.Word(fmul, c.log2e, z, n)
	a.Unary(frintn, n, n)
	a.VFMLS(c.log2High, n, z, s4)
	a.VFMLS(c.log2Low, n, z, s4)

	p := a.Horner(z, c.poly)

	// 2^n in two factors, for each of which there is a normal number.
	a.Word(fmul, c.half, n, half)
	a.Unary(fcvtns, half, half)
	a.Unary(fcvtns, n, n)
	a.VSUB(half, n, n)
	for _, e := range []V{half, n} {
		a.VSHL(23, e, e)
		a.VADD(c.one, e, e)
		a.Word(fmul, e, p, p)
	}
	return p
}
