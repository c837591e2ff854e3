package contrastive_test

import (
	"math"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/ref/golden"
)

// givenGolden returns the variant of a loss of given pairs.
func givenGolden(l golden.Loss) losstest.Variant {
	p := l.Params
	similarity := map[string]contrastive.Similarity{"dot": contrastive.Dot, "cosine": contrastive.Cosine}[p.Similarity]
	v, loss := losstest.Variant{}, contrastive.Loss(nil)
	switch l.Type {
	case "cosent":
		v, loss = variantNamed("CoSENT"), contrastive.CoSENT{Scale: float32(p.Scale)}
	case "angle":
		v, loss = variantNamed("AnglE"), contrastive.AnglE{Scale: float32(p.Scale)}
	case "cosine_mse":
		v, loss = variantNamed("CosineMSE"), contrastive.CosineMSE{}
	case "margin_mse":
		v, loss = variantNamed("MarginMSE"), contrastive.MarginMSE{Similarity: similarity}
	case "distill_kl":
		v, loss = variantNamed("DistillKL"), contrastive.DistillKL{Temperature: float32(p.Temperature), Similarity: similarity}
	case "embedding_mse":
		v, loss = variantNamed("EmbeddingMSE"), contrastive.EmbeddingMSE{}
	case "triplet":
		distance := map[string]contrastive.Distance{"euclidean": contrastive.Euclidean, "cosine": contrastive.CosineDistance}[p.Distance]
		v, loss = variantNamed("Triplet"), contrastive.Triplet{Margin: float32(p.Margin), Distance: distance}
	}
	v.Raw = v.Raw && similarity != contrastive.Cosine && p.Distance != "cosine"
	v.Make = func(float32, float32, options) contrastive.Loss { return loss }
	return v
}

// TestGoldenGiven compares losses of given pairs with the reference implementations, as
// TestGolden does with others. The files are as far off as the tests of package ref grant
// them.
func TestGoldenGiven(t *testing.T) {
	for _, file := range []string{"angle", "cosent", "cosine_mse", "distill_kl", "embedding_mse", "margin_mse", "triplet"} {
		cases := golden.LoadGeneral(t, file)
		isatest.Each(t, func(t *testing.T) {
			for _, c := range cases {
				v, p := givenGolden(c.Loss), c.Params
				b := contrastive.Batch{
					Query: tensorMatrix(c.Inputs["query"]), Key: tensorMatrix(c.Inputs["key"]),
					Hard: tensorMatrix(c.Inputs["hard"]), HardCounts: c.HardCounts, Scores: tensorMatrix(c.Inputs["scores"]),
				}
				for _, w := range c.Weights {
					b.Weights = append(b.Weights, float32(w))
				}
				want := c.Reference().Eval(c.Batch())
				tau := 1.0
				switch {
				case p.Temperature > 0:
					tau = p.Temperature
				case p.Scale > 0:
					tau = 1 / p.Scale
				}
				a := losstest.NewAccuracy(v, b, float32(tau), 0, contrastive.Highest)
				a.Tau, a.Logit = tau, a.Gain*a.Cosine/tau
				a.Files = 1e-14*(want.Mass+1/tau+want.Logit*tau) + 1e-12*math.Abs(c.Value)
				if !a.Condition(want) {
					t.Fatalf("%s: not smooth", c.Name)
				}
				want.Loss, want.Losses = c.Value, c.Losses
				for name, dst := range map[string]*[][]float64{"query": &want.Query, "key": &want.Key, "hard": &want.Hard} {
					if grad, ok := c.Grads[name]; ok {
						*dst = grad.Float64()
					}
				}
				g := v.Destinations(b)
				got := losstest.Eval(t, c.Name, v.Make(0, 0, options{}), b, g)
				a.Check(t, c.Name, b, got, g, want)
			}
		})
	}
}
