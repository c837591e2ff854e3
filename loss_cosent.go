package contrastive

import (
	"cmp"
	"math"
	"slices"
)

// CoSENT learns the order of graded pairs: pairs with greater scores are to have
// greater cosines, whatever these are. For the rows of Query and Key, with s the cosine
// of a pair, y its score and λ the scale,
//
//	L = log( 1 + Σ exp(λ·(s_k − s_l)) ), over all pairs k and l with y_k < y_l
//
// in nats, and 0 if all scores are equal. It takes O(N·(D + log N)) time: pairs of equal
// scores are not compared, and those of others are not compared one by one.
//
// It is that of Su, "CoSENT (1): A Sentence Vector Scheme More Effective than
// Sentence-BERT" (2022), whose λ is 20.
//
// Eval takes Query and Key, N×D, and Scores, N×1, of any size. PositiveCosine is the
// mean of all cosines. The loss is no mean over queries: Weights, Gradients.Losses and
// other inputs are [ErrUnused]; for other errors see [Loss].
type CoSENT struct {
	// Scale is λ, in units of 1/cosine: an inverse temperature. 0 means 20.
	Scale float32

	Options
}

// Eval implements [Loss].
func (l CoSENT) Eval(b Batch, g Gradients) (Result, error) { return evaluatePairs(l.pairLoss(), b, g) }

func (l CoSENT) pairLoss() pairLoss {
	p, scale := rankingScale(l.Scale)
	return pairLoss{
		name: "CoSENT", takes: takesKey | takesScores, options: l.Options, parameter: p, scale: scale,
		learn: func(a *pairs) { a.rank(a.measured) },
	}
}

// rankingScale returns λ as a parameter, and its value.
func rankingScale(v float32) (parameter, float64) {
	v = orDefault(v, 20)
	return parameter{"Scale", v, isPositive}, float64(v)
}

// A ranking is what the loss of an order of pairs is made of.
type ranking struct {
	order []int32   // pairs by score
	top   []float64 // for each pair, the sum over those of lesser scores, as an expSum
	sum   []float64
}

// An expSum is a sum of exponentials, sum·e^(λ·top), which neither overflows nor
// vanishes.
type expSum struct{ scale, top, sum float64 }

// add adds factor·e^(λ·x).
func (e *expSum) add(x, factor float64) {
	if x > e.top {
		e.top, e.sum = x, e.sum*math.Exp(e.scale*(e.top-x))
	}
	e.sum += factor * math.Exp(e.scale*(x-e.top))
}

// share returns the share that factor·e^(λ·x) has of the sum. It has the relative
// accuracy of the difference of x and the greatest exponent, which rounds to no more
// than 0, however great λ is.
func (e *expSum) share(x, factor float64) float64 {
	return factor * math.Exp(e.scale*(x-e.top)) / e.sum
}

// rank is log(1 + Σ e^(λ·(s_k − s_l))) over all pairs k and l with lesser and greater
// scores. Going up by the scores, e^(λ·s) of the lesser ones are added up, and going
// down, e^(−λ·s) of the greater ones.
func (a *pairs) rank(s []float64) {
	r := &a.ranking
	r.sort(a)
	r.top, r.sum = resize(r.top, a.n), resize(r.sum, a.n)
	none := expSum{a.scale, math.Inf(-1), 0}
	below, all := none, none
	r.groups(a, func(group []int32) {
		for _, l := range group {
			r.top[l], r.sum[l] = below.top-s[l], below.sum
			if below.sum > 0 {
				all.add(r.top[l], r.sum[l])
			}
		}
		for _, k := range group {
			below.add(s[k], 1)
		}
	})
	if all.sum == 0 {
		return
	}
	loss, slope := softplus(all.scale*all.top + math.Log(all.sum))
	a.result.Loss = loss

	above := none
	slices.Reverse(r.order)
	r.groups(a, func(group []int32) {
		for _, i := range group {
			push := 0.0
			if above.sum > 0 {
				push = all.share(above.top+s[i], above.sum)
			}
			if r.sum[i] > 0 {
				push -= all.share(r.top[i], r.sum[i])
			}
			a.pull[i] = a.scale * slope * push
		}
		for _, l := range group {
			above.add(-s[l], 1)
		}
	})
}

// sort orders the pairs by score, and those of one score by their place.
func (r *ranking) sort(a *pairs) {
	r.order = r.order[:0]
	for i := range a.n {
		r.order = append(r.order, int32(i))
	}
	slices.SortFunc(r.order, func(i, j int32) int {
		return cmp.Or(cmp.Compare(a.score(i), a.score(j)), cmp.Compare(i, j))
	})
}

// groups calls f with the pairs of each score, in order.
func (r *ranking) groups(a *pairs, f func(group []int32)) {
	for rest := r.order; len(rest) > 0; {
		n := 1
		for n < len(rest) && a.score(rest[n]) == a.score(rest[0]) {
			n++
		}
		f(rest[:n])
		rest = rest[n:]
	}
}

// score returns the only score of a query.
func (a *pairs) score(i int32) float32 { return a.batch.Scores.Row(int(i))[0] }
