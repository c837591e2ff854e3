package arm64

import (
	"regexp"
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/printer"

	"github.com/contrastive-go/contrastive/internal/tile"
)

// TestOverhead counts the instructions of the inner loops of the matrix product:
// besides multiplications, which no loop can do without, there are at most a tenth
// as many others.
func TestOverhead(t *testing.T) {
	f := NewFile(printer.Config{Name: "test", Pkg: "asm"})
	f.Asm("NEON", tile.NEON).Tiles()
	asm, _, err := f.Print()
	if err != nil {
		t.Fatal(err)
	}
	instruction := regexp.MustCompile(`(?m)^\t[A-Z]`)
	loops := map[string]string{"MulPanel12NEON": "block", "MulBlocks8NEON": "blocks"}
	for name, label := range loops {
		_, body, _ := strings.Cut(string(asm), "TEXT ·"+name+"(SB)")
		_, loop, found := strings.Cut(body, "\n"+label+":\n")
		loop, _, closed := strings.Cut(loop, "BHS "+label+"\n")
		if !found || !closed || strings.Contains(loop, ":\n") {
			t.Fatalf("%s: no loop %s", name, label)
		}
		all, products := len(instruction.FindAllString(loop, -1))+1, strings.Count(loop, "// VFMLA")
		t.Logf("%s: %d instructions for %d vector multiplications, %.3f each", name, all, products, float64(all)/float64(products))
		if products == 0 || float64(all) > 1.1*float64(products) {
			t.Errorf("%s: %d instructions for %d vector multiplications", name, all, products)
		}
	}
}
