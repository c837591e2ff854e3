package contrastive_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
)

// allocated returns the bytes that f allocates.
func allocated(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc - before.TotalAlloc)
}

// shardsOf returns a batch of n rows on each of a number of ranks.
func shardsOf(ranks, n, d int) shardTrial {
	r := rand.New(rand.NewPCG(57, uint64(ranks)))
	c := shardTrial{Trial: losstest.Trial{Batch: contrastive.Batch{Query: losstest.Normal(r, ranks*n, d), Key: losstest.Normal(r, ranks*n, d)}}}
	for range ranks {
		c.rows = append(c.rows, n)
	}
	return c
}

// TestShardedMemory asks that what a rank allocates in a ring does not grow with
// the number of ranks, and gathered does by what it says; and that an evaluation
// finds its memory in the pools.
func TestShardedMemory(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("takes 10¹¹ operations, and the race detector allocates")
	}
	const n, d = 128, 96
	for _, loss := range [...]contrastive.Loss{
		contrastive.InfoNCE{Options: options{Workers: 1}}, contrastive.CLIP{Options: options{Workers: 1}},
		contrastive.NTXent{Options: options{Workers: 1}}, contrastive.SigLIP{Options: options{Workers: 1}},
		contrastive.SupCon{Options: options{Workers: 1}},
		contrastive.InfoNCE{InBatch: true, Filter: contrastive.AbsoluteMargin, Options: options{Workers: 1}},
	} {
		measure := func(ranks int, ring bool) (first, later float64) {
			c := shardsOf(ranks, n, d)
			if l, ok := loss.(contrastive.InfoNCE); ok && l.Filter != contrastive.NoFilter { // and all that it takes
				b := &c.Batch
				for i := range ranks * n {
					b.Positives = append(b.Positives, []int{i, (i + n) % (ranks * n)})
					b.Labels = append(b.Labels, i%9)
				}
				b.Hard, b.KeyLogQ = losstest.Normal(rand.New(rand.NewPCG(57, 1)), ranks*n, d), make([]float32, ranks*n)
				b.Weights = slices.Repeat([]float32{2}, ranks*n)
			}
			g := losstest.Destinations(c.Batch)
			runtime.GC()
			runtime.GC() // pools keep what they have for one collection
			evaluate := func() { c.evalSharded(t, loss, ring, g) }
			first = allocated(evaluate) / float64(ranks)
			later = allocated(evaluate)
			for range 3 {
				later = min(later, allocated(evaluate)) // a collection may come in between
			}
			return first, later / float64(ranks)
		}
		few, _ := measure(2, true)
		many, later := measure(8, true)
		gathered, _ := measure(8, false)
		t.Logf("%T: bytes a rank: %.0f in a ring of 2, %.0f of 8, later %.0f; %.0f gathered by 8", loss, few, many, later, gathered)
		if many > 1.05*few {
			t.Errorf("%T: a rank allocates %.0f bytes in a ring of 8, and %.0f in one of 2", loss, many, few)
		}
		// The keys of 8 ranks, twice in the layouts of the kernels besides.
		if floor := 3 * 4 * 8 * n * d; gathered < float64(floor) {
			t.Errorf("%T: a rank allocates %.0f bytes for what takes %d", loss, gathered, floor)
		}
		if later > 32<<10 {
			t.Errorf("%T: a rank allocates %.0f bytes in a later evaluation", loss, later)
		}
	}
}
