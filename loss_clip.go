package contrastive

// CLIP is InfoNCE in both directions, averaged: the loss of images among texts
// and of texts among images. For N pairs with cosines s and the temperature τ,
//
//	L = −1/2N · Σᵢ [ log( exp(sᵢᵢ/τ) / Σⱼ exp(sᵢⱼ/τ) ) + log( exp(sᵢᵢ/τ) / Σⱼ exp(sⱼᵢ/τ) ) ]
//
// in nats: log N when all cosines are equal. With Labels, pairs of one label
// are no negatives of each other.
//
// It is the loss of figure 3 of Radford et al., "Learning Transferable Visual
// Models From Natural Language Supervision" (2021). CLIP learns log(1/τ), whose
// gradient is −τ·TemperatureGrad, and keeps 1/τ from growing beyond 100.
//
// Eval takes Query and Key, and optionally Positives, PositiveWeights, Labels, KeyLabels,
// Exclude, Weights if there are no Positives, and a guide for the Filter; it gives
// Gradients.Losses, those of queries among keys. Accuracy and the mean cosines are those
// of queries among keys. Other inputs are [ErrUnused]; for other errors see [Loss].
type CLIP struct {
	// Temperature is τ, in units of the cosine. 0 means 0.07, where CLIP begins.
	Temperature float32

	// Form says what becomes of several positives of an image or a text.
	Form PositiveForm

	// Filter leaves out negatives that may be positives, by a margin FilterMargin.
	Filter       Filter
	FilterMargin float32

	Options
}

// Eval implements [Loss].
func (l CLIP) Eval(b Batch, g Gradients) (Result, error) { return evaluate(l, b, g) }

func (l CLIP) objective(b Batch) (objective, error) {
	nce := InfoNCE{Temperature: l.Temperature, Symmetric: true, InBatch: true, Form: l.Form, Filter: l.Filter, FilterMargin: l.FilterMargin, Options: l.Options}
	o, err := nce.objective(b)
	o.name = "CLIP"
	o.takes &= takesKey | takesPositives | takesPositiveWeights | takesLabels | takesKeyLabels | takesExclude | takesWeights | takesGuide | givesLosses
	return o, err
}
