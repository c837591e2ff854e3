package contrastive_test

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
)

// A shardTrial is a batch and how many rows of it each rank has.
type shardTrial struct {
	trial
	rows      []int
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

// slice returns rows first to end-1 of m, sharing its storage; of a zero Matrix,
// none.
func slice(m contrastive.Matrix, first, end int) contrastive.Matrix {
	if m.Data == nil {
		return m
	}
	return m.Slice(first, end)
}

// shards returns the batches and destinations of the ranks.
func (c shardTrial) shards(g contrastive.Gradients) ([]contrastive.Batch, []contrastive.Gradients) {
	var bs []contrastive.Batch
	var gs []contrastive.Gradients
	first, firstNegative := 0, 0
	for i, n := range c.rows {
		end, endNegative := first+n, firstNegative
		if c.negatives != nil {
			endNegative += c.negatives[i]
		}
		b := contrastive.Batch{Query: slice(c.batch.Query, first, end), Key: slice(c.batch.Key, first, end), Queue: c.batch.Queue}
		if c.batch.Labels != nil {
			b.Labels = c.batch.Labels[first:end]
		}
		d := contrastive.Gradients{Query: slice(g.Query, first, end), Key: slice(g.Key, first, end), Accumulate: g.Accumulate}
		if c.negatives != nil {
			b.Negatives = slice(c.batch.Negatives, firstNegative, endNegative)
			d.Negatives = slice(g.Negatives, firstNegative, endNegative)
		}
		bs, gs = append(bs, b), append(gs, d)
		first, firstNegative = end, endNegative
	}
	return bs, gs
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
			t.Fatalf("%s: rank %d: %v", c.name, r, errs[r])
		}
		if results[r] != results[0] {
			t.Errorf("%s: rank %d has %+v, rank 0 has %+v", c.name, r, results[r], results[0])
		}
	}
	return results[0]
}

// shardedVariants are the variants of losses, as far as Sharded takes what they do.
func shardedVariants() []variant {
	vs := slices.Clone(variants)
	for k := range vs {
		vs[k].hard, vs[k].weights, vs[k].losses = false, false, false
	}
	return vs
}

// sharded reports whether a loss can be.
func (v variant) sharded() bool { return !v.columns && !v.given }

var shardWays = [...]struct {
	name string
	ring bool
}{{"gathered", false}, {"ring", true}}

// shardTrials returns batches of all kinds on 1 to 7 ranks.
func shardTrials(t *testing.T, v variant, seed uint64) []shardTrial {
	r := rand.New(rand.NewPCG(51, seed))
	var fitting []extra
	for _, e := range extras {
		if e.fits(v) {
			fitting = append(fitting, e)
		}
	}
	var ts []shardTrial
	c := 0
	for _, ranks := range [...]int{1, 2, 3, 4, 7} {
		for _, e := range fitting {
			for _, shape := range [...]struct{ n, d int }{{7, 6}, {40 + 13*ranks, 1 + 11*ranks}} {
				k, tau := rowKinds[c%len(rowKinds)], temperatures[c%len(temperatures)]
				c++
				b := contrastive.Batch{Query: normal(r, shape.n, shape.d), Key: normal(r, shape.n, shape.d)}
				k.make(r, b)
				e.add(t, r, &b)
				if b.Negatives.Rows > 0 && b.Negatives.Rows < ranks {
					continue
				}
				rows := split(r, shape.n, ranks)
				name := fmt.Sprintf("%d ranks %v D=%d %s %s", ranks, rows, shape.d, k.name, e.name)
				x := shardTrial{trial: newTrial(v, name, tau, -2, b), rows: rows}
				if b.Negatives.Rows > 0 {
					x.negatives = split(r, b.Negatives.Rows, ranks)
				}
				ts = append(ts, x)
			}
		}
	}
	return ts
}

// accuracy is that of one process, with more roundings: a gradient is the sum of
// those of up to P blocks, each rounded once and added once on the way, and the
// vectors and sums of pieces are rounded once more.
func (c shardTrial) accuracy() accuracy {
	a := newAccuracy(c.v, c.batch, c.tau, c.bias, 0)
	a.length += float64(2*len(c.rows) + 4)
	return a
}

// TestSharded compares sharded losses with package ref and with one process.
func TestSharded(t *testing.T) {
	for k, v := range shardedVariants() {
		if !v.sharded() {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			ts := shardTrials(t, v, uint64(k))
			isatest.Each(t, func(t *testing.T) {
				for _, c := range ts {
					// The race detector sees all it can in small batches.
					if !raceEnabled || c.batch.Query.Rows < 10 {
						c.runSharded(t)
					}
				}
			})
		})
	}
}

func (c shardTrial) runSharded(t *testing.T) {
	t.Helper()
	loss := c.v.make(c.tau, c.bias, options{Workers: 1})
	single := destinations(c.batch)
	one := eval(t, c.name, loss, c.batch, single)
	a := c.accuracy()
	for _, way := range shardWays {
		g := destinations(c.batch)
		name := c.name + " " + way.name
		got := c.evalSharded(t, loss, way.ring, g)
		a.check(t, name, c.batch, got, g, c.want)
		compareWithOne(t, name, a, c, got, one, g, single)
	}
}

// compareWithOne asks that two evaluations differ by no more than the errors of both.
func compareWithOne(t *testing.T, name string, a accuracy, c shardTrial, got, one contrastive.Result, g, single contrastive.Gradients) {
	t.Helper()
	want := c.want
	want.Loss, want.TemperatureGrad, want.BiasGrad = one.Loss, one.TemperatureGrad, one.BiasGrad
	want.PositiveCosine, want.NegativeCosine = one.PositiveCosine, one.NegativeCosine
	want.Query, want.Key, want.Negatives = rowsOf(single.Query), rowsOf(single.Key), rowsOf(single.Negatives)
	a.logit, a.length, a.positive = 2*a.logit, 2*a.length, 2*a.positive
	want.NegativeShare /= 2
	a.check(t, name+" and one process", c.batch, got, g, want)
}

// TestShardedBits asks for the same bits in every run, with any number of workers
// and any subset of the gradients.
func TestShardedBits(t *testing.T) {
	for k, v := range shardedVariants() {
		if !v.sharded() {
			continue
		}
		r := rand.New(rand.NewPCG(52, uint64(k)))
		const n, d = 150, 33
		b := contrastive.Batch{Query: normal(r, n, d), Key: normal(r, n, d), Labels: labels(r, n)}
		if !v.labels {
			b.Labels = nil
		}
		c := shardTrial{trial: trial{name: v.name, v: v, batch: b}, rows: []int{31, 70, 2, 47}}
		if v.negatives {
			c.batch.Negatives, c.negatives = normal(r, 60, d), []int{20, 1, 30, 9}
		}
		for _, way := range shardWays {
			for _, tau := range [...]float32{0.1, 0.01} {
				want := destinations(c.batch)
				first := c.evalSharded(t, v.make(tau, -1, options{Workers: 1}), way.ring, want)
				for _, workers := range [...]int{1, 2, 5} {
					g := destinations(c.batch)
					got := c.evalSharded(t, v.make(tau, -1, options{Workers: workers}), way.ring, g)
					if got != first || !sameBits(g.Query, want.Query) || !sameBits(g.Key, want.Key) || !sameBits(g.Negatives, want.Negatives) {
						t.Errorf("%s %s τ=%v: %d workers: %+v, want %+v, or gradients differ", v.name, way.name, tau, workers, got, first)
					}
				}
				for subset := range 7 {
					g := destinations(c.batch)
					for i, m := range [...]*contrastive.Matrix{&g.Query, &g.Key, &g.Negatives} {
						if subset>>i&1 == 0 {
							*m = contrastive.Matrix{}
						}
					}
					if c.negatives == nil && subset >= 4 {
						continue
					}
					got := c.evalSharded(t, v.make(tau, -1, options{}), way.ring, g)
					if got != first {
						t.Errorf("%s %s τ=%v subset %03b: %+v, want %+v", v.name, way.name, tau, subset, got, first)
					}
					for i, m := range [...][2]contrastive.Matrix{{g.Query, want.Query}, {g.Key, want.Key}, {g.Negatives, want.Negatives}} {
						if subset>>i&1 == 1 && !sameBits(m[0], m[1]) {
							t.Errorf("%s %s τ=%v subset %03b: gradient %d differs", v.name, way.name, tau, subset, i)
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
	for k, v := range shardedVariants() {
		if !v.sharded() {
			continue
		}
		r := rand.New(rand.NewPCG(58, uint64(k)))
		c := shardTrial{trial: trial{name: v.name, v: v, batch: contrastive.Batch{Query: normal(r, 90, 21), Key: normal(r, 90, 21)}}}
		c.rows = []int{20, 1, 9, 30, 13, 10, 7}
		if v.negatives {
			c.batch.Negatives, c.negatives = normal(r, 40, 21), []int{3, 7, 5, 4, 9, 10, 2}
		}
		loss := v.make(0.1, -1, options{})
		for _, way := range shardWays {
			all := destinations(c.batch)
			want := c.evalSharded(t, loss, way.ring, all)
			bs, gs := c.shards(destinations(c.batch))
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
					t.Errorf("%s %s: rank %d: %v", v.name, way.name, r, err)
				}
			})
			for r := range bs {
				if results[r] != want {
					t.Errorf("%s %s: rank %d has %+v, want %+v", v.name, way.name, r, results[r], want)
				}
				for i, m := range [...][2]contrastive.Matrix{{gs[r].Query, wanted[r].Query}, {gs[r].Key, wanted[r].Key}, {gs[r].Negatives, wanted[r].Negatives}} {
					for row := range m[0].Rows {
						if !slices.Equal(m[0].Row(row), m[1].Row(row)) {
							t.Errorf("%s %s: rank %d: gradient %d differs in row %d", v.name, way.name, r, i, row)
							break
						}
					}
				}
			}
		}
	}
}

// TestShardedLabelsIgnored gives labels to a loss to which they mean nothing.
func TestShardedLabelsIgnored(t *testing.T) {
	for _, v := range shardedVariants() {
		if !v.sharded() || v.labels {
			continue
		}
		c := shardTrial{trial: trial{name: v.name, v: v}, rows: []int{2, 4}}
		var g contrastive.Gradients
		c.batch, g = goodCall(v)
		got := c.evalSharded(t, v.make(0.1, 0, options{}), true, g)
		c.batch.Labels = nil
		if want := c.evalSharded(t, v.make(0.1, 0, options{}), true, g); got != want {
			t.Errorf("%s: labels change %+v to %+v", v.name, want, got)
		}
	}
}
