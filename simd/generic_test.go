package simd

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive/internal/exp"
	"github.com/contrastive-go/contrastive/internal/wide"
)

// TestGenericBits checks that the generic kernels give the same bits on every
// architecture: those of the machine where this test was written, an amd64.
func TestGenericBits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	h := fnv.New64a()
	add := func(v float32) { binary.Write(h, binary.LittleEndian, math.Float32bits(v)) }
	for n := range 300 {
		x, y := make([]float32, n), make([]float32, n)
		for i := range x {
			x[i] = float32(int32(r.Uint32())) * 0x1p-31
			y[i] = float32(int32(r.Uint32())) * 0x1p-31
		}
		add(dotGeneric(x, y))
		add(float32(wide.Dot(x, y)))
		axpyGeneric(0.7, x, y)
		lerpGeneric(y, x, 0.3)
		add(expSumStoreGeneric(x, y, 20, 3))
		for i := range x {
			add(x[i])
			add(exp.Exp2(y[i] * 100))
		}
	}
	if got, want := h.Sum64(), uint64(0x4889d73acc786fc7); got != want {
		t.Errorf("hash of results is %#x, want %#x", got, want)
	}
}
