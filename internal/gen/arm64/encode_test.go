package arm64

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"
)

// samples calls f with every register in every operand of every row.
func samples(f func(o op, m, n, d V)) {
	for _, o := range ops {
		for i := range V(32) {
			f(o, i, (i+7)%32, (i+19)%32)
		}
	}
}

// gnu returns the instruction as GNU tools write it.
func (o op) gnu(m, n, d V) string {
	text := strings.ToLower(o.name) + " " + gnuOperand(d, o.d) + ", " + gnuOperand(n, o.n)
	if o.m != none {
		text += ", " + gnuOperand(m, o.m)
	}
	return text
}

func gnuOperand(v V, a arrangement) string {
	if a == f32 {
		return fmt.Sprintf("s%d", v)
	}
	if a[1] == '[' {
		return strings.ToLower(fmt.Sprintf("v%d.%s", v, a))
	}
	return fmt.Sprintf("v%d.%c%c", v, a[1], a[0]+'a'-'A')
}

func normal(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// TestDisassemble decodes every row with the Go project's disassembler.
func TestDisassemble(t *testing.T) {
	samples(func(o op, m, n, d V) {
		var word [4]byte
		binary.LittleEndian.PutUint32(word[:], o.encode(m, n, d))
		inst, err := arm64asm.Decode(word[:])
		if err != nil {
			t.Errorf("%s: %x: %v", o.name, word, err)
			return
		}
		if got, want := normal(arm64asm.GNUSyntax(inst)), o.gnu(m, n, d); got != want {
			t.Errorf("%s: %x is %q, want %q", o.name, word, got, want)
		}
	})
}

// TestObjdump decodes every row with binutils, where they are installed.
func TestObjdump(t *testing.T) {
	objdump, err := exec.LookPath("aarch64-linux-gnu-objdump")
	if err != nil {
		t.Skip("needs aarch64-linux-gnu-objdump")
	}
	var code bytes.Buffer
	var want []string
	samples(func(o op, m, n, d V) {
		binary.Write(&code, binary.LittleEndian, o.encode(m, n, d))
		want = append(want, o.gnu(m, n, d))
	})
	file := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(file, code.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-D", "-b", "binary", "-m", "aarch64", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if fields := strings.SplitN(strings.TrimSpace(line), "\t", 3); len(fields) == 3 {
			got = append(got, normal(fields[2]))
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
