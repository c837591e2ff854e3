package golden

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/ref"
)

// Reference returns what package ref has of the loss, nil for none.
func (l Loss) Reference() ref.Loss {
	p := l.Params
	form := map[string]ref.Form{"shared": ref.Shared, "any": ref.Any}[p.Form]
	filter := map[string]ref.Filter{"absolute": ref.AbsoluteMargin, "relative": ref.RelativeMargin}[p.Filter]
	switch l.Type {
	case "infonce":
		return ref.InfoNCE{
			Temperature: p.Temperature, Symmetric: p.Symmetric, InBatch: p.InBatch, Form: form, Margin: p.Margin,
			Hardness: p.Hardness, Filter: filter, FilterMargin: p.FilterMargin, Dot: p.Similarity == "dot",
		}
	case "clip":
		return ref.CLIP{Temperature: p.Temperature, Form: form, Filter: filter, FilterMargin: p.FilterMargin}
	case "siglip":
		return ref.SigLIP{Temperature: p.Temperature, Bias: p.Bias}
	case "cosent":
		return ref.CoSENT{Scale: p.Scale}
	case "angle":
		return ref.AnglE{Scale: p.Scale}
	case "cosine_mse":
		return ref.CosineMSE{}
	case "margin_mse":
		return ref.MarginMSE{Dot: p.Similarity == "dot"}
	case "distill_kl":
		return ref.DistillKL{Temperature: p.Temperature, Dot: p.Similarity == "dot"}
	case "embedding_mse":
		return ref.EmbeddingMSE{}
	case "triplet":
		return ref.Triplet{Margin: p.Margin, Cosine: p.Distance == "cosine"}
	case "matryoshka":
		return ref.Matryoshka{Loss: p.Inner.Reference(), Dims: p.Dims, Weights: p.DimWeights}
	case "sum":
		sum := ref.Sum{Weights: p.LossWeights}
		for _, part := range p.Parts {
			loss := part.Reference()
			if loss == nil {
				return nil
			}
			sum.Losses = append(sum.Losses, loss)
		}
		return sum
	}
	return nil
}

// Batch returns the batch of the case for package ref.
func (c General) Batch() ref.Batch {
	b := ref.Batch{
		Query: c.Inputs["query"].Float64(), Key: c.Inputs["key"].Float64(),
		Negatives: c.Inputs["negatives"].Float64(), Hard: c.Inputs["hard"].Float64(), HardCounts: c.HardCounts,
		Positives: c.Positives, PositiveWeights: c.PositiveWeights, Exclude: c.Exclude,
		Labels: c.Labels, KeyLabels: c.KeyLabels, NegativeLabels: c.NegativeLabels, QueueLabels: c.QueueLabels,
		Weights: c.Weights, KeyLogQ: c.KeyLogQ, NegativeLogQ: c.NegativeLogQ,
		GuideQuery: c.Inputs["guide_query"].Float64(), GuideKey: c.Inputs["guide_key"].Float64(),
		GuideNegatives: c.Inputs["guide_negatives"].Float64(), Scores: c.Inputs["scores"].Float64(),
	}
	for _, row := range c.Inputs["queue"].Float64() {
		norm := 0.0
		for _, x := range row {
			norm += x * x
		}
		for d := range row {
			row[d] /= math.Sqrt(norm)
		}
		b.Queue = append(b.Queue, row)
	}
	return b
}
