package amd64

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/contrastive-go/contrastive/internal/gen/poly"
)

// Horner returns the polynomial of x with coefficients c, constant term first.
func (k Kernel) Horner(x reg.VecVirtual, c []float32) reg.VecVirtual {
	p := k.Vec()
	k.VMOVUPS(k.Const(c[len(c)-1]), p)
	for i := len(c) - 2; i >= 0; i-- {
		k.VFMADD213PS(k.Const(c[i]), x, p)
	}
	return p
}

const (
	floor   = 1 | 8 // rounding modes, without exceptions
	nearest = 0 | 8
)

// minExponent is the least argument of Exp2: below, 2^y rounds to 0 in float32,
// and 0·minExponent is 0, where 0·-Inf is NaN.
const minExponent = -200

// Exp2 returns 2^y for y from minExponent up to 128. The relative error is at
// most 2·u, u = 2⁻²⁴, while the result is normal: u for the last step of the
// polynomial, whose result is in [1, 2), less for the steps before, which are
// multiplied by r·0.7, and 0.04·u for the polynomial itself. Lesser results are
// 0 on AVX2 and subnormal on AVX-512.
func (k Kernel) Exp2(y reg.VecVirtual) reg.VecVirtual {
	r := k.Vec()
	if k.lanes == 16 {
		k.VREDUCEPS(operand.Imm(floor), y, r) // y − ⌊y⌋
		p := k.Horner(r, poly.Exp2)
		k.VSCALEFPS(y, p, p) // p·2^⌊y⌋
		return p
	}
	n, normal := k.Vec(), k.Vec()
	k.VROUNDPS(operand.Imm(floor), y, n)
	k.VSUBPS(n, y, r)
	p := k.Horner(r, poly.Exp2)
	k.VCMPPS(operand.Imm(greaterOrEqual), k.Const(-126), n, normal)
	k.VCVTPS2DQ(n, n)
	k.VPSLLD(operand.Imm(23), n, n)
	k.VPADDD(n, p, p)
	k.VANDPS(normal, p, p)
	return p
}

const greaterOrEqual = 13

// Exp returns e^z. The relative error is at most 2·u, u = 2⁻²⁴, of a normal
// result and 1 unit in the last place of a subnormal one, besides. NaN stays.
//
// With n the integer nearest to z/log 2, the remainder z − n·log 2 is within
// 2⁻²⁵ of exact, since n·poly.Log2High is; e^r is at most √2, so that the last step
// of the polynomial, and all before, round by less than 1.3·u.
func (k Kernel) Exp(z reg.VecVirtual) reg.VecVirtual {
	// Beyond these the result rounds to 0 or to infinity. If z is NaN, both
	// return it, their first operand.
	x, n := k.Vec(), k.Vec()
	k.VMOVUPS(k.Const(-105), x)
	k.VMAXPS(z, x, z)
	k.VMOVUPS(k.Const(90), x)
	k.VMINPS(z, x, z)
	k.VMULPS(k.Const(math.Log2E), z, n)
	if k.lanes == 16 {
		k.VRNDSCALEPS(operand.Imm(nearest), n, n)
	} else {
		k.VROUNDPS(operand.Imm(nearest), n, n)
	}
	k.VFNMADD231PS(k.Const(poly.Log2High), n, z)
	k.VFNMADD231PS(k.Const(poly.Log2Low), n, z)
	p := k.Horner(z, poly.Exp)
	if k.lanes == 16 {
		k.VSCALEFPS(n, p, p)
		return p
	}
	// 2^n in two factors, for each of which there is a normal number.
	half := k.Vec()
	k.VCVTPS2DQ(n, n)
	k.VPSRAD(operand.Imm(1), n, half)
	k.VPSUBD(half, n, n)
	for _, e := range []reg.VecVirtual{half, n} {
		k.VPSLLD(operand.Imm(23), e, e)
		k.VPADDD(k.Const(1), e, e)
		k.VMULPS(e, p, p)
	}
	return p
}
