// Package amd64 generates the amd64 kernels with avo.
//
// A kernel is a method of [Kernel], which holds the avo context and the
// instruction set being written for, so that one body serves all of them. A
// macro is a method too: it emits instructions, and its comment says what they
// compute, what they clobber, and what the caller must guarantee.
package amd64

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A Kernel is one assembly function being written for one instruction set.
type Kernel struct {
	*build.Context
	isa       string // suffix of the function's name
	lanes     int    // float32 values of a vector
	constants map[uint32]operand.Mem
}

// kernels returns a Kernel for each instruction set. They share constants.
func kernels(c *build.Context) []Kernel {
	constants := make(map[uint32]operand.Mem)
	return []Kernel{{c, "AVX2", 8, constants}, {c, "AVX512", 16, constants}}
}

// Begin starts a function.
func (k Kernel) Begin(name, signature, doc string) {
	k.Function(name + k.isa)
	k.Attributes(attr.NOSPLIT)
	k.SignatureExpr(signature)
	k.Doc(name + k.isa + " " + doc)
	k.Pragma("noescape")
}

// End returns. The upper halves of vectors are cleared first: legacy SSE
// instructions, which the Go compiler emits, are slow while they are dirty.
func (k Kernel) End() {
	k.VZEROUPPER()
	k.RET()
}

// EndWith returns the low lane of v.
func (k Kernel) EndWith(v reg.VecVirtual) {
	k.VZEROUPPER()
	k.Store(v.AsX(), k.ReturnIndex(0))
	k.RET()
}

// Vec allocates a full-width vector.
func (k Kernel) Vec() reg.VecVirtual {
	if k.lanes == 16 {
		return k.ZMM()
	}
	return k.YMM()
}

// Half returns the lower half of v.
func (k Kernel) Half(v reg.VecVirtual) reg.Register {
	if k.lanes == 16 {
		return v.AsY()
	}
	return v.AsX()
}

// Zeroed allocates n vectors of zeros.
func (k Kernel) Zeroed(n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = k.Vec()
		k.VXORPS(v[i], v[i], v[i])
	}
	return v
}

// Slice loads the base of a slice parameter.
func (k Kernel) Slice(name string) operand.Mem {
	return operand.Mem{Base: k.Load(k.Param(name).Base(), k.GP64())}
}

// Len loads the length of a slice parameter.
func (k Kernel) Len(name string) reg.Register {
	return k.Load(k.Param(name).Len(), k.GP64())
}

// Pointer loads a pointer parameter.
func (k Kernel) Pointer(name string) operand.Mem {
	return operand.Mem{Base: k.Load(k.Param(name), k.GP64())}
}

// Int loads an integer parameter.
func (k Kernel) Int(name string) reg.GPVirtual {
	r := k.GP64()
	k.Load(k.Param(name), r)
	return r
}

// Broadcast returns a vector of a float32 parameter, Broadcast64 of a float64.
func (k Kernel) Broadcast(name string) reg.VecVirtual {
	v := k.Vec()
	k.Load(k.Param(name), v.AsX())
	k.VBROADCASTSS(v.AsX(), v)
	return v
}

func (k Kernel) Broadcast64(name string) reg.VecVirtual {
	v := k.Vec()
	k.Load(k.Param(name), v.AsX())
	k.VBROADCASTSD(v.AsX(), v)
	return v
}

// Const returns a vector of v, in memory. There is one for each value in a file.
func (k Kernel) Const(v float32) operand.Mem { return k.ConstBits(math.Float32bits(v)) }

// ConstBits is Const for the bits of a value.
func (k Kernel) ConstBits(bits uint32) operand.Mem {
	if m, ok := k.constants[bits]; ok {
		return m
	}
	m := k.StaticGlobal(fmt.Sprintf("vector_%08x", bits))
	k.DataAttributes(attr.RODATA | attr.NOPTR)
	for range 16 {
		k.AppendDatum(operand.U32(bits))
	}
	k.constants[bits] = m
	return m
}

// Splat64 returns a vector of the float64 v. It clobbers a general register.
func (k Kernel) Splat64(v float64) reg.VecVirtual {
	x, bits := k.Vec(), k.GP64()
	k.MOVQ(operand.U64(math.Float64bits(v)), bits)
	k.VMOVQ(bits, x.AsX())
	k.VBROADCASTSD(x.AsX(), x)
	return x
}

// Advance moves pointers forward by n float32 values.
func (k Kernel) Advance(n int, ptrs ...operand.Mem) {
	for _, p := range ptrs {
		k.ADDQ(operand.U32(4*n), p.Base)
	}
}

// A reduction combines two vectors.
type reduction func(ops ...operand.Op)

// Reduce sets lane 0 of the returned register to the combination of every lane
// of every vector in acc, whose length must be a power of two. It clobbers acc.
//
// It is a balanced tree of depth log₂(len(acc)·lanes), so that the rounding
// error of a sum grows with the logarithm of the number of lanes: Higham,
// Accuracy and Stability of Numerical Algorithms, 2nd ed., §4.2.
func (k Kernel) Reduce(acc []reg.VecVirtual, f reduction) reg.VecVirtual {
	k.Comment("Combine the accumulators in pairs, then the lanes by halves")
	for n := len(acc) / 2; n > 0; n /= 2 {
		for i := range n {
			f(acc[i+n], acc[i], acc[i])
		}
	}
	y, x, tmp := acc[0].AsY(), acc[0].AsX(), k.XMM()
	if k.lanes == 16 {
		hi := k.YMM()
		k.VEXTRACTF32X8(operand.Imm(1), acc[0], hi)
		f(hi, y, y)
	}
	k.VEXTRACTF128(operand.Imm(1), y, tmp)
	f(tmp, x, x)
	k.VMOVHLPS(x, tmp, tmp)
	f(tmp, x, x)
	k.VMOVSHDUP(x, tmp)
	f(tmp, x, x)
	return acc[0]
}

func (k Kernel) add(ops ...operand.Op) { k.VADDPS(ops...) }
func (k Kernel) min(ops ...operand.Op) { k.VMINPS(ops...) }
func (k Kernel) max(ops ...operand.Op) { k.VMAXPS(ops...) }
