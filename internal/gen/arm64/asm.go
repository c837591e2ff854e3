package arm64

import (
	"fmt"
	"math"
	"strings"

	"github.com/mmcloughlin/avo/buildtags"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/printer"
)

// A V is a vector register.
type V uint8

func (v V) String() string { return fmt.Sprintf("V%d", uint8(v)) }

// as returns v with an arrangement.
func (v V) as(a arrangement) string {
	if a == f32 {
		return v.F()
	}
	return v.String() + "." + string(a)
}

// F returns the name of v as a scalar register.
func (v V) F() string { return fmt.Sprintf("F%d", uint8(v)) }

// An R is a general register.
type R uint8

func (r R) String() string { return fmt.Sprintf("R%d", uint8(r)) }

// A File is a pair of generated files: assembly and its Go declarations. avo
// parses signatures, lays out arguments and prints declarations, so that they
// are as on amd64.
type File struct {
	cfg   printer.Config
	asm   strings.Builder
	decls *ir.File
}

// NewFile starts a file.
func NewFile(cfg printer.Config) *File {
	f := &File{cfg: cfg, decls: ir.NewFile()}
	f.decls.Constraints = buildtags.Not("purego").ToConstraints()
	fmt.Fprintf(&f.asm, "// %s\n\n//go:build !purego\n\n#include \"textflag.h\"\n", cfg.GeneratedWarning())
	return f
}

// Asm returns the assembly, and Decls its declarations.
func (f *File) Asm() []byte            { return []byte(f.asm.String()) }
func (f *File) Decls() ([]byte, error) { return printer.NewStubs(f.cfg).Print(f.decls) }

// A Func is a leaf function being written. Its methods are named after the
// instructions they emit and take operands in the Go assembler's order, with the
// destination last. Registers are allocated as they are first needed, so that a
// kernel names none.
type Func struct {
	f    *File
	sig  *gotypes.Signature
	r, v uint8 // registers allocated so far
}

// Func starts a function, which ends the one before.
func (f *File) Func(name, signature, doc string) *Func {
	sig, err := gotypes.ParseSignature(signature)
	if err != nil {
		panic(err)
	}
	fn := ir.NewFunction(name)
	fn.SetSignature(sig)
	fn.Doc = []string{name + " " + doc}
	fn.AddPragma("noescape")
	f.decls.AddSection(fn)
	fmt.Fprintf(&f.asm, "\n// %s\n// Requires: ASIMD\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", fn.Stub(), name, sig.Bytes())
	return &Func{f: f, sig: sig}
}

// GP allocates a general register. R16 and up belong to the linker, the platform
// and the runtime.
func (a *Func) GP() R {
	if a.r == 16 {
		panic("arm64: out of general registers")
	}
	a.r++
	return R(a.r - 1)
}

// Vec allocates a vector register.
func (a *Func) Vec() V {
	if a.v == 32 {
		panic("arm64: out of vector registers")
	}
	a.v++
	return V(a.v - 1)
}

// Scope calls body and then frees the registers that it allocated.
func (a *Func) Scope(body func()) {
	r, v := a.r, a.v
	body()
	a.r, a.v = r, v
}

// Zeroed allocates n vectors of zeros.
func (a *Func) Zeroed(n int) []V {
	v := make([]V, n)
	for i := range v {
		v[i] = a.Vec()
		a.op("VEOR", b16(v[i]), b16(v[i]), b16(v[i]))
	}
	return v
}

// Vecs allocates n vector registers in a row.
func (a *Func) Vecs(n int) []V {
	v := make([]V, n)
	for i := range v {
		v[i] = a.Vec()
	}
	return v
}

// Slice loads the base of a slice parameter, and Len its length.
func (a *Func) Slice(name string) R { return a.load("MOVD", a.sig.Params().Lookup(name).Base()) }
func (a *Func) Len(name string) R   { return a.load("MOVD", a.sig.Params().Lookup(name).Len()) }

// Pointer, Int and Bool load a parameter.
func (a *Func) Pointer(name string) R { return a.load("MOVD", a.sig.Params().Lookup(name)) }
func (a *Func) Int(name string) R     { return a.load("MOVD", a.sig.Params().Lookup(name)) }
func (a *Func) Bool(name string) R    { return a.load("MOVBU", a.sig.Params().Lookup(name)) }

func (a *Func) load(move string, c gotypes.Component) R {
	r := a.GP()
	a.op(move, addr(c), r)
	return r
}

func addr(c gotypes.Component) string {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr.Asm()
}

// Broadcast returns a vector of a float32 parameter, Broadcast64 of a float64.
func (a *Func) Broadcast(name string) V {
	v := a.Vec()
	a.op("FMOVS", addr(a.sig.Params().Lookup(name)), v.F())
	a.op("VDUP", v.String()+".S[0]", v.as(s4))
	return v
}

func (a *Func) Broadcast64(name string) V {
	v := a.Vec()
	a.op("FMOVD", addr(a.sig.Params().Lookup(name)), v.F())
	a.op("VDUP", v.String()+".D[0]", v.as(d2))
	return v
}

// Splat returns a vector of the float32 x, Splat64 of the float64. They clobber a
// general register.
func (a *Func) Splat(x float32) V {
	return a.splat("MOVW", fmt.Sprintf("$0x%08x", math.Float32bits(x)), s4)
}

func (a *Func) Splat64(x float64) V {
	return a.splat("MOVD", fmt.Sprintf("$0x%016x", math.Float64bits(x)), d2)
}

func (a *Func) splat(move, bits string, t arrangement) V {
	v := a.Vec()
	a.Scope(func() {
		r := a.GP()
		a.op(move, bits, r)
		a.op("VDUP", r, v.as(t))
	})
	return v
}

// End returns. EndWith returns the low lanes of vectors, of which EndWith64
// takes float64.
func (a *Func) End() { a.op("RET") }

func (a *Func) EndWith(results ...V) {
	for i, v := range results {
		a.op("FMOVS", v.F(), addr(a.sig.Results().At(i)))
	}
	a.op("RET")
}

func (a *Func) EndWith64(v V) {
	a.op("FMOVD", v.F(), addr(a.sig.Results().At(0)))
	a.op("RET")
}

// Label and Comment are as in avo.
func (a *Func) Label(name string)   { fmt.Fprintf(&a.f.asm, "\n%s:\n", name) }
func (a *Func) Comment(text string) { fmt.Fprintf(&a.f.asm, "\t// %s\n", text) }

// Instructions that the Go assembler knows.

func (a *Func) B(label string)                 { a.op("B", label) }
func (a *Func) BLO(label string)               { a.op("BLO", label) }
func (a *Func) BHS(label string)               { a.op("BHS", label) }
func (a *Func) BEQ(label string)               { a.op("BEQ", label) }
func (a *Func) BNE(label string)               { a.op("BNE", label) }
func (a *Func) CBZ(r R, label string)          { a.op("CBZ", r, label) }
func (a *Func) TBZ(bit int, r R, label string) { a.op("TBZ", fmt.Sprintf("$%d", bit), r, label) }
func (a *Func) CMP(imm int, r R)               { a.op("CMP", fmt.Sprintf("$%d", imm), r) }
func (a *Func) ADD(imm int, r R)               { a.op("ADD", fmt.Sprintf("$%d", imm), r) }
func (a *Func) ADDR(n, d R)                    { a.op("ADD", n, d) }
func (a *Func) SUB(imm int, r R)               { a.op("SUB", fmt.Sprintf("$%d", imm), r) }
func (a *Func) SUBS(imm int, r R)              { a.op("SUBS", fmt.Sprintf("$%d", imm), r) }
func (a *Func) LSL(bits int, r R)              { a.op("LSL", fmt.Sprintf("$%d", bits), r) }
func (a *Func) MOVD(n, d R)                    { a.op("MOVD", n, d) }
func (a *Func) MOVDImm(imm int, r R)           { a.op("MOVD", fmt.Sprintf("$%d", imm), r) }
func (a *Func) VAND(m, n, d V)                 { a.op("VAND", b16(m), b16(n), b16(d)) }
func (a *Func) VTRN1(m, n, d V, t arrangement) { a.op("VTRN1", m.as(t), n.as(t), d.as(t)) }
func (a *Func) VTRN2(m, n, d V, t arrangement) { a.op("VTRN2", m.as(t), n.as(t), d.as(t)) }
func (a *Func) VMOV(n, d V)                    { a.op("VMOV", b16(n), b16(d)) }
func (a *Func) VFMLA(m, n, d V, t arrangement) { a.op("VFMLA", m.as(t), n.as(t), d.as(t)) }
func (a *Func) VFMLS(m, n, d V, t arrangement) { a.op("VFMLS", m.as(t), n.as(t), d.as(t)) }
func (a *Func) VADD(m, n, d V)                 { a.op("VADD", m.as(s4), n.as(s4), d.as(s4)) }
func (a *Func) VSUB(m, n, d V)                 { a.op("VSUB", m.as(s4), n.as(s4), d.as(s4)) }
func (a *Func) VSHL(bits int, n, d V)          { a.op("VSHL", fmt.Sprintf("$%d", bits), n.as(s4), d.as(s4)) }

// ADDShifted adds n shifted left to d.
func (a *Func) ADDShifted(n R, bits int, d R) { a.op("ADD", fmt.Sprintf("%v<<%d", n, bits), d) }

// VLD1 loads up to four vectors in a row and then adds step, in bytes, to p.
// VLD1Next adds their size, and VLD1At nothing. VST1 and VST1At store likewise.
func (a *Func) VLD1(p, step R, v ...V) { a.op("VLD1.P", fmt.Sprintf("(%v)(%v)", p, step), list(v)) }
func (a *Func) VST1(p, step R, v ...V) { a.op("VST1.P", list(v), fmt.Sprintf("(%v)(%v)", p, step)) }

func (a *Func) VLD1At(p R, v ...V) { a.op("VLD1", fmt.Sprintf("(%v)", p), list(v)) }
func (a *Func) VST1At(p R, v ...V) { a.op("VST1", list(v), fmt.Sprintf("(%v)", p)) }

func (a *Func) VLD1Next(p R, v ...V) { a.op("VLD1.P", fmt.Sprintf("%d(%v)", 16*len(v), p), list(v)) }

// VBSL sets d to n where its bits are set, and to m elsewhere.
func (a *Func) VBSL(m, n, d V) { a.op("VBSL", b16(m), b16(n), b16(d)) }

// VLD1R loads one element into all lanes and advances p by its size.
func (a *Func) VLD1R(p R, v V) { a.op("VLD1R.P", fmt.Sprintf("4(%v)", p), list([]V{v})) }

func list(v []V) string {
	var s []string
	for i, x := range v {
		if x != v[0]+V(i) {
			panic("arm64: a list of registers that are not in a row")
		}
		s = append(s, x.as(s4))
	}
	return "[" + strings.Join(s, ", ") + "]"
}

// MoveLane copies lane i, of size S or D, from n to d.
func (a *Func) MoveLane(size string, i int, n, d V) {
	lane := fmt.Sprintf(".%s[%d]", size, i)
	a.op("VMOV", n.String()+lane, d.String()+lane)
}

func (a *Func) op(mnemonic string, operands ...any) {
	s := make([]string, len(operands))
	for i, o := range operands {
		s[i] = fmt.Sprint(o)
	}
	fmt.Fprintf(&a.f.asm, "\t%s\n", strings.TrimSpace(mnemonic+" "+strings.Join(s, ", ")))
}

// Word writes an instruction of the table as data, beside what it stands for. If
// it has no second source, m is ignored.
func (a *Func) Word(o op, m, n, d V) {
	fmt.Fprintf(&a.f.asm, "\tWORD $0x%08x // %s\n", o.encode(m, n, d), o.text(m, n, d))
}

// Unary is Word for an instruction with one source.
func (a *Func) Unary(o op, n, d V) { a.Word(o, 0, n, d) }

func b16(v V) string { return v.String() + ".B16" }
