package vec

import (
	"fmt"
	"math"
	"strings"

	"github.com/contrastive-go/contrastive/internal/poly"
)

// Exp2 returns 2^y for y from poly.MinExponent up to 128. The relative error is at most
// 2·u, u = 2⁻²⁴, while the result is normal: u for the last step of the polynomial,
// whose result is in [1, 2), less for the steps before, which are multiplied by r·0.7,
// and 0.04·u for the polynomial itself. Lesser results are 0, but for levels that round
// them to subnormal numbers.
func Exp2(a Asm, y Vector) Vector {
	a.Comment("2^x = 2^r·2^n, n = ⌊x⌋, r = x − n")
	n, r := a.Floor(y)
	polynomial(a, "2^r", "r", poly.Exp2[:])
	p := a.Horner(r, poly.Exp2[:])
	a.Comment("2^n, in the exponents")
	a.TimesPower(n, p)
	return p
}

// Exp returns e^z. The relative error is at most 2·u, u = 2⁻²⁴, of a normal result and 1
// unit in the last place of a subnormal one, besides. NaN stays. It clobbers z.
//
// With n the integer nearest to z/log 2, the remainder r = z − n·log 2 is within 2⁻²⁵ of
// exact, since n·poly.Log2High is; e^r is at most √2, so that the last step of the
// polynomial, and all before, round by less than 1.3·u.
func Exp(a Asm, z Vector) Vector {
	a.Comment("z = min(max(z, −105), 90): beyond, e^z is 0 or infinite")
	a.Max(z, a.Const(-105), z)
	a.Min(z, a.Const(90), z)
	a.Comment("e^z = e^r·2^n, n = z/log 2 rounded, r = z − n·log 2, which is %v and %v", poly.Log2High, poly.Log2Low)
	n := a.Vec()
	a.Mul(a.Const(math.Log2E), z, n)
	a.Round(n)
	a.FNMA(a.Const(poly.Log2High), n, z)
	a.FNMA(a.Const(poly.Log2Low), n, z)
	polynomial(a, "e^r", "r", poly.Exp[:])
	p := a.Horner(z, poly.Exp[:])
	a.Comment("2^n, in the exponents")
	a.TimesPowers(n, p)
	return p
}

// polynomial writes one down.
func polynomial(a Asm, what, x string, c []float32) {
	var b strings.Builder
	for _, v := range c[:len(c)-1] {
		fmt.Fprintf(&b, "%.7g + %s·(", v, x)
	}
	a.Comment("%s = %s%.7g%s", what, b.String(), c[len(c)-1], strings.Repeat(")", len(c)-1))
}
