package ref

import (
	"math"
	"slices"
)

// twoViews is the mean of loss over the 2N anchors of two views, z = [q; k], with the
// other view of the same example for the positive of each and all but those two for
// its negatives, except the rows of examples that exclude names. It weighs both
// views of example i by the weight of query i. The function loss returns that of an
// anchor and its mass, and records the derivatives of weight times it.
func twoViews(b Batch, exclude func(i, j int) bool, loss func(r *Result, i int, a *anchor, weight float64) (loss, mass float64)) Result {
	var r Result
	var st statistics
	query, key := normalize(b.Query), normalize(b.Key)
	n := len(query)
	z := slices.Concat(query, key)
	r.Losses, r.LossesMass = make([]float64, n), make([]float64, n)
	for i := range z {
		list := func(j int) candidate { return candidate{vector: z[j], s: similarity(z[i], z[j])} }
		a := &anchor{vector: z[i], positives: []candidate{list((i + n) % (2 * n))}}
		for j := range z {
			if j%n != i%n && !exclude(i%n, j%n) {
				a.negatives = append(a.negatives, list(j))
			}
		}
		weight := b.weight(i%n) / (2 * b.totalWeight())
		l, mass := loss(&r, i%n, a, weight)
		r.Loss += weight * l
		r.Losses[i%n] += l / 2
		r.LossesMass[i%n] += mass / 2
		st.add(a)
	}
	st.store(&r, len(z)*len(z))
	r.store(query, key, nil, nil)
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
	return twoViews(b, exclude, func(r *Result, _ int, a *anchor, weight float64) (loss, mass float64) {
		for _, cs := range [...][]candidate{a.positives, a.negatives} {
			for k := range cs {
				cs[k].scaled = cs[k].s / l.Temperature
				cs[k].logit = cs[k].scaled
			}
		}
		return r.contrast(a, a.positives, a.negatives, l.Temperature, weight)
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
	positive := l.Weights
	if positive == nil {
		positive = l.BatchWeights(b)
	}
	return twoViews(b, never, func(r *Result, i int, a *anchor, weight float64) (loss, mass float64) {
		p := a.positives[0]
		y := p.s / l.Temperature
		lse, shares := softmax(a.scaled(1 / l.Temperature))
		r.pull(a, p, -weight*positive[i], l.Temperature)
		for j, share := range shares {
			r.pull(a, a.negatives[j], weight*share, l.Temperature)
		}
		return lse - positive[i]*y, (1 + math.Abs(positive[i])) / l.Temperature
	})
}

// BatchWeights returns 2 − N·softmax(s/σ) over the positive pairs, or ones.
func (l DCL) BatchWeights(b Batch) []float64 {
	w := make([]float64, len(b.Query))
	query, key := normalize(b.Query), normalize(b.Key)
	for i := range w {
		if l.Sigma != 0 {
			w[i] = similarity(query[i], key[i]) / l.Sigma
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
	tau, kink := l.Temperature, math.Inf(1)
	r := twoViews(b, never, func(r *Result, _ int, a *anchor, weight float64) (loss, mass float64) {
		p, k := a.positives[0], float64(len(a.negatives))
		if k == 0 {
			return 0, 0 // G = 0, and the loss is log 1
		}
		// In logarithms: total of Σₙ ŵₙ·e^(sₙ/τ), which is bias/total
		// above τ⁺·K·e⁺.
		y := p.s / tau
		lseHard, sharesHard := softmax(a.scaled((1 + l.Beta) / tau))
		lseEasy, sharesEasy := softmax(a.scaled(l.Beta / tau))
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
		slope := sigmoid(logG - y)
		q := weight * slope
		r.pull(a, p, -q, tau)
		r.pull(a, p, q*dBias, tau)
		for j, n := range a.negatives {
			r.pull(a, n, q*dTotal*(1+l.Beta)*sharesHard[j], tau)
			r.pull(a, n, -q*dTotal*l.Beta*sharesEasy[j], tau)
		}
		if left <= least {
			r.TemperatureGrad += q / (tau * tau) // of the floor, whose logit is that of a cosine of −1
		}
		return softplus(logG - y), slope * (1 + math.Abs(dBias) + dTotal*(1+2*l.Beta)) / tau
	})
	r.Kink = kink
	return r
}
