package ref

import "math"

// Matryoshka is the loss of Kusupati et al. (2022): the weighted sum of a loss on the
// first d columns of Query, Key, Negatives and Hard, for each d of Dims. No Weights
// are weights of 1. What is not a sum is that of the greatest d.
type Matryoshka struct {
	Loss    Loss
	Dims    []int
	Weights []float64

	held []Loss // for each of Dims; nil for Loss. See [Hold]
}

// Eval implements [Loss].
func (l Matryoshka) Eval(b Batch) Result {
	var parts []Result
	greatest := 0
	for k, d := range l.Dims {
		loss, c := l.Loss, b.prefix(d)
		if l.held != nil {
			loss = l.held[k]
		}
		parts = append(parts, loss.Eval(c).undivided(c))
		if d > l.Dims[greatest] {
			greatest = k
		}
	}
	return weightedSum(parts, l.Weights, greatest, b)
}

// prefix returns the batch of the first d columns of the embeddings.
func (b Batch) prefix(d int) Batch {
	for _, m := range [...]*[][]float64{&b.Query, &b.Key, &b.Negatives, &b.Hard} {
		rows := *m
		*m = nil
		for _, row := range rows {
			*m = append(*m, row[:d])
		}
	}
	return b
}

// Sum is the weighted sum of losses on one batch, each of which sees what it can use.
// No Weights are weights of 1. What is not a sum is that of the first loss.
type Sum struct {
	Losses  []Loss
	Weights []float64
}

// Eval implements [Loss].
func (l Sum) Eval(b Batch) Result {
	var parts []Result
	for _, loss := range l.Losses {
		parts = append(parts, loss.Eval(b).undivided(b))
	}
	return weightedSum(parts, l.Weights, 0, b)
}

// undivided returns r with a RawMass, of an evaluation of b.
func (r Result) undivided(b Batch) Result {
	if r.RawMass {
		return r
	}
	r.RawMass = true
	divide := func(mass []float64, m [][]float64) []float64 {
		var divided []float64
		for i, v := range mass {
			if norm := math.Sqrt(dot(m[i], m[i])); norm > 0 {
				v /= norm
			}
			divided = append(divided, v)
		}
		return divided
	}
	r.QueryMass, r.KeyMass = divide(r.QueryMass, b.Query), divide(r.KeyMass, b.Key)
	r.NegativesMass, r.HardMass = divide(r.NegativesMass, b.Negatives), divide(r.HardMass, b.Hard)
	return r
}

// weightedSum adds the losses, gradients and masses of parts, for rows of the size of
// those of b. The rest is that of parts[other].
func weightedSum(parts []Result, weights []float64, other int, b Batch) Result {
	r := parts[other]
	r.Loss, r.TemperatureGrad, r.BiasGrad, r.Mass, r.Kink = 0, 0, 0, 0, math.Inf(1)
	r.Losses, r.LossesMass = make([]float64, len(b.Query)), make([]float64, len(b.Query))
	r.Query, r.QueryMass = zeros(b.Query)
	r.Key, r.KeyMass = zeros(b.Key)
	r.Negatives, r.NegativesMass = zeros(b.Negatives)
	r.Hard, r.HardMass = zeros(b.Hard)
	for k, p := range parts {
		w := 1.0
		if weights != nil {
			w = weights[k]
		}
		r.Loss += w * p.Loss
		r.TemperatureGrad += w * p.TemperatureGrad
		r.BiasGrad += w * p.BiasGrad
		r.Mass += math.Abs(w) * p.Mass
		r.Kink = min(r.Kink, p.Kink)
		axpy(w, p.Losses, r.Losses)
		axpy(math.Abs(w), p.LossesMass, r.LossesMass)
		add := func(grad [][]float64, mass []float64, sum [][]float64, sumMass []float64) {
			for i, g := range grad {
				axpy(w, g, sum[i])
			}
			axpy(math.Abs(w), mass, sumMass)
		}
		add(p.Query, p.QueryMass, r.Query, r.QueryMass)
		add(p.Key, p.KeyMass, r.Key, r.KeyMass)
		add(p.Negatives, p.NegativesMass, r.Negatives, r.NegativesMass)
		add(p.Hard, p.HardMass, r.Hard, r.HardMass)
	}
	return r
}

// zeros returns a gradient and masses of 0 for the rows of m.
func zeros(m [][]float64) (grad [][]float64, mass []float64) {
	for _, row := range m {
		grad = append(grad, make([]float64, len(row)))
	}
	return grad, make([]float64, len(m))
}

// Parts returns the losses of a loss that are made of no other.
func Parts(l Loss) []Loss {
	switch l := l.(type) {
	case Matryoshka:
		return Parts(l.Loss)
	case Sum:
		var all []Loss
		for _, part := range l.Losses {
			all = append(all, Parts(part)...)
		}
		return all
	}
	return []Loss{l}
}

// LeastTemperature returns that of a loss and its parts, +Inf if none has one.
func LeastTemperature(l Loss) float64 {
	least := math.Inf(1)
	for _, part := range Parts(l) {
		switch l := part.(type) {
		case InfoNCE:
			least = min(least, l.Temperature)
		case CLIP:
			least = min(least, l.Temperature)
		case SigLIP:
			least = min(least, l.Temperature)
		case NTXent:
			least = min(least, l.Temperature)
		case DCL:
			least = min(least, l.Temperature)
		case HardNegative:
			least = min(least, l.Temperature)
		case SupCon:
			least = min(least, l.Temperature)
		}
	}
	return least
}
