package amd64

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/contrastive-go/contrastive/internal/gen/vec"
)

func (a Asm) Loop(n vec.Count, unroll int, sources []vec.Pointer, dst vec.Pointer, body func(i int, p vec.Part, v []vec.Vector) vec.Vector) {
	l := loop{a, n.(reg.GPVirtual), nil, sources, dst, body, a.again("loop")}
	for _, p := range sources {
		l.pointers = append(l.pointers, p.(operand.Mem))
	}
	if dst != nil && dst != sources[len(sources)-1] {
		l.pointers = append(l.pointers, dst.(operand.Mem))
	}
	if a.double {
		l.widened(unroll)
		return
	}
	l.vectors(unroll, a.Lanes, func(i int) { l.step(i, part{lanes: a.Lanes}, i, l.registers()) })
	if a.Lanes == 16 {
		a.TESTQ(l.n, l.n)
		a.JZ(l.to("done"))
		l.step(0, part{mask: a.firstLanes(l.n)}, 0, l.registers())
		l.Label("done")
		return
	}
	rest := l.registers() // the same for all parts: avo takes their other lanes for lanes in use
	for i, lanes := range []int{4, 2, 1} {
		next := fmt.Sprintf("below%d", lanes)
		a.TESTB(operand.U8(lanes), l.n.As8())
		a.JZ(l.to(next))
		l.step(i+1, part{lanes: lanes}, 0, rest)
		if lanes > 1 {
			a.Advance(lanes, l.pointers...)
		}
		l.Label(next)
	}
}

// A loop is the arguments of Loop, and the pointers that advance.
type loop struct {
	Asm
	n        reg.GPVirtual
	pointers []operand.Mem
	sources  []vec.Pointer
	dst      vec.Pointer
	body     func(i int, p vec.Part, v []vec.Vector) vec.Vector
	number   string // of the loop, in its labels
}

// Label and to are of the loop's own labels.
func (l loop) Label(name string)               { l.Asm.Label(name + l.number) }
func (l loop) to(name string) operand.LabelRef { return operand.LabelRef(name + l.number) }

// vectors emits the loops over unroll vectors of some lanes and over one.
func (l loop) vectors(unroll, lanes int, step func(i int)) {
	for _, loop := range []struct {
		label, next string
		vectors     int
	}{{"block", "vector", unroll}, {"vector", "tail", 1}} {
		if loop.label == "block" && unroll == 1 {
			continue
		}
		l.Label(loop.label)
		l.CMPQ(l.n, operand.U32(loop.vectors*lanes))
		l.JB(l.to(loop.next))
		for i := range loop.vectors {
			step(i)
		}
		l.Advance(loop.vectors*lanes, l.pointers...)
		l.SUBQ(operand.U32(loop.vectors*lanes), l.n)
		l.JMP(l.to(loop.label))
	}
	l.Label("tail")
}

// registers returns one for a vector of each source.
func (l loop) registers() []reg.VecVirtual {
	r := make([]reg.VecVirtual, len(l.sources))
	for j := range r {
		r[j] = l.Kernel.Vec()
	}
	return r
}

// step emits the body for the vectors at from each pointer, in some registers.
func (l loop) step(i int, p part, at int, registers []reg.VecVirtual) {
	v := make([]vec.Vector, len(l.sources))
	for j, s := range l.sources {
		l.loadPart(p, l.At(s, at).(operand.Mem), registers[j])
		v[j] = registers[j]
	}
	if r := l.body(i, p, v); l.dst != nil {
		l.storePart(p, register(r), l.At(l.dst, at).(operand.Mem))
	}
}

// widened is Loop for float64: vectors hold half as many elements, and the last ones
// are taken one at a time, in lane 0.
func (l loop) widened(unroll int) {
	half := l.Lanes / 2
	place := func(p vec.Pointer, i int) operand.Mem { return p.(operand.Mem).Offset(4 * half * i) }
	v := make([]vec.Vector, len(l.sources))
	l.vectors(unroll, half, func(i int) {
		for j, s := range l.sources {
			r := l.Kernel.Vec()
			l.VCVTPS2PD(place(s, i), r)
			v[j] = r
		}
		if r := l.body(i, nil, v); l.dst != nil {
			l.VMOVUPS(l.Half(l.narrow(r)), place(l.dst, i))
		}
	})
	l.TESTQ(l.n, l.n)
	l.JZ(l.to("done"))
	for j, s := range l.sources {
		r := l.Kernel.Vec()
		l.VXORPS(r, r, r)
		l.VMOVSS(place(s, 0), r.AsX())
		l.VCVTPS2PD(r.AsX(), r.AsY())
		v[j] = r
	}
	if r := l.body(0, nil, v); l.dst != nil {
		l.VMOVSS(l.narrow(r).AsX(), place(l.dst, 0))
	}
	l.Advance(1, l.pointers...)
	l.DECQ(l.n)
	l.JMP(l.to("tail"))
	l.Label("done")
}

// narrow rounds a vector of float64 to float32, in its lower half.
func (k Kernel) narrow(v vec.Vector) reg.VecVirtual {
	r := register(v)
	if k.Lanes == 16 {
		k.VCVTPD2PS(r, r.AsY())
	} else {
		k.VCVTPD2PSY(r, r.AsX())
	}
	return r
}

// A part is the first lanes of a vector: all, 4, 2 or 1 of them, or on AVX-512
// those of a mask.
//
// AVX2 has masks for loads and stores, but the AMD64 Architecture Programmer's
// Manual leaves it to the implementation whether VMASKMOVPS faults on lanes that
// it does not select, emulators do fault, and the store is slow on processors
// that do not.
type part struct {
	lanes int
	mask  reg.Register
}

// firstLanes returns a mask of the first n lanes, n less than their number. It
// clobbers a general register.
func (a Asm) firstLanes(n reg.GPVirtual) reg.Register {
	ones, m := a.GP32(), a.K()
	a.MOVL(operand.I32(-1), ones)
	a.BZHIL(n.As32(), ones, ones)
	a.KMOVW(ones, m)
	return m
}

// loadPart loads the lanes of p, and zeros into the others. Memory beyond them is
// not touched.
func (a Asm) loadPart(p part, m operand.Mem, dst reg.VecVirtual) {
	switch {
	case p.mask != nil:
		a.VMOVUPS_Z(m, p.mask, dst)
	case p.lanes == a.Lanes:
		a.VMOVUPS(m, dst)
	case p.lanes == 4:
		a.VMOVUPS(m, dst.AsX())
	case p.lanes == 2:
		a.VMOVSD(m, dst.AsX())
	case p.lanes == 1:
		a.VMOVSS(m, dst.AsX())
	}
}

// storePart stores the lanes of p.
func (a Asm) storePart(p part, v reg.VecVirtual, m operand.Mem) {
	switch {
	case p.mask != nil:
		a.VMOVUPS(v, p.mask, m)
	case p.lanes == a.Lanes:
		a.VMOVUPS(v, m)
	case p.lanes == 4:
		a.VMOVUPS(v.AsX(), m)
	case p.lanes == 2:
		a.VMOVSD(v.AsX(), m)
	case p.lanes == 1:
		a.VMOVSS(v.AsX(), m)
	}
}

func (a Asm) Fill(part_ vec.Part, x float32, d vec.Vector) {
	p, dst := part_.(part), register(d)
	switch {
	case p.mask != nil:
		filled := a.Kernel.Vec()
		a.Move(a.Kernel.Const(x), filled)
		a.VMOVAPS(dst, p.mask, filled)
		a.VMOVAPS(filled, dst)
	case p.lanes < a.Lanes:
		a.VBLENDPS(operand.U8(1<<a.Lanes-1<<p.lanes), a.Kernel.Const(x), dst, dst)
	}
}
