// Package arm64 generates the arm64 kernels, in the manner of avo, which is for
// amd64 alone.
//
// The Go assembler knows few Advanced SIMD instructions: of the floating-point
// vector arithmetic, as of Go 1.26, VFMLA and VFMLS. The others are written as
// WORD directives, from the table in this file and nowhere else. A row gives the
// name of an instruction, its encoding with the register fields zero, from section
// C7.2 of the Arm Architecture Reference Manual, DDI 0487, and the arrangements of
// its operands. The tests disassemble every row.
package arm64

import (
	"fmt"
	"strings"
)

// An op is one row of the table.
type op struct {
	name    string // architectural name, without the V that Go puts before it
	base    uint32
	d, n, m arrangement // of Rd[4:0], Rn[9:5] and Rm[20:16], where there is one
}

// An arrangement is the number and size of a vector's elements, or one scalar.
type arrangement string

const (
	none arrangement = ""
	f32  arrangement = "F" // lane 0, float32
	s2   arrangement = "S2"
	s4   arrangement = "S4"
	d2   arrangement = "D2"
)

var (
	fadd   = op{"FADD", 0x4E20D400, s4, s4, s4}
	faddp  = op{"FADDP", 0x6E20D400, s4, s4, s4}
	fsub   = op{"FSUB", 0x4EA0D400, s4, s4, s4}
	fmul   = op{"FMUL", 0x6E20DC00, s4, s4, s4}
	fdiv   = op{"FDIV", 0x6E20FC00, s4, s4, s4}
	fabs   = op{"FABS", 0x4EA0F800, s4, s4, none}
	fneg   = op{"FNEG", 0x6EA0F800, s4, s4, none}
	fsqrt  = op{"FSQRT", 0x6EA1F800, s4, s4, none}
	fmin   = op{"FMIN", 0x4EA0F400, s4, s4, s4}
	fmax   = op{"FMAX", 0x4E20F400, s4, s4, s4}
	fminv  = op{"FMINV", 0x6EB0F800, f32, s4, none}
	fmaxv  = op{"FMAXV", 0x6E30F800, f32, s4, none}
	frintn = op{"FRINTN", 0x4E218800, s4, s4, none}
	frintm = op{"FRINTM", 0x4E219800, s4, s4, none}
	fcvtns = op{"FCVTNS", 0x4E21A800, s4, s4, none}
	fcmge  = op{"FCMGE", 0x6E20E400, s4, s4, s4}
	fcmgt  = op{"FCMGT", 0x6EA0E400, s4, s4, s4}

	faddD  = op{"FADD", 0x4E60D400, d2, d2, d2}
	fsubD  = op{"FSUB", 0x4EE0D400, d2, d2, d2}
	fdivD  = op{"FDIV", 0x6E60FC00, d2, d2, d2}
	faddpD = op{"FADDP", 0x6E60D400, d2, d2, d2}
	fmulD  = op{"FMUL", 0x6E60DC00, d2, d2, d2}
	fminD  = op{"FMIN", 0x4EE0F400, d2, d2, d2}
	fmaxD  = op{"FMAX", 0x4E60F400, d2, d2, d2}
	fcvtl  = op{"FCVTL", 0x0E617800, d2, s2, none}
	fcvtl2 = op{"FCVTL2", 0x4E617800, d2, s4, none}
	fcvtn  = op{"FCVTN", 0x0E616800, s2, d2, none}
	fcvtn2 = op{"FCVTN2", 0x4E616800, s4, d2, none}

	// fmlaLane multiplies by one lane of its second source.
	fmlaLane = [4]op{
		{"FMLA", 0x4F801000, s4, s4, "S[0]"},
		{"FMLA", 0x4FA01000, s4, s4, "S[1]"},
		{"FMLA", 0x4F801800, s4, s4, "S[2]"},
		{"FMLA", 0x4FA01800, s4, s4, "S[3]"},
	}
)

var ops = []op{
	fadd, faddp, fsub, fmul, fdiv, fabs, fneg, fsqrt, fmin, fmax, fminv, fmaxv, frintn, frintm, fcvtns, fcmge, fcmgt,
	faddD, fsubD, fdivD, faddpD, fmulD, fminD, fmaxD, fcvtl, fcvtl2, fcvtn, fcvtn2,
	fmlaLane[0], fmlaLane[1], fmlaLane[2], fmlaLane[3],
}

// encode returns the instruction word of o with the given operands. If o has no
// second source, m is ignored.
func (o op) encode(m, n, d V) uint32 {
	w := o.base | uint32(n)<<5 | uint32(d)
	if o.m != none {
		w |= uint32(m) << 16
	}
	return w
}

// text returns the instruction in the syntax the Go assembler would have for it.
func (o op) text(m, n, d V) string {
	operands := []string{n.as(o.n), d.as(o.d)}
	if o.m != none {
		operands = append([]string{m.as(o.m)}, operands...)
	}
	return fmt.Sprintf("V%s %s", o.name, strings.Join(operands, ", "))
}
