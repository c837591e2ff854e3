package arm64

import "math"

// unroll is the number of independent accumulators, to cover the latency of an
// addition.
const unroll = 4

// Vector writes the vector kernels.
func Vector(f *File) {
	dot(f)
	dotFloat64(f)
	axpy(f)
	lerp(f)
	expSum(f, "ExpSumNEON", false)
	expSum(f, "ExpSumStoreNEON", true)
	extremes(f)
	scaleTo(f)
	project(f)
}

func dot(f *File) {
	a := f.Func("DotNEON", "func(x, y []float32) float32", "returns Σ x[i]·y[i]. It requires len(y) >= len(x).")
	x, y, n := a.Slice("x"), a.Slice("y"), a.Len("x")
	acc := a.Zeroed(unroll)
	a.Loop(n, unroll, []R{x, y}, nil, func(i, _ int, v []V) V {
		a.VFMLA(v[0], v[1], acc[i], s4)
		return 0
	})
	a.EndWith(a.Sum(acc))
}

// Sum sets lane 0 of the returned register to the sum of every lane of every
// vector in acc, by a balanced tree. It clobbers acc.
func (a *Func) Sum(acc []V) V {
	a.Comment("Combine the accumulators in pairs, then the lanes in pairs")
	a.pairs(fadd, acc)
	a.Word(faddp, acc[0], acc[0], acc[0])
	a.Word(faddp, acc[0], acc[0], acc[0])
	return acc[0]
}

func (a *Func) pairs(add op, acc []V) {
	for n := len(acc) / 2; n > 0; n /= 2 {
		for i := range n {
			a.Word(add, acc[i+n], acc[i], acc[i])
		}
	}
}

func dotFloat64(f *File) {
	a := f.Func("DotFloat64NEON", "func(x, y []float32) float64", "returns Σ x[i]·y[i], computed in float64. It requires len(y) >= len(x).")
	x, y, n := a.Slice("x"), a.Slice("y"), a.Len("x")
	acc := a.Zeroed(unroll)
	a.Widened(n, unroll/2, []R{x, y}, nil, func(i int, v []V) V {
		a.VFMLA(v[0], v[1], acc[i], d2)
		return 0
	})
	a.Comment("Combine the accumulators in pairs, then the lanes")
	a.pairs(faddD, acc)
	a.Word(faddpD, acc[0], acc[0], acc[0])
	a.EndWith64(acc[0])
}

func axpy(f *File) {
	a := f.Func("AxpyNEON", "func(a float32, x, y []float32)", "sets y[i] += a·x[i]. It requires len(y) >= len(x).")
	c, x, y, n := a.Broadcast("a"), a.Slice("x"), a.Slice("y"), a.Len("x")
	a.Loop(n, unroll, []R{x, y}, &y, func(_, _ int, v []V) V {
		a.VFMLA(c, v[0], v[1], s4)
		return v[1]
	})
	a.End()
}

func lerp(f *File) {
	a := f.Func("LerpNEON", "func(dst, src []float32, t float32)", "sets dst[i] += 2t·(src[i]/2 − dst[i]/2). It requires len(dst) >= len(src).")
	t, src, dst, n := a.Broadcast("t"), a.Slice("src"), a.Slice("dst"), a.Len("src")
	// dst + 2t·(src/2 − dst/2): the difference of halves does not overflow.
	a.Word(fadd, t, t, t)
	half := a.Splat(0.5)
	a.Loop(n, unroll, []R{src, dst}, &dst, func(_, _ int, v []V) V {
		d := a.Vec()
		a.Word(fmul, half, v[0], v[0])
		a.Word(fmul, half, v[1], d)
		a.Word(fsub, d, v[0], d)
		a.VFMLA(t, d, v[1], s4)
		return v[1]
	})
	a.End()
}

func expSum(f *File, name string, store bool) {
	signature, doc := "func(x []float32, scale, shift float32) float32", "returns Σ exp(scale·x[i] − shift)."
	if store {
		signature = "func(dst, x []float32, scale, shift float32) float32"
		doc = "sets dst[i] = exp(scale·x[i] − shift) and returns their sum. It requires len(dst) >= len(x)."
	}
	a := f.Func(name, signature, doc)
	x, n, scale, shift := a.Slice("x"), a.Len("x"), a.Broadcast("scale"), a.Broadcast("shift")
	constants, zero := a.Exponential(), a.Splat(float32(math.Inf(-1))) // e^-Inf is 0
	acc := a.Zeroed(unroll)
	var dst *R
	if store {
		p := a.Slice("dst")
		dst = &p
	}
	a.Loop(n, 2, []R{x}, dst, func(i, used int, v []V) V {
		z := v[0]
		a.Word(fmul, scale, z, z)
		a.Word(fsub, shift, z, z)
		a.Fill(used, zero, z)
		e := a.Exp(constants, z)
		a.Word(fadd, e, acc[i], acc[i])
		return e
	})
	a.EndWith(a.Sum(acc))
}

func extremes(f *File) {
	a := f.Func("ExtremesNEON", "func(x []float32) (least, greatest float32)", "returns the least and the greatest element of x, +Inf and -Inf if it is empty. NaN may be lost.")
	x, n := a.Slice("x"), a.Len("x")
	inf, negative := a.Splat(float32(math.Inf(1))), a.Splat(float32(math.Inf(-1)))
	least, greatest := a.Vec(), a.Vec()
	a.VMOV(inf, least)
	a.VMOV(negative, greatest)
	a.Loop(n, 1, []R{x}, nil, func(_, used int, v []V) V {
		a.Fill(used, inf, v[0])
		a.Word(fmin, v[0], least, least)
		a.Fill(used, negative, v[0])
		a.Word(fmax, v[0], greatest, greatest)
		return 0
	})
	a.Unary(fminv, least, least)
	a.Unary(fmaxv, greatest, greatest)
	a.EndWith(least, greatest)
}

func scaleTo(f *File) {
	a := f.Func("ScaleToNEON", "func(dst, src []float32, f float64)", "sets dst[i] = f·src[i], computed in float64. It requires len(dst) >= len(src).")
	src, dst, n, c := a.Slice("src"), a.Slice("dst"), a.Len("src"), a.Broadcast64("f")
	a.Widened(n, 2, []R{src}, &dst, func(_ int, v []V) V {
		a.Word(fmulD, c, v[0], v[0])
		return v[0]
	})
	a.End()
}

func project(f *File) {
	a := f.Func("ProjectNEON", "func(dst, g, x []float32, along, f float64)", "sets dst[i] = (g[i] − along·x[i])·f, computed in float64 and saturated. It requires dst and g to be as long as x.")
	g, x, dst, n := a.Slice("g"), a.Slice("x"), a.Slice("dst"), a.Len("x")
	along, c := a.Broadcast64("along"), a.Broadcast64("f")
	greatest, least := a.Splat64(math.MaxFloat32), a.Splat64(-math.MaxFloat32)
	a.Widened(n, 2, []R{g, x}, &dst, func(_ int, v []V) V {
		a.VFMLS(along, v[1], v[0], d2)
		a.Word(fmulD, c, v[0], v[0])
		a.Word(fminD, greatest, v[0], v[0])
		a.Word(fmaxD, least, v[0], v[0])
		return v[0]
	})
	a.End()
}
