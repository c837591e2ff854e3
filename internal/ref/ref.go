// Package ref computes every loss of the module again, in float64, one pair of
// vectors after the other, straight from the formulas of the papers. It is the
// oracle of the tests: slow, obvious, and sharing no code with what it judges.
//
// Losses are functions of cosines. Each is written as a sum of terms whose
// derivative with respect to each cosine is passed to [join], which collects
// the gradients with respect to the unit vectors; [vector.back] takes them
// through the normalisation. Parameters are taken as they are: there are no
// defaults and no checks. Errors are those of the same computation in float32,
// divided by 2²⁹.
package ref

import "math"

// A Batch is what a loss is evaluated on. Its matrices are raw, but for the rows
// of Queue, which are taken as they are, as constants. What is nil is absent.
type Batch struct {
	Query, Key, Negatives, Queue [][]float64

	Hard       [][]float64 // negatives of one query each, in the order of the queries
	HardCounts []int       // how many each query has; nil for equally many

	Positives       [][]int     // rows of Key, by query; nil for that of the same index
	PositiveWeights [][]float64 // like Positives; nil for equal ones
	Exclude         [][]int     // rows of Key that are no negatives, by query

	Labels         []int // of Query, and of Key if KeyLabels is nil and there are as many
	KeyLabels      []int
	NegativeLabels []int
	QueueLabels    []int

	Weights               []float64 // of queries; nil for equal ones
	KeyLogQ, NegativeLogQ []float64 // subtracted from logits

	GuideQuery, GuideKey, GuideNegatives [][]float64 // what a Filter compares

	Scores [][]float64 // of the key of each query, and of its rows of Hard
}

// A Result is the value of a loss, its derivatives, and what an analysis of
// errors needs to know about it.
type Result struct {
	Loss            float64
	TemperatureGrad float64
	BiasGrad        float64
	Accuracy        float64
	PositiveCosine  float64
	NegativeCosine  float64

	Losses []float64 // of queries, before they are weighted; nil if the loss is no mean of them

	Query, Key, Negatives, Hard [][]float64 // gradients

	// NegativeShare is the share that negative pairs have of all pairs of an
	// anchor and a candidate, be they excluded or positive.
	NegativeShare float64

	// Margins are, for each anchor that Accuracy counts, which are those with a
	// negative, the cosine of the positive less that of the most similar negative.
	Margins []float64

	// Mass is Σ|∂Loss/∂s| over all cosines s, the terms that the loss adds
	// up counted one by one: an error of ε in every cosine moves the loss by
	// Mass·ε to first order. The other masses are the parts of it that
	// involve one row, before the division by the norm of that row. For
	// BarlowTwins and VICReg they belong to columns; see there.
	Mass                                        float64
	QueryMass, KeyMass, NegativesMass, HardMass []float64

	// Kink is the least relative distance of any anchor from a point at which
	// the loss is not smooth (HardNegative, VICReg); +Inf for other losses.
	Kink float64
}

// A Loss is a loss with all its parameters.
type Loss interface {
	Eval(Batch) Result
}

// A vector is one row on the unit sphere.
type vector struct {
	unit []float64
	norm float64   // of the raw row; 0 for a row of zeros, and for constants
	grad []float64 // ∂Loss/∂unit
	mass float64   // Σ|∂Loss/∂s| over the cosines of this vector
}

// normalize returns the rows of m as vectors. A row of zeros stays zero.
func normalize(m [][]float64) []*vector {
	vs := make([]*vector, len(m))
	for i, row := range m {
		v := &vector{unit: make([]float64, len(row)), grad: make([]float64, len(row))}
		sum := 0.0
		for _, x := range row {
			sum += x * x
		}
		v.norm = math.Sqrt(sum)
		if v.norm > 0 {
			for d, x := range row {
				v.unit[d] = x / v.norm
			}
		}
		vs[i] = v
	}
	return vs
}

// constants returns the rows of m as vectors that are unit already and whose
// gradient nobody asks for.
func constants(m [][]float64) []*vector {
	vs := make([]*vector, len(m))
	for i, row := range m {
		vs[i] = &vector{unit: row, grad: make([]float64, len(row))}
	}
	return vs
}

func cosine(a, b *vector) float64 {
	sum := 0.0
	for d, x := range a.unit {
		sum += x * b.unit[d]
	}
	return sum
}

// join records that the cosine of a and b has the derivative w.
func (r *Result) join(a, b *vector, w float64) {
	for d := range a.unit {
		a.grad[d] += w * b.unit[d]
		b.grad[d] += w * a.unit[d]
	}
	a.mass += math.Abs(w)
	b.mass += math.Abs(w)
	r.Mass += math.Abs(w)
}

// back returns the gradient with respect to the raw row,
//
//	∂L/∂x = (g − (g·x̂)x̂)/‖x‖
func (v *vector) back() []float64 {
	dx := make([]float64, len(v.unit))
	if v.norm == 0 {
		return dx
	}
	along := 0.0
	for d, x := range v.unit {
		along += v.grad[d] * x
	}
	for d, x := range v.unit {
		dx[d] = (v.grad[d] - along*x) / v.norm
	}
	return dx
}

// gradients returns those of the raw rows, and the masses.
func gradients(vs []*vector) (grad [][]float64, mass []float64) {
	for _, v := range vs {
		grad = append(grad, v.back())
		mass = append(mass, v.mass)
	}
	return grad, mass
}

// store sets the gradients of a result.
func (r *Result) store(query, key, negatives []*vector) {
	r.Query, r.QueryMass = gradients(query)
	r.Key, r.KeyMass = gradients(key)
	r.Negatives, r.NegativesMass = gradients(negatives)
	r.Kink = math.Inf(1)
}

// logSumExp returns log Σ exp(x), which is -Inf for no terms.
func logSumExp(x []float64) float64 {
	lse, _ := softmax(x)
	return lse
}

// softmax returns the shares of exp(x) in their sum, too. They add up to 1 even where
// the logarithm of the sum is lost in an x beyond 2⁵³.
func softmax(x []float64) (lse float64, shares []float64) {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = max(top, v)
	}
	for _, v := range x {
		shares = append(shares, math.Exp(v-top))
		sum += math.Exp(v - top)
	}
	for j := range shares {
		shares[j] /= sum
	}
	return top + math.Log(sum), shares
}

// softplus returns log(1 + e^x).
func softplus(x float64) float64 {
	return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
}

// sigmoid returns 1/(1 + e^-x), to full relative accuracy for all x.
func sigmoid(x float64) float64 {
	if x < 0 {
		return math.Exp(x) / (1 + math.Exp(x))
	}
	return 1 / (1 + math.Exp(-x))
}

// pairs are an anchor, its positive and its negatives, with their cosines.
type pairs struct {
	anchor, positive *vector
	negatives        []*vector
	s                float64   // cosine of the positive
	sn               []float64 // cosines of the negatives
}

func newPairs(anchor, positive *vector, negatives []*vector) *pairs {
	p := &pairs{anchor: anchor, positive: positive, negatives: negatives, s: cosine(anchor, positive)}
	for _, n := range negatives {
		p.sn = append(p.sn, cosine(anchor, n))
	}
	return p
}

// logits returns scale times the cosines of the negatives.
func (p *pairs) logits(scale float64) []float64 {
	y := make([]float64, len(p.sn))
	for j, s := range p.sn {
		y[j] = scale * s
	}
	return y
}

// pullPositive and pullNegative record the derivative w of the loss with
// respect to a logit s/τ: for the gradients, and for that of τ.
func (r *Result) pullPositive(p *pairs, w, tau float64) {
	r.join(p.anchor, p.positive, w/tau)
	r.TemperatureGrad -= w * p.s / (tau * tau)
}

func (r *Result) pullNegative(p *pairs, j int, w, tau float64) {
	r.join(p.anchor, p.negatives[j], w/tau)
	r.TemperatureGrad -= w * p.sn[j] / (tau * tau)
}

// crossEntropy adds weight·log(1 + Σⱼ e^(yⱼ−y)) and its derivatives: the
// negative logarithm of the probability that a softmax over the positive and
// the negatives gives to the positive.
func (r *Result) crossEntropy(p *pairs, tau, weight float64) {
	y, yn := p.s/tau, p.logits(1/tau)
	lse, shares := softmax(yn)
	r.Loss += weight * softplus(lse-y)
	if len(yn) == 0 {
		return
	}
	// The derivative with respect to τ cancels between the positive and the
	// negatives, so it is summed as differences.
	q := weight * sigmoid(lse-y)
	r.join(p.anchor, p.positive, -q/tau)
	for j, v := range yn {
		w := q * shares[j]
		r.join(p.anchor, p.negatives[j], w/tau)
		r.TemperatureGrad -= w * (v - y) / tau
	}
}

// statistics gathers accuracy and mean cosines.
type statistics struct {
	positive, negative   float64
	positives, negatives int
	accurate             int
	margins              []float64
}

func (st *statistics) addPositive(s float64) {
	st.positive += s
	st.positives++
}

// addNegatives adds the negatives of one anchor, and whether it is accurate.
func (st *statistics) addNegatives(p *pairs) {
	margin := math.Inf(1)
	for _, s := range p.sn {
		st.negative += s
		st.negatives++
		margin = min(margin, p.s-s)
	}
	if len(p.sn) == 0 {
		return
	}
	if margin > 0 {
		st.accurate++
	}
	st.margins = append(st.margins, margin)
}

// store sets the statistics of a result, for a number of pairs.
func (st *statistics) store(r *Result, pairs int) {
	r.NegativeShare = ratio(float64(st.negatives), pairs)
	r.PositiveCosine = ratio(st.positive, st.positives)
	r.NegativeCosine = ratio(st.negative, st.negatives)
	r.Accuracy = ratio(float64(st.accurate), len(st.margins))
	r.Margins = st.margins
}

func ratio(sum float64, n int) float64 {
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}
