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

// sigmoidErrors are the errors that an evaluation of SigLIP may have, those of
// gradients before the division by the norm of the row.
type sigmoidErrors struct {
	loss, temperature, bias float64
	query, key              []float64
}

// newSigmoidErrors adds up those of pairs. A logit z off by ε moves the loss of a pair
// and its weight, which increase with z, to what they are at z−ε and z+ε at most:
// however great the bias is, that is little where the sigmoid is flat. For the positive
// pair ε is that of float64.
func newSigmoidErrors(c trial) sigmoidErrors {
	softplus := func(z float64) float64 { return max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) }
	sigmoid := func(z float64) float64 { return math.Exp(z - softplus(z)) }
	n, tau, bias := c.batch.Query.Rows, float64(c.tau), float64(c.bias)
	a := newAccuracy(c.v, c.batch, c.tau, c.bias, contrastive.Highest)
	e := sigmoidErrors{query: make([]float64, n), key: make([]float64, n)}
	for i := range n {
		for j := range n {
			y := cosineOf(c.batch.Query.Row(i), c.batch.Key.Row(j)) / tau
			z, off := y+bias, a.logit
			if i == j {
				z, off = -z, 0x1p-50*(1/tau+math.Abs(bias))
			}
			loss, w := softplus(z), sigmoid(z)
			lossError := max(softplus(z+off)-loss, loss-softplus(z-off)) + a.sum*loss
			weightError := max(sigmoid(z+off)-w, w-sigmoid(z-off)) + 12*u*w + 0x1p-126
			e.loss += lossError
			e.bias += weightError + a.sum*w
			e.temperature += weightError*math.Abs(y) + w*(a.cosine/tau+a.sum*math.Abs(y))
			grad := (weightError + (a.length*u+2*a.product)*w) / tau
			e.query[i] += grad
			e.key[j] += grad
		}
	}
	// 2⁻⁴⁰: what is added in float64 here and there.
	const rounding = 1 + 0x1p-40
	scale := rounding / float64(n)
	e.loss, e.bias, e.temperature = scale*e.loss+0x1p-40*math.Abs(c.want.Loss), scale*e.bias+0x1p-50, scale*e.temperature/tau+0x1p-50
	for i := range n {
		e.query[i] *= scale
		e.key[i] *= scale
	}
	return e
}

func cosineOf(x, y []float32) float64 {
	var xx, yy, xy float64
	for d := range x {
		xx += float64(x[d]) * float64(x[d])
		yy += float64(y[d]) * float64(y[d])
		xy += float64(x[d]) * float64(y[d])
	}
	return xy / math.Sqrt(xx) / math.Sqrt(yy)
}

func (e sigmoidErrors) check(t *testing.T, name string, c trial, got contrastive.Result, g contrastive.Gradients) {
	t.Helper()
	within(t, name+": Loss", got.Loss, c.want.Loss, e.loss)
	within(t, name+": TemperatureGrad", got.TemperatureGrad, c.want.TemperatureGrad, e.temperature)
	within(t, name+": BiasGrad", got.BiasGrad, c.want.BiasGrad, e.bias)
	checkRows(t, name+": gradient of Query", c.batch.Query, g.Query, c.want.Query, func(i int) float64 { return e.query[i] })
	checkRows(t, name+": gradient of Key", c.batch.Key, g.Key, c.want.Key, func(i int) float64 { return e.key[i] })
}

// TestSigLIPBias takes every bias, alone and sharded: where it is great, all pairs weigh
// 1 or 0, and what is left of the gradients is as precise as ever.
func TestSigLIPBias(t *testing.T) {
	v := variant{
		make: func(tau, bias float32, o options) contrastive.Loss {
			return contrastive.SigLIP{Temperature: tau, Bias: bias, Options: o}
		},
		ref:  func(tau, bias float64) ref.Loss { return ref.SigLIP{Temperature: tau, Bias: bias} },
		bias: true,
	}
	r := rand.New(rand.NewPCG(17, 1))
	var trials []trial
	for _, n := range []int{3, 24, 70} {
		b := contrastive.Batch{Query: normal(r, n, 16), Key: normal(r, n, 16)}
		for _, tau := range []float32{0.1, 1, 0.01} {
			trials = append(trials, newTrial(v, "", tau, 0, b))
			for _, bias := range []float32{10, 1e2, 1e3, 1e5, 1e6, 1e30, 0x1p100} {
				trials = append(trials, newTrial(v, "", tau, bias, b), newTrial(v, "", tau, -bias, b))
			}
		}
	}
	isatest.Each(t, func(t *testing.T) {
		for _, c := range trials {
			n := c.batch.Query.Rows
			loss, bound := v.make(c.tau, c.bias, options{}), newSigmoidErrors(c)
			name := fmt.Sprintf("N=%d τ=%v bias=%v", n, c.tau, c.bias)
			g := destinations(c.batch)
			bound.check(t, name, c, eval(t, name, loss, c.batch, g), g)
			s := shardTrial{trial: c, rows: []int{1, n - 1}}
			for _, way := range shardWays {
				g := destinations(c.batch)
				bound.check(t, name+" "+way.name, c, s.evalSharded(t, loss, way.ring, g), g)
			}
		}
	})
}
