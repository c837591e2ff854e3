package contrastive_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// BenchmarkBatches times InfoNCE with all gradients of a batch with something more, in
// turn with the same without it, and reports the ratio of the medians as x.
func BenchmarkBatches(b *testing.B) {
	const n, d = 1024, 128
	r := rand.New(rand.NewPCG(1, 2))
	plain := contrastive.Batch{Query: losstest.Normal(r, n, d), Key: losstest.Normal(r, n, d)}
	for _, c := range []struct {
		name string
		loss contrastive.InfoNCE
		with func(b *contrastive.Batch)
	}{
		{"hard=7", contrastive.InfoNCE{InBatch: true}, func(b *contrastive.Batch) { b.Hard = losstest.Normal(r, 7*n, d) }},
		{"positives=4", contrastive.InfoNCE{}, func(b *contrastive.Batch) {
			for i := range n {
				b.Positives = append(b.Positives, []int{i, (i + 1) % n, (i + 2) % n, (i + 3) % n})
			}
		}},
		{"filter=own", contrastive.InfoNCE{Filter: contrastive.AbsoluteMargin, FilterMargin: 0.1}, func(*contrastive.Batch) {}},
		{"filter=guide", contrastive.InfoNCE{Filter: contrastive.AbsoluteMargin, FilterMargin: 0.1}, func(b *contrastive.Batch) {
			b.GuideQuery, b.GuideKey = losstest.Normal(r, n, d), losstest.Normal(r, n, d)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			batch := plain
			c.with(&batch)
			losses := [2]contrastive.InfoNCE{{}, c.loss}
			batches, times := [2]contrastive.Batch{plain, batch}, [2][]time.Duration{}
			gradients := [2]contrastive.Gradients{losstest.Destinations(plain), losstest.Destinations(batch)}
			for b.Loop() {
				for i, loss := range losses {
					loss.Workers = 1
					start := time.Now()
					if _, err := loss.Eval(batches[i], gradients[i]); err != nil {
						b.Fatal(err)
					}
					times[i] = append(times[i], time.Since(start))
				}
			}
			for _, t := range times {
				slices.Sort(t)
			}
			b.ReportMetric(float64(times[1][len(times[1])/2])/float64(times[0][len(times[0])/2]), "x")
		})
	}
}
