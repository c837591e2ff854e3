package contrastive_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
)

// A shardTrial is a batch and how many rows of it each rank has.
type shardTrial struct {
	losstest.Trial
	rows      []int // of Query
	keys      []int // of Key, nil for those of Query
	negatives []int
}

// split returns sizes of parts that add up to n, in no order of size.
func split(r *rand.Rand, n, parts int) []int {
	sizes := make([]int, parts)
	for i := range sizes {
		sizes[i] = 1
	}
	for range n - parts {
		i := r.IntN(parts)
		sizes[min(i, r.IntN(parts))]++
	}
	return sizes
}

// shards returns the batches and destinations of the ranks.
func (c shardTrial) shards(g contrastive.Gradients) ([]contrastive.Batch, []contrastive.Gradients) {
	var bs []contrastive.Batch
	var gs []contrastive.Gradients
	keys, all, slice := c.keys, c.Batch, losstest.Slice
	if keys == nil {
		keys = c.rows
	}
	first, firstKey, firstNegative, firstHard := 0, 0, 0, 0
	for i, n := range c.rows {
		end, endKey, endNegative, endHard := first+n, firstKey+keys[i], firstNegative, firstHard
		if c.negatives != nil {
			endNegative += c.negatives[i]
		}
		for q := first; q < end; q++ {
			if all.HardCounts != nil {
				endHard += all.HardCounts[q]
			} else {
				endHard += all.Hard.Rows / all.Query.Rows
			}
		}
		b := contrastive.Batch{
			Query: slice(all.Query, first, end), Key: slice(all.Key, firstKey, endKey), Queue: all.Queue,
			Positives: some(all.Positives, first, end), PositiveWeights: some(all.PositiveWeights, first, end), Exclude: some(all.Exclude, first, end),
			HardCounts: some(all.HardCounts, first, end), Weights: some(all.Weights, first, end),
			Labels: some(all.Labels, first, end), KeyLabels: some(all.KeyLabels, firstKey, endKey), KeyLogQ: some(all.KeyLogQ, firstKey, endKey),
			GuideQuery: slice(all.GuideQuery, first, end), GuideKey: slice(all.GuideKey, firstKey, endKey),
		}
		d := contrastive.Gradients{Query: slice(g.Query, first, end), Key: slice(g.Key, firstKey, endKey), Losses: some(g.Losses, first, end), Accumulate: g.Accumulate}
		if endHard > firstHard {
			b.Hard, d.Hard = slice(all.Hard, firstHard, endHard), slice(g.Hard, firstHard, endHard)
		}
		if c.negatives != nil {
			b.Negatives, d.Negatives = slice(all.Negatives, firstNegative, endNegative), slice(g.Negatives, firstNegative, endNegative)
			b.NegativeLabels, b.NegativeLogQ = some(all.NegativeLabels, firstNegative, endNegative), some(all.NegativeLogQ, firstNegative, endNegative)
			b.GuideNegatives = slice(all.GuideNegatives, firstNegative, endNegative)
		}
		bs, gs = append(bs, b), append(gs, d)
		first, firstKey, firstNegative, firstHard = end, endKey, endNegative, endHard
	}
	return bs, gs
}

// some returns elements first to end-1 of s, if it is given.
func some[T any](s []T, first, end int) []T {
	if s == nil {
		return nil
	}
	return s[first:end]
}

// onRanks calls f for all ranks of a group at the same time. It panics, with the
// stacks of all, if they wait for each other.
func onRanks(group []contrastive.Collective, f func(rank int, c contrastive.Collective)) {
	var wg sync.WaitGroup
	for r, c := range group {
		wg.Go(func() { f(r, c) })
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute): // and not the ten of the whole test
		debug.SetTraceback("all")
		panic("the ranks wait for each other")
	}
}

// evalSharded evaluates without an error and returns the result, which it asks to
// be the same on all ranks.
func (c shardTrial) evalSharded(t *testing.T, loss contrastive.Loss, ring bool, g contrastive.Gradients) contrastive.Result {
	t.Helper()
	bs, gs := c.shards(g)
	results := make([]contrastive.Result, len(bs))
	errs := make([]error, len(bs))
	onRanks(contrastive.NewLocalGroup(len(bs)), func(r int, group contrastive.Collective) {
		s := contrastive.Sharded{Loss: loss, Collective: group, Ring: ring}
		results[r], errs[r] = s.Eval(t.Context(), bs[r], gs[r])
	})
	for r := range results {
		if errs[r] != nil {
			t.Fatalf("%s: rank %d: %v", c.Name, r, errs[r])
		}
		if results[r] != results[0] {
			t.Errorf("%s: rank %d has %+v, rank 0 has %+v", c.Name, r, results[r], results[0])
		}
	}
	return results[0]
}

var shardWays = [...]struct {
	name string
	ring bool
}{{"gathered", false}, {"ring", true}}

// shardTrials returns batches of all kinds on 1 to 7 ranks.
func shardTrials(t *testing.T, v losstest.Variant, seed uint64) []shardTrial {
	r := rand.New(rand.NewPCG(51, seed))
	var fitting []losstest.Extra
	for _, e := range losstest.Extras {
		if e.Fits(v) {
			fitting = append(fitting, e)
		}
	}
	kinds := losstest.RowKinds
	if v.Columns {
		kinds = losstest.ColumnKinds
	}
	var ts []shardTrial
	c := 0
	for _, ranks := range [...]int{1, 2, 3, 4, 7} {
		for _, e := range fitting {
			for _, shape := range [...]struct{ n, d int }{{7, 6}, {40 + 13*ranks, 1 + 11*ranks}} {
				k, tau := kinds[c%len(kinds)], losstest.Temperatures[c%len(losstest.Temperatures)]
				c++
				b := contrastive.Batch{Query: losstest.Normal(r, shape.n, shape.d), Key: losstest.Normal(r, shape.n, shape.d)}
				k.Make(r, b)
				e.Add(t, r, &b)
				if b.Negatives.Rows > 0 && b.Negatives.Rows < ranks {
					continue
				}
				rows := split(r, shape.n, ranks)
				name := fmt.Sprintf("%d ranks %v D=%d %s %s", ranks, rows, shape.d, k.Name, e.Name)
				x := shardTrial{Trial: losstest.NewTrial(v, name, tau, -2, b), rows: rows}
				if b.Negatives.Rows > 0 {
					x.negatives = split(r, b.Negatives.Rows, ranks)
				}
				ts = append(ts, x)
			}
		}
	}
	return ts
}

func (c shardTrial) accuracy() losstest.Accuracy {
	return losstest.NewAccuracy(c.Variant, c.Batch, c.Tau, c.Bias, 0).Sharded(len(c.rows))
}

// TestSharded compares sharded losses with package ref and with one process.
func TestSharded(t *testing.T) {
	for k, v := range losstest.Variants {
		if !v.Sharded() {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			ts := shardTrials(t, v, uint64(k))
			isatest.Each(t, func(t *testing.T) {
				for _, c := range ts {
					// The race detector sees all it can in small batches.
					if !race.Enabled || c.Batch.Query.Rows < 10 {
						c.runSharded(t)
					}
				}
			})
		})
	}
}

func (c shardTrial) runSharded(t *testing.T) {
	t.Helper()
	loss := c.Variant.Make(c.Tau, c.Bias, options{Workers: 1})
	single := c.Variant.Destinations(c.Batch)
	one := losstest.Eval(t, c.Name, loss, c.Batch, single)
	a := c.accuracy()
	for _, way := range shardWays {
		g := c.Variant.Destinations(c.Batch)
		name := c.Name + " " + way.name
		got := c.evalSharded(t, loss, way.ring, g)
		a.Check(t, name, c.Batch, got, g, c.Want)
		compareWithOne(t, name, a, c, got, one, g, single)
	}
}

// compareWithOne asks that two evaluations differ by no more than the errors of both.
func compareWithOne(t *testing.T, name string, a losstest.Accuracy, c shardTrial, got, one contrastive.Result, g, single contrastive.Gradients) {
	t.Helper()
	want := c.Want
	want.Loss, want.TemperatureGrad, want.BiasGrad = one.Loss, one.TemperatureGrad, one.BiasGrad
	want.PositiveCosine, want.NegativeCosine = one.PositiveCosine, one.NegativeCosine
	want.Query, want.Key, want.Negatives, want.Hard = losstest.RowsOf(single.Query), losstest.RowsOf(single.Key), losstest.RowsOf(single.Negatives), losstest.RowsOf(single.Hard)
	want.Losses = single.Losses
	a.Logit, a.Length, a.Positive = 2*a.Logit, 2*a.Length, 2*a.Positive
	want.NegativeShare /= 2
	a.Check(t, name+" and one process", c.Batch, got, g, want)
}

// TestShardedBits asks for the same bits in every run, with any number of workers
// and any subset of the gradients.
func TestShardedBits(t *testing.T) {
	for k, v := range losstest.Variants {
		if !v.Sharded() {
			continue
		}
		r := rand.New(rand.NewPCG(52, uint64(k)))
		const n, d = 150, 33
		b := contrastive.Batch{Query: losstest.Normal(r, n, d), Key: losstest.Normal(r, n, d), Labels: losstest.Labels(r, n)}
		if !v.Labels {
			b.Labels = nil
		}
		c := shardTrial{Trial: losstest.Trial{Name: v.Name, Variant: v, Batch: b}, rows: []int{31, 70, 2, 47}}
		if v.Negatives {
			c.Batch.Negatives, c.negatives = losstest.Normal(r, 60, d), []int{20, 1, 30, 9}
		}
		for _, way := range shardWays {
			for _, tau := range [...]float32{0.1, 0.01} {
				want := losstest.Destinations(c.Batch)
				first := c.evalSharded(t, v.Make(tau, -1, options{Workers: 1}), way.ring, want)
				for _, workers := range [...]int{1, 2, 5} {
					g := losstest.Destinations(c.Batch)
					got := c.evalSharded(t, v.Make(tau, -1, options{Workers: workers}), way.ring, g)
					if got != first || !losstest.SameBits(g.Query, want.Query) || !losstest.SameBits(g.Key, want.Key) || !losstest.SameBits(g.Negatives, want.Negatives) {
						t.Errorf("%s %s τ=%v: %d workers: %+v, want %+v, or gradients differ", v.Name, way.name, tau, workers, got, first)
					}
				}
				for subset := range 7 {
					g := losstest.Destinations(c.Batch)
					for i, m := range [...]*contrastive.Matrix{&g.Query, &g.Key, &g.Negatives} {
						if subset>>i&1 == 0 {
							*m = contrastive.Matrix{}
						}
					}
					if c.negatives == nil && subset >= 4 {
						continue
					}
					got := c.evalSharded(t, v.Make(tau, -1, options{}), way.ring, g)
					if got != first {
						t.Errorf("%s %s τ=%v subset %03b: %+v, want %+v", v.Name, way.name, tau, subset, got, first)
					}
					for i, m := range [...][2]contrastive.Matrix{{g.Query, want.Query}, {g.Key, want.Key}, {g.Negatives, want.Negatives}} {
						if subset>>i&1 == 1 && !losstest.SameBits(m[0], m[1]) {
							t.Errorf("%s %s τ=%v subset %03b: gradient %d differs", v.Name, way.name, tau, subset, i)
						}
					}
				}
			}
		}
	}
}

// TestShardedWants has every rank want other gradients: they must be the same bits
// as if all were wanted by all.
func TestShardedWants(t *testing.T) {
	for k, v := range losstest.Variants {
		if !v.Sharded() {
			continue
		}
		r := rand.New(rand.NewPCG(58, uint64(k)))
		c := shardTrial{Trial: losstest.Trial{Name: v.Name, Variant: v, Batch: contrastive.Batch{Query: losstest.Normal(r, 90, 21), Key: losstest.Normal(r, 90, 21)}}}
		c.rows = []int{20, 1, 9, 30, 13, 10, 7}
		if v.Negatives {
			c.Batch.Negatives, c.negatives = losstest.Normal(r, 40, 21), []int{3, 7, 5, 4, 9, 10, 2}
		}
		loss := v.Make(0.1, -1, options{})
		for _, way := range shardWays {
			all := losstest.Destinations(c.Batch)
			want := c.evalSharded(t, loss, way.ring, all)
			bs, gs := c.shards(losstest.Destinations(c.Batch))
			_, wanted := c.shards(all)
			for r := range bs {
				for i, m := range [...]*contrastive.Matrix{&gs[r].Query, &gs[r].Key, &gs[r].Negatives} {
					if r>>i&1 == 0 {
						*m = contrastive.Matrix{}
					}
				}
			}
			results := make([]contrastive.Result, len(bs))
			onRanks(contrastive.NewLocalGroup(len(bs)), func(r int, group contrastive.Collective) {
				var err error
				if results[r], err = (contrastive.Sharded{Loss: loss, Collective: group, Ring: way.ring}).Eval(t.Context(), bs[r], gs[r]); err != nil {
					t.Errorf("%s %s: rank %d: %v", v.Name, way.name, r, err)
				}
			})
			for r := range bs {
				if results[r] != want {
					t.Errorf("%s %s: rank %d has %+v, want %+v", v.Name, way.name, r, results[r], want)
				}
				for i, m := range [...][2]contrastive.Matrix{{gs[r].Query, wanted[r].Query}, {gs[r].Key, wanted[r].Key}, {gs[r].Negatives, wanted[r].Negatives}} {
					for row := range m[0].Rows {
						if !slices.Equal(m[0].Row(row), m[1].Row(row)) {
							t.Errorf("%s %s: rank %d: gradient %d differs in row %d", v.Name, way.name, r, i, row)
							break
						}
					}
				}
			}
		}
	}
}

// TestShardedUnusedLabels gives labels to losses to which they mean nothing.
func TestShardedUnusedLabels(t *testing.T) {
	for _, v := range losstest.Variants {
		if !v.Sharded() || v.Labels {
			continue
		}
		b, g := goodCall(v)
		b.Labels = []int{0, 1, 2, 3, 0, 1}
		sharded := contrastive.Sharded{Loss: v.Make(0.1, 0, options{}), Collective: contrastive.NewLocalGroup(1)[0]}
		if _, err := sharded.Eval(t.Context(), b, g); !errors.Is(err, contrastive.ErrUnused) || !strings.Contains(err.Error(), "Labels") {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}
