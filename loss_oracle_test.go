package contrastive_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// TestOracle compares every loss with package ref, within the bounds of
// [accuracy].
func TestOracle(t *testing.T) {
	for k, v := range losstest.Variants {
		t.Run(v.Name, func(t *testing.T) {
			ts := losstest.Trials(t, v, rand.New(rand.NewPCG(11, uint64(k))))
			isatest.Each(t, func(t *testing.T) {
				compared := 0
				for _, c := range ts {
					if c.Run(t) {
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
	for k, v := range losstest.Variants {
		t.Run(v.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(12, uint64(k)))
			ts := map[contrastive.Precision][]losstest.Trial{}
			for _, p := range [...]contrastive.Precision{contrastive.High, contrastive.Medium} {
				for i, n := range [...]int{2, 33, 64, 100} {
					d, tau := 40, [...]float32{0.25, 0.5}[i%2]
					if p == contrastive.Medium {
						tau *= 4
					}
					if v.Columns {
						d = 8
					}
					b := v.Batch(r, n, d)
					losstest.MapRows(b, func(q, k []float32) {
						for d, x := range q {
							k[d] = 0.5*x + k[d]
							if v.Columns { // with deviations on either side of 1
								q[d], k[d] = [...]float32{0.25, 0.5, 2}[d%3]*q[d], [...]float32{0.25, 0.5, 2}[d%3]*k[d]
							}
						}
					})
					ts[p] = append(ts[p], losstest.NewTrial(v, fmt.Sprintf("N=%d %v", n, p), tau, 0.5, b))
				}
			}
			isatest.Each(t, func(t *testing.T) {
				for p, ts := range ts {
					compared := 0
					for _, c := range ts {
						c.Precision = p
						a := losstest.NewAccuracy(v, c.Batch, c.Tau, c.Bias, p)
						if a.Condition(c.Want) && a.Loss(c.Want) < 2*math.Abs(c.Want.Loss) && c.Run(t) {
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
	b := contrastive.Batch{Query: losstest.Normal(rand.New(rand.NewPCG(13, 1)), n, d)}
	for i := range n {
		clear(b.Query.Row(i))
		b.Query.Row(i)[i] = float32(1 + i)
	}
	b.Key = losstest.Clone(b.Query)
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
			g, tau := losstest.Destinations(b), c.tau
			got := losstest.Eval(t, fmt.Sprintf("%+v", c.loss), c.loss, b, g)
			want := c.negatives * math.Exp(-1/tau)
			// A similarity of 0 is exact here, as is 1/τ; what is left is the
			// exponential, 4 ulp, and the sum, 32·u.
			losstest.Within(t, fmt.Sprintf("%+v: Loss", c.loss), got.Loss, want, 40*u*want)
			// ∂L/∂τ = L/τ² for L = C·e^(−1/τ).
			losstest.Within(t, fmt.Sprintf("%+v: TemperatureGrad", c.loss), got.TemperatureGrad, want/tau/tau, 80*u*want/tau/tau)
		}
	})
}

// TestSmallGradient asks for the relative accuracy of gradients of losses near 0, of
// queries with a positive beside their own, which has no weight, and of the keys. All are
// unit vectors on the axes, and similarities dot products, so that the derivative by the
// positive's is not projected away: with R = M·e^(−1/τ) of the M keys that compete with
// it, it is −R/(1+R)/τ/N, along the axis of the pair.
func TestSmallGradient(t *testing.T) {
	const n, tau = 24, 0x1p-5
	b := contrastive.Batch{Query: losstest.Apart(contrastive.NewMatrix(n, n), 3)}
	for i := range n {
		b.Query.Row(i)[i] = 1
		b.Positives = append(b.Positives, []int{i, (i + 1) % n})
		b.PositiveWeights = append(b.PositiveWeights, []float32{1, 0})
	}
	b.Key = losstest.Clone(b.Query)
	isatest.Each(t, func(t *testing.T) {
		for _, c := range [...]struct {
			form     contrastive.PositiveForm
			competes float64
		}{{contrastive.Separate, n - 2}, {contrastive.Shared, n - 1}, {contrastive.Any, n - 2}} {
			b := b
			if c.form == contrastive.Any {
				b.PositiveWeights = nil
			}
			g := losstest.Destinations(b)
			losstest.Eval(t, "", contrastive.InfoNCE{Temperature: tau, Form: c.form, Similarity: contrastive.Dot}, b, g)
			ratio := c.competes * math.Exp(-1/tau)
			want := -ratio / (1 + ratio) / tau / n
			for i := range n {
				// The exponential, 4 ulp, the sum, 32·u, the weight and the product.
				losstest.Within(t, fmt.Sprintf("form %d: gradient of query %d", c.form, i), float64(g.Query.Row(i)[i]), want, -48*u*want)
				losstest.Within(t, fmt.Sprintf("form %d: gradient of key %d", c.form, i), float64(g.Key.Row(i)[i]), want, -48*u*want)
			}
		}
	})
}

// TestFiniteDifferences compares gradients with difference quotients of the
// oracle, which package ref compares with its own gradients.
func TestFiniteDifferences(t *testing.T) {
	for k, v := range losstest.Variants {
		r := rand.New(rand.NewPCG(14, uint64(k)))
		const tau, bias = 0.25, -0.75
		b := v.Batch(r, 6, 5)
		if v.Negatives {
			b.Negatives = losstest.Normal(r, 4, 5)
		}
		if v.Queue {
			b.Queue = losstest.NewQueue(t, 8, losstest.Normal(r, 5, 5), 0, 1, 2, 3, 4)
		}
		if v.Labels {
			b.Labels = []int{0, 1, 0, 5, 6, 7}
		}
		rb := losstest.Reference(b)
		want := v.Ref(tau, bias).Eval(rb)
		var weights []float64
		if l, ok := v.Ref(tau, bias).(ref.DCL); ok {
			weights = l.BatchWeights(rb)
		}
		at := func(tau, bias float64) float64 {
			l := v.Ref(tau, bias)
			if c, ok := l.(ref.DCL); ok { // its weights are constants
				c.Weights = weights
				l = c
			}
			return l.Eval(rb).Loss
		}
		if want.Kink < 0.001 {
			t.Fatalf("%s: not smooth", v.Name)
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
		if !v.ConstantTemperature {
			want.TemperatureGrad = difference(func(h float64) float64 { return at(tau+h, bias) })
		}
		want.BiasGrad = difference(func(h float64) float64 { return at(tau, bias+h) })
		if v.Name == "NegativeCosine" {
			for _, row := range want.Key {
				clear(row) // the targets are under stop-gradient
			}
		}
		isatest.Each(t, func(t *testing.T) {
			losstest.Trial{Name: v.Name, Variant: v, Tau: tau, Bias: bias, Batch: b, Want: want}.Run(t)
		})
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
		for k, v := range losstest.Variants {
			for _, n := range [...]int{3, 70} {
				r := rand.New(rand.NewPCG(15, uint64(k)))
				b := v.Batch(r, n, 19)
				if v.Negatives {
					b.Negatives = losstest.Normal(r, 50, 19)
				}
				loss := v.Make(0.1, -1, options{})
				all := v.Destinations(b)
				want := losstest.Eval(t, v.Name, loss, b, all)
				for subset := range 15 {
					name := fmt.Sprintf("%s N=%d subset %04b", v.Name, n, subset)
					g := v.Destinations(b)
					for i, m := range [...]*contrastive.Matrix{&g.Query, &g.Key, &g.Negatives, &g.Hard} {
						if subset>>i&1 == 0 {
							*m = contrastive.Matrix{}
						}
					}
					if got := losstest.Eval(t, name, loss, b, g); got != want {
						t.Errorf("%s: %+v, want %+v", name, got, want)
					}
					for i, m := range losstest.Outputs(g) {
						if subset>>i&1 == 1 && !losstest.SameBits(m, losstest.Outputs(all)[i]) {
							t.Errorf("%s: gradient %d differs", name, i)
						}
					}
				}
			}
		}
	})
}
