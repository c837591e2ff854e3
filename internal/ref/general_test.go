package ref_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/contrastive-go/contrastive/internal/ref/golden"
)

// TestGoldenGeneral compares losses on batches that hold more than pairs with the
// reference implementations and with torch, to 10⁻¹² and the rounding errors of
// float64: on either side a similarity of at most 70 dimensions errs by less than
// 40·2⁻⁵³ of its size, the loss by Mass times that and by as much of a logit,
// together less than 10⁻¹⁴·(Mass + size/τ); derivatives by ten times that, and by
// 2⁻²⁴ for gradients, which are float32.
func TestGoldenGeneral(t *testing.T) {
	const eps = 1e-14
	for _, file := range golden.GeneralFiles {
		for _, c := range golden.LoadGeneral(t, file) {
			t.Run(c.Name, func(t *testing.T) {
				loss := c.Reference()
				if loss == nil {
					t.Skip("package ref has no such loss")
				}
				b := c.Batch()
				r := loss.Eval(b)
				tau, scale := temperature(c.Loss), r.Mass
				if c.Params.Similarity == "dot" {
					scale += greatest(b.Query) * max(greatest(b.Key), greatest(b.Negatives), greatest(b.Hard)) / tau
				} else {
					scale += 1 / tau
				}
				exact := func(name string, got, want, bound float64) {
					t.Helper()
					within(t, name, got, want, bound+1e-12*math.Abs(want))
				}
				exact("loss", r.Loss, c.Value, eps*scale)
				if len(c.Losses) > 0 && len(r.Losses) != len(c.Losses) {
					t.Fatalf("%d losses, want %d", len(r.Losses), len(c.Losses))
				}
				for i, want := range c.Losses {
					exact(fmt.Sprintf("loss of query %d", i), r.Losses[i], want, eps*scale)
				}
				for name, want := range c.ScalarGrads {
					switch name {
					case "temperature":
						exact("∂L/∂τ", r.TemperatureGrad, want, 10*eps*scale/tau)
					case "bias":
						exact("∂L/∂b", r.BiasGrad, want, 10*eps*scale)
					default:
						t.Errorf("gradient of %q", name)
					}
				}
				for name, want := range c.Grads {
					got := map[string][][]float64{"query": r.Query, "key": r.Key, "negatives": r.Negatives, "hard": r.Hard}[name]
					shortest := c.Inputs[name].Float64()
					for i, row := range shortest {
						for _, d := range c.Params.Dims {
							if norm(row[:d]) < norm(shortest[i]) {
								shortest[i] = row[:d]
							}
						}
					}
					sameGradient(t, name, got, want.Float64(), shortest, eps*scale)
				}
			})
		}
	}
}

// temperature returns the least of a loss and its parts, 1 if it has none.
func temperature(l golden.Loss) float64 {
	least := 1.0
	if tau := l.Params.Temperature; tau > 0 {
		least = tau
	}
	for _, part := range l.Params.Parts {
		least = min(least, temperature(part))
	}
	return least
}

// greatest returns the greatest norm of a row of m.
func greatest(m [][]float64) float64 {
	g := 0.0
	for _, row := range m {
		g = max(g, norm(row))
	}
	return g
}
