package poly

import (
	"math"
	"testing"
)

// TestPolynomials recomputes the relative errors that the tables state, in
// float64, on a grid that is fine against the distance of a polynomial's extrema.
func TestPolynomials(t *testing.T) {
	const u = 0x1p-24
	for _, c := range []struct {
		name     string
		poly     []float32
		f        func(x float64) float64
		from, to float64
		bound    float64
	}{
		{"Exp2", Exp2[:], math.Exp2, 0, 1, 0.04 * u},
		{"Exp", Exp[:], math.Exp, -math.Ln2 / 2, math.Ln2 / 2, 0.06 * u},
		{"Log1p", Log1p[:], func(x float64) float64 {
			if x == 0 {
				return 1
			}
			return math.Log1p(x) / x
		}, 0, 1, 0.09 * u},
	} {
		const steps = 1 << 14
		worst := 0.0
		for i := range steps + 1 {
			x := c.from + (c.to-c.from)*float64(i)/steps
			p := 0.0
			for k := len(c.poly) - 1; k >= 0; k-- {
				p = p*x + float64(c.poly[k])
			}
			worst = max(worst, math.Abs(p/c.f(x)-1))
		}
		if worst > c.bound || worst < c.bound/2 {
			t.Errorf("%s is within %.4f·u, stated is %.4f·u", c.name, worst/u, c.bound/u)
		}
	}
}

// TestLog2Parts checks the two parts of log 2, and that the first is exact when
// multiplied by any exponent.
func TestLog2Parts(t *testing.T) {
	// The float64 nearest to log 2 is within 2⁻⁵⁵ of it.
	if err := math.Abs(Log2High + Log2Low - math.Ln2); err > 0x1p-44-0x1p-55 {
		t.Errorf("Log2High + Log2Low is off by %g", err)
	}
	for n := range 256 {
		if p := float64(n) * Log2High; float64(float32(p)) != p {
			t.Errorf("%d·Log2High is inexact", n)
		}
	}
}
