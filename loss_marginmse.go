package contrastive

// MarginMSE teaches by how much a teacher, such as a cross-encoder, prefers the key of a
// query to its hard negatives. For the rows k of Key and n of Hard of each query q, h of
// each, with s the similarity and t the teacher's scores,
//
//	L = 1/N · Σᵢ 1/h · Σₘ ( (s(qᵢ,kᵢ) − s(qᵢ,nᵢₘ)) − (tᵢ₀ − tᵢₘ) )²
//
// It is equation 5 of Hofstätter, Althammer, Schröder, Sertkan and Hanbury, "Improving
// Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation"
// (2020). A teacher's scores are not those of cosines: the similarity is the dot product
// unless another is asked for.
//
// Eval takes Query and Key, N×D, Hard, with equally many rows of each query, Scores,
// N×(1+h), of the key and of the rows of Hard, and optionally Weights; it gives
// Gradients.Losses. PositiveCosine is 0 if the similarity is Dot. Without Hard it is
// ErrEmpty. Other inputs are [ErrUnused]; for other errors see
// [Loss].
type MarginMSE struct {
	Similarity Similarity // DefaultSimilarity means Dot

	Options
}

// Eval implements [Loss].
func (l MarginMSE) Eval(b Batch, g Gradients) (Result, error) {
	return evaluatePairs(l.pairLoss(), b, g)
}

func (l MarginMSE) pairLoss() pairLoss {
	return pairLoss{
		name: "MarginMSE", takes: takesKey | needsHard | takesScores | takesWeights | givesLosses, options: l.Options,
		similarity: l.Similarity.or(Dot), learn: regressMargins,
	}
}

func regressMargins(a *pairs) {
	for i := range a.n {
		first, end := a.hard(i)
		score, loss, share := a.batch.Scores.Row(i), 0.0, 1/float64(end-first)
		for p := first; p < end; p++ {
			off := (a.measured[i] - a.measured[p]) - (float64(score[0]) - float64(score[1+p-first]))
			loss += share * off * off
			pull := 2 * a.weights[i] * share * off
			a.pull[i] += pull
			a.pull[p] = -pull
		}
		a.addLoss(i, loss)
	}
}
