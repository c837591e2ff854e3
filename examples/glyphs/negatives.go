package main

import (
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
)

// The losses of this file are SimCLR's with other weights of the negatives; the
// rest of its algorithm stays.

// noLabels is for losses that see pairs only.
func noLabels(*Batch) []int { return nil }

// DCL is section 3 of Yeh et al., "Decoupled Contrastive Learning" (2022): the
// positive pair leaves the denominator, which makes small batches learn as fast
// as large ones.
var dcl = recipe{
	title:    "DCL",
	accuracy: true,
	defaults: func(s *Settings) { s.Temperature = 0.1 },
	make: func(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
		loss := func(tau float32) contrastive.Loss { return contrastive.DCL{Temperature: tau} }
		return newSimCLR(s, newEncoder(s, inputs, rng), newProjector(s, rng), loss, noLabels), nil
	},
}

// Debiased is equation 8 of Chuang et al., "Debiased Contrastive Learning"
// (2020): of the negatives a share TauPlus are taken to be of the anchor's class,
// and their expected part of the sum is taken out. With balanced classes the
// share is one in the number of them.
var debiased = recipe{
	title:    "debiased",
	accuracy: true,
	defaults: func(s *Settings) { s.Temperature, s.TauPlus = 0.2, 0.01 },
	make:     newHardNegative,
}

// Hard is section 3 of Robinson et al., "Contrastive Learning with Hard Negative
// Samples" (2021): negatives weigh exp(Beta·cosine/τ), besides being debiased.
var hard = recipe{
	title:    "hard negatives",
	accuracy: true,
	defaults: func(s *Settings) { s.Temperature, s.TauPlus, s.Beta = 0.2, 0.01, 0.5 },
	make:     newHardNegative,
}

func newHardNegative(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
	loss := func(tau float32) contrastive.Loss {
		return contrastive.HardNegative{Temperature: tau, Beta: float32(s.Beta), TauPlus: float32(s.TauPlus)}
	}
	return newSimCLR(s, newEncoder(s, inputs, rng), newProjector(s, rng), loss, noLabels), nil
}
