// Package losstest holds all losses beside their oracles, batches that are awkward to
// them, and bounds of the errors between the two, for the tests of losses in this module
// and in those nested in it.
package losstest

import (
	"math"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// u is the unit roundoff of float32.
const u = 0x1p-24

// A Variant is one loss with its hyper-parameters, and its oracle.
type Variant struct {
	Name string
	Make func(tau, bias float32, o contrastive.Options) contrastive.Loss
	Ref  func(tau, bias float64) ref.Loss

	NoTemperature bool
	Bias          bool // takes a bias
	Labels        bool // gives a meaning to labels
	Negatives     bool
	Queue         bool
	Hard          bool // needs hard negatives
	Scores        bool // needs scores
	Weights       bool
	Losses        bool    // gives those of queries
	OptionalKey   bool    // Key may be absent, given labels
	Columns       bool    // works on columns, which are not normalised
	NeedsTwo      bool    // needs two rows
	Constants     bool    // depends on the batch by what carries no gradient: see ref.Hold
	Gain          float64 // errors of logits are multiplied by this; 0 means 1

	Given               bool // compares given pairs, in float64
	Raw                 bool // takes rows as they are
	Even                bool // needs an even number of columns
	Inverse             bool // its scale is 1/τ
	ConstantTemperature bool // of which it gives no derivative
	ConstantKey         bool // to want whose gradient is an error
}

type (
	options = contrastive.Options
	float   = float64
)

// Variants are all losses, in all their forms.
var Variants = []Variant{
	{
		Name: "InfoNCE",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.InfoNCE{Temperature: tau, Options: o}
		},
		Ref:    func(tau, _ float) ref.Loss { return ref.InfoNCE{Temperature: tau} },
		Labels: true, Negatives: true, Queue: true,
		Hard: true, Weights: true, Losses: true,
	},
	{
		Name: "InfoNCE/InBatch",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.InfoNCE{Temperature: tau, InBatch: true, Options: o}
		},
		Ref:    func(tau, _ float) ref.Loss { return ref.InfoNCE{Temperature: tau, InBatch: true} },
		Labels: true, Negatives: true, Queue: true,
		Hard: true, Weights: true, Losses: true,
	},
	{
		Name: "InfoNCE/Symmetric",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.InfoNCE{Temperature: tau, InBatch: true, Symmetric: true, Options: o}
		},
		Ref:    func(tau, _ float) ref.Loss { return ref.InfoNCE{Temperature: tau, InBatch: true, Symmetric: true} },
		Labels: true, Negatives: true, Queue: true,
		Hard: true, Weights: true, Losses: true,
	},
	{
		Name: "CLIP",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.CLIP{Temperature: tau, Options: o}
		},
		Ref:     func(tau, _ float) ref.Loss { return ref.CLIP{Temperature: tau} },
		Labels:  true,
		Weights: true, Losses: true,
	},
	{
		Name: "NTXent",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.NTXent{Temperature: tau, Options: o}
		},
		Ref:     func(tau, _ float) ref.Loss { return ref.NTXent{Temperature: tau} },
		Labels:  true,
		Weights: true, Losses: true,
	},
	{
		Name: "SigLIP",
		Make: func(tau, bias float32, o options) contrastive.Loss {
			return contrastive.SigLIP{Temperature: tau, Bias: bias, Options: o}
		},
		Ref:    func(tau, bias float) ref.Loss { return ref.SigLIP{Temperature: tau, Bias: bias} },
		Bias:   true,
		Labels: true, Weights: true, Losses: true,
	},
	{
		Name: "SupCon",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.SupCon{Temperature: tau, BaseTemperature: 0.25, Options: o}
		},
		Ref:    func(tau, _ float) ref.Loss { return ref.SupCon{Temperature: tau, BaseTemperature: 0.25} },
		Labels: true, Queue: true, OptionalKey: true,
		Weights: true, Losses: true,
	},
	{
		Name:     "DCL",
		Make:     func(tau, _ float32, o options) contrastive.Loss { return contrastive.DCL{Temperature: tau, Options: o} },
		Ref:      func(tau, _ float) ref.Loss { return ref.DCL{Temperature: tau} },
		NeedsTwo: true,
		Weights:  true, Losses: true,
	},
	{
		Name: "DCLW",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.DCL{Temperature: tau, Sigma: 0.5, Options: o}
		},
		Ref:      func(tau, _ float) ref.Loss { return ref.DCL{Temperature: tau, Sigma: 0.5} },
		NeedsTwo: true, Constants: true,
		Weights: true, Losses: true,
	},
	{
		Name: "HardNegative",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.HardNegative{Temperature: tau, Beta: 0.5, TauPlus: 0.125, Options: o}
		},
		Ref:     func(tau, _ float) ref.Loss { return ref.HardNegative{Temperature: tau, Beta: 0.5, TauPlus: 0.125} },
		Gain:    2,
		Weights: true, Losses: true,
	},
	{
		Name: "HardNegative/debiased",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.HardNegative{Temperature: tau, TauPlus: 0.0625, Options: o}
		},
		Ref:     func(tau, _ float) ref.Loss { return ref.HardNegative{Temperature: tau, TauPlus: 0.0625} },
		Weights: true, Losses: true,
	},
	{
		Name: "HardNegative/hard",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.HardNegative{Temperature: tau, Beta: 1, Options: o}
		},
		Ref:     func(tau, _ float) ref.Loss { return ref.HardNegative{Temperature: tau, Beta: 1} },
		Gain:    3,
		Weights: true, Losses: true,
	},
	{
		Name:          "NegativeCosine",
		Make:          func(_, _ float32, o options) contrastive.Loss { return contrastive.NegativeCosine{Options: o} },
		Ref:           func(_, _ float) ref.Loss { return ref.NegativeCosine{} },
		NoTemperature: true,
		Weights:       true, Losses: true,
	},
	{
		Name: "BarlowTwins",
		Make: func(_, _ float32, o options) contrastive.Loss {
			return contrastive.BarlowTwins{Lambda: 0.0625, Options: o}
		},
		Ref:           func(_, _ float) ref.Loss { return ref.BarlowTwins{Lambda: 0.0625} },
		NoTemperature: true, Columns: true, NeedsTwo: true,
	},
	{
		Name: "VICReg",
		Make: func(_, _ float32, o options) contrastive.Loss {
			return contrastive.VICReg{Similarity: 10, Variance: 25, Covariance: 2, Options: o}
		},
		Ref:           func(_, _ float) ref.Loss { return ref.VICReg{Similarity: 10, Variance: 25, Covariance: 2} },
		NoTemperature: true, Columns: true, NeedsTwo: true,
	},

	// Losses of given pairs.
	{
		Name: "CoSENT",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.CoSENT{Scale: 1 / tau, Options: o}
		},
		Ref:   func(tau, _ float) ref.Loss { return ref.CoSENT{Scale: inverse(tau)} },
		Given: true, Scores: true, Inverse: true, ConstantTemperature: true,
	},
	{
		Name: "AnglE",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.AnglE{Scale: 1 / tau, Options: o}
		},
		Ref:   func(tau, _ float) ref.Loss { return ref.AnglE{Scale: inverse(tau)} },
		Given: true, Scores: true, Inverse: true, ConstantTemperature: true, Even: true, Gain: 3,
	},
	{
		Name:  "CosineMSE",
		Make:  func(_, _ float32, o options) contrastive.Loss { return contrastive.CosineMSE{Options: o} },
		Ref:   func(_, _ float) ref.Loss { return ref.CosineMSE{} },
		Given: true, Scores: true, Weights: true, Losses: true, NoTemperature: true,
	},
	{
		Name:  "MarginMSE",
		Make:  func(_, _ float32, o options) contrastive.Loss { return contrastive.MarginMSE{Options: o} },
		Ref:   func(_, _ float) ref.Loss { return ref.MarginMSE{Dot: true} },
		Given: true, Hard: true, Scores: true, Weights: true, Losses: true, NoTemperature: true, Raw: true,
	},
	{
		Name: "MarginMSE/Cosine",
		Make: func(_, _ float32, o options) contrastive.Loss {
			return contrastive.MarginMSE{Similarity: contrastive.Cosine, Options: o}
		},
		Ref:   func(_, _ float) ref.Loss { return ref.MarginMSE{} },
		Given: true, Hard: true, Scores: true, Weights: true, Losses: true, NoTemperature: true,
	},
	{
		Name: "DistillKL",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.DistillKL{Temperature: tau, Options: o}
		},
		Ref:   func(tau, _ float) ref.Loss { return ref.DistillKL{Temperature: tau, Dot: true} },
		Given: true, Hard: true, Scores: true, Weights: true, Losses: true, ConstantTemperature: true, Raw: true,
	},
	{
		Name: "DistillKL/Cosine",
		Make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.DistillKL{Temperature: tau, Similarity: contrastive.Cosine, Options: o}
		},
		Ref:   func(tau, _ float) ref.Loss { return ref.DistillKL{Temperature: tau} },
		Given: true, Hard: true, Scores: true, Weights: true, Losses: true, ConstantTemperature: true,
	},
	{
		Name:  "EmbeddingMSE",
		Make:  func(_, _ float32, o options) contrastive.Loss { return contrastive.EmbeddingMSE{Options: o} },
		Ref:   func(_, _ float) ref.Loss { return ref.EmbeddingMSE{} },
		Given: true, Weights: true, Losses: true, NoTemperature: true, Raw: true, ConstantKey: true,
	},
	{
		Name:  "Triplet",
		Make:  func(_, _ float32, o options) contrastive.Loss { return contrastive.Triplet{Margin: 1, Options: o} },
		Ref:   func(_, _ float) ref.Loss { return ref.Triplet{Margin: 1} },
		Given: true, Hard: true, Weights: true, Losses: true, NoTemperature: true, Raw: true,
	},
	{
		Name:  "Triplet/wide", // every triplet has a gradient
		Make:  func(_, _ float32, o options) contrastive.Loss { return contrastive.Triplet{Margin: 64, Options: o} },
		Ref:   func(_, _ float) ref.Loss { return ref.Triplet{Margin: 64} },
		Given: true, Hard: true, Weights: true, Losses: true, NoTemperature: true, Raw: true,
	},
	{
		Name: "Triplet/Cosine",
		Make: func(_, _ float32, o options) contrastive.Loss {
			return contrastive.Triplet{Margin: 0.5, Distance: contrastive.CosineDistance, Options: o}
		},
		Ref:   func(_, _ float) ref.Loss { return ref.Triplet{Margin: 0.5, Cosine: true} },
		Given: true, Hard: true, Weights: true, Losses: true, NoTemperature: true,
	},
	{
		Name: "Triplet/Cosine, wide",
		Make: func(_, _ float32, o options) contrastive.Loss {
			return contrastive.Triplet{Margin: 8, Distance: contrastive.CosineDistance, Options: o}
		},
		Ref:   func(_, _ float) ref.Loss { return ref.Triplet{Margin: 8, Cosine: true} },
		Given: true, Hard: true, Weights: true, Losses: true, NoTemperature: true,
	},
}

// inverse returns 1/τ as float32 has it.
func inverse(tau float64) float64 { return float64(1 / float32(tau)) }

// Sharded reports whether [contrastive.Sharded] takes the loss.
func (v Variant) Sharded() bool { return !v.Given }

// Batch returns n pairs of standard normal deviates, and what else v needs.
func (v Variant) Batch(r *rand.Rand, n, d int) contrastive.Batch {
	if v.Even {
		d += d % 2
	}
	b := contrastive.Batch{Query: Normal(r, n, d), Key: Normal(r, n, d)}
	v.Complete(r, &b)
	return b
}

// AddHard adds two hard negatives of each query, if there are none.
func AddHard(r *rand.Rand, b *contrastive.Batch) {
	if b.Hard.Data == nil {
		b.Hard = Normal(r, 2*b.Query.Rows, b.Query.Cols)
	}
}

// Complete adds what v needs besides pairs: two hard negatives of each query, and scores,
// of which many are equal.
func (v Variant) Complete(r *rand.Rand, b *contrastive.Batch) {
	if v.Given && v.Hard {
		AddHard(r, b)
	}
	if v.Scores {
		b.Scores = Normal(r, b.Query.Rows, 1+b.Hard.Rows/b.Query.Rows)
		MapMatrix(b.Scores, func(_, _ int, x float32) float32 { return float32(math.Round(2*float64(x))) / 4 })
	}
}
