package arm64

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mmcloughlin/avo/buildtags"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/printer"

	"github.com/contrastive-go/contrastive/internal/tile"
)

// A V is a vector register, and an R a general one. In the text of an instruction they
// are V⟨n⟩, F⟨n⟩ for V as a scalar register, and R⟨n⟩, until registers are allocated.
type (
	V int
	R int
)

func (v V) String() string { return fmt.Sprintf("V⟨%d⟩", int(v)) }
func (r R) String() string { return fmt.Sprintf("R⟨%d⟩", int(r)) }

// F returns the name of v as a scalar register.
func (v V) F() string { return fmt.Sprintf("F⟨%d⟩", int(v)) }

// as returns v with an arrangement.
func (v V) as(a arrangement) string {
	if a == f32 {
		return v.F()
	}
	return v.String() + "." + string(a)
}

// A File is a pair of generated files: assembly and its Go declarations. avo
// parses signatures, lays out arguments and prints declarations, so that they
// are as on amd64.
type File struct {
	cfg   printer.Config
	asm   strings.Builder
	decls *ir.File
	fn    *function
}

// NewFile starts a file.
func NewFile(cfg printer.Config) *File {
	f := &File{cfg: cfg, decls: ir.NewFile()}
	f.decls.Constraints = buildtags.Not("purego").ToConstraints()
	fmt.Fprintf(&f.asm, "// %s\n\n//go:build !purego\n\n#include \"textflag.h\"\n", cfg.GeneratedWarning())
	return f
}

// Asm returns the vocabulary for a level of the given suffix and shape.
func (f *File) Asm(suffix string, s tile.Shape) Asm {
	return Asm{Kernel: Kernel{f, s, suffix}}
}

// Print returns the assembly and its declarations.
func (f *File) Print() (asm, decls []byte, err error) {
	f.print()
	decls, err = printer.NewStubs(f.cfg).Print(f.decls)
	return []byte(f.asm.String()), decls, err
}

// print prints the function being written, if there is one.
func (f *File) print() {
	if f.fn == nil {
		return
	}
	f.asm.WriteString(f.fn.header)
	for _, i := range f.fn.allocate() {
		f.asm.WriteString(i.text)
	}
	f.fn = nil
}

// A Kernel is one leaf function being written for one instruction set. Its methods
// are named after the instructions they emit and take operands in the Go assembler's
// order, with the destination last.
type Kernel struct {
	*File
	tile.Shape
	isa string // suffix of the function's name
}

// Begin starts a function, which ends the one before.
func (k Kernel) Begin(name, signature, doc string) {
	k.print()
	sig, err := gotypes.ParseSignature(signature)
	if err != nil {
		panic(err)
	}
	name += k.isa
	fn := ir.NewFunction(name)
	fn.SetSignature(sig)
	fn.Doc = []string{name + " " + doc}
	fn.AddPragma("noescape")
	k.decls.AddSection(fn)
	header := fmt.Sprintf("\n// %s\n// Requires: ASIMD\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", fn.Stub(), name, sig.Bytes())
	k.fn = &function{header: header, sig: sig, constants: make(map[constant]V), rows: make(map[string][]string), labels: make(map[string]int)}
}

// End returns.
func (k Kernel) End() { k.op("RET") }

// GP and Vec allocate a register, and Vecs n vector registers in a row.
func (k Kernel) GP() R {
	k.fn.general++
	return R(k.fn.general - 1)
}

func (k Kernel) Vec() V { return k.Vecs(1)[0] }

func (k Kernel) Vecs(n int) []V {
	v, row := make([]V, n), make([]string, n)
	for i := range v {
		v[i] = V(k.fn.vectors + i)
		row[i] = v[i].String()
		k.fn.rows[row[i]] = row
	}
	k.fn.vectors += n
	return v
}

// Zeroed allocates n vectors of zeros, in a row.
func (k Kernel) Zeroed(n int) []V {
	v := k.Vecs(n)
	for _, v := range v {
		k.op("VEOR", b16(v), b16(v), b16(v))
	}
	return v
}

// Pointer, Int and Bool load a parameter.
func (k Kernel) Pointer(name string) R { return k.load("MOVD", k.param(name)) }
func (k Kernel) Int(name string) R     { return k.load("MOVD", k.param(name)) }
func (k Kernel) Bool(name string) R    { return k.load("MOVBU", k.param(name)) }

func (k Kernel) param(name string) gotypes.Component { return k.fn.sig.Params().Lookup(name) }

func (k Kernel) load(move string, c gotypes.Component) R {
	r := k.GP()
	k.op(move, addr(c), r)
	return r
}

func addr(c gotypes.Component) string {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr.Asm()
}

// Label and Comment are as in avo.
func (k Kernel) Label(name string) {
	k.fn.emit(instruction{text: fmt.Sprintf("\n%s:\n", name), label: name})
}

func (k Kernel) Comment(format string, args ...any) {
	line := "\t// " + fmt.Sprintf(format, args...) + "\n"
	if n := len(k.fn.body); n > 0 && k.fn.body[n-1].label == "" {
		line = "\n" + line
	}
	k.fn.emit(instruction{text: line})
}

// again returns what to add to a label, so that the function has it once.
func (k Kernel) again(label string) string {
	k.fn.labels[label]++
	if n := k.fn.labels[label]; n > 1 {
		return strconv.Itoa(n)
	}
	return ""
}

// Instructions that the Go assembler knows.

func (k Kernel) B(label string)                 { k.branch(label, "B") }
func (k Kernel) BLO(label string)               { k.branch(label, "BLO") }
func (k Kernel) BHS(label string)               { k.branch(label, "BHS") }
func (k Kernel) BEQ(label string)               { k.branch(label, "BEQ") }
func (k Kernel) BNE(label string)               { k.branch(label, "BNE") }
func (k Kernel) CBZ(r R, label string)          { k.branch(label, "CBZ", r) }
func (k Kernel) TBZ(bit int, r R, label string) { k.branch(label, "TBZ", fmt.Sprintf("$%d", bit), r) }
func (k Kernel) CMP(imm int, r R)               { k.op("CMP", fmt.Sprintf("$%d", imm), r) }
func (k Kernel) ADD(imm int, r R)               { k.op("ADD", fmt.Sprintf("$%d", imm), r) }
func (k Kernel) ADDR(n, d R)                    { k.op("ADD", n, d) }
func (k Kernel) MUL(n, d R)                     { k.op("MUL", n, d) }
func (k Kernel) SUB(imm int, r R)               { k.op("SUB", fmt.Sprintf("$%d", imm), r) }
func (k Kernel) SUBS(imm int, r R)              { k.op("SUBS", fmt.Sprintf("$%d", imm), r) }
func (k Kernel) LSL(bits int, r R)              { k.op("LSL", fmt.Sprintf("$%d", bits), r) }
func (k Kernel) MOVD(n, d R)                    { k.op("MOVD", n, d) }
func (k Kernel) MOVDImm(imm int, r R)           { k.op("MOVD", fmt.Sprintf("$%d", imm), r) }
func (k Kernel) VAND(m, n, d V)                 { k.op("VAND", b16(m), b16(n), b16(d)) }
func (k Kernel) VTRN1(m, n, d V, t arrangement) { k.op("VTRN1", m.as(t), n.as(t), d.as(t)) }
func (k Kernel) VTRN2(m, n, d V, t arrangement) { k.op("VTRN2", m.as(t), n.as(t), d.as(t)) }
func (k Kernel) VMOV(n, d V)                    { k.op("VMOV", b16(n), b16(d)) }
func (k Kernel) VFMLA(m, n, d V, t arrangement) { k.op("VFMLA", m.as(t), n.as(t), d.as(t)) }
func (k Kernel) VFMLS(m, n, d V, t arrangement) { k.op("VFMLS", m.as(t), n.as(t), d.as(t)) }
func (k Kernel) VADD(m, n, d V)                 { k.op("VADD", m.as(s4), n.as(s4), d.as(s4)) }
func (k Kernel) VSUB(m, n, d V)                 { k.op("VSUB", m.as(s4), n.as(s4), d.as(s4)) }
func (k Kernel) VSHL(bits int, n, d V)          { k.op("VSHL", fmt.Sprintf("$%d", bits), n.as(s4), d.as(s4)) }

func (k Kernel) VORR(m, n, d V)          { k.op("VORR", b16(m), b16(n), b16(d)) }
func (k Kernel) VADD64(m, n, d V)        { k.op("VADD", m.as(d2), n.as(d2), d.as(d2)) }
func (k Kernel) VSUB64(m, n, d V)        { k.op("VSUB", m.as(d2), n.as(d2), d.as(d2)) }
func (k Kernel) VSHL64(bits int, n, d V) { k.op("VSHL", fmt.Sprintf("$%d", bits), n.as(d2), d.as(d2)) }
func (k Kernel) VUSHR64(bits int, n, d V) {
	k.op("VUSHR", fmt.Sprintf("$%d", bits), n.as(d2), d.as(d2))
}

// ADDShifted adds n shifted left to d.
func (k Kernel) ADDShifted(n R, bits int, d R) { k.op("ADD", fmt.Sprintf("%v<<%d", n, bits), d) }

// VLD1 loads up to four vectors in a row and then adds step, in bytes, to p.
// VLD1Next adds their size, and VLD1At nothing. VST1 and VST1At store likewise.
func (k Kernel) VLD1(p, step R, v ...V) { k.op("VLD1.P", fmt.Sprintf("(%v)(%v)", p, step), k.list(v)) }
func (k Kernel) VST1(p, step R, v ...V) { k.op("VST1.P", k.list(v), fmt.Sprintf("(%v)(%v)", p, step)) }

func (k Kernel) VLD1At(p R, v ...V) { k.op("VLD1", fmt.Sprintf("(%v)", p), k.list(v)) }
func (k Kernel) VST1At(p R, v ...V) { k.op("VST1", k.list(v), fmt.Sprintf("(%v)", p)) }

func (k Kernel) VLD1Next(p R, v ...V) { k.op("VLD1.P", fmt.Sprintf("%d(%v)", 16*len(v), p), k.list(v)) }

// FMOVQ loads the vector at an offset, and FMOVQTo stores one.
func (k Kernel) FMOVQ(p R, offset int, v V)   { k.op("FMOVQ", fmt.Sprintf("%d(%v)", offset, p), v.F()) }
func (k Kernel) FMOVQTo(v V, p R, offset int) { k.op("FMOVQ", v.F(), fmt.Sprintf("%d(%v)", offset, p)) }

// VBIT sets the bits of d that are set in m to those of n.
func (k Kernel) VBIT(m, n, d V) { k.op("VBIT", b16(m), b16(n), b16(d)) }

// VLD1R loads one element into all lanes and advances p by its size.
func (k Kernel) VLD1R(p R, v V, t arrangement) {
	size := 4
	if t == d2 {
		size = 8
	}
	k.op("VLD1R.P", fmt.Sprintf("%d(%v)", size, p), "["+v.as(t)+"]")
}

func (k Kernel) list(v []V) string {
	var s []string
	for i, x := range v {
		if !k.follows(v[0], x, i) {
			panic("arm64: a list of registers that are not in a row")
		}
		s = append(s, x.as(s4))
	}
	return "[" + strings.Join(s, ", ") + "]"
}

// follows reports whether w is the i-th after v in a row.
func (k Kernel) follows(v, w V, i int) bool {
	return w == v+V(i) && k.fn.rows[w.String()][0] == k.fn.rows[v.String()][0]
}

// MoveLane copies lane i, of size S or D, from n to d.
func (k Kernel) MoveLane(size string, i int, n, d V) {
	lane := fmt.Sprintf(".%s[%d]", size, i)
	k.op("VMOV", n.String()+lane, d.String()+lane)
}

func (k Kernel) op(mnemonic string, operands ...any) {
	k.fn.emit(instruction{text: text(mnemonic, operands...)})
}

func (k Kernel) branch(target, mnemonic string, operands ...any) {
	k.fn.emit(instruction{text: text(mnemonic, append(operands, target)...), target: target})
}

func text(mnemonic string, operands ...any) string {
	s := make([]string, len(operands))
	for i, o := range operands {
		s[i] = fmt.Sprint(o)
	}
	return "\t" + strings.TrimSpace(mnemonic+" "+strings.Join(s, ", ")) + "\n"
}

// Word writes an instruction of the table as data, beside what it stands for. If
// it has no second source, m is ignored.
func (k Kernel) Word(o op, m, n, d V) {
	k.fn.emit(instruction{text: fmt.Sprintf("\tWORD $0x%%08x // %s\n", o.text(m, n, d)), word: o, operands: [3]V{m, n, d}})
}

// Unary is Word for an instruction with one source.
func (k Kernel) Unary(o op, n, d V) { k.Word(o, 0, n, d) }

func b16(v V) string { return v.String() + ".B16" }
