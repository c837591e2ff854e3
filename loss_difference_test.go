package contrastive_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
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
	trial
	accuracy accuracy
	step     float64   // of logits, four times of which is as far as a quotient goes
	before   ref.Batch // if the loss has constants
}

// tally counts what was compared, of derivatives that are not next to 0 whatever the
// batch, and the bounds that are no more than a quarter of what they can be.
type tally struct{ compared, sharp int }

func (n *tally) compare(t *testing.T, name string, got float64, want quotient, bound, size float64) {
	t.Helper()
	within(t, name, got, want.value, want.bound+bound)
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
	res, err := c.v.make(tau, bias, options{Workers: 1}).Eval(c.batch, contrastive.Gradients{})
	if err != nil {
		t.Fatal(err)
	}
	return res.Loss + c.held(float64(tau), float64(bias))
}

// held returns what to add to a loss with constants so that they are those of the
// batch as it was: no gradient flows through them.
func (c differenceTrial) held(tau, bias float64) float64 {
	if !c.v.constants {
		return 0
	}
	l, now := c.v.ref(tau, bias), reference(c.batch)
	return ref.Hold(l, c.before).Eval(now).Loss - l.Eval(now).Loss
}

// run compares all derivatives. The values of the loss change by less than a factor
// of 2 within a step of logits of 1/8, and so does their error.
func (c differenceTrial) run(t *testing.T, r *rand.Rand, n *tally) {
	t.Helper()
	a, noise := c.accuracy, 2*c.accuracy.loss(c.want)
	g := c.v.destinations(c.batch)
	got := eval(t, c.name, c.v.make(c.tau, c.bias, options{Workers: 1}), c.batch, g)
	if !c.v.noTemperature && !c.v.constantTemperature {
		tau := float64(c.tau)
		want := differentiate(c.step*min(tau, 1)*tau, noise, func(h float64) float64 { return c.loss(t, float32(tau+h), c.bias) })
		n.compare(t, c.name+": TemperatureGrad", got.TemperatureGrad, want, a.temperatureGrad(c.want), c.want.Mass)
	}
	if c.v.bias {
		want := differentiate(c.step, noise, func(h float64) float64 { return c.loss(t, c.tau, c.bias+float32(h)) })
		n.compare(t, c.name+": BiasGrad", got.BiasGrad, want, a.biasGrad(c.want), c.want.Mass*a.tau)
	}
	masses := [...][]float64{c.want.QueryMass, c.want.KeyMass, c.want.NegativesMass, c.want.HardMass}
	for i, input := range inputs(c.batch) {
		name := [...]string{"Query", "Key", "Negatives", "Hard"}[i]
		if outputs(g)[i].Data == nil || c.v.name == "NegativeCosine" && name == "Key" { // under stop-gradient
			continue
		}
		for range 2 {
			c.runDirection(t, r, n, name, input, outputs(g)[i], masses[i], noise)
		}
	}
}

// runDirection moves an input along a random direction of signs, by steps whose sums
// with the input are exact.
func (c differenceTrial) runDirection(t *testing.T, r *rand.Rand, n *tally, name string, input, grad contrastive.Matrix, mass []float64, noise float64) {
	t.Helper()
	a, start := c.accuracy, clone(input)
	direction := contrastive.NewMatrix(input.Rows, input.Cols)
	_, norms := unitRows(input)
	mapMatrix(direction, func(i, _ int, _ float32) float32 { return float32(1-2*r.IntN(2)) * c.grid(norms[i]) })
	// A unit vector moves by the quotient of the norms.
	along, bound, size, quickest := 0.0, 0.0, 0.0, 1.0
	for i := range input.Rows {
		for d, g := range grad.Row(i) {
			along += float64(g) * float64(direction.Row(i)[d])
			bound += u * math.Abs(float64(g))
		}
		if !a.columns {
			speed := math.Sqrt(float64(input.Cols)) * float64(c.grid(norms[i])) / norms[i]
			moved := speed // by which the mass is multiplied: of a raw row, its own
			if a.raw {
				moved *= norms[i]
			}
			bound += mass[i] * a.weight() * moved
			size += mass[i] * mass[i] * moved * moved
			quickest = max(quickest, speed)
		}
	}
	if a.columns {
		for _, m := range mass {
			bound += m * a.weight() * math.Sqrt(float64(input.Rows))
			size += m * m * float64(input.Rows)
		}
	}
	step := math.Exp2(math.Floor(math.Log2(c.step * min(a.tau, 1) / quickest)))
	want := differentiate(step, noise, func(h float64) float64 {
		mapMatrix(input, func(i, d int, _ float32) float32 {
			return start.Row(i)[d] + float32(h)*direction.Row(i)[d]
		})
		return c.loss(t, c.tau, c.bias)
	})
	mapMatrix(input, func(i, d int, _ float32) float32 { return start.Row(i)[d] })
	n.compare(t, c.name+": gradient of "+name+" along a direction", along, want, bound, math.Sqrt(size))
}

// TestOwnDifferences compares every gradient, of every input and scalar, with
// difference quotients of the package's own loss: what the losses and package ref
// might share, no formula of theirs is part of. HardNegative and VICReg are compared on
// both sides of the points at which they are not smooth.
func TestOwnDifferences(t *testing.T) {
	for k, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(16, uint64(k)))
			ts := differenceTrials(t, v, r)
			isatest.Each(t, func(t *testing.T) {
				var n tally
				for _, c := range ts {
					c.run(t, r, &n)
				}
				inputs := 2
				if v.constantKey {
					inputs = 1
				}
				if len(ts) == 0 && strings.HasPrefix(v.name, "Triplet") {
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
	if c.v.columns {
		return 1
	}
	return float32(math.Exp2(math.Floor(math.Log2(norm))))
}

func (c differenceTrial) round(m contrastive.Matrix) {
	_, norms := unitRows(m)
	mapMatrix(m, func(i, _ int, x float32) float32 {
		unit := 0x1p-12 * c.grid(norms[i])
		return float32(math.RoundToEven(float64(x/unit))) * unit
	})
}

// differenceTrials returns batches of a few kinds.
func differenceTrials(t *testing.T, v variant, r *rand.Rand) []differenceTrial {
	kinds := []kind{
		{"normal", func(*rand.Rand, contrastive.Batch) {}},
		{"aligned", func(_ *rand.Rand, b contrastive.Batch) { mapRows(b, func(q, k []float32) { copy(k, q) }) }},
		{"near", func(_ *rand.Rand, b contrastive.Batch) {
			mapRows(b, func(q, k []float32) {
				for d, x := range q {
					k[d] = x + 0.25*k[d]
				}
			})
		}},
	}
	taus := []float32{0.0625, 0.125, 0.5, 1, 4, 0.015625}
	if v.columns {
		// Deviations below and above 1, where the variance term of VICReg ends.
		for i, factor := range [...]float32{0.25, 3} {
			kinds[2*i].make = func(_ *rand.Rand, b contrastive.Batch) {
				for _, m := range [...]contrastive.Matrix{b.Query, b.Key} {
					mapMatrix(m, func(_, d int, x float32) float32 { return x * [...]float32{factor, 0.25, 3}[d%3] })
				}
			}
		}
	}
	if v.noTemperature {
		taus = []float32{1}
	}
	if raceEnabled { // which takes twenty times as long
		taus = taus[:1]
	}
	var ts []differenceTrial
	for _, shape := range [...]struct{ n, d, taus int }{{6, 8, len(taus)}, {40, 12, min(len(taus), 2)}} {
		for _, e := range extras {
			if !e.fits(v) {
				continue
			}
			for _, k := range kinds {
				for _, tau := range taus[:shape.taus] {
					b := v.batch(r, shape.n, shape.d)
					k.make(r, b)
					e.add(t, r, &b)
					for _, m := range inputs(b) {
						differenceTrial{trial: trial{v: v}}.round(m)
					}
					bias := [...]float32{-2, 1}[len(ts)%2]
					c := differenceTrial{trial: newTrial(v, fmt.Sprintf("N=%d D=%d %s %s", shape.n, shape.d, k.name, e.name), tau, bias, b), step: 0x1p-5}
					c.accuracy = newAccuracy(v, b, tau, bias, contrastive.Highest)
					if c.want.Kink < 0.5 || !c.accuracy.condition(c.want) {
						continue
					}
					if c.want.Kink < 0.9 {
						c.step = 0x1p-6
					}
					if v.constants {
						c.before = reference(b)
					}
					ts = append(ts, c)
				}
			}
		}
	}
	return ts
}
