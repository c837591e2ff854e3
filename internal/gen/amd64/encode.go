package amd64

import (
	"fmt"
	"strings"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The Go assembler, as of Go 1.26, and avo know neither AMX nor AVX512_BF16. Their
// instructions are written as BYTE directives, from the table in this file and
// nowhere else. A row gives the encoding of an instruction in the terms of volume 2
// of the Intel 64 and IA-32 Architectures Software Developer's Manual. The tests
// disassemble every row.
//
// While registers are allocated, an instruction is an ordinary one of avo's, so
// that operands may be virtual registers; EncodeAll rewrites it afterwards.
// Operands are in the order of the Go assembler, the reverse of Intel's.

// An op is one row of the table. All are of opcode map 0F38, with W = 0.
type op struct {
	name, isa string
	prefix    byte // mandatory prefix: 0 for none, 2 for F3, 3 for F2
	opcode    byte
	form      form
}

// A form is what the operands of an instruction are.
type form uint8

const (
	noOperand    form = iota // VEX.128
	memory                   // VEX.128, ModRM.reg 0, memory
	oneTile                  // VEX.128, tile
	loadTile                 // VEX.128, memory with base and index, tile
	storeTile                // VEX.128, tile, memory with base and index
	threeTiles               // VEX.128, second source, first source, destination
	threeVectors             // EVEX.512, second source, first source, destination
)

var (
	ldtilecfg   = op{"LDTILECFG", "AMX-TILE", 0, 0x49, memory}
	tilerelease = op{"TILERELEASE", "AMX-TILE", 0, 0x49, noOperand}
	tilezero    = op{"TILEZERO", "AMX-TILE", 3, 0x49, oneTile}
	tileloadd   = op{"TILELOADD", "AMX-TILE", 3, 0x4b, loadTile}
	tilestored  = op{"TILESTORED", "AMX-TILE", 2, 0x4b, storeTile}
	tdpbf16ps   = op{"TDPBF16PS", "AMX-BF16", 2, 0x5c, threeTiles}
	vdpbf16ps   = op{"VDPBF16PS", "AVX512_BF16", 2, 0x52, threeVectors}
)

var ops = []op{ldtilecfg, tilerelease, tilezero, tileloadd, tilestored, tdpbf16ps, vdpbf16ps}

// A tmm is a tile register, of which there are 8. avo does not allocate them, and
// takes them for the numbers that they are.
type tmm = operand.U8

// emit adds the instruction to the function being written, with those operands
// that it reads and those that it writes besides.
func (o op) emit(c *build.Context, in, out []operand.Op, operands ...operand.Op) {
	c.Instruction(&ir.Instruction{Opcode: o.name, Operands: operands, Inputs: in, Outputs: out, ISA: []string{o.isa}})
}

func (k Kernel) LDTILECFG(m operand.Mem) { ldtilecfg.emit(k.Context, []operand.Op{m}, nil, m) }
func (k Kernel) TILERELEASE()            { tilerelease.emit(k.Context, nil, nil) }
func (k Kernel) TILEZERO(t tmm)          { tilezero.emit(k.Context, nil, nil, t) }
func (k Kernel) TILELOADD(m operand.Mem, t tmm) {
	tileloadd.emit(k.Context, []operand.Op{m}, nil, m, t)
}

func (k Kernel) TILESTORED(t tmm, m operand.Mem) {
	tilestored.emit(k.Context, nil, []operand.Op{m}, t, m)
}
func (k Kernel) TDPBF16PS(b, a, c tmm) { tdpbf16ps.emit(k.Context, nil, nil, b, a, c) }

func (k Kernel) VDPBF16PS(b, a, c operand.Op) {
	vdpbf16ps.emit(k.Context, []operand.Op{b, a, c}, []operand.Op{c}, b, a, c)
}

// EncodeAll replaces the instructions of the table in a function by their bytes.
// It is a pass that comes after the allocation of registers.
func EncodeAll(f *ir.Function) error {
	for _, i := range f.Instructions() {
		for _, o := range ops {
			if i.Opcode != o.name {
				continue
			}
			var text []string
			for _, operand := range i.Operands {
				if t, ok := operand.(tmm); ok {
					text = append(text, fmt.Sprintf("TMM%d", t))
				} else {
					text = append(text, operand.Asm())
				}
			}
			bytes := "$" + strings.ReplaceAll(fmt.Sprintf("% #x", o.encode(i.Operands)), " ", "; BYTE $")
			line := fmt.Sprintf("%s // %s %s", bytes, o.name, strings.Join(text, ", "))
			i.Opcode, i.Operands = "BYTE", []operand.Op{verbatim(strings.TrimSpace(line))}
			break
		}
	}
	return nil
}

// A verbatim is an operand that is printed as it is.
type verbatim string

func (v verbatim) Asm() string { return string(v) }

// encode returns the instruction.
func (o op) encode(operands []operand.Op) []byte {
	number := func(i int) byte {
		if t, ok := operands[i].(tmm); ok {
			return byte(t)
		}
		return byte(operands[i].(reg.Physical).PhysicalIndex())
	}
	switch o.form {
	case noOperand:
		return o.vex(0, 0, nil)
	case memory:
		return o.vex(0, 0, operands[0])
	case oneTile:
		return o.vex(number(0), 0, nil)
	case loadTile:
		return o.vex(number(1), 0, operands[0])
	case storeTile:
		return o.vex(number(0), 0, operands[1])
	case threeTiles:
		return o.vex(number(2), number(0), operands[1])
	default:
		return o.evex(number(2), number(1), number(0))
	}
}

// vex returns a VEX-encoded instruction with the given registers in the reg field
// and in vvvv, and, in the r/m field, a tile or memory or, for nil, 0.
func (o op) vex(r, v byte, rm operand.Op) []byte {
	x, b := byte(0), byte(0)
	modrm := []byte{0xc0 | r<<3}
	switch rm := rm.(type) {
	case tmm:
		modrm[0] |= byte(rm)
	case operand.Mem:
		base := byte(rm.Base.(reg.Physical).PhysicalIndex())
		// A SIB byte serves every base; a displacement of 4 bytes every distance.
		index, scale := byte(4), byte(0) // no index
		if rm.Index != nil {
			index = byte(rm.Index.(reg.Physical).PhysicalIndex())
			scale = map[uint8]byte{1: 0, 2: 1, 4: 2, 8: 3}[rm.Scale]
		}
		x, b = index>>3, base>>3
		modrm = []byte{0x80 | r<<3 | 4, scale<<6 | index&7<<3 | base&7,
			byte(rm.Disp), byte(rm.Disp >> 8), byte(rm.Disp >> 16), byte(rm.Disp >> 24)}
	}
	// R, X, B and vvvv are inverted.
	return append([]byte{0xc4, 0xe2 &^ (x<<6 | b<<5), ^v&15<<3 | o.prefix, o.opcode}, modrm...)
}

// evex returns an EVEX-encoded instruction of three 512-bit registers.
func (o op) evex(r, v, rm byte) []byte {
	// R, X, B, R', vvvv and V' are inverted; X is the fifth bit of r/m.
	p0 := 0xf2 &^ (r>>3&1<<7 | rm>>4&1<<6 | rm>>3&1<<5 | r>>4&1<<4)
	p1 := ^v&15<<3 | 4 | o.prefix
	p2 := 0x48 &^ (v >> 4 & 1 << 3)
	return []byte{0x62, p0, p1, p2, o.opcode, 0xc0 | r&7<<3 | rm&7}
}
