package contrastive

// EmbeddingMSE makes embeddings equal to those of a teacher: of the same text by a larger
// model, or of its translation. For the rows q of Query and k of Key, as they are,
//
//	L = 1/N·D · Σᵢ ‖qᵢ − kᵢ‖²
//
// It is that of Reimers and Gurevych, "Making Monolingual Sentence Embeddings
// Multilingual using Knowledge Distillation" (2020), section 2.
//
// Eval takes Query and Key, N×D, and optionally Weights, and gives Gradients.Losses. Key
// is constant: to want its gradient is ErrParameter. Other inputs are [ErrUnused];
// for other errors see [Loss].
type EmbeddingMSE struct {
	Options
}

// Eval implements [Loss].
func (l EmbeddingMSE) Eval(b Batch, g Gradients) (Result, error) {
	return evaluatePairs(l.pairLoss(), b, g)
}

func (l EmbeddingMSE) pairLoss() pairLoss {
	return pairLoss{
		name: "EmbeddingMSE", takes: takesKey | constantKey | takesWeights | givesLosses, options: l.Options,
		measure: distances, learn: approach,
	}
}

func approach(a *pairs) {
	for i, distance := range a.measured {
		mean := distance / float64(a.list.Dim())
		a.addLoss(i, distance*mean)
		a.pull[i] = 2 * a.weights[i] * mean
	}
}
