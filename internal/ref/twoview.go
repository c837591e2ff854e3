package ref

import "math"

// twoViews calls anchor for each of the 2N anchors of two views, z = [q; k],
// with the other view of the same example for its positive and all but those
// two for its negatives, except the rows of examples that exclude names.
func twoViews(b Batch, exclude func(i, j int) bool, anchor func(r *Result, i int, p *pairs)) Result {
	var r Result
	var st statistics
	query, key := normalize(b.Query), normalize(b.Key)
	n := len(query)
	z := append(append([]*vector(nil), query...), key...)
	for i := range z {
		var list []*vector
		for a := range z {
			if a%n != i%n && !exclude(i%n, a%n) {
				list = append(list, z[a])
			}
		}
		p := newPairs(z[i], z[(i+n)%(2*n)], list)
		anchor(&r, i%n, p)
		st.addPositive(p.s)
		st.addNegatives(p)
	}
	st.store(&r, len(z)*len(z))
	r.store(query, key, nil)
	return r
}

func never(int, int) bool { return false }

// NTXent is equation 1 of Chen, Kornblith, Norouzi and Hinton (2020). Examples
// of one label are no negatives of each other.
type NTXent struct{ Temperature float64 }

// Eval implements [Loss].
func (l NTXent) Eval(b Batch) Result {
	exclude := never
	if b.Labels != nil {
		exclude = func(i, j int) bool { return b.Labels[i] == b.Labels[j] }
	}
	weight := 1 / float64(2*len(b.Query))
	return twoViews(b, exclude, func(r *Result, _ int, p *pairs) {
		r.crossEntropy(p, l.Temperature, weight)
	})
}

// DCL is equations 5 and 6 of Yeh et al. (2022): NTXent without the positive in
// the denominator, weighted if Sigma is not 0. The weights are constants.
type DCL struct {
	Temperature, Sigma float64

	// Weights are the weights, nil for those of the batch. With those of a
	// batch nearby, a difference quotient can leave them alone.
	Weights []float64
}

// Eval implements [Loss].
func (l DCL) Eval(b Batch) Result {
	weight := 1 / float64(2*len(b.Query))
	positive := l.Weights
	if positive == nil {
		positive = l.BatchWeights(b)
	}
	return twoViews(b, never, func(r *Result, i int, p *pairs) {
		y, yn := p.s/l.Temperature, p.logits(1/l.Temperature)
		lse, shares := softmax(yn)
		r.Loss += weight * (lse - positive[i]*y)
		r.pullPositive(p, -weight*positive[i], l.Temperature)
		for j, share := range shares {
			r.pullNegative(p, j, weight*share, l.Temperature)
		}
	})
}

// BatchWeights returns 2 − N·softmax(s/σ) over the positive pairs, or ones.
func (l DCL) BatchWeights(b Batch) []float64 {
	w := make([]float64, len(b.Query))
	query, key := normalize(b.Query), normalize(b.Key)
	for i := range w {
		if l.Sigma != 0 {
			w[i] = cosine(query[i], key[i]) / l.Sigma
		}
	}
	_, shares := softmax(w)
	for i, share := range shares {
		w[i] = 2 - float64(len(w))*share
	}
	return w
}

// HardNegative is the loss of Robinson, Chuang, Sra and Jegelka (2021), with
// β = 0 that of Chuang et al. (2020). For K = 2N−2 negatives of an anchor,
//
//	−log( e⁺ / (e⁺ + G) ), e⁺ = e^(s/τ)
//	G = max( (Σₙ ŵₙ·e^(sₙ/τ) − τ⁺·K·e⁺) / (1−τ⁺), K·e^(−1/τ) )
//	ŵₙ = e^(β·sₙ/τ) / meanₘ e^(β·sₘ/τ)
//
// The weights carry gradient, and the floor that of τ.
type HardNegative struct{ Temperature, Beta, TauPlus float64 }

// Eval implements [Loss].
func (l HardNegative) Eval(b Batch) Result {
	tau, weight := l.Temperature, 1/float64(2*len(b.Query))
	kink := math.Inf(1)
	r := twoViews(b, never, func(r *Result, _ int, p *pairs) {
		k := float64(len(p.sn))
		if k == 0 {
			return // G = 0, and the loss is log 1
		}
		// In logarithms: total of Σₙ ŵₙ·e^(sₙ/τ), which is bias/total
		// above τ⁺·K·e⁺.
		y, hard, easy := p.s/tau, p.logits((1+l.Beta)/tau), p.logits(l.Beta/tau)
		lseHard, sharesHard := softmax(hard)
		lseEasy, sharesEasy := softmax(easy)
		total := lseHard - lseEasy + math.Log(k)
		logFloor := math.Log(k) - 1/tau
		left := 1 - math.Exp(math.Log(l.TauPlus*k)+y-total) // share of total that the bias leaves
		least := (1 - l.TauPlus) * math.Exp(logFloor-total) // and what the floor asks for
		kink = min(kink, math.Abs(left-least))

		logG, dTotal, dBias := logFloor, 0.0, 0.0
		if left > least {
			logG = total + math.Log(left) - math.Log1p(-l.TauPlus)
			dTotal, dBias = 1/left, (left-1)/left
		}
		q := weight * sigmoid(logG-y)
		r.Loss += weight * softplus(logG-y)
		r.pullPositive(p, -q, tau)
		r.pullPositive(p, q*dBias, tau)
		for j := range p.sn {
			r.pullNegative(p, j, q*dTotal*(1+l.Beta)*sharesHard[j], tau)
			r.pullNegative(p, j, -q*dTotal*l.Beta*sharesEasy[j], tau)
		}
		if left <= least {
			r.TemperatureGrad += q / (tau * tau) // of the floor, whose logit is that of a cosine of −1
		}
	})
	r.Kink = kink
	return r
}
