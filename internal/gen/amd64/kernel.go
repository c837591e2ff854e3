// Package amd64 generates the amd64 kernels with avo.
//
// A kernel is a method of [Kernel], which holds the avo context and the
// instruction set being written for, so that one body serves all of them. A
// macro is a method too: it emits instructions, and its comment says what they
// compute, what they clobber, and what the caller must guarantee. Here are kernels
// that depend on the number of registers. The others are in package vec, written in
// the vocabulary that [Asm] implements.
package amd64

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/contrastive-go/contrastive/internal/tile"
)

// A Kernel is one assembly function being written for one instruction set.
type Kernel struct {
	*build.Context
	tile.Shape
	isa       string                 // suffix of the function's name
	constants map[uint32]operand.Mem // of the file
	doubles   map[uint64]operand.Mem
	registers map[string]reg.VecVirtual // of constants, in the function
	labels    map[string]int            // of the function, with how often each has been asked for
}

// Begin starts a function.
func (k Kernel) Begin(name, signature, doc string) {
	k.Function(name + k.isa)
	clear(k.registers)
	clear(k.labels)
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

// again returns what to add to a label, so that the function has it once.
func (k Kernel) again(label string) string {
	k.labels[label]++
	if n := k.labels[label]; n > 1 {
		return strconv.Itoa(n)
	}
	return ""
}

// Vec allocates a full-width vector.
func (k Kernel) Vec() reg.VecVirtual {
	if k.Lanes == 16 {
		return k.ZMM()
	}
	return k.YMM()
}

// Half returns the lower half of v.
func (k Kernel) Half(v reg.VecVirtual) reg.Register {
	if k.Lanes == 16 {
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

// parameter returns where a parameter is.
func (k Kernel) parameter(name string) operand.Mem {
	b, err := k.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// Const returns a vector of v, which is not to be written to: in memory, where there is one
// for each value in a file, or on AVX-512 in a register, which the function fills before all
// else. Go's linker aligns data to 32 bytes, so that every other vector of 64 bytes would lie
// in two cache lines.
func (k Kernel) Const(v float32) operand.Op { return k.ConstBits(math.Float32bits(v)) }

// ConstBits is Const for the bits of a value.
func (k Kernel) ConstBits(bits uint32) operand.Op {
	m, ok := k.constants[bits]
	if !ok {
		m = k.StaticGlobal(fmt.Sprintf("vector_%08x", bits))
		k.DataAttributes(attr.RODATA | attr.NOPTR)
		for range 8 {
			k.AppendDatum(operand.U32(bits))
		}
		k.constants[bits] = m
	}
	return k.held(m, k.VBROADCASTSS)
}

// constBits64 is ConstBits for values of 64 bits.
func (k Kernel) constBits64(bits uint64) operand.Op {
	m, ok := k.doubles[bits]
	if !ok {
		m = k.StaticGlobal(fmt.Sprintf("vector_%016x", bits))
		k.DataAttributes(attr.RODATA | attr.NOPTR)
		for range 4 {
			k.AppendDatum(operand.U64(bits))
		}
		k.doubles[bits] = m
	}
	return k.held(m, k.VBROADCASTSD)
}

// held returns the vector at m, on AVX-512 in a register.
func (k Kernel) held(m operand.Mem, broadcast func(...operand.Op)) operand.Op {
	if k.Lanes < 16 {
		return m
	}
	v, ok := k.registers[m.Symbol.Name]
	if !ok {
		v = k.Vec()
		f := k.function()
		end := len(f.Nodes)
		broadcast(m, v)
		load := f.Nodes[end]
		f.Nodes = slices.Insert(f.Nodes[:end], len(k.registers), load)
		k.registers[m.Symbol.Name] = v
	}
	return v
}

// function returns the one being written.
func (k Kernel) function() *ir.Function {
	file, err := k.Result()
	if err != nil {
		panic(err)
	}
	functions := file.Functions()
	return functions[len(functions)-1]
}

// Advance moves pointers forward by n float32 values.
func (k Kernel) Advance(n int, ptrs ...operand.Mem) {
	for _, p := range ptrs {
		k.ADDQ(operand.U32(4*n), p.Base)
	}
}

// load returns the two vectors of a row, which may be those of columns.
func (k Kernel) load(m operand.Mem) [2]reg.VecVirtual {
	v := [2]reg.VecVirtual{k.Vec(), k.Vec()}
	k.VMOVUPS(m, v[0])
	k.VMOVUPS(m.Offset(4*k.Lanes), v[1])
	return v
}
