package bench

import (
	"sync"
	"time"

	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/simd"
)

// Sizes are the batches that are compared.
var Sizes = []struct{ N, D int }{
	{32, 128}, {100, 64}, {256, 128}, {512, 768}, {1024, 128}, {1024, 768}, {2048, 384}, {4096, 128}, {4096, 512}, {4096, 768},
}

// Peak returns the floating-point operations a second of one core, measured once:
// the best of many runs of the matrix kernel of the best level on operands in the
// first-level cache, where loads and stores hide behind multiplications. That is
// within a few percent of what the multipliers can do.
var Peak = sync.OnceValue(func() float64 {
	defer simd.SetLevel(simd.Level())
	levels := simd.Levels()
	best := 0.0
	for _, l := range levels {
		if err := simd.SetLevel(l); err != nil {
			continue
		}
		k := kernel.Active()
		const blocks = 4
		a := make([]float32, blocks*k.Rows*k.Cols)
		b := make([]float32, blocks*k.Cols*k.Cols)
		c := make([]float32, k.Rows*k.Cols)
		const calls, tries = 2000, 50
		for range tries {
			start := time.Now()
			for range calls {
				k.MulBlocks(c, k.Cols, a, k.Rows*k.Cols, b, k.Cols*k.Cols, k.Rows, blocks, k.Cols, true)
			}
			flops := 2 * calls * blocks * float64(k.Rows*k.Cols*k.Cols)
			best = max(best, flops/time.Since(start).Seconds())
		}
	}
	return best
})
