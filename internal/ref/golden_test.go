package ref_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/contrastive-go/contrastive/internal/ref"
	"github.com/contrastive-go/contrastive/internal/ref/golden"
)

func goldenLoss(file string, p map[string]float64) ref.Loss {
	switch file {
	case "infonce", "infonce_negatives":
		return ref.InfoNCE{Temperature: p["temperature"]}
	case "clip":
		return ref.CLIP{Temperature: p["temperature"]}
	case "siglip":
		return ref.SigLIP{Temperature: p["temperature"], Bias: p["bias"]}
	case "ntxent":
		return ref.NTXent{Temperature: p["temperature"]}
	case "dcl", "dclw":
		return ref.DCL{Temperature: p["temperature"], Sigma: p["sigma"]}
	case "hard_negative":
		return ref.HardNegative{Temperature: p["temperature"], Beta: p["beta"], TauPlus: p["tau_plus"]}
	case "supcon", "supcon_one_view":
		return ref.SupCon{Temperature: p["temperature"], BaseTemperature: p["base_temperature"]}
	case "negative_cosine":
		return ref.NegativeCosine{}
	case "barlow_twins":
		return ref.BarlowTwins{Lambda: p["lambda"]}
	case "vicreg":
		return ref.VICReg{Similarity: p["similarity"], Variance: p["variance"], Covariance: p["covariance"]}
	}
	return nil
}

// TestGolden compares every loss with the reference implementations, which ran
// in float64 as well. A cosine of at most 64 dimensions errs by less than
// 70·2⁻⁵³ on either side, and the loss by Mass times that; they subtract logits
// of up to 1/τ from each other, and so err by another 2⁻⁵²/τ. Both together are
// less than 1e-13·(Mass + 1/τ), ten times that for derivatives, which multiply
// these errors by sums of a few terms. Gradients are stored as float32, with a
// relative error of 2⁻²⁴.
func TestGolden(t *testing.T) {
	const eps = 1e-13
	for _, file := range golden.Files {
		if file == "metrics" {
			continue
		}
		t.Run(file, func(t *testing.T) {
			for _, c := range golden.Load(t, file) {
				loss := goldenLoss(file, c.Params)
				if loss == nil {
					t.Fatal("no such loss")
				}
				r := loss.Eval(ref.Batch{
					Query: c.Inputs["query"].Float64(), Key: c.Inputs["key"].Float64(),
					Negatives: c.Inputs["negatives"].Float64(), Labels: c.Labels,
				})
				scale := r.Mass + 1
				if tau, ok := c.Params["temperature"]; ok {
					scale = r.Mass + 1/tau
				}
				within(t, c.Name+": loss", r.Loss, c.Loss, eps*scale)
				for name, want := range c.ScalarGrads {
					switch name {
					case "temperature":
						within(t, c.Name+": ∂L/∂τ", r.TemperatureGrad, want, 10*eps*scale/c.Params["temperature"])
					case "bias":
						within(t, c.Name+": ∂L/∂b", r.BiasGrad, want, 10*eps*scale)
					default:
						t.Errorf("%s: gradient of %q", c.Name, name)
					}
				}
				for name, want := range c.Grads {
					got := map[string][][]float64{"query": r.Query, "key": r.Key, "negatives": r.Negatives}[name]
					sameGradient(t, c.Name+": "+name, got, want.Float64(), c.Inputs[name].Float64(), eps*scale)
				}
			}
		})
	}
}

// sameGradient compares gradients whose error is bound/‖x‖ for the raw row x,
// and 2⁻²⁴ relative.
func sameGradient(t *testing.T, name string, got, want, x [][]float64, bound float64) {
	t.Helper()
	for i := range want {
		norm := 0.0
		for _, v := range x[i] {
			norm = math.Hypot(norm, v)
		}
		for d := range want[i] {
			within(t, fmt.Sprintf("%s row %d column %d", name, i, d), got[i][d], want[i][d],
				0x1p-24*math.Abs(want[i][d])+0x1p-149+10*bound/min(norm, 1))
		}
	}
}

func within(t *testing.T, name string, got, want, bound float64) {
	t.Helper()
	if !(math.Abs(got-want) <= bound) {
		t.Errorf("%s = %v, want %v ± %.2g; off by %.2g", name, got, want, bound, math.Abs(got-want))
	}
}

func TestGoldenMetrics(t *testing.T) {
	for _, c := range golden.Load(t, "metrics") {
		q, k := c.Inputs["query"].Float64(), c.Inputs["key"].Float64()
		if c.Alignment == nil && c.Uniformity == nil {
			t.Errorf("%s: neither metric", c.Name)
		}
		if c.Alignment != nil {
			within(t, c.Name+": alignment", ref.Alignment(q, k, 2), *c.Alignment, 1e-13)
		}
		if c.Uniformity != nil {
			within(t, c.Name+": uniformity", ref.Uniformity(q, 2), *c.Uniformity, 1e-13)
		}
	}
}
