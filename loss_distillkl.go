package contrastive

import (
	"math"
	"slices"
)

// DistillKL teaches how a teacher, such as a cross-encoder, divides its belief among the
// key of a query and its hard negatives. For the rows of Key and Hard of each query, h of
// Hard, with s their 1+h similarities with it, t the teacher's scores of them and T the
// temperature,
//
//	L = T² · 1/N · Σᵢ KL( softmax(tᵢ/T) ‖ softmax(sᵢ/T) )
//
// in nats times T². The factor makes gradients of one size at all temperatures. A loss
// near 0 keeps its relative accuracy.
//
// It is the loss of Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural
// Network" (2015), section 2, over lists of passages. A teacher's scores are not those of
// cosines: the similarity is the dot product unless another is asked for.
//
// Eval takes Query and Key, N×D, Hard, with equally many rows of each query, Scores,
// N×(1+h), of the key and of the rows of Hard, and optionally Weights; it gives
// Gradients.Losses. TemperatureGrad is 0: T is not learned. PositiveCosine is 0 if the
// similarity is Dot. Without Hard it is ErrEmpty. Other inputs are [ErrUnused];
// for other errors see [Loss].
type DistillKL struct {
	// Temperature is T, in units of scores and similarities. 0 means 1.
	Temperature float32

	Similarity Similarity // DefaultSimilarity means Dot

	Options
}

// Eval implements [Loss].
func (l DistillKL) Eval(b Batch, g Gradients) (Result, error) {
	return evaluatePairs(l.pairLoss(), b, g)
}

func (l DistillKL) pairLoss() pairLoss {
	p, t := temperature(l.Temperature, 1)
	return pairLoss{
		name: "DistillKL", takes: takesKey | needsHard | takesScores | takesWeights | givesLosses, options: l.Options,
		parameter: p, scale: t, similarity: l.Similarity.or(Dot), learn: distil,
	}
}

func distil(a *pairs) {
	t := a.scale
	for i := range a.n {
		scores := a.batch.Scores.Row(i)
		logP, off := resize(a.logs[0], len(scores)), resize(a.logs[1], len(scores))
		a.logs = [...][]float64{logP, off}
		for m, score := range scores {
			// Differences first: great similarities that differ by little keep it.
			similarity := a.measured[a.candidate(i, m)] - a.measured[a.candidate(i, 0)]
			logP[m], off[m] = float64(score), (similarity-(float64(score)-float64(scores[0])))/t
		}
		logSoftmax(logP, t)
		kl := divergence(logP, off)
		for m, l := range logP {
			difference := math.Exp(l+off[m]-kl) - math.Exp(l)
			if math.Abs(off[m]) < 0.5 && kl < 0.5 {
				difference = math.Exp(l) * math.Expm1(off[m]-kl)
			}
			a.pull[a.candidate(i, m)] = a.weights[i] * t * difference
		}
		a.addLoss(i, t*t*kl)
	}
}

// logSoftmax sets x to the logarithm of the softmax of x/t.
func logSoftmax(x []float64, t float64) {
	top, sum := slices.Max(x), 0.0
	for i, v := range x {
		x[i] = (v - top) / t
		sum += math.Exp(x[i])
	}
	for i := range x {
		x[i] -= math.Log(sum)
	}
}

// divergence returns KL(p ‖ q), given log p and, up to a constant, log(q/p), from which it
// subtracts the mean under p. Then the divergence is the logarithm of Σ p·e^off, which is
// that of 1 + Σ p·(e^off − 1 − off): no term is negative, and nothing cancels.
func divergence(logP, off []float64) float64 {
	mean := 0.0
	for m, l := range logP {
		mean += math.Exp(l) * off[m]
	}
	sum, top := 0.0, math.Inf(-1)
	for m, l := range logP {
		off[m] -= mean
		sum += excess(l, off[m])
		top = max(top, l+off[m])
	}
	if !math.IsInf(sum, 1) {
		return math.Log1p(sum)
	}
	sum = 0
	for m, l := range logP {
		sum += math.Exp(l + off[m] - top)
	}
	return top + math.Log(sum)
}

// excess returns p·(e^x − 1 − x). For an x near 0 it is a power series, each of whose terms
// is at most a sixth of the one before.
func excess(logP, x float64) float64 {
	p, sum := math.Exp(logP), 0.0
	if math.Abs(x) >= 0.5 {
		return math.Exp(logP+x) - p - p*x
	}
	for power, k := x*x/2, 3.0; math.Abs(power) > 0x1p-54*sum; k++ {
		sum += power
		power *= x / k
	}
	return p * sum
}
