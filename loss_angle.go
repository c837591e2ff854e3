package contrastive

import "math"

// AnglE is [CoSENT] with the similarity of complex vectors in place of the cosine, which
// has a slope where the cosine is near ±1 and has none. The columns of a row are the real
// parts, followed by as many imaginary parts; with q̂ = (a, b) and k̂ = (x, z) the rows
// normalised,
//
//	s = | Σ (a·x + b·z) + Σ (b·x − a·z) |
//
// is the sum of the real and the imaginary part of Σ q̂·conj(k̂), without its sign. It is not
// symmetric in the two. Where the sum is 0, its gradient is taken to be 0.
//
// It is the angle objective of Li and Li, "AnglE-optimized Text Embeddings" (2023),
// section 3.4, in the form of its authors' code.
//
// Eval takes Query and Key, N×D with an even D, or it is ErrShape, and Scores, N×1, of any
// size. PositiveCosine is the mean of the cosines. The loss is no mean over queries:
// Weights, Gradients.Losses and other inputs are [ErrUnused]; for other errors see [Loss].
type AnglE struct {
	// Scale is λ, in units of 1/s: an inverse temperature. 0 means 20.
	Scale float32

	Options
}

// Eval implements [Loss].
func (l AnglE) Eval(b Batch, g Gradients) (Result, error) { return evaluatePairs(l.pairLoss(), b, g) }

func (l AnglE) pairLoss() pairLoss {
	p, scale := rankingScale(l.Scale)
	return pairLoss{
		name: "AnglE", takes: takesKey | takesScores, options: l.Options, parameter: p, scale: scale,
		measure: angles, learn: rankAngles,
	}
}

func rankAngles(a *pairs) {
	s := a.cosines // which have been averaged
	for i, v := range a.measured {
		s[i] = math.Abs(v)
	}
	a.rank(s)
	for i, v := range a.measured {
		switch {
		case v == 0:
			a.pull[i] = 0
		case v < 0:
			a.pull[i] = -a.pull[i]
		}
	}
}
