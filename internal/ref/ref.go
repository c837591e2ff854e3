// Package ref computes every loss of the module again, in float64, one pair of
// vectors after the other, straight from the formulas of the papers. It is the
// oracle of the tests: slow, obvious, and sharing no code with what it judges.
//
// Losses are functions of similarities, which are cosines or dot products. Each is
// written as a sum of terms whose derivative with respect to each similarity is
// passed to [Result.join], which collects the gradients with respect to the
// vectors; [vector.back] takes them through the normalisation. Parameters are
// taken as they are: there are no defaults and no checks. Errors are those of the
// same computation in float32, divided by 2²⁹.
package ref

import (
	"math"
	"slices"
)

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
	// positive and a negative, the similarity of the most similar positive less
	// that of the most similar negative.
	Margins []float64

	// Mass is Σ|∂Loss/∂s| over all similarities s, the terms that the loss adds
	// up counted one by one, and with dot products times both norms: an error of
	// ε in every cosine moves the loss by Mass·ε to first order. (Constants move,
	// too: with a hardness of α, by another α·τ times that.) The other masses are
	// the parts of it that involve one row, before the division by the norm of
	// that row; if RawMass, there is none, and they are Σ|∂Loss/∂s|·‖y‖ over the
	// rows y that a row is compared with. For BarlowTwins and VICReg they belong
	// to columns; see there.
	Mass                                        float64
	QueryMass, KeyMass, NegativesMass, HardMass []float64
	RawMass                                     bool
	LossesMass                                  []float64 // Mass of each of Losses

	// The bends are for losses of given pairs what masses are, with the changes of the
	// derivatives with respect to similarities in the place of these: errors of ε in
	// all similarities and scores, relative to their sizes, move the gradient of a row
	// by its bend times ε besides what its mass says, and the loss by Bend·ε².
	Bend                         float64
	QueryBend, KeyBend, HardBend []float64
	LossesBend                   []float64 // Bend of each of Losses

	// Logit is the greatest size of a logit, for DistillKL.
	Logit float64

	// Kink is the least relative distance of any anchor from a point at which the
	// loss is not smooth (HardNegative, VICReg, AnglE, Triplet), or the least error
	// of cosines, or of dot products relative to the norms, that changes what a
	// Filter leaves out; +Inf for other losses.
	Kink float64
}

// A Loss is a loss with all its parameters.
type Loss interface {
	Eval(Batch) Result
}

// A vector is one row as similarities take it: of unit norm, or raw.
type vector struct {
	x    []float64
	norm float64   // of the raw row; 0 for a row of zeros, and for constants
	raw  bool      // x is the raw row
	size float64   // what similarities with x are relative to: 1, or the norm of a raw x
	grad []float64 // ∂Loss/∂x
	mass float64   // Σ|∂Loss/∂s|·size over the similarities of this vector, with the size of the other
	bend float64   // the same with changes of ∂Loss/∂s, for losses of given pairs
}

// normalize returns the rows of m as vectors of unit norm. A row of zeros stays zero.
func normalize(m [][]float64) []*vector {
	vs := make([]*vector, len(m))
	for i, row := range m {
		v := &vector{x: make([]float64, len(row)), norm: math.Sqrt(dot(row, row)), size: 1, grad: make([]float64, len(row))}
		if v.norm > 0 {
			for d, x := range row {
				v.x[d] = x / v.norm
			}
		}
		vs[i] = v
	}
	return vs
}

// raw returns the rows of m as vectors.
func raw(m [][]float64) []*vector {
	vs := make([]*vector, len(m))
	for i, row := range m {
		norm := math.Sqrt(dot(row, row))
		vs[i] = &vector{x: row, norm: norm, raw: true, size: norm, grad: make([]float64, len(row))}
	}
	return vs
}

// constants returns the rows of m as vectors that are unit already and whose
// gradient nobody asks for.
func constants(m [][]float64) []*vector {
	vs := make([]*vector, len(m))
	for i, row := range m {
		vs[i] = &vector{x: row, size: 1, grad: make([]float64, len(row))}
	}
	return vs
}

// similarity returns the cosine of a and b, or their dot product if they are raw.
func similarity(a, b *vector) float64 { return dot(a.x, b.x) }

// join records that the similarity of a and b has the derivative w.
func (r *Result) join(a, b *vector, w float64) {
	axpy(w, b.x, a.grad)
	axpy(w, a.x, b.grad)
	a.mass += math.Abs(w) * b.size
	b.mass += math.Abs(w) * a.size
	r.Mass += math.Abs(w) * a.size * b.size
}

// back returns the gradient with respect to the raw row,
//
//	∂L/∂x = (g − (g·x̂)x̂)/‖x‖
func (v *vector) back() []float64 {
	if v.raw {
		return v.grad
	}
	dx := make([]float64, len(v.x))
	if v.norm == 0 {
		return dx
	}
	along := dot(v.grad, v.x)
	for d, x := range v.x {
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
func (r *Result) store(query, key, negatives, hard []*vector) {
	r.Query, r.QueryMass = gradients(query)
	r.Key, r.KeyMass = gradients(key)
	r.Negatives, r.NegativesMass = gradients(negatives)
	r.Hard, r.HardMass = gradients(hard)
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

// A candidate is what an anchor is compared with.
type candidate struct {
	*vector
	s      float64 // similarity with the anchor
	share  float64 // of a positive, in the loss of the anchor
	logit  float64
	scaled float64 // the part of the logit that is proportional to 1/τ

	// What InfoNCE makes the logit of, and decides by.
	logQ     float64
	constant float64 // the similarity
	g        float64 // what a Filter goes by; −Inf for what it does not judge
	gSize    float64 // what g is relative to
}

// An anchor is a row, its positives and its negatives.
type anchor struct {
	*vector
	weight               float64
	positives, negatives []candidate
}

// scaled returns scale times the similarities of the negatives.
func (a *anchor) scaled(scale float64) []float64 {
	y := make([]float64, len(a.negatives))
	for j, n := range a.negatives {
		y[j] = scale * n.s
	}
	return y
}

// pull records the derivative w of the loss with respect to a logit s/τ: for the
// gradients, and for that of τ.
func (r *Result) pull(a *anchor, c candidate, w, tau float64) {
	r.join(a.vector, c.vector, w/tau)
	r.TemperatureGrad -= w * c.s / (tau * tau)
}

// contrast returns log(1 + Σₒ e^(yₒ) / Σₚ e^(yₚ)) with y the logits, of an anchor with
// positives p and others o: the negative logarithm of the probability that a
// softmax over all gives to the positives. It returns its mass, too, and records the
// derivatives of weight times it.
func (r *Result) contrast(a *anchor, positives, others []candidate, tau, weight float64) (loss, mass float64) {
	if len(others) == 0 {
		return 0, 0
	}
	up, upShares := softmax(logits(positives))
	down, downShares := softmax(logits(others))
	p := sigmoid(down - up)
	q := weight * p
	// The derivative with respect to τ cancels between the positives and the
	// others, so it is summed as differences.
	mean := 0.0
	for k, c := range positives {
		r.join(a.vector, c.vector, -q*upShares[k]/tau)
		mean += upShares[k] * c.scaled
		mass += p * upShares[k] / tau * a.size * c.vector.size
	}
	for k, c := range others {
		w := q * downShares[k]
		r.join(a.vector, c.vector, w/tau)
		r.TemperatureGrad -= w * (c.scaled - mean) / tau
		mass += p * downShares[k] / tau * a.size * c.vector.size
	}
	return softplus(down - up), mass
}

// logits returns those of candidates.
func logits(cs []candidate) []float64 {
	var y []float64
	for _, c := range cs {
		y = append(y, c.logit)
	}
	return y
}

// statistics gathers accuracy and mean similarities.
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

func (st *statistics) addNegative(s float64) {
	st.negative += s
	st.negatives++
}

// add adds the pairs of one anchor, and whether it is accurate.
func (st *statistics) add(a *anchor) {
	best, worst := math.Inf(-1), math.Inf(-1)
	for _, p := range a.positives {
		st.addPositive(p.s)
		best = max(best, p.s)
	}
	for _, n := range a.negatives {
		st.addNegative(n.s)
		worst = max(worst, n.s)
	}
	if len(a.positives) == 0 || len(a.negatives) == 0 {
		return
	}
	if best > worst {
		st.accurate++
	}
	st.margins = append(st.margins, best-worst)
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

// weight returns that of query i, and totalWeight that of all.
func (b Batch) weight(i int) float64 {
	if b.Weights == nil {
		return 1
	}
	return b.Weights[i]
}

func (b Batch) totalWeight() float64 {
	total := 0.0
	for i := range b.Query {
		total += b.weight(i)
	}
	return total
}

// listed returns, for each query and each row of Key, the weight that they have as a
// pair, or −1 if they are none.
func (b Batch) listed() [][]float64 {
	table := make([][]float64, len(b.Query))
	for i := range table {
		table[i] = make([]float64, len(b.Key))
		for j := range table[i] {
			table[i][j] = -1
			if b.Positives == nil && i == j {
				table[i][j] = 1
			}
		}
		if b.Positives == nil {
			continue
		}
		for k, j := range b.Positives[i] {
			table[i][j] = 1
			if b.PositiveWeights != nil {
				table[i][j] = b.PositiveWeights[i][k]
			}
		}
	}
	return table
}

// leftOut reports whether row j of Key is no negative of query i although it is not
// listed.
func (b Batch) leftOut(i, j int) bool {
	if b.Exclude != nil && slices.Contains(b.Exclude[i], j) {
		return true
	}
	labels := b.KeyLabels
	if labels == nil && len(b.Key) == len(b.Query) {
		labels = b.Labels
	}
	return b.sameLabel(i, labels, j)
}

// sameLabel reports whether query i has the label j of others.
func (b Batch) sameLabel(i int, labels []int, j int) bool {
	return b.Labels != nil && labels != nil && b.Labels[i] == labels[j]
}

// hardOf returns the rows of Hard that query i has: from first up to end.
func (b Batch) hardOf(i int) (first, end int) {
	if b.HardCounts == nil {
		h := len(b.Hard) / len(b.Query)
		return i * h, (i + 1) * h
	}
	for _, count := range b.HardCounts[:i] {
		first += count
	}
	return first, first + b.HardCounts[i]
}
