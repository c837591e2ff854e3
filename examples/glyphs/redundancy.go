package main

import (
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
)

// Barlow is algorithm 1 of Zbontar, Jing, Misra, LeCun and Deny, "Barlow Twins"
// (2021):
//
//	for x in loader:
//	    y_a, y_b = augment(x)
//	    z_a, z_b = f(y_a), f(y_b)                        # N×D, with the projector
//	    c = mm(z_a_norm.T, z_b_norm) / N                 # columns standardised
//	    c_diff = (c − eye(D))²; off-diagonal elements times lambda
//	    loss = c_diff.sum()
//	    loss.backward(); optimizer.step()
//
// which is SimCLR's loop with an embedding as wide as memory allows. Each view is
// normalised as a batch of its own.
var barlow = recipe{
	title:    "Barlow Twins",
	defaults: func(s *Settings) { s.Lambda = 0.1 },
	make: func(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
		f, g := newEncoder(s, inputs, rng), newProjector(s, rng)
		setShards(2, f, g)
		loss := func(float32) contrastive.Loss { return contrastive.BarlowTwins{Lambda: float32(s.Lambda)} }
		return newSimCLR(s, f, g, loss, noLabels), nil
	},
}

// VICReg is algorithm 1 of Bardes, Ponce and LeCun, "VICReg" (2022):
//
//	for x in loader:
//	    x_a, x_b = augment(x)
//	    z_a, z_b = f(x_a), f(x_b)                        # with the expander
//	    sim_loss = mse_loss(z_a, z_b)
//	    std_loss = mean(relu(1 − std(z_a))) + mean(relu(1 − std(z_b)))
//	    cov_loss = off_diagonal(cov(z_a))².sum() / D + … of z_b
//	    loss = 25·sim_loss + 25·std_loss + cov_loss
//	    loss.backward(); optimizer.step()
var vicReg = recipe{
	title:    "VICReg",
	defaults: func(s *Settings) { s.Covariance, s.Head, s.Embedding, s.Rate = 2, 256, 256, 6e-3 },
	make: func(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
		f, g := newEncoder(s, inputs, rng), newProjector(s, rng)
		setShards(2, f, g)
		loss := func(float32) contrastive.Loss {
			return contrastive.VICReg{Similarity: 25, Variance: 25, Covariance: float32(s.Covariance)}
		}
		return newSimCLR(s, f, g, loss, noLabels), nil
	},
}
