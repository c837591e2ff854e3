package arm64

import (
	"slices"
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/printer"

	"github.com/contrastive-go/contrastive/internal/tile"
)

// allocated returns the lines of a function that body writes.
func allocated(body func(k Kernel)) []string {
	k := NewFile(printer.Config{Name: "test", Pkg: "asm"}).Asm("NEON", tile.NEON).Kernel
	k.Begin("F", "func()", "")
	body(k)
	var lines []string
	for _, i := range k.fn.allocate() {
		lines = append(lines, strings.TrimSpace(i.text))
	}
	return lines
}

// TestAllocate checks that registers are free again after they are read last, but not
// in a loop that reads them again, and that vectors in a row stay so.
func TestAllocate(t *testing.T) {
	got := allocated(func(k Kernel) {
		once, old := k.Vec(), k.Vec()
		k.VMOV(once, old)
		k.Label("loop")
		sum := k.Vec()
		k.VADD(old, old, sum)
		k.VMOV(sum, k.Vec())
		k.B("loop")
		row, last := k.Vecs(2), k.Vec()
		k.VMOV(row[1], last)
		k.VMOV(row[0], row[1])
		k.Word(fadd, last, row[1], row[1])
	})
	want := []string{
		"VMOV V0.B16, V0.B16",
		"loop:",
		"VADD V0.S4, V0.S4, V1.S4",
		"VMOV V1.B16, V1.B16", // V0 is added again by the next pass
		"B loop",
		"VMOV V1.B16, V2.B16",
		"VMOV V0.B16, V1.B16",
		"WORD $0x4e22d421 // VFADD V2.S4, V1.S4, V1.S4",
	}
	if !slices.Equal(got, want) {
		t.Errorf("instructions\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestTooManyRegisters needs one register more than there are.
func TestTooManyRegisters(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("33 vectors have found a register each")
		}
	}()
	allocated(func(k Kernel) {
		var v []V
		for range vectorRegisters + 1 {
			v = append(v, k.Vec())
		}
		for _, x := range slices.Concat(v, v) {
			k.VMOV(x, x)
		}
	})
}
