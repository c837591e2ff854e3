package contrastive

// NTXent is the normalised temperature-scaled cross-entropy loss of SimCLR. The
// rows of Query and Key are two views of N examples, and all 2N of them, z, are
// anchors. With p(i) the other view of i, s the cosine and τ the temperature,
//
//	L = −1/2N · Σᵢ log( exp(s(zᵢ,z_p(i))/τ) / Σ_{a≠i} exp(s(zᵢ,z_a)/τ) )
//
// in nats: log(2N−1) when all cosines are equal. With Labels, examples of one
// label are no negatives of each other.
//
// It is equation 1 of Chen, Kornblith, Norouzi and Hinton, "A Simple Framework
// for Contrastive Learning of Visual Representations" (2020).
//
// Eval takes Query and Key, and optionally Labels and Weights, which are those of both
// views, and gives Gradients.Losses. Other inputs are [ErrUnused]; for other errors see
// [Loss].
type NTXent struct {
	// Temperature is τ, in units of the cosine. 0 means 0.5.
	Temperature float32

	Options
}

// Eval implements [Loss].
func (l NTXent) Eval(b Batch, g Gradients) (Result, error) { return evaluate(l, b, g) }

func (l NTXent) objective(Batch) (objective, error) {
	o := objective{name: "NTXent", takes: takesKey | takesLabels | takesWeights | givesLosses, options: l.Options, layout: twoViews, excludesLabels: true, term: crossEntropy, logistic: againstOthers}
	o.parameters[0], o.tau = temperature(l.Temperature, 0.5)
	return o, nil
}
