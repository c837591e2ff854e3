package contrastive_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// temperatures are on both sides of 0.02, where the greatest similarity of an
// anchor begins to be found in a sweep of its own.
var temperatures = []float32{0.07, 1e-3, 0.5, 0.01, 1, 0.019, 0.021, 0.1, 1e3, 0.03, 10}

// A kind makes the rows of a batch awkward, in place.
type kind struct {
	name string
	make func(r *rand.Rand, b contrastive.Batch)
}

var rowKinds = []kind{
	{"normal", func(*rand.Rand, contrastive.Batch) {}},
	{"norms from 1e-30 to 1e30", func(_ *rand.Rand, b contrastive.Batch) {
		scaleRows(b.Query, func(i int) float64 { return math.Pow(10, float64(i*7%61-30)) })
		scaleRows(b.Key, func(i int) float64 { return math.Pow(10, float64(30-i*11%61)) })
	}},
	{"near duplicates", func(_ *rand.Rand, b contrastive.Batch) {
		mapRows(b, func(q, k []float32) {
			for d, x := range q {
				k[d] = x + 1e-4*k[d]
			}
		})
	}},
	{"identical rows", func(_ *rand.Rand, b contrastive.Batch) {
		first := append([]float32(nil), b.Query.Row(0)...)
		mapRows(b, func(q, k []float32) { copy(q, first); copy(k, first) })
	}},
	{"opposite rows", func(_ *rand.Rand, b contrastive.Batch) {
		mapRows(b, func(q, k []float32) {
			for d, x := range q {
				k[d] = -x
			}
		})
	}},
	// Every similarity is near −1 but the pairs' own, or the reverse: the
	// exponentials of a row are all far from any constant shift.
	{"two poles", func(_ *rand.Rand, b contrastive.Batch) {
		first := append([]float32(nil), b.Query.Row(0)...)
		mapRows(b, func(q, k []float32) {
			for d, x := range first {
				q[d], k[d] = x+0.01*q[d], -x+0.01*k[d]
			}
		})
	}},
	{"one-hot", func(_ *rand.Rand, b contrastive.Batch) {
		i := 0
		mapRows(b, func(q, k []float32) {
			clear(q)
			clear(k)
			q[i%len(q)], k[(i+i%3)%len(k)] = 3, 2
			i++
		})
	}},
	{"rows of zeros", func(_ *rand.Rand, b contrastive.Batch) {
		clear(b.Query.Row(0))
		clear(b.Key.Row(b.Key.Rows / 2))
	}},
	// A loss near 0: of the order of e^(−1/τ).
	{"aligned", func(_ *rand.Rand, b contrastive.Batch) {
		mapRows(b, func(q, k []float32) { copy(k, q) })
	}},
}

var columnKinds = []kind{
	{"normal", func(*rand.Rand, contrastive.Batch) {}},
	{"near duplicates", rowKinds[2].make},
	{"opposite rows", rowKinds[4].make},
	{"one-hot", rowKinds[6].make},
	{"far from 0", func(_ *rand.Rand, b contrastive.Batch) {
		mapRows(b, func(q, k []float32) {
			for d := range q {
				q[d] += 1000
				k[d] -= 30
			}
		})
	}},
	{"small", func(_ *rand.Rand, b contrastive.Batch) {
		scaleRows(b.Query, func(int) float64 { return 1e-3 })
		scaleRows(b.Key, func(int) float64 { return 0.3 })
	}},
	{"huge and tiny", func(_ *rand.Rand, b contrastive.Batch) {
		scaleRows(b.Query, func(int) float64 { return 1e30 })
		scaleRows(b.Key, func(int) float64 { return 1e-30 })
	}},
	{"columns of all sizes", func(_ *rand.Rand, b contrastive.Batch) {
		mapRows(b, func(q, k []float32) {
			for d := range q {
				q[d] *= float32(math.Pow(10, float64(d%9-6)))
				k[d] *= float32(math.Pow(10, float64(3-d%7)))
			}
		})
	}},
	{"correlated columns", func(_ *rand.Rand, b contrastive.Batch) {
		mapRows(b, func(q, k []float32) {
			for d := range q {
				q[d], k[d] = q[0]+0.1*q[d], k[0]-0.1*k[d]
			}
		})
	}},
	{"identical rows", rowKinds[3].make},
	{"great constants", columnsTimes(3, 0, 1e12, 0, 3e38)},
	{"great columns", columnsTimes(3, 1e20, 0, 1e12, 1)},
	{"great offsets", columnsTimes(1, 1, 1e6, 1e20, 1e24)},
	{"tiny columns", columnsTimes(2, 1e-25, 0, 1e-38, 0)},
	{"one great row", func(_ *rand.Rand, b contrastive.Batch) {
		scaleRows(slice(b.Query, 0, 1), func(int) float64 { return 1e12 })
	}},
}

// columnsTimes multiplies every step'th column of queries and keys, and adds to it.
func columnsTimes(step int, q, qOffset, k, kOffset float32) func(*rand.Rand, contrastive.Batch) {
	return func(_ *rand.Rand, b contrastive.Batch) {
		mapRows(b, func(x, y []float32) {
			for d := 0; d < len(x); d += step {
				x[d], y[d] = q*x[d]+qOffset, k*y[d]+kOffset
			}
		})
	}
}

func mapRows(b contrastive.Batch, f func(q, k []float32)) {
	for i := range b.Query.Rows {
		f(b.Query.Row(i), b.Key.Row(i))
	}
}

// An extra is what a batch may have beside two views.
type extra struct {
	name string
	fits func(v variant) bool
	add  func(t *testing.T, r *rand.Rand, b *contrastive.Batch)
}

var extras = []extra{
	{"", func(variant) bool { return true }, func(*testing.T, *rand.Rand, *contrastive.Batch) {}},
	{"labels", func(v variant) bool { return v.labels }, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Labels = labels(r, b.Query.Rows)
	}},
	{"one label", func(v variant) bool { return v.labels }, func(_ *testing.T, _ *rand.Rand, b *contrastive.Batch) {
		b.Labels = make([]int, b.Query.Rows)
	}},
	{"one view", func(v variant) bool { return v.optionalKey }, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Key = contrastive.Matrix{}
		b.Labels = labels(r, b.Query.Rows)
	}},
	{"negatives", func(v variant) bool { return v.negatives }, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Negatives = normal(r, 1+2*b.Query.Rows, b.Query.Cols)
		scaleRows(b.Negatives, func(i int) float64 { return math.Pow(2, float64(i%40-20)) })
	}},
	{"short queue", func(v variant) bool { return v.queue }, func(t *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Queue = newQueue(t, 3, normal(r, b.Query.Rows, b.Query.Cols)) // keeps the last three
	}},
	{"empty queue", func(v variant) bool { return v.queue }, func(t *testing.T, _ *rand.Rand, b *contrastive.Batch) {
		q, err := contrastive.NewQueue(4, b.Query.Cols)
		if err != nil {
			t.Fatal(err)
		}
		b.Queue = q
	}},
	{"long labelled queue", func(v variant) bool { return v.queue }, func(t *testing.T, r *rand.Rand, b *contrastive.Batch) {
		n := 2*b.Query.Rows + 5
		b.Labels = labels(r, b.Query.Rows)
		b.Queue = newQueue(t, n+7, normal(r, n, b.Query.Cols), labels(r, n)...)
	}},
	{"labelled queue without labels", func(v variant) bool { return v.queue }, func(t *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Queue = newQueue(t, 9, normal(r, 9, b.Query.Cols), 0, 1, 2, 3, 4, 0, 1, 2, 3)
	}},
	{"negatives and unlabelled queue", func(v variant) bool { return v.queue && v.negatives }, func(t *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Labels = labels(r, b.Query.Rows)
		b.Negatives = normal(r, 7, b.Query.Cols)
		b.Queue = newQueue(t, 100, normal(r, 9, b.Query.Cols))
	}},
	{"negatives and labelled queue", func(v variant) bool { return v.queue && v.negatives }, func(t *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Labels = labels(r, b.Query.Rows)
		b.Negatives = normal(r, 4, b.Query.Cols)
		b.Queue = newQueue(t, 100, normal(r, 21, b.Query.Cols), labels(r, 21)...)
	}},
	{"weights", takesWeights, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Weights = weights(r, b.Query.Rows)
	}},
	{"hard negatives of some", takesCounts, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		addHard(r, b)
		b.HardCounts = counts(r, b.Query.Rows, b.Hard.Rows)
	}},
	{"weights and hard negatives of some", takesCounts, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		addHard(r, b)
		b.HardCounts, b.Weights = counts(r, b.Query.Rows, b.Hard.Rows), weights(r, b.Query.Rows)
		b.Weights[b.Query.Rows-1] = 3
	}},
}

// takesCounts reports whether a loss takes hard negatives in any number.
func takesCounts(v variant) bool { return v.hard && !v.scores }

// weights returns weights of n queries, some of which are 0, but not all.
func weights(r *rand.Rand, n int) []float32 {
	w := make([]float32, n)
	for i := range w {
		w[i] = float32(r.IntN(4)) * r.Float32()
	}
	w[r.IntN(n)] = 2
	return w
}

// counts returns how many of some rows of Hard each of n queries has, 0 for some, but not
// for the last.
func counts(r *rand.Rand, n, rows int) []int {
	c := make([]int, n)
	for range rows - 1 {
		c[r.IntN(1+r.IntN(n))]++
	}
	c[n-1]++
	return c
}

// labels returns class ids, some of which occur once and some often.
func labels(r *rand.Rand, n int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = r.IntN(1+n/3)*r.IntN(2) - 3
	}
	return ids
}

// trials returns all kinds of batches at all temperatures, small, and all sizes
// around the tiles of every instruction set.
func trials(t *testing.T, v variant, r *rand.Rand) []trial {
	kinds, taus := rowKinds, temperatures
	if v.columns {
		kinds = columnKinds
	}
	if v.noTemperature {
		taus = []float32{0}
	}
	var fitting []extra
	for _, e := range extras {
		if e.fits(v) {
			fitting = append(fitting, e)
		}
	}
	var ts []trial
	add := func(n, d int, k kind, e extra, tau, bias float32) {
		if v.needsTwo && n < 2 {
			return
		}
		b := v.batch(r, n, d)
		k.make(r, b)
		if b.Hard.Data != nil { // two of each query
			k.make(r, contrastive.Batch{Query: b.Hard.Slice(0, n), Key: b.Hard.Slice(n, 2*n)})
		}
		e.add(t, r, &b)
		ts = append(ts, newTrial(v, fmt.Sprintf("bias=%v N=%d D=%d %s %s", bias, n, d, k.name, e.name), tau, bias, b))
	}
	for i, k := range kinds {
		for j, tau := range taus {
			for l, e := range fitting {
				add(5, 6, k, e, tau, [...]float32{-10, 0.5}[(i+j+l)%2])
			}
		}
	}
	dims := [...]int{1, 2, 5, 16, 31, 64, 129}
	for i, n := range [...]int{1, 2, 3, 17, 33, 64, 65, 97, 130, 200} {
		if raceEnabled && n > 100 {
			break
		}
		for j := range 3 {
			c := 3*i + j
			add(n, dims[(i+2*j)%len(dims)], kinds[c%len(kinds)], fitting[c%len(fitting)], taus[c%len(taus)], -2)
		}
	}
	return ts
}

// TestOracle compares every loss with package ref, within the bounds of
// [accuracy].
func TestOracle(t *testing.T) {
	for k, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			ts := trials(t, v, rand.New(rand.NewPCG(11, uint64(k))))
			isatest.Each(t, func(t *testing.T) {
				compared := 0
				for _, c := range ts {
					if c.run(t) {
						compared++
					}
				}
				// HardNegative is not smooth at its floor, which a positive far
				// above its negatives meets.
				if compared < len(ts)/2 {
					t.Errorf("only %d of %d trials are smooth enough to compare", compared, len(ts))
				}
			})
		})
	}
}

// TestPrecision tests the bounds of High and Medium. That of Medium says little below
// τ = 1/2, and nothing where a loss is not smooth: each comparison must be one that a
// loss three times as great does not pass.
func TestPrecision(t *testing.T) {
	for k, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(12, uint64(k)))
			ts := map[contrastive.Precision][]trial{}
			for _, p := range [...]contrastive.Precision{contrastive.High, contrastive.Medium} {
				for i, n := range [...]int{2, 33, 64, 100} {
					d, tau := 40, [...]float32{0.25, 0.5}[i%2]
					if p == contrastive.Medium {
						tau *= 4
					}
					if v.columns {
						d = 8
					}
					b := v.batch(r, n, d)
					mapRows(b, func(q, k []float32) {
						for d, x := range q {
							k[d] = 0.5*x + k[d]
							if v.columns { // with deviations on either side of 1
								q[d], k[d] = [...]float32{0.25, 0.5, 2}[d%3]*q[d], [...]float32{0.25, 0.5, 2}[d%3]*k[d]
							}
						}
					})
					ts[p] = append(ts[p], newTrial(v, fmt.Sprintf("N=%d %v", n, p), tau, 0.5, b))
				}
			}
			isatest.Each(t, func(t *testing.T) {
				for p, ts := range ts {
					compared := 0
					for _, c := range ts {
						c.precision = p
						a := newAccuracy(v, c.batch, c.tau, c.bias, p)
						if a.condition(c.want) && a.loss(c.want) < 2*math.Abs(c.want.Loss) && c.run(t) {
							compared++
						}
					}
					if compared < 3 {
						t.Errorf("%v: %d of %d trials can be compared", p, compared, len(ts))
					}
				}
			})
		})
	}
}

// TestSmallLoss asks for the relative accuracy of losses near 0, down to 1e-40,
// which the plain method rounds to 0 or to a multiple of u. With the aligned
// pairs on the axes, every other similarity is 0 or near it, and the loss is
// (N−1)·e^(−1/τ) or a small multiple.
func TestSmallLoss(t *testing.T) {
	const n, d = 24, 32
	b := contrastive.Batch{Query: normal(rand.New(rand.NewPCG(13, 1)), n, d)}
	for i := range n {
		clear(b.Query.Row(i))
		b.Query.Row(i)[i] = float32(1 + i)
	}
	b.Key = clone(b.Query)
	isatest.Each(t, func(t *testing.T) {
		for _, c := range [...]struct {
			loss           contrastive.Loss
			tau, negatives float64
		}{
			{contrastive.InfoNCE{Temperature: 0x1p-5}, 0x1p-5, n - 1},
			{contrastive.InfoNCE{Temperature: 0x1p-6}, 0x1p-6, n - 1},
			{contrastive.CLIP{Temperature: 0x1p-5}, 0x1p-5, n - 1},
			{contrastive.CLIP{Temperature: 0x1p-6}, 0x1p-6, n - 1},
			{contrastive.NTXent{Temperature: 0x1p-5}, 0x1p-5, 2*n - 2},
			{contrastive.NTXent{Temperature: 0x1p-6}, 0x1p-6, 2*n - 2},
		} {
			g, tau := destinations(b), c.tau
			got := eval(t, fmt.Sprintf("%+v", c.loss), c.loss, b, g)
			want := c.negatives * math.Exp(-1/tau)
			// A similarity of 0 is exact here, as is 1/τ; what is left is the
			// exponential, 4 ulp, and the sum, 32·u.
			within(t, fmt.Sprintf("%+v: Loss", c.loss), got.Loss, want, 40*u*want)
			// ∂L/∂τ = L/τ² for L = C·e^(−1/τ).
			within(t, fmt.Sprintf("%+v: TemperatureGrad", c.loss), got.TemperatureGrad, want/tau/tau, 80*u*want/tau/tau)
		}
	})
}

// TestFiniteDifferences compares gradients with difference quotients of the
// oracle, which package ref compares with its own gradients.
func TestFiniteDifferences(t *testing.T) {
	for k, v := range variants {
		r := rand.New(rand.NewPCG(14, uint64(k)))
		const tau, bias = 0.25, -0.75
		b := v.batch(r, 6, 5)
		if v.negatives {
			b.Negatives = normal(r, 4, 5)
		}
		if v.queue {
			b.Queue = newQueue(t, 8, normal(r, 5, 5), 0, 1, 2, 3, 4)
		}
		if v.labels {
			b.Labels = []int{0, 1, 0, 5, 6, 7}
		}
		rb := reference(b)
		want := v.ref(tau, bias).Eval(rb)
		var weights []float64
		if l, ok := v.ref(tau, bias).(ref.DCL); ok {
			weights = l.BatchWeights(rb)
		}
		at := func(tau, bias float64) float64 {
			l := v.ref(tau, bias)
			if c, ok := l.(ref.DCL); ok { // its weights are constants
				c.Weights = weights
				l = c
			}
			return l.Eval(rb).Loss
		}
		if want.Kink < 0.001 {
			t.Fatalf("%s: not smooth", v.name)
		}
		for _, m := range [...]struct{ x, grad [][]float64 }{
			{rb.Query, want.Query}, {rb.Key, want.Key}, {rb.Negatives, want.Negatives}, {rb.Hard, want.Hard},
		} {
			for i, row := range m.x {
				for d, x := range row {
					m.grad[i][d] = difference(func(h float64) float64 {
						row[d] = x + h
						defer func() { row[d] = x }()
						return at(tau, bias)
					})
				}
			}
		}
		if !v.constantTemperature {
			want.TemperatureGrad = difference(func(h float64) float64 { return at(tau+h, bias) })
		}
		want.BiasGrad = difference(func(h float64) float64 { return at(tau, bias+h) })
		if v.name == "NegativeCosine" {
			for _, row := range want.Key {
				clear(row) // the targets are under stop-gradient
			}
		}
		isatest.Each(t, func(t *testing.T) { trial{v.name, v, tau, bias, 0, b, want}.run(t) })
	}
}

// difference returns the derivative of f at 0, with an error of h⁴/30 times the
// fifth derivative, some 1e-10 for τ = 1/4, which is far below that of float32.
func difference(f func(h float64) float64) float64 {
	const h = 0x1p-11
	return (8*(f(h)-f(-h)) - (f(2*h) - f(-2*h))) / (12 * h)
}

// TestGradientSubsets asks for every subset of the gradients: what is not wanted
// must not change the others.
func TestGradientSubsets(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for k, v := range variants {
			for _, n := range [...]int{3, 70} {
				r := rand.New(rand.NewPCG(15, uint64(k)))
				b := v.batch(r, n, 19)
				if v.negatives {
					b.Negatives = normal(r, 50, 19)
				}
				loss := v.make(0.1, -1, options{})
				all := v.destinations(b)
				want := eval(t, v.name, loss, b, all)
				for subset := range 15 {
					name := fmt.Sprintf("%s N=%d subset %04b", v.name, n, subset)
					g := v.destinations(b)
					for i, m := range [...]*contrastive.Matrix{&g.Query, &g.Key, &g.Negatives, &g.Hard} {
						if subset>>i&1 == 0 {
							*m = contrastive.Matrix{}
						}
					}
					if got := eval(t, name, loss, b, g); got != want {
						t.Errorf("%s: %+v, want %+v", name, got, want)
					}
					for i, m := range outputs(g) {
						if subset>>i&1 == 1 && !sameBits(m, outputs(all)[i]) {
							t.Errorf("%s: gradient %d differs", name, i)
						}
					}
				}
			}
		}
	})
}
