package bench

import (
	"sync"
	"time"

	"github.com/contrastive-go/contrastive/simd"
)

// Sizes are the batches that are compared.
var Sizes = []struct{ N, D int }{{32, 128}, {256, 128}, {1024, 128}, {4096, 128}, {4096, 512}, {4096, 768}}

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
		s := simd.TileShape()
		const blocks = 4
		a := make([]float32, blocks*s.Rows*s.Cols)
		b := make([]float32, blocks*s.Cols*s.Cols)
		c := make([]float32, s.Rows*s.Cols)
		const calls, tries = 2000, 50
		for range tries {
			start := time.Now()
			for range calls {
				simd.MulBlocks(c, s.Cols, a, s.Rows*s.Cols, b, s.Cols*s.Cols, s.Rows, blocks, s.Cols, true)
			}
			flops := 2 * calls * blocks * float64(s.Rows*s.Cols*s.Cols)
			best = max(best, flops/time.Since(start).Seconds())
		}
	}
	return best
})
