package arm64

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive/internal/gen/vec"
)

// An Asm is a Kernel in the vocabulary of package vec, which is documented there.
// Vectors are of type V, pointers of type place, and parts the number of lanes.
type Asm struct {
	Kernel
	double bool // whether arithmetic is that of float64
}

// A place is a number of bytes from a pointer.
type place struct {
	p      R
	offset int
}

// A constant is the bits of a value.
type constant struct {
	bits   uint64
	double bool
}

func (a Asm) Float64() vec.Asm { return Asm{a.Kernel, true} }

func (a Asm) End(results ...vec.Vector) {
	for i, v := range results {
		move := "FMOVS"
		if a.double {
			move = "FMOVD"
		}
		a.op(move, v.(V).F(), addr(a.fn.sig.Results().At(i)))
	}
	a.Kernel.End()
}

func (a Asm) Slice(name string) vec.Pointer {
	return place{p: a.load("MOVD", a.param(name).Base())}
}
func (a Asm) Len(name string) vec.Count       { return a.load("MOVD", a.param(name).Len()) }
func (a Asm) Pointer(name string) vec.Pointer { return place{p: a.Kernel.Pointer(name)} }
func (a Asm) Int(name string) vec.Count       { return a.Kernel.Int(name) }

func (a Asm) Broadcast(name string) vec.Vector {
	v, move := a.Kernel.Vec(), "FMOVS"
	if a.double {
		move = "FMOVD"
	}
	a.op(move, addr(a.param(name)), v.F())
	a.fillLanes(v)
	return v
}

// type_ returns the arrangement of the type of arithmetic.
func (a Asm) type_() arrangement {
	if a.double {
		return d2
	}
	return s4
}

// Constants are loaded once, before all else, into a register for each value.
func (a Asm) Const(x float32) vec.Operand {
	return a.constant(constant{uint64(math.Float32bits(x)), false}, "MOVW", "$0x%08x")
}

func (a Asm) Const64(x float64) vec.Operand { return a.constBits64(math.Float64bits(x)) }

func (a Asm) constBits64(bits uint64) V {
	return a.constant(constant{bits, true}, "MOVD", "$0x%016x")
}

func (a Asm) Splat(x float64) vec.Vector {
	if a.double {
		return a.constBits64(math.Float64bits(x))
	}
	return a.Const(float32(x))
}

func (a Asm) constant(c constant, move, format string) V {
	v, ok := a.fn.constants[c]
	if !ok {
		v = a.Kernel.Vec()
		r := a.GP()
		a.fn.constants[c] = v
		a.fn.prologue = append(a.fn.prologue,
			instruction{text: text(move, fmt.Sprintf(format, c.bits), r)},
			instruction{text: text("VDUP", r, v.as(Asm{double: c.double}.type_()))})
	}
	return v
}

func (a Asm) Vec() vec.Vector { return a.Kernel.Vec() }

func (a Asm) Zeroed(n int) []vec.Vector {
	v := make([]vec.Vector, n)
	for i, r := range a.Kernel.Zeroed(n) {
		v[i] = r
	}
	return v
}

// register returns x, from memory if it is there.
func (a Asm) register(x vec.Operand) V {
	m, ok := x.(place)
	if !ok {
		return x.(V)
	}
	v := a.Kernel.Vec()
	a.Move(m, v)
	return v
}

func (a Asm) Move(x vec.Operand, d vec.Vector) {
	switch x := x.(type) {
	case V:
		a.VMOV(x, d.(V))
	case place:
		if x.offset == 0 {
			a.VLD1At(x.p, d.(V))
		} else {
			a.FMOVQ(x.p, x.offset, d.(V))
		}
	}
}

func (a Asm) Store(x vec.Vector, p vec.Pointer) {
	if m := p.(place); m.offset == 0 {
		a.VST1At(m.p, x.(V))
	} else {
		a.FMOVQTo(x.(V), m.p, m.offset)
	}
}

// either emits the instruction for the type of arithmetic.
func (a Asm) either(float, double op, y, x vec.Operand, d vec.Vector) {
	if a.double {
		float = double
	}
	a.Word(float, a.register(y), a.register(x), d.(V))
}

func (a Asm) Add(y, x vec.Operand, d vec.Vector) { a.either(fadd, faddD, y, x, d) }
func (a Asm) Sub(y, x vec.Operand, d vec.Vector) { a.either(fsub, fsubD, y, x, d) }
func (a Asm) Mul(y, x vec.Operand, d vec.Vector) { a.either(fmul, fmulD, y, x, d) }
func (a Asm) Div(y, x vec.Operand, d vec.Vector) { a.either(fdiv, fdivD, y, x, d) }
func (a Asm) Min(x, y vec.Operand, d vec.Vector) { a.either(fmin, fminD, x, y, d) }
func (a Asm) Max(x, y vec.Operand, d vec.Vector) { a.either(fmax, fmaxD, x, y, d) }

func (a Asm) Sqrt(x vec.Operand, d vec.Vector) { a.Unary(fsqrt, a.register(x), d.(V)) }

func (a Asm) FMA(y, x vec.Operand, d vec.Vector) {
	a.VFMLA(a.register(y), a.register(x), d.(V), a.type_())
}

func (a Asm) FNMA(y, x vec.Operand, d vec.Vector) {
	a.VFMLS(a.register(y), a.register(x), d.(V), a.type_())
}

func (a Asm) NegAbs(x, d vec.Vector) {
	a.Unary(fabs, x.(V), d.(V))
	a.Unary(fneg, d.(V), d.(V))
}

func (a Asm) IfNegative(x, y, d vec.Vector) {
	mask := a.Kernel.Vec()
	a.Word(fcmgt, x.(V), a.register(a.Const(0)), mask)
	a.VBIT(mask, y.(V), d.(V))
}

func (a Asm) Greater(x vec.Vector, y vec.Operand) vec.Mask {
	mask := a.Kernel.Vec()
	a.Word(fcmgt, a.register(y), x.(V), mask)
	return mask
}

func (a Asm) Select(m vec.Mask, y vec.Operand, d vec.Vector) {
	a.VBIT(m.(V), a.register(y), d.(V))
}

func (a Asm) Horner(x vec.Vector, c []float32) vec.Vector {
	p, rest := a.register(a.Const(c[len(c)-1])), c[:len(c)-1]
	for i := len(rest) - 1; i >= 0; i-- {
		next := a.Kernel.Vec()
		a.Move(a.Const(rest[i]), next)
		a.VFMLA(p, x.(V), next, s4)
		p = next
	}
	return p
}

func (a Asm) Floor(y vec.Vector) (any, vec.Vector) {
	n, r := a.Kernel.Vec(), a.Kernel.Vec()
	a.Unary(frintm, y.(V), n)
	a.Word(fsub, n, y.(V), r)
	return n, r
}

func (a Asm) TimesPower(exponent any, v vec.Vector) {
	n, p, normal := exponent.(V), v.(V), a.Kernel.Vec()
	a.Word(fcmge, a.register(a.Const(-126)), n, normal)
	a.Unary(fcvtns, n, n)
	a.VSHL(23, n, n)
	a.VADD(n, p, p)
	a.VAND(normal, p, p)
}

func (a Asm) Round(n vec.Vector) { a.Unary(frintn, n.(V), n.(V)) }

func (a Asm) TimesPowers(exponent, v vec.Vector) {
	// In two factors, for each of which there is a normal number.
	n, p, half := exponent.(V), v.(V), a.Kernel.Vec()
	a.Word(fmul, a.register(a.Const(0.5)), n, half)
	a.Unary(fcvtns, half, half)
	a.Unary(fcvtns, n, n)
	a.VSUB(half, n, n)
	for _, e := range []V{half, n} {
		a.VSHL(23, e, e)
		a.VADD(a.register(a.Const(1)), e, e)
		a.Word(fmul, e, p, p)
	}
}

func (a Asm) Split(x vec.Vector) (vec.Vector, vec.Vector) {
	const (
		root = 0x3fe6a09e667f3bcd // √½
		bias = 1024               // keeps exponents above 0
		bits = 52                 // of a fraction
	)
	v, e, n, m := x.(V), a.Kernel.Vec(), a.Kernel.Vec(), a.Kernel.Vec()
	a.VADD64(a.constBits64(bias<<bits-root), v, e)
	a.VUSHR64(bits, e, e)
	a.VSHL64(bits, e, m)
	a.VSUB64(m, v, m)
	a.VADD64(a.constBits64(bias<<bits), m, m)
	a.VORR(a.register(a.Const64(1<<bits)), e, n)
	a.Sub(a.Const64(1<<bits+bias), n, n)
	return n, m
}

func (a Asm) AddExponent(t, p vec.Vector) {
	a.VSHL64(52, t.(V), t.(V))
	a.VADD64(t.(V), p.(V), p.(V))
}

func (a Asm) Sum(x []vec.Vector) vec.Vector {
	a.Comment("Combine the accumulators in pairs, then the lanes in pairs")
	for n := len(x) / 2; n > 0; n /= 2 {
		for i := range n {
			a.Add(x[i+n], x[i], x[i])
		}
	}
	v := x[0].(V)
	if a.double {
		a.Word(faddpD, v, v, v)
		return v
	}
	a.Word(faddp, v, v, v)
	a.Word(faddp, v, v, v)
	return v
}

func (a Asm) Least(x vec.Vector) vec.Vector    { return a.across(fminv, x.(V)) }
func (a Asm) Greatest(x vec.Vector) vec.Vector { return a.across(fmaxv, x.(V)) }

func (a Asm) across(o op, v V) V {
	a.Unary(o, v, v)
	return v
}

// EachRow advances over elements where they are loaded or stored.
func (a Asm) EachRow(r vec.Rows, body func()) {
	label := "row" + a.again("row")
	a.Label(label)
	body()
	blocks := r.Blocks
	if r.Block != nil {
		blocks = append([]vec.Pointer{r.Block}, blocks...)
	}
	for _, p := range blocks {
		a.ADD(4*a.Cols, p.(place).p)
	}
	for _, p := range r.Vectors {
		a.ADD(4*a.Lanes, p.(place).p)
	}
	for _, s := range r.Strided {
		a.ADDShifted(a.Kernel.Int(s.By), 2, s.Pointer.(place).p)
	}
	a.SUBS(1, r.N.(R))
	a.BNE(label)
}

func (a Asm) Fork(p vec.Pointer) vec.Pointer {
	q := a.GP()
	a.MOVD(p.(place).p, q)
	return place{p: q}
}

func (a Asm) At(p vec.Pointer, i int) vec.Pointer {
	m := p.(place)
	m.offset += 4 * a.Lanes * i
	return m
}

func (a Asm) LoadRow(p vec.Pointer) [2]vec.Vector {
	v := a.Vecs(2)
	a.VLD1At(p.(place).p, v...)
	return [2]vec.Vector{v[0], v[1]}
}

func (a Asm) StoreRow(x [2]vec.Vector, p vec.Pointer) {
	v := []V{x[0].(V), x[1].(V)}
	if a.follows(v[0], v[1], 1) {
		a.VST1At(p.(place).p, v...)
		return
	}
	a.Store(v[0], p)
	a.Store(v[1], a.At(p, 1))
}

func (a Asm) LoadCols(p vec.Pointer) [2]vec.Operand {
	v := a.LoadRow(p)
	return [2]vec.Operand{v[0], v[1]}
}

func (a Asm) LoadElement(p vec.Pointer) vec.Vector {
	v := a.Kernel.Vec()
	a.VLD1R(p.(place).p, v, a.type_())
	return v
}

func (a Asm) StoreElement(x vec.Vector, p vec.Pointer) {
	used := 1
	if a.double {
		used = 2
	}
	a.storePart(used, x.(V), p.(place).p)
}

func (a Asm) FillLanes(x vec.Vector) { a.fillLanes(x.(V)) }

func (a Asm) fillLanes(v V) {
	lane := ".S[0]"
	if a.double {
		lane = ".D[0]"
	}
	a.op("VDUP", v.String()+lane, v.as(a.type_()))
}

func (a Asm) Widen(p vec.Pointer) [2]vec.Vector {
	v, wide := a.register(p), a.Vecs(2)
	a.Unary(fcvtl, v, wide[0])
	a.Unary(fcvtl2, v, wide[1])
	return [2]vec.Vector{wide[0], wide[1]}
}

func (a Asm) Halves(x vec.Vector) (high, low vec.Vector) {
	narrow := func(x vec.Vector) V {
		v := a.Kernel.Vec()
		a.Unary(fcvtn, x.(V), v)
		a.Kernel.asm().fillLanes(v)
		return v
	}
	h, rest := narrow(x), a.Kernel.Vec()
	a.Unary(fcvtl, h, rest)
	a.Sub(rest, x, rest)
	return h, narrow(rest)
}

// A running sum is loaded before terms are added to it.
type running struct {
	a Asm
	p vec.Pointer
	v vec.Vector
}

func (a Asm) Running(p vec.Pointer) vec.RunningSum {
	return running{a, p, a.register(p)}
}

func (r running) AddRow(x [2]vec.Vector) {
	r.a.Add(x[0], r.v, r.v)
	r.a.Add(x[1], r.v, r.v)
}

func (r running) AddProduct(y, x vec.Vector) { r.a.FMA(y, x, r.v) }
func (r running) Store()                     { r.a.Store(r.v, r.p) }
