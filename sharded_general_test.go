package contrastive_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/internal/ref"
	"github.com/contrastive-go/contrastive/internal/ref/draw"
)

// A shardedTrial is a loss on a batch of any kind that is spread over ranks.
type shardedTrial struct {
	generalTrial
	shards shardTrial
}

// newShardedTrial spreads a batch over as many ranks as it can be, up to the given number.
func newShardedTrial(t testing.TB, r *rand.Rand, ranks int, l ref.Loss, b ref.Batch) shardedTrial {
	ranks = min(ranks, len(b.Query))
	for _, m := range [...][][]float64{b.Key, b.Negatives} {
		if m != nil {
			ranks = min(ranks, len(m))
		}
	}
	c := shardedTrial{generalTrial: newGeneralTrial(t, "", l, b)}
	for k := range c.parts {
		c.parts[k].ranks = ranks
	}
	c.shards = shardTrial{Trial: losstest.Trial{Batch: c.batch}, rows: split(r, len(b.Query), ranks)}
	part := l
	for m, ok := part.(ref.Matryoshka); ok; m, ok = part.(ref.Matryoshka) {
		part = m.Loss
	}
	if _, ok := part.(ref.Sum); b.Positives != nil && !ok { // whose parts may need pairs
		c.shards.keys = split(r, len(b.Key), ranks)
	}
	if b.Negatives != nil {
		c.shards.negatives = split(r, len(b.Negatives), ranks)
	}
	c.name = fmt.Sprintf("%d ranks %v", ranks, c.shards.rows)
	c.shards.Name = c.name
	return c
}

// run compares evaluations with the oracle and with one process, and reports whether it
// could.
func (c shardedTrial) run(t *testing.T) bool {
	t.Helper()
	s, ok := newBounds(c.parts, c.batch, c.precision)
	if !ok {
		return false
	}
	l := lossOf(c.loss, options{Precision: c.precision})
	single := c.destinations()
	one := losstest.Eval(t, c.name, l, c.batch, single)
	name := c.name
	for _, way := range shardWays {
		g := c.destinations()
		c.name = name + " " + way.name
		c.shards.Name = c.name
		got := c.shards.evalSharded(t, l, way.ring, g)
		c.check(t, s, got, g)
		losstest.Within(t, c.name+": Loss and that of one process", got.Loss, one.Loss, 2*s.loss)
		losstest.Within(t, c.name+": TemperatureGrad and that of one process", got.TemperatureGrad, one.TemperatureGrad, 2*s.temperature)
		for i, loss := range g.Losses {
			losstest.Within(t, fmt.Sprintf("%s: loss of query %d and that of one process", c.name, i), loss, single.Losses[i], 2*s.losses[i])
		}
	}
	return true
}

// TestShardedGeneral compares sharded losses with package ref and with one process, on
// batches of all kinds, drawn at random and spread at random over up to four ranks, at all
// precisions.
func TestShardedGeneral(t *testing.T) {
	r := rand.New(rand.NewPCG(64, 1))
	var ts []shardedTrial
	trials := 800
	if testing.Short() || race.Enabled {
		trials = 200
	}
	for k := range trials {
		limit := [...]int{6, 20, 40, 100}[k%4]
		d := draw.New(r, limit, limit)
		c := newShardedTrial(t, r, 1+k%4, d.Loss, d.Batch)
		c.precision = [...]contrastive.Precision{contrastive.Highest, contrastive.Highest, contrastive.High, contrastive.Medium}[k/4%4]
		c.name += fmt.Sprintf(" precision %v %v", c.precision, d)
		ts = append(ts, c)
	}
	runMost(t, ts)
}

// TestShardedGeneralBits asks for the same bits in every run, with any number of workers and
// any subset of the gradients.
func TestShardedGeneralBits(t *testing.T) {
	r := rand.New(rand.NewPCG(65, 1))
	trials := 60
	if testing.Short() || race.Enabled {
		trials = 20
	}
	for k := range trials {
		d := draw.New(r, 70, 40)
		c := newShardedTrial(t, r, 1+k%4, d.Loss, d.Batch)
		for _, way := range shardWays {
			c.shards.Name = fmt.Sprintf("%v %s %v", c.shards.rows, way.name, d)
			want := c.destinations()
			first := c.shards.evalSharded(t, lossOf(d.Loss, options{Workers: 1}), way.ring, want)
			for subset, workers := range [...]int{3, 1, 2, 5} {
				g := c.destinations()
				for i, m := range [...]*contrastive.Matrix{&g.Query, &g.Key, &g.Negatives, &g.Hard} {
					if subset > 0 && (i+subset)%3 == 0 {
						*m = contrastive.Matrix{}
					}
				}
				got := c.shards.evalSharded(t, lossOf(d.Loss, options{Workers: workers}), way.ring, g)
				if got != first {
					t.Errorf("%s: %d workers: %+v, want %+v", c.shards.Name, workers, got, first)
				}
				for i, m := range losstest.Outputs(g) {
					if m.Data != nil && !losstest.SameBits(m, losstest.Outputs(want)[i]) {
						t.Errorf("%s: %d workers: gradient %d differs", c.shards.Name, workers, i)
					}
				}
				if !slices.Equal(g.Losses, want.Losses) {
					t.Errorf("%s: %d workers: Losses differ", c.shards.Name, workers)
				}
			}
		}
	}
}
