package amd64

import (
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/printer"

	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/tile"
)

// TestRegisters writes functions that have 16 and 17 vectors in use at once: the second is
// an error for AVX2, and none for AVX-512.
func TestRegisters(t *testing.T) {
	for _, c := range []struct {
		level   isa.Level
		shape   tile.Shape
		vectors int
		wrong   bool
	}{
		{isa.AVX2, tile.AVX2, 16, false},
		{isa.AVX2, tile.AVX2, 17, true},
		{isa.AVX512, tile.AVX512, 17, false},
	} {
		f := NewFile(printer.Config{Name: "test", Pkg: "asm"})
		a := f.Asm(c.level.Suffix(), c.shape)
		a.Begin("Live", "func(p *float32)", "has vectors in use.")
		p := a.Pointer("p")
		v := make([]any, c.vectors)
		for i := range v {
			v[i] = a.Vec()
			a.Move(a.At(p, i), v[i])
		}
		for i := range v {
			a.Store(v[i], a.At(p, i))
		}
		a.End()
		_, _, err := f.Print()
		if wrong := err != nil; wrong != c.wrong {
			t.Errorf("%d vectors of %v: error %v", c.vectors, c.level, err)
		}
		if err != nil && !strings.Contains(err.Error(), "LiveAVX2") {
			t.Errorf("error %q does not name the function", err)
		}
	}
}
