package adapter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive"
)

// large returns pairs of vectors of as many elements as those of common models.
func large(pairs int) Data {
	rng := rand.New(rand.NewPCG(1, 2))
	m := [2]contrastive.Matrix{contrastive.NewMatrix(pairs, 768), contrastive.NewMatrix(pairs, 768)}
	for i := range m[0].Data { // sums of uniform numbers: what they are is no matter
		v := rng.Float32() + rng.Float32() - 1
		m[0].Data[i], m[1].Data[i] = v, v+rng.Float32()-0.5
	}
	return Data{Queries: m[0], Documents: m[1]}
}

// BenchmarkEpoch is one over 100,000 pairs of 768 dimensions in batches of 1,024, without
// validation.
func BenchmarkEpoch(b *testing.B) {
	d := large(100_000).withKeys()
	for _, workers := range []int{1, 0} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			t, err := newTrainer(d, Config{BatchSize: 1024, ValidationShare: -1, Workers: workers}.withDefaults(768))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				begun := time.Now()
				t.sampler.begin(0)
				for range t.steps {
					if err := t.train(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(time.Since(begun).Seconds()/float64(t.steps)*1e3, "ms/step")
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	x := large(1).Queries.Row(0)
	for kind := range Kind(len(kinds)) {
		b.Run(kind.String(), func(b *testing.B) {
			c := Config{Kind: kind}.withDefaults(768)
			a := newAdapter(kind, Queries, 768, c.width(), 1)
			randomize(a, 1)
			y := make([]float32, 768)
			for b.Loop() {
				if err := a.Query.Apply(y, x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("linear matrix", func(b *testing.B) {
		a := newAdapter(Linear, Queries, 768, 0, 1)
		randomize(a, 1)
		x := large(rowsAtOnce).Queries
		y := contrastive.NewMatrix(x.Rows, x.Cols)
		for b.Loop() {
			if err := a.Query.ApplyMatrix(y, x); err != nil {
				b.Fatal(err)
			}
		}
		flops := 2 * float64(x.Rows) * 768 * 768
		b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
}
