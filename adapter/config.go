package adapter

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive"
)

// A Config says what is trained, and how. The zero Config trains a linear map of queries
// with the loss of CLIP.
type Config struct {
	Kind  Kind
	Sides Sides

	Rank   int // of LowRank, at most D; 0 means 32, or D if that is less
	Hidden int // dimensions between the layers of MLP; 0 means D

	// Loss compares the batch: mapped queries, for Query, with the document of each, for
	// Key, and hard negatives, for Hard. Nil means CLIP, or InfoNCE with InBatch if there
	// are hard negatives. Its temperature is where the learned one begins; [Fit] tells
	// of which losses it is learned.
	Loss             contrastive.Loss
	FixedTemperature bool // keeps that of Loss

	Epochs    int // at most, passes over the pairs; 0 means 20
	BatchSize int // pairs of a step; 0 means 256. There are fewer if there are no more pairs

	// HardNegatives is how many of those of its query a pair has in a step, drawn anew in
	// each, or all if there are fewer; 0 means all.
	HardNegatives int

	// LearningRate is the greatest one, after WarmupSteps, from which it falls in half a
	// period of a cosine to 0 at the end of all Epochs: [contrastive.WarmupCosine]. 0
	// means 0.001.
	LearningRate float64
	WarmupSteps  int // 0 means a tenth of all steps, 1 as good as none

	// WeightDecay is that of [nn.AdamW]. What decays is what is added to the identity.
	WeightDecay float64

	// ValidationShare is the share of queries that are held out, to stop early and to
	// choose the best epoch by NDCG at 10; 0 means 0.1. If it is negative none are, all
	// Epochs take place, and the last adapter is returned. Data.Validation goes before it.
	ValidationShare float64

	// Validation ranks at most ValidationQueries of them, chosen at random; 0 means
	// 1,000. If there are more documents than ValidationDocuments, it does so among what is
	// relevant to these queries, their hard negatives, and others at random to that number;
	// 0 means 100,000.
	ValidationQueries, ValidationDocuments int

	// Patience is after how many epochs that were no better than the best training
	// stops; 0 means 5. If it is negative it never stops early.
	Patience int

	// Seed determines what is random: initial values, validation queries and batches.
	Seed uint64

	// Workers is the number of goroutines that share the work. Zero means GOMAXPROCS.
	// Results do not depend on it, bit for bit.
	Workers int

	// Progress, unless it is nil, is called before the first step, after every step, and
	// after every validation, by the goroutine that has called Fit.
	Progress func(Progress)

	// Checkpoint, unless it is empty, is a file that receives the state of training after
	// every epoch, and when the context ends, in one step. With Resume training goes on
	// from the state in that file, if it exists, to the same bits as without an
	// interruption. Data, Epochs and all else that determines these must be the same.
	Checkpoint string
	Resume     bool
}

// A Progress is how far training has come.
type Progress struct {
	Step, Steps   int // done, and of all Epochs
	Epoch, Epochs int // done, and at most

	// Of the latest step, 0 before the first one.
	Loss, Accuracy, Temperature, LearningRate float64

	Validated  bool    // whether this is after a validation, with new values of:
	NDCG, Best float64 // of validation queries at 10, the latest and the greatest; NaN without
}

// A Training is how an adapter has come about.
type Training struct {
	Loss              string  `json:"loss"`  // as Go writes it
	Pairs             int     `json:"pairs"` // of a query and a document, that it was trained on
	Steps             int     `json:"steps"`
	Epochs            int     `json:"epochs"`
	BestEpoch         int     `json:"best_epoch"` // whose end the adapter is from; 0 is the identity
	Temperature       float64 `json:"temperature"`
	ValidationQueries int     `json:"validation_queries"`
	NDCGBefore        float64 `json:"ndcg_before"` // of validation queries at 10, 0 if there are none
	NDCG              float64 `json:"ndcg"`
}

// withDefaults returns c with values in place of zeros, for vectors of dim elements.
func (c Config) withDefaults(dim int) Config {
	replaceZero(&c.Rank, min(32, dim))
	replaceZero(&c.Hidden, dim)
	replaceZero(&c.Epochs, 20)
	replaceZero(&c.BatchSize, 256)
	replaceZero(&c.LearningRate, 1e-3)
	replaceZero(&c.ValidationShare, 0.1)
	replaceZero(&c.ValidationQueries, 1000)
	replaceZero(&c.ValidationDocuments, 100_000)
	replaceZero(&c.Patience, 5)
	return c
}

func replaceZero[T int | float64](v *T, by T) {
	if *v == 0 {
		*v = by
	}
}

// width is that between the layers.
func (c Config) width() int {
	switch c.Kind {
	case LowRank:
		return c.Rank
	case MLP:
		return c.Hidden
	}
	return 0
}

// check returns an error unless c, which has its defaults, is in range.
func (c Config) check(dim int) error {
	if int(c.Kind) >= len(kinds) {
		return fmt.Errorf("Config.Kind is %d, which is none of Linear, LowRank and MLP: %w", c.Kind, contrastive.ErrParameter)
	}
	if int(c.Sides) >= len(sides) {
		return fmt.Errorf("Config.Sides is %d, which is none of Queries, Both and Shared: %w", c.Sides, contrastive.ErrParameter)
	}
	for _, p := range [...]struct {
		name         string
		value, least int
	}{
		{"Rank", c.Rank, 1}, {"Hidden", c.Hidden, 1}, {"Epochs", c.Epochs, 1}, {"BatchSize", c.BatchSize, 2},
		{"HardNegatives", c.HardNegatives, 0}, {"WarmupSteps", c.WarmupSteps, 0},
		{"ValidationQueries", c.ValidationQueries, 1}, {"ValidationDocuments", c.ValidationDocuments, 1}, {"Workers", c.Workers, 0},
	} {
		if p.value < p.least {
			return fmt.Errorf("Config.%s is %d and must be at least %d: %w", p.name, p.value, p.least, contrastive.ErrParameter)
		}
	}
	if c.Rank > dim {
		return fmt.Errorf("Config.Rank is %d and must be at most the %d dimensions: %w", c.Rank, dim, contrastive.ErrParameter)
	}
	if maxHidden := math.MaxInt32 / dim; c.Hidden > maxHidden {
		return fmt.Errorf("Config.Hidden is %d and must be at most %d with %d dimensions: %w", c.Hidden, maxHidden, dim, contrastive.ErrParameter)
	}
	if !(c.LearningRate > 0) || math.IsInf(c.LearningRate, 1) {
		return fmt.Errorf("Config.LearningRate is %v and must be positive and finite: %w", c.LearningRate, contrastive.ErrParameter)
	}
	if !(c.WeightDecay >= 0) || math.IsInf(c.WeightDecay, 1) {
		return fmt.Errorf("Config.WeightDecay is %v and must be finite and not negative: %w", c.WeightDecay, contrastive.ErrParameter)
	}
	if !(c.ValidationShare < 1) {
		return fmt.Errorf("Config.ValidationShare is %v and must be below 1: %w", c.ValidationShare, contrastive.ErrParameter)
	}
	if c.Resume && c.Checkpoint == "" {
		return fmt.Errorf("Config.Resume is set without a Checkpoint: %w", contrastive.ErrParameter)
	}
	return nil
}
