package amd64

import (
	"math"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unroll is the number of independent accumulators, to cover the latency of an
// addition.
const unroll = 4

// Vector writes the vector kernels.
func Vector(c *build.Context) {
	for _, k := range kernels(c) {
		k.dot()
		k.dotFloat64()
		k.axpy()
		k.lerp()
		k.expSum("ExpSum", false)
		k.expSum("ExpSumStore", true)
		k.extremes()
		k.scaleTo()
		k.project()
	}
}

func (k Kernel) dot() {
	k.Begin("Dot", "func(x, y []float32) float32", "returns Σ x[i]·y[i]. It requires len(y) >= len(x).")
	x, y, n := k.Slice("x"), k.Slice("y"), k.Len("x")
	acc := k.Zeroed(unroll)
	k.Loop(n, unroll, []operand.Mem{x, y}, nil, func(i int, _ part, v []reg.VecVirtual) reg.VecVirtual {
		k.VFMADD231PS(v[0], v[1], acc[i])
		return nil
	})
	k.EndWith(k.Reduce(acc, k.add))
}

func (k Kernel) axpy() {
	k.Begin("Axpy", "func(a float32, x, y []float32)", "sets y[i] += a·x[i]. It requires len(y) >= len(x).")
	a, x, y, n := k.Broadcast("a"), k.Slice("x"), k.Slice("y"), k.Len("x")
	k.Loop(n, unroll, []operand.Mem{x, y}, &y, func(_ int, _ part, v []reg.VecVirtual) reg.VecVirtual {
		k.VFMADD231PS(a, v[0], v[1])
		return v[1]
	})
	k.End()
}

func (k Kernel) lerp() {
	k.Begin("Lerp", "func(dst, src []float32, t float32)", "sets dst[i] += 2t·(src[i]/2 − dst[i]/2). It requires len(dst) >= len(src).")
	t, src, dst, n := k.Broadcast("t"), k.Slice("src"), k.Slice("dst"), k.Len("src")
	// dst + 2t·(src/2 − dst/2): the difference of halves does not overflow.
	k.VADDPS(t, t, t)
	half := k.Vec()
	k.VMOVUPS(k.Const(0.5), half)
	k.Loop(n, unroll, []operand.Mem{src, dst}, &dst, func(_ int, _ part, v []reg.VecVirtual) reg.VecVirtual {
		d := k.Vec()
		k.VMULPS(half, v[0], v[0])
		k.VMULPS(half, v[1], d)
		k.VSUBPS(d, v[0], d)
		k.VFMADD231PS(t, d, v[1])
		return v[1]
	})
	k.End()
}

func (k Kernel) expSum(name string, store bool) {
	signature, doc := "func(x []float32, scale, shift float32) float32", "returns Σ exp(scale·x[i] − shift)."
	if store {
		signature = "func(dst, x []float32, scale, shift float32) float32"
		doc = "sets dst[i] = exp(scale·x[i] − shift) and returns their sum. It requires len(dst) >= len(x)."
	}
	k.Begin(name, signature, doc)
	x, n, scale, shift := k.Slice("x"), k.Len("x"), k.Broadcast("scale"), k.Broadcast("shift")
	acc := k.Zeroed(unroll)
	var dst *operand.Mem
	if store {
		p := k.Slice("dst")
		dst = &p
	}
	// Lanes beyond the end must add nothing, whatever the scale: their exponent
	// is set, not their argument.
	k.Loop(n, 2, []operand.Mem{x}, dst, func(i int, p part, v []reg.VecVirtual) reg.VecVirtual {
		z := v[0]
		k.VMULPS(scale, z, z)
		k.VSUBPS(shift, z, z)
		k.Fill(p, float32(math.Inf(-1)), z)
		e := k.Exp(z)
		k.VADDPS(e, acc[i], acc[i])
		return e
	})
	k.EndWith(k.Reduce(acc, k.add))
}

func (k Kernel) extremes() {
	k.Begin("Extremes", "func(x []float32) (least, greatest float32)", "returns the least and the greatest element of x, +Inf and -Inf if it is empty. NaN may be lost.")
	x, n := k.Slice("x"), k.Len("x")
	low, high := k.Vec(), k.Vec()
	inf := float32(math.Inf(1))
	k.VMOVUPS(k.Const(inf), low)
	k.VMOVUPS(k.Const(-inf), high)
	k.Loop(n, 1, []operand.Mem{x}, nil, func(_ int, p part, v []reg.VecVirtual) reg.VecVirtual {
		x := k.Vec()
		k.VMOVAPS(v[0], x)
		k.Fill(p, inf, x)
		k.VMINPS(x, low, low)
		k.Fill(p, -inf, v[0])
		k.VMAXPS(v[0], high, high)
		return nil
	})
	k.Reduce([]reg.VecVirtual{low}, k.min)
	k.Reduce([]reg.VecVirtual{high}, k.max)
	k.VZEROUPPER()
	k.Store(low.AsX(), k.ReturnIndex(0))
	k.Store(high.AsX(), k.ReturnIndex(1))
	k.RET()
}

func (k Kernel) dotFloat64() {
	k.Begin("DotFloat64", "func(x, y []float32) float64", "returns Σ x[i]·y[i], computed in float64. It requires len(y) >= len(x).")
	x, y, n := k.Slice("x"), k.Slice("y"), k.Len("x")
	acc := k.Zeroed(unroll)
	k.Widened(n, unroll, []operand.Mem{x, y}, nil, func(i int, v []reg.VecVirtual) reg.VecVirtual {
		k.VFMADD231PD(v[0], v[1], acc[i])
		return nil
	})
	k.Comment("Add the accumulators in pairs, then the lanes by halves")
	for i := unroll / 2; i > 0; i /= 2 {
		for j := range i {
			k.VADDPD(acc[i+j], acc[j], acc[j])
		}
	}
	y0, x0, tmp := acc[0].AsY(), acc[0].AsX(), k.XMM()
	if k.lanes == 16 {
		hi := k.YMM()
		k.VEXTRACTF64X4(operand.Imm(1), acc[0], hi)
		k.VADDPD(hi, y0, y0)
	}
	k.VEXTRACTF128(operand.Imm(1), y0, tmp)
	k.VADDPD(tmp, x0, x0)
	k.VPERMILPD(operand.Imm(1), x0, tmp)
	k.VADDPD(tmp, x0, x0)
	k.EndWith(acc[0])
}

func (k Kernel) scaleTo() {
	k.Begin("ScaleTo", "func(dst, src []float32, f float64)", "sets dst[i] = f·src[i], computed in float64. It requires len(dst) >= len(src).")
	src, dst, n, f := k.Slice("src"), k.Slice("dst"), k.Len("src"), k.Broadcast64("f")
	k.Widened(n, 2, []operand.Mem{src}, &dst, func(_ int, v []reg.VecVirtual) reg.VecVirtual {
		k.VMULPD(f, v[0], v[0])
		return v[0]
	})
	k.End()
}

func (k Kernel) project() {
	k.Begin("Project", "func(dst, g, x []float32, along, f float64)", "sets dst[i] = (g[i] − along·x[i])·f, computed in float64 and saturated. It requires dst and g to be as long as x.")
	g, x, dst, n := k.Slice("g"), k.Slice("x"), k.Slice("dst"), k.Len("x")
	along, f := k.Broadcast64("along"), k.Broadcast64("f")
	greatest, least := k.Splat64(math.MaxFloat32), k.Splat64(-math.MaxFloat32)
	k.Widened(n, 2, []operand.Mem{g, x}, &dst, func(_ int, v []reg.VecVirtual) reg.VecVirtual {
		k.VFNMADD231PD(along, v[1], v[0])
		k.VMULPD(f, v[0], v[0])
		k.VMINPD(v[0], greatest, v[0]) // of a NaN and a number the result is the first here
		k.VMAXPD(v[0], least, v[0])
		return v[0]
	})
	k.End()
}
