package contrastive

// CosineMSE makes cosines equal to given scores. For the rows of Query and Key, with s
// the cosine of a pair and y its score,
//
//	L = 1/N · Σᵢ (sᵢ − yᵢ)²
//
// It is the regression objective of Reimers and Gurevych, "Sentence-BERT: Sentence
// Embeddings using Siamese BERT-Networks" (2019), section 3.
//
// Eval takes Query and Key, N×D, Scores, N×1, and optionally Weights, and gives
// Gradients.Losses. PositiveCosine is the mean of the cosines. Other inputs are
// [ErrUnused]; for other errors see [Loss].
type CosineMSE struct {
	Options
}

// Eval implements [Loss].
func (l CosineMSE) Eval(b Batch, g Gradients) (Result, error) {
	return evaluatePairs(l.pairLoss(), b, g)
}

func (l CosineMSE) pairLoss() pairLoss {
	return pairLoss{
		name: "CosineMSE", takes: takesKey | takesScores | takesWeights | givesLosses, options: l.Options, learn: regress,
	}
}

func regress(a *pairs) {
	for i, s := range a.measured {
		off := s - float64(a.score(int32(i)))
		a.addLoss(i, off*off)
		a.pull[i] = 2 * a.weights[i] * off
	}
}
