package contrastive_test

import (
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/ref"
	"github.com/contrastive-go/contrastive/internal/ref/golden"
)

// goldenVariant returns the loss of a file of testdata with the parameters of
// one of its cases.
func goldenVariant(file string, p map[string]float64) (v losstest.Variant, tau, bias float32) {
	tau, bias = float32(p["temperature"]), float32(p["bias"])
	beta, tauPlus := p["beta"], p["tau_plus"]
	v = map[string]losstest.Variant{
		"infonce":           losstest.Variants[0],
		"infonce_negatives": losstest.Variants[0],
		"clip":              variantNamed("CLIP"),
		"ntxent":            variantNamed("NTXent"),
		"siglip":            variantNamed("SigLIP"),
		"dcl":               variantNamed("DCL"),
		"dclw":              variantNamed("DCLW"),
		"negative_cosine":   variantNamed("NegativeCosine"),
		"supcon":            goldenSupCon(p["base_temperature"]),
		"supcon_one_view":   goldenSupCon(p["base_temperature"]),
		"hard_negative": {
			Make: func(tau, _ float32, o options) contrastive.Loss {
				return contrastive.HardNegative{Temperature: tau, Beta: float32(beta), TauPlus: float32(tauPlus), Options: o}
			},
			Ref: func(tau, _ float64) ref.Loss {
				return ref.HardNegative{Temperature: tau, Beta: beta, TauPlus: tauPlus}
			},
			Gain: 1 + 2*beta,
		},
		"barlow_twins": {
			Make: func(_, _ float32, o options) contrastive.Loss {
				return contrastive.BarlowTwins{Lambda: float32(p["lambda"]), Options: o}
			},
			Ref:           func(_, _ float64) ref.Loss { return ref.BarlowTwins{Lambda: p["lambda"]} },
			NoTemperature: true, Columns: true,
		},
		"vicreg": {
			Make: func(_, _ float32, o options) contrastive.Loss { return contrastive.VICReg{Options: o} },
			Ref: func(_, _ float64) ref.Loss {
				return ref.VICReg{Similarity: p["similarity"], Variance: p["variance"], Covariance: p["covariance"]}
			},
			NoTemperature: true, Columns: true,
		},
	}[file]
	return v, tau, bias
}

func goldenSupCon(base float64) losstest.Variant {
	return losstest.Variant{
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.SupCon{Temperature: tau, BaseTemperature: float32(base), Options: o}
		},
		Ref:         func(tau, _ float64) ref.Loss { return ref.SupCon{Temperature: tau, BaseTemperature: base} },
		OptionalKey: true,
	}
}

func variantNamed(name string) losstest.Variant {
	for _, v := range losstest.Variants {
		if v.Name == name {
			return v
		}
	}
	panic("no variant " + name)
}

func tensorMatrix(t golden.Tensor) contrastive.Matrix {
	return contrastive.Matrix{Rows: t.Rows, Cols: t.Cols, Stride: t.Cols, Data: t.Data}
}

// TestGolden compares every loss with the reference implementations, within the
// bounds of [accuracy]. Package ref, which is compared with the same files,
// contributes what the bounds depend on, and the statistics. The files' τ and λ
// are float64; their rounding to float32 is another u of a logit and of λ, and
// so is that of the files' gradients. Where a loss is near 0 the files have lost
// its digits, float64 or not, so there the errors that the tests of package ref
// grant them are added; see TestOracle for the relative accuracy of such losses.
func TestGolden(t *testing.T) {
	for _, file := range golden.Files {
		if file == "metrics" {
			continue // see the tests of the metrics
		}
		cases := golden.Load(t, file)
		isatest.Each(t, func(t *testing.T) {
			compared := 0
			for _, c := range cases {
				v, tau, bias := goldenVariant(file, c.Params)
				b := contrastive.Batch{
					Query: tensorMatrix(c.Inputs["query"]), Key: tensorMatrix(c.Inputs["key"]),
					Negatives: tensorMatrix(c.Inputs["negatives"]), Labels: c.Labels,
				}
				if v.Ref == nil {
					t.Fatalf("%s: no such loss", file)
				}
				want := v.Ref(c.Params["temperature"], c.Params["bias"]).Eval(losstest.Reference(b))
				want.Loss = c.Loss
				for name, g := range c.ScalarGrads {
					*map[string]*float64{"temperature": &want.TemperatureGrad, "bias": &want.BiasGrad}[name] = g
				}
				g := losstest.Destinations(b)
				for name, dst := range map[string]*[][]float64{"query": &want.Query, "key": &want.Key, "negatives": &want.Negatives} {
					if grad, ok := c.Grads[name]; ok {
						*dst = grad.Float64()
					}
				}
				a := losstest.NewAccuracy(v, b, tau, bias, contrastive.Highest)
				a.Files = 1e-13 * (want.Mass + 1/a.Tau)
				if !a.Condition(want) {
					continue
				}
				compared++
				got := losstest.Eval(t, c.Name, v.Make(tau, bias, options{}), b, g)
				a.Check(t, c.Name, b, got, g, want)
			}
			if compared < len(cases)*3/4 {
				t.Errorf("%s: only %d of %d cases are smooth enough to compare", file, compared, len(cases))
			}
		})
	}
}
