package contrastive_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
)

// full returns a batch with all that a loss takes.
func full(t *testing.T, v losstest.Variant, r *rand.Rand, n, d int) contrastive.Batch {
	b := v.Batch(r, n, d)
	if v.Labels {
		b.Labels = losstest.Labels(r, n)
	}
	if v.Negatives {
		b.Negatives = losstest.Normal(r, n/2+1, d)
	}
	if v.Queue {
		b.Queue = losstest.NewQueue(t, 2*n, losstest.Normal(r, n+3, d), losstest.Labels(r, n+3)...)
	}
	if v.Weights {
		b.Weights = losstest.Weights(r, n)
	}
	if v.Hard && !v.Scores {
		losstest.AddHard(r, &b)
		b.HardCounts = losstest.Counts(r, n, b.Hard.Rows)
	}
	return b
}

// permuted returns b with its pairs, and all that belongs to them, in another order.
func permuted(b contrastive.Batch, perm []int) contrastive.Batch {
	p := b
	p.Labels, p.Weights, p.HardCounts = nil, nil, nil
	p.Query, p.Key, p.Hard, p.Scores = losstest.Clone(b.Query), losstest.Clone(b.Key), losstest.Clone(b.Hard), losstest.Clone(b.Scores)
	at := 0
	for i, j := range perm {
		copy(p.Query.Row(i), b.Query.Row(j))
		copy(p.Key.Row(i), b.Key.Row(j))
		if b.Labels != nil {
			p.Labels = append(p.Labels, b.Labels[j])
		}
		if b.Weights != nil {
			p.Weights = append(p.Weights, b.Weights[j])
		}
		if b.HardCounts != nil {
			p.HardCounts = append(p.HardCounts, b.HardCounts[j])
		}
		if b.Scores.Data != nil {
			copy(p.Scores.Row(i), b.Scores.Row(j))
		}
		for _, row := range hardRows(b, j) {
			copy(p.Hard.Row(at), b.Hard.Row(row))
			at++
		}
	}
	return p
}

// hardRows returns which rows of Hard query i has.
func hardRows(b contrastive.Batch, i int) []int {
	first := 0
	for k := range i {
		first += losstest.HardCount(b, k)
	}
	var rows []int
	for row := range losstest.HardCount(b, i) {
		rows = append(rows, first+row)
	}
	return rows
}

// TestPermutation permutes the pairs, which must permute the gradients and leave
// everything else as it is. Sums are formed in another order, so both sides are
// off by the bounds of [accuracy].
func TestPermutation(t *testing.T) {
	for k, v := range losstest.Variants {
		r := rand.New(rand.NewPCG(21, uint64(k)))
		const n, d, tau, bias = 37, 11, 0.125, -1
		b := full(t, v, r, n, d)
		perm := r.Perm(n)
		p := permuted(b, perm)
		masses := v.Ref(tau, bias).Eval(losstest.Reference(p))
		isatest.Each(t, func(t *testing.T) {
			g, gp := v.Destinations(b), v.Destinations(p)
			res := losstest.Eval(t, v.Name, v.Make(tau, bias, options{}), b, g)
			got := losstest.Eval(t, v.Name, v.Make(tau, bias, options{}), p, gp)
			want := masses
			want.Loss, want.TemperatureGrad, want.BiasGrad = res.Loss, res.TemperatureGrad, res.BiasGrad
			want.PositiveCosine, want.NegativeCosine = res.PositiveCosine, res.NegativeCosine
			query, key, hard := losstest.RowsOf(g.Query), losstest.RowsOf(g.Key), losstest.RowsOf(g.Hard)
			want.Query, want.Key, want.Hard, want.Negatives = nil, nil, nil, losstest.RowsOf(g.Negatives)
			want.Losses = nil
			for _, j := range perm {
				want.Query = append(want.Query, query[j])
				if key != nil {
					want.Key = append(want.Key, key[j])
				}
				for _, row := range hardRows(b, j) {
					want.Hard = append(want.Hard, hard[row])
				}
				if g.Losses != nil {
					want.Losses = append(want.Losses, g.Losses[j])
				}
			}
			a := losstest.NewAccuracy(v, p, tau, bias, contrastive.Highest)
			a.Gain *= 2
			a.Logit *= 2
			a.Cosine *= 2
			if !a.Condition(want) {
				t.Fatalf("%s: not smooth", v.Name)
			}
			a.Check(t, v.Name, p, got, gp, want)
		})
	}
}

// TestEqualSimilarities checks the values at which a loss knows nothing, the
// logarithms of the number of candidates. The rows are on an axis, so that all
// similarities are exactly 1.
func TestEqualSimilarities(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for _, n := range [...]int{2, 7, 64, 150, 600} {
			b := contrastive.Batch{Query: contrastive.NewMatrix(n, 9), Key: contrastive.NewMatrix(n, 9)}
			losstest.MapRows(b, func(q, k []float32) { q[4], k[4] = 2, 0.5 })
			queue := losstest.NewQueue(t, n, b.Key)
			views := float64(2 * n)
			for _, c := range [...]struct {
				loss  contrastive.Loss
				queue *contrastive.Queue
				want  float64
			}{
				{contrastive.InfoNCE{}, nil, math.Log(float64(n))},
				{contrastive.InfoNCE{Temperature: 0.001}, nil, math.Log(float64(n))},
				{contrastive.InfoNCE{Temperature: 1000}, nil, math.Log(float64(n))},
				// Exponentials of 115 and of 72 bits, hundreds of which are added.
				{contrastive.InfoNCE{Temperature: 0.0125}, nil, math.Log(float64(n))},
				{contrastive.InfoNCE{Temperature: 0.0201}, nil, math.Log(float64(n))},
				{contrastive.CLIP{Temperature: 0.0125}, nil, math.Log(float64(n))},
				{contrastive.NTXent{Temperature: 0.0125}, nil, math.Log(views - 1)},
				{contrastive.NTXent{Temperature: 0.0201}, nil, math.Log(views - 1)},
				{contrastive.InfoNCE{}, queue, math.Log(float64(n + 1))},
				{contrastive.InfoNCE{InBatch: true}, queue, math.Log(views)},
				{contrastive.CLIP{}, nil, math.Log(float64(n))},
				{contrastive.NTXent{}, nil, math.Log(views - 1)},
				{contrastive.SupCon{}, nil, math.Log(views - 1)},
				{contrastive.SupCon{Temperature: 0.14}, nil, 2 * math.Log(views-1)},
				{contrastive.DCL{}, nil, math.Log(views - 2)},
				{contrastive.DCL{Sigma: 0.5}, nil, math.Log(views - 2)},
				{contrastive.HardNegative{}, nil, math.Log(views - 1)},
				{contrastive.HardNegative{Beta: 1}, nil, math.Log(views - 1)},
				{contrastive.HardNegative{Temperature: 1, Beta: 1 << 16}, nil, math.Log(views - 1)},
				{contrastive.NegativeCosine{}, nil, -1},
			} {
				name := fmt.Sprintf("N=%d %+v", n, c.loss)
				b := b
				b.Queue = c.queue
				g := losstest.Destinations(b)
				got := losstest.Eval(t, name, c.loss, b, g)
				// Exponentials of 0 are 1, and their sum is an integer. The
				// factor τ/τ₀ has the rounding of τ; so have the exponents
				// of HardNegative, which do not cancel.
				losstest.Within(t, name, got.Loss, c.want, 40*u*math.Abs(c.want))
				if _, ok := c.loss.(contrastive.InfoNCE); ok {
					// The means of logits are off by 40·u of their size, 1/τ.
					tau := cmp.Or(float64(c.loss.(contrastive.InfoNCE).Temperature), 0.07)
					losstest.Within(t, name+": TemperatureGrad", got.TemperatureGrad, 0, 80*u/tau/tau)
				}
				for i := range n {
					for d, x := range g.Query.Row(i) {
						if x != 0 {
							t.Fatalf("%s: gradient of Query row %d column %d is %v, want 0", name, i, d, x)
						}
					}
				}
			}
		}
	})
}

// TestWorstTemperature takes the temperature at which the float32 that cosines are
// multiplied by in exponents, log₂e/τ, is farthest from it, relatively, of those
// that make exponents great. All cosines are 1, so that nothing is lost but by the
// exponential, 4·u, and a few roundings.
func TestWorstTemperature(t *testing.T) {
	worst, greatest := float32(0), 0.0
	for tau := float32(1. / 49); tau < 1./48; tau = math.Nextafter32(tau, 1) {
		scale := math.Log2E / float64(tau)
		if off := math.Abs(float64(float32(scale))/scale - 1); off > greatest {
			worst, greatest = tau, off
		}
	}
	b := contrastive.Batch{Query: contrastive.NewMatrix(2, 9), Key: contrastive.NewMatrix(2, 9)}
	losstest.MapRows(b, func(q, k []float32) { q[4], k[4] = 2, 0.5 })
	isatest.Each(t, func(t *testing.T) {
		for _, c := range [...]struct {
			loss contrastive.Loss
			want float64
		}{
			{contrastive.InfoNCE{Temperature: worst}, math.Ln2},
			{contrastive.CLIP{Temperature: worst}, math.Ln2},
			{contrastive.NTXent{Temperature: worst}, math.Log(3)},
			{contrastive.DCL{Temperature: worst}, math.Ln2},
		} {
			got := losstest.Eval(t, fmt.Sprintf("%+v", c.loss), c.loss, b, contrastive.Gradients{})
			losstest.Within(t, fmt.Sprintf("%T%+v", c.loss, c.loss), got.Loss, c.want, 8*u)
			losstest.Within(t, fmt.Sprintf("%T%+v: TemperatureGrad", c.loss, c.loss), got.TemperatureGrad, 0, 8*u/float64(worst)/float64(worst))
		}
	})
}

// TestScaling multiplies rows by powers of two, which are exact: no bit of the
// loss may change, and gradients must be divided by them.
func TestScaling(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for k, v := range losstest.Variants {
			if v.Columns || v.Raw {
				continue
			}
			r := rand.New(rand.NewPCG(22, uint64(k)))
			b := full(t, v, r, 21, 13)
			power := func(i int) float64 { return math.Ldexp(1, i*5%23-11) }
			s := b
			s.Query, s.Key, s.Negatives, s.Hard = losstest.Clone(b.Query), losstest.Clone(b.Key), losstest.Clone(b.Negatives), losstest.Clone(b.Hard)
			for _, m := range losstest.Inputs(s) {
				losstest.ScaleRows(m, power)
			}
			g, gs := v.Destinations(b), v.Destinations(s)
			loss := v.Make(0.1, -3, options{})
			want, got := losstest.Eval(t, v.Name, loss, b, g), losstest.Eval(t, v.Name, loss, s, gs)
			if got != want {
				t.Errorf("%s: %+v, want %+v", v.Name, got, want)
			}
			for i, m := range losstest.Outputs(gs) {
				losstest.ScaleRows(m, power)
				for row := range m.Rows {
					for d, x := range m.Row(row) {
						if want := losstest.Outputs(g)[i].Row(row)[d]; x != want {
							t.Errorf("%s: gradient %d row %d column %d: %v, want %v", v.Name, i, row, d, x, want)
						}
					}
				}
			}
		}
	})
}

// TestOrthogonality checks that a gradient has no part along its row, which the
// loss does not depend on. What is projected out is at most the mass of the row,
// which leaves 2u of it behind if the unit vector is rounded to float32; and each
// element of the result is rounded.
func TestOrthogonality(t *testing.T) {
	for k, v := range losstest.Variants {
		if v.Columns || v.Raw {
			continue
		}
		r := rand.New(rand.NewPCG(23, uint64(k)))
		b := full(t, v, r, 21, 13)
		want := v.Ref(0.1, -3).Eval(losstest.Reference(b))
		isatest.Each(t, func(t *testing.T) {
			g := v.Destinations(b)
			losstest.Eval(t, v.Name, v.Make(0.1, -3, options{}), b, g)
			for _, m := range [...]struct {
				name    string
				x, grad contrastive.Matrix
				mass    []float64
			}{{"Query", b.Query, g.Query, want.QueryMass}, {"Key", b.Key, g.Key, want.KeyMass}, {"Negatives", b.Negatives, g.Negatives, want.NegativesMass}, {"Hard", b.Hard, g.Hard, want.HardMass}} {
				for i := range m.x.Rows {
					var dot, norm, size float64
					for d, x := range m.x.Row(i) {
						dot += float64(x) * float64(m.grad.Row(i)[d])
						norm = math.Hypot(norm, float64(x))
						size = math.Hypot(size, float64(m.grad.Row(i)[d]))
					}
					losstest.Within(t, fmt.Sprintf("%s: %s row %d: part of the gradient along it", v.Name, m.name, i),
						dot/norm, 0, 4*u*m.mass[i]/norm+u*size)
				}
			}
		})
	}
}

// TestAccumulate asks that gradients are added to what the destinations hold, with one
// more rounding, and saturate: alone and sharded.
func TestAccumulate(t *testing.T) {
	held := [...]float32{0, 1, -3, 1e-30, math.MaxFloat32, -math.MaxFloat32, 1e30, -7}
	isatest.Each(t, func(t *testing.T) {
		for k, v := range losstest.Variants {
			for _, size := range [...]float64{1, 1e-37, 1e37} {
				r := rand.New(rand.NewPCG(29, uint64(k)))
				b := full(t, v, r, 23, 11)
				losstest.ScaleRows(b.Query, func(int) float64 { return size })
				loss := v.Make(0.1, -3, options{})
				check := func(name string, v losstest.Variant, b contrastive.Batch, eval func(g contrastive.Gradients) contrastive.Result) {
					g, sum := v.Destinations(b), v.Destinations(b)
					want := eval(g)
					for i, m := range losstest.Outputs(sum) {
						grad := losstest.Outputs(g)[i]
						for row := range m.Rows {
							for d := range m.Row(row) {
								m.Row(row)[d] = held[(row+d)%len(held)]
								x := float64(m.Row(row)[d]) + float64(grad.Row(row)[d])
								grad.Row(row)[d] = float32(max(-math.MaxFloat32, min(x, math.MaxFloat32)))
							}
						}
					}
					sum.Accumulate = true
					if got := eval(sum); got != want {
						t.Errorf("%s: %+v, want %+v", name, got, want)
					}
					for i, m := range losstest.Outputs(sum) {
						losstest.CheckGaps(t, name, m)
						if !losstest.SameBits(m, losstest.Outputs(g)[i]) {
							t.Errorf("%s: gradient %d is not the sum", name, i)
						}
					}
				}
				name := fmt.Sprintf("%s with queries of %v", v.Name, size)
				check(name, v, b, func(g contrastive.Gradients) contrastive.Result { return losstest.Eval(t, name, loss, b, g) })
				for _, way := range shardWays {
					if v.Sharded() {
						x := shardTrial{Trial: losstest.Trial{Name: name + " " + way.name, Variant: v, Batch: b}, rows: []int{9, 14}}
						if v.Negatives {
							x.negatives = []int{5, 7}
						}
						check(x.Name, v, b, func(g contrastive.Gradients) contrastive.Result { return x.evalSharded(t, loss, way.ring, g) })
					}
				}
			}
		}
	})
}

// TestWorkers asks for the same bits from any number of workers and from run to
// run.
func TestWorkers(t *testing.T) {
	n, counts := 450, []int{1, 2, 3, 5, 16, 0}
	if race.Enabled { // which takes twenty times as long
		n, counts = 300, []int{3}
	}
	isatest.Each(t, func(t *testing.T) {
		for k, v := range losstest.Variants {
			r := rand.New(rand.NewPCG(24, uint64(k)))
			b := full(t, v, r, n, 24)
			all := v.Destinations(b)
			want := losstest.Eval(t, v.Name, v.Make(0.1, -3, options{Workers: 1}), b, all)
			for _, workers := range counts {
				name := fmt.Sprintf("%s workers=%d", v.Name, workers)
				g := v.Destinations(b)
				if got := losstest.Eval(t, name, v.Make(0.1, -3, options{Workers: workers}), b, g); got != want {
					t.Errorf("%s: %+v, want %+v", name, got, want)
				}
				if !losstest.SameGradients(g, all) {
					t.Errorf("%s: other gradients", name)
				}
			}
		}
	})
}

// TestScratch evaluates batches of changing size in a row: what one leaves in
// the scratch memory must not show in the next.
func TestScratch(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for k, v := range losstest.Variants {
			r := rand.New(rand.NewPCG(25, uint64(k)))
			var batches []contrastive.Batch
			for _, n := range [...]int{3, 130, 64, 5} {
				batches = append(batches, full(t, v, r, n, 40-n%9))
			}
			loss := v.Make(0.1, -3, options{Workers: 1})
			type outcome struct {
				res contrastive.Result
				g   contrastive.Gradients
			}
			var first []outcome
			for round := range 2 {
				for i, b := range batches {
					g := v.Destinations(b)
					res := losstest.Eval(t, v.Name, loss, b, g)
					if round == 0 {
						first = append(first, outcome{res, g})
					} else if f := first[i]; res != f.res || !losstest.SameGradients(g, f.g) {
						t.Errorf("%s: batch %d: another result the second time", v.Name, i)
					}
				}
			}
		}
	})
}

// TestConcurrent uses one loss value and one batch from several goroutines.
func TestConcurrent(t *testing.T) {
	for k, v := range losstest.Variants {
		r := rand.New(rand.NewPCG(26, uint64(k)))
		b := full(t, v, r, 90, 17)
		loss := v.Make(0.1, -3, options{Workers: 2})
		want := v.Destinations(b)
		wantRes := losstest.Eval(t, v.Name, loss, b, want)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 3 {
					g := v.Destinations(b)
					got, err := loss.Eval(b, g)
					if err != nil || got != wantRes || !losstest.SameGradients(g, want) {
						t.Errorf("%s: %+v, %v, want %+v", v.Name, got, err, wantRes)
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestAllocations asks for none with one worker once a batch of the size has been
// seen, and for no more than a few for each of several.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	isatest.Each(t, func(t *testing.T) {
		for k, v := range losstest.Variants {
			r := rand.New(rand.NewPCG(27, uint64(k)))
			b := full(t, v, r, 200, 24)
			g := v.Destinations(b)
			for _, c := range [...]struct{ workers, allocs int }{{1, 0}, {4, 16}} {
				loss := v.Make(0.1, -3, options{Workers: c.workers})
				allocs := testing.AllocsPerRun(10, func() {
					if _, err := loss.Eval(b, g); err != nil {
						t.Error(err)
					}
				})
				if allocs > float64(c.allocs) {
					t.Errorf("%s: %v allocations with %d workers, want at most %d", v.Name, allocs, c.workers, c.allocs)
				}
			}
			if v.Given && !testing.Short() { // of a batch that is shared
				b := parallel(v, r)
				g, loss := v.Destinations(b), v.Make(0.1, -3, options{Workers: 4})
				if allocs := testing.AllocsPerRun(2, func() { losstest.Eval(t, v.Name, loss, b, g) }); allocs > 64 {
					t.Errorf("%s: %v allocations", v.Name, allocs)
				}
			}
		}
	})
}

// TestCombinedAllocations is TestAllocations for losses that are made of others.
func TestCombinedAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	r := rand.New(rand.NewPCG(29, 1))
	one := contrastive.Options{Workers: 1}
	b := contrastive.Batch{Query: losstest.Normal(r, 20, 8), Key: losstest.Normal(r, 20, 8)}
	g := losstest.Destinations(b)
	sum := contrastive.Sum{Losses: []contrastive.Loss{contrastive.CLIP{Options: one}, contrastive.VICReg{Options: one}}}
	for name, loss := range map[string]contrastive.Loss{
		"Sum":                 sum,
		"Matryoshka":          contrastive.Matryoshka{Loss: contrastive.NTXent{Options: one}, Dims: []int{2, 8}},
		"Matryoshka of a Sum": contrastive.Matryoshka{Loss: sum, Dims: []int{2, 8}, Weights: []float32{1, 2}},
	} {
		n := testing.AllocsPerRun(10, func() {
			if _, err := loss.Eval(b, g); err != nil {
				t.Error(err)
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestMemory evaluates losses whose matrix of similarities would take 1 GiB, and
// asks that all they ever allocate is 64 MiB.
func TestMemory(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("takes 10¹¹ operations")
	}
	const n, limit = 16384, 64 << 20
	workers := contrastive.Options{Workers: 2} // each has memory of its own
	for _, c := range []struct {
		dim  int
		loss contrastive.InfoNCE
	}{
		{64, contrastive.InfoNCE{Options: workers}},
		{128, contrastive.InfoNCE{Temperature: 0.01, Options: workers}}, // takes two sweeps
	} {
		r := rand.New(rand.NewPCG(28, 1))
		b := contrastive.Batch{Query: losstest.Normal(r, n, c.dim), Key: losstest.Normal(r, n, c.dim)}
		g := losstest.Destinations(b)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := c.loss.Eval(b, g); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		t.Logf("InfoNCE of N = K = %d, D = %d, temperature %v allocates %.1f MiB", n, c.dim, c.loss.Temperature, float64(allocated)/(1<<20))
		if allocated > limit {
			t.Errorf("that is %d bytes, want at most %d", allocated, limit)
		}
	}
}
