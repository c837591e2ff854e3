package amd64

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// samples calls f with operands of every row, which have every register that a row
// can have in each of its fields, and their text in Intel's syntax.
func samples(f func(o op, operands []operand.Op, text string)) {
	general := []reg.Register{reg.RAX, reg.RCX, reg.RDX, reg.RBX, reg.RSP, reg.RBP, reg.RSI, reg.RDI, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R14, reg.R15}
	names := strings.Fields("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15")
	vectors := []reg.Register{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}
	memories := func(f func(m operand.Mem, text string)) {
		for i, base := range general {
			for j, index := range general {
				if index == reg.RSP { // no index register
					continue
				}
				scale, disp := uint8(1+(i+j)%2), (i-7)*0x123*(j+1)
				f(operand.Mem{Base: base, Index: index, Scale: scale, Disp: disp},
					fmt.Sprintf("[%s+%s*%d%s]", names[i], names[j], scale, displacement(disp)))
			}
		}
	}
	tile := func(i int) (tmm, string) { return tmm(i % 8), fmt.Sprintf("tmm%d", i%8) }
	for _, o := range ops {
		name := strings.ToLower(o.name)
		switch o.form {
		case noOperand:
			f(o, nil, name)
		case memory:
			for i, base := range general {
				f(o, []operand.Op{operand.Mem{Base: base, Disp: 0x40}}, fmt.Sprintf("%s [%s+0x40]", name, names[i]))
			}
		case oneTile:
			for i := range 8 {
				t, text := tile(i)
				f(o, []operand.Op{t}, name+" "+text)
			}
		case loadTile, storeTile:
			n := 0
			memories(func(m operand.Mem, text string) {
				t, tileText := tile(n)
				n++
				if o.form == loadTile {
					f(o, []operand.Op{m, t}, name+" "+tileText+","+text)
				} else {
					f(o, []operand.Op{t, m}, name+" "+text+","+tileText)
				}
			})
		case threeTiles:
			for i := range 8 {
				b, bText := tile(i)
				a, aText := tile(i + 3)
				c, cText := tile(i + 5)
				f(o, []operand.Op{b, a, c}, fmt.Sprintf("%s %s,%s,%s", name, cText, aText, bText))
			}
		case threeVectors:
			for i := range 32 {
				a, c := (i+7)%32, (i+19)%32
				f(o, []operand.Op{vectors[i], vectors[a], vectors[c]}, fmt.Sprintf("%s zmm%d,zmm%d,zmm%d", name, c, a, i))
			}
		}
	}
}

func displacement(d int) string {
	if d < 0 {
		return fmt.Sprintf("-%#x", -d)
	}
	return fmt.Sprintf("+%#x", d)
}

// TestObjdump decodes every row with binutils, which every machine with a C
// compiler has.
func TestObjdump(t *testing.T) {
	objdump := "x86_64-linux-gnu-objdump"
	if _, err := exec.LookPath(objdump); err != nil {
		objdump = "objdump"
	}
	if out, err := exec.Command(objdump, "-i").Output(); err != nil || !strings.Contains(string(out), "i386") {
		t.Skip("needs binutils for x86-64")
	}
	var code []byte
	var want []string
	samples(func(o op, operands []operand.Op, text string) {
		code = append(code, o.encode(operands)...)
		want = append(want, text)
	})
	file := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(file, code, 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--insn-width=16", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if fields := strings.SplitN(strings.TrimSpace(line), "\t", 3); len(fields) == 3 {
			got = append(got, strings.ReplaceAll(strings.Join(strings.Fields(fields[2]), " "), "+riz*1", "")) // as it calls no index
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d instructions, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}
