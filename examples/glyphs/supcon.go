package main

import (
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
)

// SupCon is Khosla et al., "Supervised Contrastive Learning" (2020), section 3:
// SimCLR's two views, encoder and projector, with all views of an anchor's class
// for its positives. It knows the classes.
var supCon = recipe{
	title:    "SupCon",
	defaults: func(s *Settings) { s.Temperature = 0.1 },
	make: func(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
		// The authors' factor τ/τ₀ only scales the learning rate; equal
		// temperatures leave it out.
		loss := func(tau float32) contrastive.Loss {
			return contrastive.SupCon{Temperature: tau, BaseTemperature: tau}
		}
		classes := func(b *Batch) []int { return b.Labels }
		return newSimCLR(s, newEncoder(s, inputs, rng), newProjector(s, rng), loss, classes), nil
	},
}
