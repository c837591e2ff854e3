package vec

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/poly"
)

// Functions writes the kernels of functions of float64 values, in place and by whole
// vectors. Errors are in units of u = 2⁻⁵³.
func Functions(a Asm) {
	function(a, "Exp64", "replaces each x, from −708 up to 709, by e^x, within 4·u.", exp64)
	function(a, "Log64", "replaces each x, which is positive and normal, by log x, within 6·u.", log64)
	function(a, "Log1p64", "replaces each x, from 0 up to 1, by log(1 + x), within 5·u.", log1p64)
}

func function(a Asm, name, doc string, f func(a Asm, x Vector) Vector) {
	a.Begin(name, "func(x *float64, vectors int)", doc)
	a = a.Float64()
	p, n := a.Pointer("x"), a.Int("vectors")
	a.EachRow(Rows{N: n, Vectors: []Pointer{p}}, func() {
		x := a.Vec()
		a.Move(p, x)
		a.Store(f(a, x), p)
	})
	a.End()
}

// toInteger plus a number below 2^51 has that, rounded to an integer, in its lower bits.
const toInteger = 0x1.8p52

// exp64 returns e^x. The remainder is within u·½·log 2, since n·poly.Log2High64 is exact, and
// the polynomial rounds last in [√½, √2] and before that errors which r multiplies: 2.3·u.
func exp64(a Asm, x Vector) Vector {
	a.Comment("e^x = e^r·2^n, n = x/log 2 rounded, r = x − n·log 2")
	t, n := a.Vec(), a.Vec()
	a.Move(a.Const64(toInteger), t)
	a.FMA(a.Const64(math.Log2E), x, t)
	a.Sub(a.Const64(toInteger), t, n)
	a.FNMA(a.Const64(poly.Log2High64), n, x)
	a.FNMA(a.Const64(poly.Log2Low64), n, x)
	a.Comment("e^r = 1 + r + r²/2! + r³/3! + …")
	p := horner64(a, x, poly.Exp64[:])
	a.AddExponent(t, p)
	return p
}

// log64 returns log x = n·log 2 + log m. That of m is within 3.2·u, of a magnitude of at most
// that of the result, and two roundings follow.
func log64(a Asm, x Vector) Vector {
	a.Comment("x = m·2^n, log x = n·log 2 + log m, log m = 2·atanh((m−1)/(m+1))")
	n, m := a.Split(x)
	one, up, down := a.Vec(), a.Vec(), a.Vec()
	a.Move(a.Const64(1), one)
	a.Add(one, m, up)
	a.Sub(one, m, down)
	a.Div(up, down, down)
	log := twiceAtanh(a, down, poly.TwiceAtanh64[:poly.TwiceAtanhTerms])
	a.FMA(a.Const64(poly.Log2Low64), n, log)
	a.FMA(a.Const64(poly.Log2High64), n, log)
	return log
}

// log1p64 returns log(1 + x). The argument of atanh has two roundings, its result one for
// the last step and less than one for those before.
func log1p64(a Asm, x Vector) Vector {
	a.Comment("log(1 + x) = 2·atanh(x/(2 + x))")
	d := a.Vec()
	a.Add(a.Const64(2), x, d)
	a.Div(d, x, x)
	return twiceAtanh(a, x, poly.TwiceAtanh64[:])
}

// twiceAtanh returns 2·atanh s, given terms of its series after the first.
func twiceAtanh(a Asm, s Vector, c []float64) Vector {
	a.Comment("2·atanh s = 2s + s³·(2/3 + 2/5·s² + …)")
	square, cube, twice := a.Vec(), a.Vec(), a.Vec()
	a.Mul(s, s, square)
	a.Mul(s, square, cube)
	a.Add(s, s, twice)
	a.FMA(horner64(a, square, c), cube, twice)
	return twice
}

// horner64 returns the polynomial of x with coefficients c, constant term first.
func horner64(a Asm, x Vector, c []float64) Vector {
	p := a.Vec()
	a.Move(a.Const64(c[len(c)-1]), p)
	for i := len(c) - 2; i >= 0; i-- {
		next := a.Vec()
		a.Move(a.Const64(c[i]), next)
		a.FMA(p, x, next)
		p = next
	}
	return p
}
