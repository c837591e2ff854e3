package contrastive_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// A quotient is a difference quotient of the package's own loss.
type quotient struct{ value, bound float64 }

// differentiate returns the derivative at 0 of a loss whose values are off by no more
// than noise, by five points,
//
//	( 8·(f(h) − f(−h)) − (f(2h) − f(−2h)) ) / 12h
//
// That has the noise of 18 values over 12h, and is off by h⁴/30 of the fifth
// derivative. Twice the step makes that sixteen times as much, so that the two differ
// by fifteen times the error of the one, and by their noise.
func differentiate(h, noise float64, f func(h float64) float64) quotient {
	first, second, fourth := f(h)-f(-h), f(2*h)-f(-2*h), f(4*h)-f(-4*h)
	near, far := (8*first-second)/(12*h), (8*second-fourth)/(24*h)
	return quotient{near, math.Abs(far-near) + 1.5*noise/h}
}

// A differenceTrial is an evaluation to compare with difference quotients. Package
// ref contributes to the bounds, and nothing to the values.
type differenceTrial struct {
	losstest.Trial
	accuracy losstest.Accuracy
	step     float64   // of logits, four times of which is as far as a quotient goes
	before   ref.Batch // if the loss has constants
}

// tally counts what was compared, of derivatives that are not next to 0 whatever the
// batch, and the bounds that are no more than a quarter of what they can be.
type tally struct{ compared, sharp int }

func (n *tally) compare(t *testing.T, name string, got float64, want quotient, bound, size float64) {
	t.Helper()
	losstest.Within(t, name, got, want.value, want.bound+bound)
	if size < 0x1p-60 {
		return
	}
	n.compared++
	if want.bound+bound <= size/4 {
		n.sharp++
	}
}

func (c differenceTrial) loss(t *testing.T, tau, bias float32) float64 {
	t.Helper()
	res, err := c.Variant.Make(tau, bias, options{Workers: 1}).Eval(c.Batch, contrastive.Gradients{})
	if err != nil {
		t.Fatal(err)
	}
	return res.Loss + c.held(float64(tau), float64(bias))
}

// held returns what to add to a loss with constants so that they are those of the
// batch as it was: no gradient flows through them.
func (c differenceTrial) held(tau, bias float64) float64 {
	if !c.Variant.Constants {
		return 0
	}
	l, now := c.Variant.Ref(tau, bias), losstest.Reference(c.Batch)
	return ref.Hold(l, c.before).Eval(now).Loss - l.Eval(now).Loss
}

// run compares all derivatives. The values of the loss change by less than a factor
// of 2 within a step of logits of 1/8, and so does their error.
func (c differenceTrial) run(t *testing.T, r *rand.Rand, n *tally) {
	t.Helper()
	a, noise := c.accuracy, 2*c.accuracy.Loss(c.Want)
	g := c.Variant.Destinations(c.Batch)
	got := losstest.Eval(t, c.Name, c.Variant.Make(c.Tau, c.Bias, options{Workers: 1}), c.Batch, g)
	if !c.Variant.NoTemperature && !c.Variant.ConstantTemperature {
		tau := float64(c.Tau)
		want := differentiate(c.step*min(tau, 1)*tau, noise, func(h float64) float64 { return c.loss(t, float32(tau+h), c.Bias) })
		n.compare(t, c.Name+": TemperatureGrad", got.TemperatureGrad, want, a.TemperatureGrad(c.Want), c.Want.Mass)
	}
	if c.Variant.Bias {
		want := differentiate(c.step, noise, func(h float64) float64 { return c.loss(t, c.Tau, c.Bias+float32(h)) })
		n.compare(t, c.Name+": BiasGrad", got.BiasGrad, want, a.BiasGrad(c.Want), c.Want.Mass*a.Tau)
	}
	masses := [...][]float64{c.Want.QueryMass, c.Want.KeyMass, c.Want.NegativesMass, c.Want.HardMass}
	for i, input := range losstest.Inputs(c.Batch) {
		name := [...]string{"Query", "Key", "Negatives", "Hard"}[i]
		if losstest.Outputs(g)[i].Data == nil || c.Variant.Name == "NegativeCosine" && name == "Key" { // under stop-gradient
			continue
		}
		for range 2 {
			c.runDirection(t, r, n, name, input, losstest.Outputs(g)[i], masses[i], noise)
		}
	}
}

// runDirection moves an input along a random direction of signs, by steps whose sums
// with the input are exact.
func (c differenceTrial) runDirection(t *testing.T, r *rand.Rand, n *tally, name string, input, grad contrastive.Matrix, mass []float64, noise float64) {
	t.Helper()
	a, start := c.accuracy, losstest.Clone(input)
	direction := contrastive.NewMatrix(input.Rows, input.Cols)
	_, norms := unitRows(input)
	losstest.MapMatrix(direction, func(i, _ int, _ float32) float32 { return float32(1-2*r.IntN(2)) * c.grid(norms[i]) })
	// A unit vector moves by the quotient of the norms.
	along, bound, size, quickest := 0.0, 0.0, 0.0, 1.0
	for i := range input.Rows {
		for d, g := range grad.Row(i) {
			along += float64(g) * float64(direction.Row(i)[d])
			bound += u * math.Abs(float64(g))
		}
		if !a.Columns {
			speed := math.Sqrt(float64(input.Cols)) * float64(c.grid(norms[i])) / norms[i]
			moved := speed // by which the mass is multiplied: of a raw row, its own
			if a.Raw {
				moved *= norms[i]
			}
			bound += mass[i] * a.Weight() * moved
			size += mass[i] * mass[i] * moved * moved
			quickest = max(quickest, speed)
		}
	}
	if a.Columns {
		for _, m := range mass {
			bound += m * a.Weight() * math.Sqrt(float64(input.Rows))
			size += m * m * float64(input.Rows)
		}
	}
	step := math.Exp2(math.Floor(math.Log2(c.step * min(a.Tau, 1) / quickest)))
	want := differentiate(step, noise, func(h float64) float64 {
		losstest.MapMatrix(input, func(i, d int, _ float32) float32 {
			return start.Row(i)[d] + float32(h)*direction.Row(i)[d]
		})
		return c.loss(t, c.Tau, c.Bias)
	})
	losstest.MapMatrix(input, func(i, d int, _ float32) float32 { return start.Row(i)[d] })
	n.compare(t, c.Name+": gradient of "+name+" along a direction", along, want, bound, math.Sqrt(size))
}

// TestOwnDifferences compares every gradient, of every input and scalar, with
// difference quotients of the package's own loss: what the losses and package ref
// might share, no formula of theirs is part of. HardNegative and VICReg are compared on
// both sides of the points at which they are not smooth.
func TestOwnDifferences(t *testing.T) {
	for k, v := range losstest.Variants {
		t.Run(v.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(16, uint64(k)))
			ts := differenceTrials(t, v, r)
			isatest.Each(t, func(t *testing.T) {
				var n tally
				for _, c := range ts {
					c.run(t, r, &n)
				}
				inputs := 2
				if v.ConstantKey {
					inputs = 1
				}
				if len(ts) == 0 && strings.HasPrefix(v.Name, "Triplet") {
					t.Skip("some triplet is next to its hinge; see those that are wide")
				}
				if n.sharp < n.compared*3/4 || n.compared < max(1, inputs*len(ts)) {
					t.Errorf("%d of %d comparisons of %d trials say something", n.sharp, n.compared, len(ts))
				}
			})
		})
	}
}

// grid returns a power of two that is nearly the norm of a row, or 1 for a loss on
// columns. Elements are multiples of 2⁻¹² times it.
func (c differenceTrial) grid(norm float64) float32 {
	if c.Variant.Columns {
		return 1
	}
	return float32(math.Exp2(math.Floor(math.Log2(norm))))
}

func (c differenceTrial) round(m contrastive.Matrix) {
	_, norms := unitRows(m)
	losstest.MapMatrix(m, func(i, _ int, x float32) float32 {
		unit := 0x1p-12 * c.grid(norms[i])
		return float32(math.RoundToEven(float64(x/unit))) * unit
	})
}

// differenceTrials returns batches of a few kinds.
func differenceTrials(t *testing.T, v losstest.Variant, r *rand.Rand) []differenceTrial {
	kinds := []losstest.Kind{
		{Name: "normal", Make: func(*rand.Rand, contrastive.Batch) {}},
		{Name: "aligned", Make: func(_ *rand.Rand, b contrastive.Batch) { losstest.MapRows(b, func(q, k []float32) { copy(k, q) }) }},
		{Name: "near", Make: func(_ *rand.Rand, b contrastive.Batch) {
			losstest.MapRows(b, func(q, k []float32) {
				for d, x := range q {
					k[d] = x + 0.25*k[d]
				}
			})
		}},
	}
	taus := []float32{0.0625, 0.125, 0.5, 1, 4, 0.015625}
	if v.Columns {
		// Deviations below and above 1, where the variance term of VICReg ends.
		for i, factor := range [...]float32{0.25, 3} {
			kinds[2*i].Make = func(_ *rand.Rand, b contrastive.Batch) {
				for _, m := range [...]contrastive.Matrix{b.Query, b.Key} {
					losstest.MapMatrix(m, func(_, d int, x float32) float32 { return x * [...]float32{factor, 0.25, 3}[d%3] })
				}
			}
		}
	}
	if v.NoTemperature {
		taus = []float32{1}
	}
	most := 2
	if testing.Short() {
		taus, most = taus[:min(len(taus), 2)], 1
	}
	if race.Enabled { // which takes twenty times as long
		taus = taus[:1]
	}
	var ts []differenceTrial
	for _, shape := range [...]struct{ n, d, taus int }{{6, 8, len(taus)}, {40, 12, min(len(taus), most)}} {
		for _, e := range losstest.Extras {
			if !e.Fits(v) {
				continue
			}
			for _, k := range kinds {
				for _, tau := range taus[:shape.taus] {
					b := v.Batch(r, shape.n, shape.d)
					k.Make(r, b)
					e.Add(t, r, &b)
					for _, m := range losstest.Inputs(b) {
						differenceTrial{Trial: losstest.Trial{Variant: v}}.round(m)
					}
					bias := [...]float32{-2, 1}[len(ts)%2]
					c := differenceTrial{Trial: losstest.NewTrial(v, fmt.Sprintf("N=%d D=%d %s %s", shape.n, shape.d, k.Name, e.Name), tau, bias, b), step: 0x1p-5}
					c.accuracy = losstest.NewAccuracy(v, b, tau, bias, contrastive.Highest)
					if c.Want.Kink < 0.5 || !c.accuracy.Condition(c.Want) {
						continue
					}
					if c.Want.Kink < 0.9 {
						c.step = 0x1p-6
					}
					if v.Constants {
						c.before = losstest.Reference(b)
					}
					ts = append(ts, c)
				}
			}
		}
	}
	return ts
}
