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
func newSigmoidErrors(c losstest.Trial) sigmoidErrors {
	softplus := func(z float64) float64 { return max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) }
	sigmoid := func(z float64) float64 { return math.Exp(z - softplus(z)) }
	n, tau, bias := c.Batch.Query.Rows, float64(c.Tau), float64(c.Bias)
	a := losstest.NewAccuracy(c.Variant, c.Batch, c.Tau, c.Bias, contrastive.Highest)
	e := sigmoidErrors{query: make([]float64, n), key: make([]float64, n)}
	for i := range n {
		for j := range n {
			y := cosineOf(c.Batch.Query.Row(i), c.Batch.Key.Row(j)) / tau
			z, off := y+bias, a.Logit
			if i == j {
				z, off = -z, 0x1p-50*(1/tau+math.Abs(bias))
			}
			loss, w := softplus(z), sigmoid(z)
			lossError := max(softplus(z+off)-loss, loss-softplus(z-off)) + a.Sum*loss
			weightError := max(sigmoid(z+off)-w, w-sigmoid(z-off)) + 12*u*w + 0x1p-126
			e.loss += lossError
			e.bias += weightError + a.Sum*w
			e.temperature += weightError*math.Abs(y) + w*(a.Cosine/tau+a.Sum*math.Abs(y))
			grad := (weightError + (a.Length*u+2*a.Product)*w) / tau
			e.query[i] += grad
			e.key[j] += grad
		}
	}
	// 2⁻⁴⁰: what is added in float64 here and there.
	const rounding = 1 + 0x1p-40
	scale := rounding / float64(n)
	e.loss, e.bias, e.temperature = scale*e.loss+0x1p-40*math.Abs(c.Want.Loss), scale*e.bias+0x1p-50, scale*e.temperature/tau+0x1p-50
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

func (e sigmoidErrors) check(t *testing.T, name string, c losstest.Trial, got contrastive.Result, g contrastive.Gradients) {
	t.Helper()
	losstest.Within(t, name+": Loss", got.Loss, c.Want.Loss, e.loss)
	losstest.Within(t, name+": TemperatureGrad", got.TemperatureGrad, c.Want.TemperatureGrad, e.temperature)
	losstest.Within(t, name+": BiasGrad", got.BiasGrad, c.Want.BiasGrad, e.bias)
	losstest.CheckRows(t, name+": gradient of Query", c.Batch.Query, g.Query, c.Want.Query, func(i int) float64 { return e.query[i] })
	losstest.CheckRows(t, name+": gradient of Key", c.Batch.Key, g.Key, c.Want.Key, func(i int) float64 { return e.key[i] })
}

// TestSigLIPBias takes every bias, alone and sharded: where it is great, all pairs weigh
// 1 or 0, and what is left of the gradients is as precise as ever.
func TestSigLIPBias(t *testing.T) {
	v := losstest.Variant{
		Make: func(tau, bias float32, o options) contrastive.Loss {
			return contrastive.SigLIP{Temperature: tau, Bias: bias, Options: o}
		},
		Ref:  func(tau, bias float64) ref.Loss { return ref.SigLIP{Temperature: tau, Bias: bias} },
		Bias: true,
	}
	r := rand.New(rand.NewPCG(17, 1))
	var trials []losstest.Trial
	for _, n := range []int{3, 24, 70} {
		b := contrastive.Batch{Query: losstest.Normal(r, n, 16), Key: losstest.Normal(r, n, 16)}
		for _, tau := range []float32{0.1, 1, 0.01} {
			trials = append(trials, losstest.NewTrial(v, "", tau, 0, b))
			for _, bias := range []float32{10, 1e2, 1e3, 1e5, 1e6, 1e30, 0x1p100} {
				trials = append(trials, losstest.NewTrial(v, "", tau, bias, b), losstest.NewTrial(v, "", tau, -bias, b))
			}
		}
	}
	isatest.Each(t, func(t *testing.T) {
		for _, c := range trials {
			n := c.Batch.Query.Rows
			loss, bound := v.Make(c.Tau, c.Bias, options{}), newSigmoidErrors(c)
			name := fmt.Sprintf("N=%d τ=%v bias=%v", n, c.Tau, c.Bias)
			g := losstest.Destinations(c.Batch)
			bound.check(t, name, c, losstest.Eval(t, name, loss, c.Batch, g), g)
			s := shardTrial{Trial: c, rows: []int{1, n - 1}}
			for _, way := range shardWays {
				g := losstest.Destinations(c.Batch)
				bound.check(t, name+" "+way.name, c, s.evalSharded(t, loss, way.ring, g), g)
			}
		}
	})
}
