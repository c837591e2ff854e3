package amd64

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Loop emits a loop over n elements of sources: unroll vectors at a time, then
// one, then those that are left. The body gets the part of the vectors that holds
// elements, the rest being zeros, a vector of each source, which it may clobber,
// and a number below 4 that differs between successive vectors of the unrolled
// loop and of the rest, to choose one of 4 accumulators by. What it returns, if
// anything, is stored in dst.
func (k Kernel) Loop(n reg.Register, unroll int, sources []operand.Mem, dst *operand.Mem, body func(i int, p part, v []reg.VecVirtual) reg.VecVirtual) {
	pointers := sources
	if dst != nil && *dst != sources[len(sources)-1] {
		pointers = append(append([]operand.Mem{}, sources...), *dst)
	}
	step := func(i int, p part, at int) {
		v := make([]reg.VecVirtual, len(sources))
		for j, s := range sources {
			v[j] = k.Vec()
			k.LoadPart(p, s.Offset(at), v[j])
		}
		if r := body(i, p, v); dst != nil {
			k.StorePart(p, r, dst.Offset(at))
		}
	}
	for _, loop := range []struct {
		label, next string
		vectors     int
	}{{"block", "vector", unroll}, {"vector", "tail", 1}} {
		if loop.label == "block" && unroll == 1 {
			continue
		}
		k.Label(loop.label)
		k.CMPQ(n, operand.U32(loop.vectors*k.lanes))
		k.JB(operand.LabelRef(loop.next))
		for i := range loop.vectors {
			step(i, part{lanes: k.lanes}, 4*k.lanes*i)
		}
		k.Advance(loop.vectors*k.lanes, pointers...)
		k.SUBQ(operand.U32(loop.vectors*k.lanes), n)
		k.JMP(operand.LabelRef(loop.label))
	}
	k.Label("tail")
	if k.lanes == 16 {
		k.TESTQ(n, n)
		k.JZ(operand.LabelRef("done"))
		step(0, part{mask: k.firstLanes(n)}, 0)
		k.Label("done")
		return
	}
	for i, lanes := range []int{4, 2, 1} {
		next := fmt.Sprintf("below%d", lanes)
		k.TESTB(operand.U8(lanes), n.(reg.GPVirtual).As8())
		k.JZ(operand.LabelRef(next))
		step(i+1, part{lanes: lanes}, 0)
		if lanes > 1 {
			k.Advance(lanes, pointers...)
		}
		k.Label(next)
	}
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
func (k Kernel) firstLanes(n reg.Register) reg.Register {
	ones, m := k.GP32(), k.K()
	k.MOVL(operand.I32(-1), ones)
	k.BZHIL(n.(reg.GPVirtual).As32(), ones, ones)
	k.KMOVW(ones, m)
	return m
}

// LoadPart loads the lanes of p, and zeros into the others. Memory beyond them is
// not touched.
func (k Kernel) LoadPart(p part, m operand.Mem, dst reg.VecVirtual) {
	switch {
	case p.mask != nil:
		k.VMOVUPS_Z(m, p.mask, dst)
	case p.lanes == k.lanes:
		k.VMOVUPS(m, dst)
	case p.lanes == 4:
		k.VMOVUPS(m, dst.AsX())
	case p.lanes == 2:
		k.VMOVSD(m, dst.AsX())
	case p.lanes == 1:
		k.VMOVSS(m, dst.AsX())
	}
}

// StorePart stores the lanes of p.
func (k Kernel) StorePart(p part, v reg.VecVirtual, m operand.Mem) {
	switch {
	case p.mask != nil:
		k.VMOVUPS(v, p.mask, m)
	case p.lanes == k.lanes:
		k.VMOVUPS(v, m)
	case p.lanes == 4:
		k.VMOVUPS(v.AsX(), m)
	case p.lanes == 2:
		k.VMOVSD(v.AsX(), m)
	case p.lanes == 1:
		k.VMOVSS(v.AsX(), m)
	}
}

// Fill sets the lanes of dst that are not in p to v.
func (k Kernel) Fill(p part, v float32, dst reg.VecVirtual) {
	switch {
	case p.mask != nil:
		filled := k.Vec()
		k.VMOVUPS(k.Const(v), filled)
		k.VMOVAPS(dst, p.mask, filled)
		k.VMOVAPS(filled, dst)
	case p.lanes < k.lanes:
		k.VBLENDPS(operand.U8(1<<k.lanes-1<<p.lanes), k.Const(v), dst, dst)
	}
}

// Widened is Loop for a body in float64: vectors hold half as many
// elements, and the last ones are taken one at a time, in lane 0, with zeros in
// the others.
func (k Kernel) Widened(n reg.Register, unroll int, sources []operand.Mem, dst *operand.Mem, body func(i int, v []reg.VecVirtual) reg.VecVirtual) {
	half := k.lanes / 2
	ptrs := append([]operand.Mem{}, sources...)
	if dst != nil {
		ptrs = append(ptrs, *dst)
	}
	narrow := func(v reg.VecVirtual) reg.VecVirtual {
		if k.lanes == 16 {
			k.VCVTPD2PS(v, v.AsY())
		} else {
			k.VCVTPD2PSY(v, v.AsX())
		}
		return v
	}
	for _, loop := range []struct {
		label, next string
		vectors     int
	}{{"block", "vector", unroll}, {"vector", "tail", 1}} {
		k.Label(loop.label)
		k.CMPQ(n, operand.U32(loop.vectors*half))
		k.JB(operand.LabelRef(loop.next))
		for i := range loop.vectors {
			v := make([]reg.VecVirtual, len(sources))
			for j, s := range sources {
				v[j] = k.Vec()
				k.VCVTPS2PD(s.Offset(4*half*i), v[j])
			}
			if r := body(i, v); dst != nil {
				k.VMOVUPS(k.Half(narrow(r)), dst.Offset(4*half*i))
			}
		}
		k.Advance(loop.vectors*half, ptrs...)
		k.SUBQ(operand.U32(loop.vectors*half), n)
		k.JMP(operand.LabelRef(loop.label))
	}
	k.Label("tail")
	k.TESTQ(n, n)
	k.JZ(operand.LabelRef("done"))
	v := make([]reg.VecVirtual, len(sources))
	for j, s := range sources {
		v[j] = k.Vec()
		k.VXORPS(v[j], v[j], v[j])
		k.VMOVSS(s, v[j].AsX())
		k.VCVTPS2PD(v[j].AsX(), v[j].AsY())
	}
	if r := body(0, v); dst != nil {
		k.VMOVSS(narrow(r).AsX(), *dst)
	}
	k.Advance(1, ptrs...)
	k.DECQ(n)
	k.JMP(operand.LabelRef("tail"))
	k.Label("done")
}
