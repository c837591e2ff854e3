package amd64

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/contrastive-go/contrastive/internal/gen/vec"
)

// An Asm is a Kernel in the vocabulary of package vec, which is documented there.
// Vectors are registers, and pointers memory.
type Asm struct {
	Kernel
	double bool // whether arithmetic is that of float64
}

func (a Asm) Float64() vec.Asm { return Asm{a.Kernel, true} }

func (a Asm) Comment(format string, args ...any) { a.Commentf(format, args...) }

func (a Asm) End(results ...vec.Vector) {
	a.VZEROUPPER()
	for i, v := range results {
		a.Context.Store(register(v).AsX(), a.ReturnIndex(i))
	}
	a.RET()
}

func register(v vec.Vector) reg.VecVirtual { return v.(reg.VecVirtual) }

func (a Asm) Slice(name string) vec.Pointer {
	return operand.Mem{Base: a.Load(a.Param(name).Base(), a.GP64())}
}
func (a Asm) Len(name string) vec.Count       { return a.Load(a.Param(name).Len(), a.GP64()) }
func (a Asm) Pointer(name string) vec.Pointer { return a.Kernel.Pointer(name) }
func (a Asm) Int(name string) vec.Count       { return a.Kernel.Int(name) }

// Broadcast takes the parameter from memory: MOVSS, which avo would load it by, takes a
// hundred nanoseconds on some processors while the upper halves of registers are in use.
func (a Asm) Broadcast(name string) vec.Vector {
	v := a.Kernel.Vec()
	a.either(a.VBROADCASTSS, a.VBROADCASTSD, a.parameter(name), v)
	return v
}

func (a Asm) Const(x float32) vec.Operand { return a.Kernel.Const(x) }

func (a Asm) Const64(x float64) vec.Operand { return a.constBits64(math.Float64bits(x)) }

func (a Asm) Splat(x float64) vec.Vector {
	v := a.Kernel.Vec()
	if !a.double {
		c := a.Kernel.Const(float32(x))
		if held, ok := c.(reg.VecVirtual); ok {
			return held
		}
		a.Move(c, v)
		return v
	}
	bits := a.GP64()
	a.MOVQ(operand.U64(math.Float64bits(x)), bits)
	a.VMOVQ(bits, v.AsX())
	a.VBROADCASTSD(v.AsX(), v)
	return v
}

func (a Asm) Vec() vec.Vector { return a.Kernel.Vec() }

func (a Asm) Zeroed(n int) []vec.Vector { return vectors(a.Kernel.Zeroed(n)) }

func vectors(r []reg.VecVirtual) []vec.Vector {
	v := make([]vec.Vector, len(r))
	for i := range v {
		v[i] = r[i]
	}
	return v
}

func (a Asm) Move(x vec.Operand, d vec.Vector) {
	if x, ok := x.(reg.VecVirtual); ok {
		a.VMOVAPS(x, register(d))
		return
	}
	a.VMOVUPS(x.(operand.Mem), register(d))
}

func (a Asm) Store(x vec.Vector, p vec.Pointer) { a.VMOVUPS(register(x), p.(operand.Mem)) }

// either emits the instruction for the type of arithmetic. One source, the first, may
// be memory: the other is moved to a register if it is.
func (a Asm) either(float, double func(...operand.Op), operands ...vec.Operand) {
	ops := make([]operand.Op, len(operands))
	for i, x := range operands {
		if m, ok := x.(operand.Mem); ok && i == 1 && len(operands) == 3 {
			x = a.Kernel.Vec()
			a.Move(m, x)
		}
		ops[i] = x.(operand.Op)
	}
	if a.double {
		float = double
	}
	float(ops...)
}

func (a Asm) Add(y, x vec.Operand, d vec.Vector)  { a.either(a.VADDPS, a.VADDPD, y, x, d) }
func (a Asm) Sub(y, x vec.Operand, d vec.Vector)  { a.either(a.VSUBPS, a.VSUBPD, y, x, d) }
func (a Asm) Mul(y, x vec.Operand, d vec.Vector)  { a.either(a.VMULPS, a.VMULPD, y, x, d) }
func (a Asm) Div(y, x vec.Operand, d vec.Vector)  { a.either(a.VDIVPS, a.VDIVPD, y, x, d) }
func (a Asm) Min(x, y vec.Operand, d vec.Vector)  { a.either(a.VMINPS, a.VMINPD, x, y, d) }
func (a Asm) Max(x, y vec.Operand, d vec.Vector)  { a.either(a.VMAXPS, a.VMAXPD, x, y, d) }
func (a Asm) Sqrt(x vec.Operand, d vec.Vector)    { a.either(a.VSQRTPS, a.VSQRTPD, x, d) }
func (a Asm) FMA(y, x vec.Operand, d vec.Vector)  { a.either(a.VFMADD231PS, a.VFMADD231PD, y, x, d) }
func (a Asm) FNMA(y, x vec.Operand, d vec.Vector) { a.either(a.VFNMADD231PS, a.VFNMADD231PD, y, x, d) }

func (a Asm) NegAbs(x, d vec.Vector) { a.VORPS(a.ConstBits(1<<31), register(x), register(d)) }

func (a Asm) IfNegative(x, y, d vec.Vector) {
	if a.Lanes == 16 {
		m := a.K()
		a.VPMOVD2M(register(x), m)
		a.VMOVAPS(register(y), m, register(d))
		return
	}
	a.VBLENDVPS(register(x), register(y), register(d), register(d))
}

func (a Asm) Greater(x vec.Vector, y vec.Operand) vec.Mask {
	var m reg.Register = a.Kernel.Vec()
	if a.Lanes == 16 {
		m = a.K()
	}
	a.VCMPPS(operand.Imm(greater), y.(operand.Op), register(x), m)
	return m
}

func (a Asm) Select(m vec.Mask, y vec.Operand, d vec.Vector) {
	if a.Lanes == 16 {
		a.VMOVUPS(y.(operand.Op), m.(reg.Register), register(d))
		return
	}
	a.VBLENDVPS(m.(reg.Register), y.(operand.Op), register(d), register(d))
}

func (a Asm) Horner(x vec.Vector, c []float32) vec.Vector {
	p := a.Kernel.Vec()
	a.Move(a.Kernel.Const(c[len(c)-1]), p)
	for i := len(c) - 2; i >= 0; i-- {
		a.VFMADD213PS(a.Kernel.Const(c[i]), register(x), p)
	}
	return p
}

// Rounding modes, without exceptions, and comparisons.
const (
	floor          = 1 | 8
	nearest        = 0 | 8
	greaterOrEqual = 13
	greater        = 30 // without exceptions
)

// A power is an exponent n of 2, and whether 2^n is normal. AVX-512 takes ⌊y⌋ itself.
type power struct{ n, normal reg.VecVirtual }

func (a Asm) Floor(y vec.Vector) (any, vec.Vector) {
	x, r := register(y), a.Kernel.Vec()
	if a.Lanes == 16 {
		a.VREDUCEPS(operand.Imm(floor), x, r) // y − ⌊y⌋
		return power{n: x}, r
	}
	n := power{a.Kernel.Vec(), a.Kernel.Vec()}
	a.VROUNDPS(operand.Imm(floor), x, n.n)
	a.VSUBPS(n.n, x, r)
	return n, r
}

func (a Asm) TimesPower(exponent any, v vec.Vector) {
	n, p := exponent.(power), register(v)
	if a.Lanes == 16 {
		a.VSCALEFPS(n.n, p, p)
		return
	}
	a.VCMPPS(operand.Imm(greaterOrEqual), a.Kernel.Const(-126), n.n, n.normal)
	a.VCVTPS2DQ(n.n, n.n)
	a.VPSLLD(operand.Imm(23), n.n, n.n)
	a.VPADDD(n.n, p, p)
	a.VANDPS(n.normal, p, p)
}

func (a Asm) Round(v vec.Vector) {
	n := register(v)
	if a.Lanes == 16 {
		a.VRNDSCALEPS(operand.Imm(nearest), n, n)
		return
	}
	a.VROUNDPS(operand.Imm(nearest), n, n)
}

func (a Asm) TimesPowers(exponent, v vec.Vector) {
	n, p := register(exponent), register(v)
	if a.Lanes == 16 {
		a.VSCALEFPS(n, p, p)
		return
	}
	// In two factors, for each of which there is a normal number.
	half := a.Kernel.Vec()
	a.VCVTPS2DQ(n, n)
	a.VPSRAD(operand.Imm(1), n, half)
	a.VPSUBD(half, n, n)
	for _, e := range []reg.VecVirtual{half, n} {
		a.VPSLLD(operand.Imm(23), e, e)
		a.VPADDD(a.Kernel.Const(1), e, e)
		a.VMULPS(e, p, p)
	}
}

func (a Asm) Split(x vec.Vector) (vec.Vector, vec.Vector) {
	const (
		root = 0x3fe6a09e667f3bcd // √½
		bias = 1024               // keeps exponents above 0
		bits = 52                 // of a fraction
	)
	v, e, n, m := register(x), a.Kernel.Vec(), a.Kernel.Vec(), a.Kernel.Vec()
	a.VPADDQ(a.constBits64(bias<<bits-root), v, e)
	a.VPSRLQ(operand.Imm(bits), e, e)
	a.VPSLLQ(operand.Imm(bits), e, m)
	a.VPSUBQ(m, v, m)
	a.VPADDQ(a.constBits64(bias<<bits), m, m)
	a.VORPS(a.Const64(1<<bits).(operand.Op), e, n)
	a.VSUBPD(a.Const64(1<<bits+bias).(operand.Op), n, n)
	return n, m
}

func (a Asm) AddExponent(t, p vec.Vector) {
	a.VPSLLQ(operand.Imm(52), register(t), register(t))
	a.VPADDQ(register(t), register(p), register(p))
}

func (a Asm) Sum(x []vec.Vector) vec.Vector {
	a.Comment("Combine the accumulators in pairs, then the lanes by halves")
	for n := len(x) / 2; n > 0; n /= 2 {
		for i := range n {
			a.Add(x[i+n], x[i], x[i])
		}
	}
	if !a.double {
		return a.reduce(x[0], a.VADDPS)
	}
	v, tmp := register(x[0]), a.XMM()
	if a.Lanes == 16 {
		hi := a.YMM()
		a.VEXTRACTF64X4(operand.Imm(1), v, hi)
		a.VADDPD(hi, v.AsY(), v.AsY())
	}
	a.VEXTRACTF128(operand.Imm(1), v.AsY(), tmp)
	a.VADDPD(tmp, v.AsX(), v.AsX())
	a.VPERMILPD(operand.Imm(1), v.AsX(), tmp)
	a.VADDPD(tmp, v.AsX(), v.AsX())
	return v
}

func (a Asm) Least(x vec.Vector) vec.Vector    { return a.reduce(x, a.VMINPS) }
func (a Asm) Greatest(x vec.Vector) vec.Vector { return a.reduce(x, a.VMAXPS) }

// reduce sets lane 0 of v to the combination of its lanes, by halves.
func (a Asm) reduce(v vec.Vector, combine func(...operand.Op)) vec.Vector {
	y, x, tmp := register(v).AsY(), register(v).AsX(), a.XMM()
	if a.Lanes == 16 {
		hi := a.YMM()
		a.VEXTRACTF32X8(operand.Imm(1), register(v), hi)
		combine(hi, y, y)
	}
	a.VEXTRACTF128(operand.Imm(1), y, tmp)
	combine(tmp, x, x)
	a.VMOVHLPS(x, tmp, tmp)
	combine(tmp, x, x)
	a.VMOVSHDUP(x, tmp)
	combine(tmp, x, x)
	return v
}

func (a Asm) EachRow(r vec.Rows, body func()) {
	label := "row" + a.again("row")
	a.Label(label)
	body()
	advance := func(n int, pointers ...vec.Pointer) {
		for _, p := range pointers {
			a.Advance(n, p.(operand.Mem))
		}
	}
	if r.Block != nil {
		advance(2*a.Lanes, r.Block)
	}
	advance(2*a.Lanes, r.Blocks...)
	advance(a.Lanes, r.Vectors...)
	element := 1
	if a.double {
		element = 2
	}
	advance(element, r.Elements...)
	for _, s := range r.Strided {
		p := s.Pointer.(operand.Mem)
		a.LEAQ(operand.Mem{Base: p.Base, Index: a.Kernel.Int(s.By), Scale: 4}, p.Base)
	}
	a.DECQ(r.N.(reg.Register))
	a.JNZ(operand.LabelRef(label))
}

func (a Asm) Fork(p vec.Pointer) vec.Pointer {
	q := a.GP64()
	a.MOVQ(p.(operand.Mem).Base, q)
	return operand.Mem{Base: q}
}

func (a Asm) At(p vec.Pointer, i int) vec.Pointer { return p.(operand.Mem).Offset(4 * a.Lanes * i) }

func (a Asm) LoadRow(p vec.Pointer) [2]vec.Vector {
	v := a.load(p.(operand.Mem))
	return [2]vec.Vector{v[0], v[1]}
}

func (a Asm) StoreRow(x [2]vec.Vector, p vec.Pointer) {
	a.Store(x[0], p)
	a.Store(x[1], a.At(p, 1))
}

func (a Asm) LoadCols(p vec.Pointer) [2]vec.Operand { return [2]vec.Operand{p, a.At(p, 1)} }

func (a Asm) LoadElement(p vec.Pointer) vec.Vector {
	v := a.Kernel.Vec()
	a.either(a.VBROADCASTSS, a.VBROADCASTSD, p, v)
	return v
}

func (a Asm) StoreElement(x vec.Vector, p vec.Pointer) {
	a.either(a.VMOVSS, a.VMOVSD, register(x).AsX(), p)
}

func (a Asm) FillLanes(x vec.Vector) {
	a.either(a.VBROADCASTSS, a.VBROADCASTSD, register(x).AsX(), x)
}

func (a Asm) Widen(p vec.Pointer) [2]vec.Vector {
	var v [2]vec.Vector
	for i := range v {
		r := a.Kernel.Vec()
		a.VCVTPS2PD(p.(operand.Mem).Offset(2*a.Lanes*i), r)
		v[i] = r
	}
	return v
}

func (a Asm) Halves(x vec.Vector) (high, low vec.Vector) {
	h, l, wide := a.Kernel.Vec(), a.Kernel.Vec(), a.Kernel.Vec()
	a.Move(x, h)
	a.VBROADCASTSS(a.narrow(h).AsX(), h)
	a.VCVTPS2PD(a.Half(h), wide)
	a.VSUBPD(wide, register(x), l)
	a.VBROADCASTSS(a.narrow(l).AsX(), l)
	return h, l
}

// A running sum adds the one in memory last, from there.
type running struct {
	a        Asm
	p        vec.Pointer
	v        vec.Vector
	products int
}

func (a Asm) Running(p vec.Pointer) vec.RunningSum { return &running{a: a, p: p, v: a.Vec()} }

func (r *running) AddRow(x [2]vec.Vector) { r.a.Add(x[0], x[1], r.v) }

func (r *running) AddProduct(y, x vec.Vector) {
	if r.products++; r.products == 1 {
		r.a.Mul(y, x, r.v)
		return
	}
	r.a.FMA(y, x, r.v)
}

func (r *running) Store() {
	r.a.Add(r.p, r.v, r.v)
	r.a.Store(r.v, r.p)
}
