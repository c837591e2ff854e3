package vec

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/poly"
)

// unroll is the number of independent accumulators, to cover the latency of an
// addition.
const unroll = 4

// Vectors writes the vector kernels.
func Vectors(a Asm) {
	dot(a)
	dotFloat64(a)
	axpy(a)
	axpyRows(a)
	lerp(a)
	expSum(a, "ExpSum", false)
	expSum(a, "ExpSumStore", true)
	extremes(a)
	scaleTo(a)
	project(a)
	relu(a)
	reluGrad(a)
	gelu(a)
	geluGrad(a)
	lerpSquare(a)
	addSquare(a)
	adamStep(a)
}

func dot(a Asm) {
	a.Begin("Dot", "func(x, y []float32) float32", "returns Σ x[i]·y[i]. It requires len(y) >= len(x).")
	x, y, n := a.Slice("x"), a.Slice("y"), a.Len("x")
	acc := a.Zeroed(unroll)
	a.Comment("acc[i mod %d] += x·y", unroll)
	a.Loop(n, unroll, []Pointer{x, y}, nil, func(i int, _ Part, v []Vector) Vector {
		a.FMA(v[0], v[1], acc[i])
		return nil
	})
	a.End(a.Sum(acc))
}

func dotFloat64(a Asm) {
	a.Begin("DotFloat64", "func(x, y []float32) float64", "returns Σ x[i]·y[i], computed in float64. It requires len(y) >= len(x).")
	x, y, n := a.Slice("x"), a.Slice("y"), a.Len("x")
	a = a.Float64()
	acc := a.Zeroed(unroll)
	a.Comment("acc[i mod %d] += x·y", unroll)
	a.Loop(n, unroll, []Pointer{x, y}, nil, func(i int, _ Part, v []Vector) Vector {
		a.FMA(v[0], v[1], acc[i])
		return nil
	})
	a.End(a.Sum(acc))
}

func axpy(a Asm) {
	a.Begin("Axpy", "func(a float32, x, y []float32)", "sets y[i] += a·x[i]. It requires len(y) >= len(x).")
	f, x, y, n := a.Broadcast("a"), a.Slice("x"), a.Slice("y"), a.Len("x")
	a.Comment("y += a·x")
	a.Loop(n, unroll, []Pointer{x, y}, y, func(_ int, _ Part, v []Vector) Vector {
		a.FMA(f, v[0], v[1])
		return v[1]
	})
	a.End()
}

func axpyRows(a Asm) {
	a.Begin("AxpyRows", "func(a0, a1, a2, a3 float32, x0, x1, x2, x3 *float32, y []float32)", "sets y[i] += a0·x0[i] + a1·x1[i] + a2·x2[i] + a3·x3[i]. It requires each x to be as long as y.")
	f := []Vector{a.Broadcast("a0"), a.Broadcast("a1"), a.Broadcast("a2"), a.Broadcast("a3")}
	y, n := a.Slice("y"), a.Len("y")
	sources := []Pointer{a.Pointer("x0"), a.Pointer("x1"), a.Pointer("x2"), a.Pointer("x3"), y}
	a.Comment("y += a0·x0, y += a1·x1, …")
	a.Loop(n, 2, sources, y, func(_ int, _ Part, v []Vector) Vector {
		for r, f := range f {
			a.FMA(f, v[r], v[4])
		}
		return v[4]
	})
	a.End()
}

func lerp(a Asm) {
	a.Begin("Lerp", "func(dst, src []float32, t float32)", "sets dst[i] += 2t·(src[i]/2 − dst[i]/2). It requires len(dst) >= len(src).")
	t, src, dst, n := a.Broadcast("t"), a.Slice("src"), a.Slice("dst"), a.Len("src")
	a.Comment("dst += 2t·(src/2 − dst/2): the difference of halves does not overflow")
	a.Add(t, t, t)
	half := a.Splat(0.5)
	a.Loop(n, unroll, []Pointer{src, dst}, dst, func(_ int, _ Part, v []Vector) Vector {
		d := a.Vec()
		a.Mul(half, v[0], v[0])
		a.Mul(half, v[1], d)
		a.Sub(d, v[0], d)
		a.FMA(t, d, v[1])
		return v[1]
	})
	a.End()
}

func expSum(a Asm, name string, store bool) {
	signature, doc := "func(x []float32, scale, shift float32) float32", "returns Σ exp(scale·x[i] − shift)."
	if store {
		signature = "func(dst, x []float32, scale, shift float32) float32"
		doc = "sets dst[i] = exp(scale·x[i] − shift) and returns their sum. It requires len(dst) >= len(x)."
	}
	a.Begin(name, signature, doc)
	x, n, scale, shift := a.Slice("x"), a.Len("x"), a.Broadcast("scale"), a.Broadcast("shift")
	acc := a.Zeroed(unroll)
	var dst Pointer
	if store {
		dst = a.Slice("dst")
	}
	// Lanes beyond the end must add nothing, whatever the scale: their exponent is set,
	// not their argument.
	a.Loop(n, 2, []Pointer{x}, dst, func(i int, p Part, v []Vector) Vector {
		a.Comment("z = scale·x − shift, acc[i mod %d] += e^z", unroll)
		z := v[0]
		a.Mul(scale, z, z)
		a.Sub(shift, z, z)
		a.Fill(p, float32(math.Inf(-1)), z)
		e := Exp(a, z)
		a.Add(e, acc[i], acc[i])
		return e
	})
	a.End(a.Sum(acc))
}

func extremes(a Asm) {
	a.Begin("Extremes", "func(x []float32) (least, greatest float32)", "returns the least and the greatest element of x, +Inf and -Inf if it is empty. NaN may be lost.")
	x, n := a.Slice("x"), a.Len("x")
	low, high := a.Vec(), a.Vec()
	inf := float32(math.Inf(1))
	a.Move(a.Const(inf), low)
	a.Move(a.Const(-inf), high)
	a.Comment("low = min(x, low), high = max(x, high)")
	a.Loop(n, 1, []Pointer{x}, nil, func(_ int, p Part, v []Vector) Vector {
		x := a.Vec()
		a.Move(v[0], x)
		a.Fill(p, inf, x)
		a.Min(x, low, low)
		a.Fill(p, -inf, v[0])
		a.Max(v[0], high, high)
		return nil
	})
	a.End(a.Least(low), a.Greatest(high))
}

func scaleTo(a Asm) {
	a.Begin("ScaleTo", "func(dst, src []float32, f float64)", "sets dst[i] = f·src[i], computed in float64. It requires len(dst) >= len(src).")
	a = a.Float64()
	src, dst, n, f := a.Slice("src"), a.Slice("dst"), a.Len("src"), a.Broadcast("f")
	a.Comment("dst = f·src")
	a.Loop(n, 2, []Pointer{src}, dst, func(_ int, _ Part, v []Vector) Vector {
		a.Mul(f, v[0], v[0])
		return v[0]
	})
	a.End()
}

func project(a Asm) {
	a.Begin("Project", "func(dst, g, x []float32, along, f float64)", "sets dst[i] = (g[i] − along·x[i])·f, computed in float64 and saturated. It requires dst and g to be as long as x.")
	a = a.Float64()
	g, x, dst, n := a.Slice("g"), a.Slice("x"), a.Slice("dst"), a.Len("x")
	along, f := a.Broadcast("along"), a.Broadcast("f")
	projectLoop(a, n, g, x, dst, nil, along, f, float32Limits(a))
	a.End()
}

func relu(a Asm) {
	a.Begin("ReLU", "func(dst, src []float32)", "sets dst[i] = max(src[i], 0). It requires len(dst) >= len(src).")
	src, dst, n := a.Slice("src"), a.Slice("dst"), a.Len("src")
	a.Comment("dst = max(src, 0), and NaN if src is")
	zero := a.Splat(0)
	a.Loop(n, unroll, []Pointer{src}, dst, func(_ int, _ Part, v []Vector) Vector {
		a.Max(v[0], zero, v[0])
		return v[0]
	})
	a.End()
}

func reluGrad(a Asm) {
	a.Begin("ReLUGrad", "func(dst, grad, y []float32)", "sets dst[i] = grad[i] where y[i] > 0, and 0 elsewhere. It requires dst and grad to be as long as y.")
	grad, y, dst, n := a.Slice("grad"), a.Slice("y"), a.Slice("dst"), a.Len("y")
	a.Comment("dst = grad where 0 − y < 0, else 0")
	zero := a.Splat(0)
	a.Loop(n, unroll, []Pointer{grad, y}, dst, func(_ int, _ Part, v []Vector) Vector {
		d := a.Vec()
		a.Sub(v[1], zero, v[1])
		a.Move(zero, d)
		a.IfNegative(v[1], v[0], d)
		return d
	})
	a.End()
}

// geluParts returns t, which is x within ±poly.GELURange, t² and 1 + e^−a, for
// a = √(8/π)·(t + 0.044715·t³). Five roundings are of a, so that e^−a is within
// (5·|a| + 2)·u.
func geluParts(a Asm, x Vector) (t, square, onePlusExp Vector) {
	a.Comment("t = min(max(x, −%[1]v), %[1]v), z = t·(%[2]v + %[3]v·t²) = −√(8/π)·(t + 0.044715·t³)", poly.GELURange, -poly.GELULinear, -poly.GELUCubic)
	t, square = a.Vec(), a.Vec()
	a.Max(x, a.Const(-poly.GELURange), t)
	a.Min(t, a.Const(poly.GELURange), t)
	a.Mul(t, t, square)
	z := a.Vec()
	a.Move(a.Const(-poly.GELULinear), z)
	a.FMA(a.Const(-poly.GELUCubic), square, z)
	a.Mul(t, z, z)
	e := Exp(a, z)
	a.Add(a.Const(1), e, e)
	return t, square, e
}

func gelu(a Asm) {
	a.Begin("GELU", "func(dst, src []float32)", "sets dst[i] = GELU(src[i]). It requires len(dst) >= len(src).")
	src, dst, n := a.Slice("src"), a.Slice("dst"), a.Len("src")
	a.Loop(n, 1, []Pointer{src}, dst, func(_ int, _ Part, v []Vector) Vector {
		_, _, d := geluParts(a, v[0])
		a.Comment("dst = x/(1 + e^z)")
		a.Div(d, v[0], v[0])
		return v[0]
	})
	a.End()
}

func geluGrad(a Asm) {
	a.Begin("GELUGrad", "func(dst, grad, x []float32)", "sets dst[i] = grad[i]·GELU′(x[i]). It requires dst and grad to be as long as x.")
	x, grad, dst, n := a.Slice("x"), a.Slice("grad"), a.Slice("dst"), a.Len("x")
	a.Loop(n, 1, []Pointer{x, grad}, dst, func(_ int, _ Part, v []Vector) Vector {
		t, square, d := geluParts(a, v[0])
		a.Comment("σ = 1/(1 + e^z), dst = grad·(σ + t·σ·(1−σ)·(%v + %v·t²))", poly.GELULinear, 3*poly.GELUCubic)
		one, sigma := a.Vec(), a.Vec()
		a.Move(a.Const(1), one)
		a.Div(d, one, sigma)
		a.Sub(sigma, one, one)
		slope := a.Vec()
		a.Move(a.Const(poly.GELULinear), slope)
		a.FMA(a.Const(3*poly.GELUCubic), square, slope)
		a.Mul(sigma, t, t)
		a.Mul(one, t, t)
		a.FMA(slope, t, sigma)
		a.Mul(sigma, v[1], v[1])
		return v[1]
	})
	a.End()
}

func lerpSquare(a Asm) {
	a.Begin("LerpSquare", "func(dst, src []float32, t float32)", "sets dst[i] += t·(src[i]² − dst[i]). It requires len(dst) >= len(src).")
	t, src, dst, n := a.Broadcast("t"), a.Slice("src"), a.Slice("dst"), a.Len("src")
	a.Comment("dst += t·(src² − dst)")
	a.Loop(n, unroll, []Pointer{src, dst}, dst, func(_ int, _ Part, v []Vector) Vector {
		a.Mul(v[0], v[0], v[0])
		a.Sub(v[1], v[0], v[0])
		a.FMA(t, v[0], v[1])
		return v[1]
	})
	a.End()
}

func addSquare(a Asm) {
	a.Begin("AddSquare", "func(dst, src []float32)", "sets dst[i] += src[i]², saturated. It requires len(dst) >= len(src).")
	src, dst, n := a.Slice("src"), a.Slice("dst"), a.Len("src")
	greatest := a.Splat(math.MaxFloat32)
	a.Comment("dst = min(dst + src², greatest)")
	a.Loop(n, unroll, []Pointer{src, dst}, dst, func(_ int, _ Part, v []Vector) Vector {
		a.FMA(v[0], v[0], v[1])
		a.Min(v[1], greatest, v[1])
		return v[1]
	})
	a.End()
}

func adamStep(a Asm) {
	a.Begin("AdamStep", "func(w, m, v []float32, keep, rate, correction, epsilon float32)",
		"sets w[i] = keep·w[i] − rate·m[i]/(correction·√v[i] + epsilon). It requires m and v to be as long as w.")
	keep, rate, correction, epsilon := a.Broadcast("keep"), a.Broadcast("rate"), a.Broadcast("correction"), a.Broadcast("epsilon")
	w, m, v, n := a.Slice("w"), a.Slice("m"), a.Slice("v"), a.Len("w")
	a.Comment("w = keep·w − rate·(m/(correction·√v + epsilon))")
	a.Loop(n, 2, []Pointer{m, v, w}, w, func(_ int, _ Part, x []Vector) Vector {
		a.Sqrt(x[1], x[1])
		a.Mul(correction, x[1], x[1])
		a.Add(epsilon, x[1], x[1])
		a.Div(x[1], x[0], x[0])
		a.Mul(keep, x[2], x[2])
		a.FNMA(rate, x[0], x[2])
		return x[2]
	})
	a.End()
}
