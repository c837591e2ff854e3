package contrastive

// NegativeCosine is the loss of BYOL and SimSiam, which have no negatives: the
// rows of Query are predictions, and those of Key their targets,
//
//	L = −1/N · Σᵢ s(qᵢ,kᵢ)
//
// with s the cosine: −1 when each prediction points at its target. The targets
// are under stop-gradient: Gradients.Key is zero. Both papers average the loss
// with that of the views exchanged.
//
// It is equation 1 of Chen and He, "Exploring Simple Siamese Representation
// Learning" (2021). Equation 2 of Grill et al., "Bootstrap Your Own Latent"
// (2020), is 2 + 2L.
//
// Eval takes Query and Key, and optionally Weights, and gives Gradients.Losses.
// PositiveCosine is the mean cosine, which without Weights is −Loss. Other inputs are
// [ErrUnused]; for other errors see [Loss].
type NegativeCosine struct {
	Options
}

// Eval implements [Loss].
func (l NegativeCosine) Eval(b Batch, g Gradients) (Result, error) { return evaluate(l, b, g) }

func (l NegativeCosine) objective(Batch) (objective, error) {
	negative := func(_ *objective, a *anchor) term {
		a.slopes[0] = -1
		return term{loss: -a.cosines[0]}
	}
	return objective{name: "NegativeCosine", takes: takesKey | takesWeights | givesLosses, options: l.Options, stopKey: true, tau: 1, term: negative}, nil
}
