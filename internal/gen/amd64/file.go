package amd64

import (
	"fmt"
	"strings"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"

	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/tile"
)

// A File is a pair of generated files: assembly and its Go declarations.
type File struct {
	cfg       printer.Config
	context   *build.Context
	constants map[uint32]operand.Mem
	doubles   map[uint64]operand.Mem
	registers map[string]reg.VecVirtual
	labels    map[string]int
}

// NewFile starts a file.
func NewFile(cfg printer.Config) *File {
	f := &File{cfg, build.NewContext(), make(map[uint32]operand.Mem), make(map[uint64]operand.Mem), make(map[string]reg.VecVirtual), make(map[string]int)}
	f.context.ConstraintExpr("!purego")
	return f
}

// Asm returns the vocabulary for a level of the given suffix and shape.
func (f *File) Asm(suffix string, s tile.Shape) Asm {
	return Asm{Kernel: Kernel{f.context, s, suffix, f.constants, f.doubles, f.registers, f.labels}}
}

// Print returns the assembly and its declarations.
func (f *File) Print() (asm, decls []byte, err error) {
	file, err := f.context.Result()
	if err != nil {
		return nil, nil, err
	}
	if err := pass.Concat(pass.Compile, pass.FunctionPass(checkRegisters), pass.FunctionPass(EncodeAll)).Execute(file); err != nil {
		return nil, nil, err
	}
	if asm, err = printer.NewGoAsm(f.cfg).Print(file); err != nil {
		return nil, nil, err
	}
	decls, err = printer.NewStubs(f.cfg).Print(file)
	return asm, decls, err
}

// checkRegisters returns an error if a function for AVX2 has a vector register beyond the
// 15th: avo takes those of AVX-512 where all others are in use.
func checkRegisters(f *ir.Function) error {
	if !strings.HasSuffix(f.Name, isa.AVX2.Suffix()) {
		return nil
	}
	for _, i := range f.Instructions() {
		for _, r := range i.Registers() {
			if p := reg.ToPhysical(r); p != nil && p.Kind() == reg.KindVector && p.PhysicalIndex() > 15 {
				return fmt.Errorf("%s has no register %s: more than 16 vectors are in use", f.Name, p.Asm())
			}
		}
	}
	return nil
}
