package contrastive

import (
	"fmt"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// SupCon is the supervised contrastive loss. The anchors z are the rows of
// Query and, if given, those of Key, a second view with the same labels. With
// P(i) the other anchors of i's label, s the cosine, τ the temperature and τ₀
// the base temperature,
//
//	L = (τ/τ₀) · mean_i −1/|P(i)| · Σ_{p∈P(i)} log( exp(s(zᵢ,z_p)/τ) / Σ_{a≠i} exp(s(zᵢ,z_a)/τ) )
//
// in nats. An anchor without positives contributes 0 and counts in the mean.
// Without Labels every pair of views is a class, and the loss is [NTXent] times
// τ/τ₀. The keys of a Queue are compared with the anchors but are none: those
// with an anchor's label are positives, as in the cross-batch memory of Wang,
// Zhang, Huang and Scott (2020). Enqueue the rows of a batch after Eval: a row that
// is in the queue already is its own positive.
//
// It is equation 2 ("out") of Khosla et al., "Supervised Contrastive Learning"
// (2020), with the factor τ/τ₀ of its authors' code. TemperatureGrad includes
// that of the factor.
//
// Eval takes Query and Labels, and optionally Key and Queue; or Query and Key
// without Labels, of which one must be there: ErrShape. PositiveCosine and
// NegativeCosine are means over the pairs of equal and different labels. It also takes
// Weights, which are those of both views, and gives Gradients.Losses. Other inputs are
// [ErrUnused]; for other errors see [Loss].
type SupCon struct {
	// Temperature is τ, in units of the cosine. 0 means 0.07.
	Temperature float32

	// BaseTemperature is τ₀. 0 means 0.07. A ratio τ/τ₀ above 2¹⁴, or 2⁸⁰ where τ
	// is at least 1, is ErrParameter: weights would overflow.
	BaseTemperature float32

	Options
}

// Eval implements [Loss].
func (l SupCon) Eval(b Batch, g Gradients) (Result, error) { return evaluate(l, b, g) }

func (l SupCon) objective(b Batch) (objective, error) {
	o := objective{name: "SupCon", takes: takesOptionalKey | takesLabels | takesQueue | takesWeights | givesLosses, options: l.Options, layout: byClass, term: amongPositives}
	o.parameters[0], o.tau = temperature(l.Temperature, 0.07)
	base := orDefault(l.BaseTemperature, 0.07)
	o.parameters[1] = parameter{"BaseTemperature", base, isTemperature}
	o.factor = o.tau / float64(base)
	limit := maxFactor
	if o.tau >= 1 {
		limit = maxWarmFactor
	}
	switch {
	case b.Labels == nil && b.Key.isZero():
		return o, fmt.Errorf("without Key there must be Labels: %w", ErrShape)
	case o.check() == nil && o.factor > limit:
		return o, fmt.Errorf("Temperature %v is %.3g times the BaseTemperature %v and must be at most %.3g times: %w", float32(o.tau), o.factor, base, limit, ErrParameter)
	}
	return o, nil
}

// Weights of pairs are τ/τ₀ over the sum of an anchor's exponentials, in float32 and
// with a gain of 2⁴⁰. The sum is at least 2⁻⁷², and 2⁻² for temperatures from 1 up.
const (
	maxFactor     = 0x1p14
	maxWarmFactor = 0x1p80
)

// amongPositives is the mean of R − y over the positives, times τ/τ₀, with R the
// log-sum-exp of all others and y the logit of a positive.
func amongPositives(o *objective, a *anchor) term {
	if a.positives == 0 {
		return term{}
	}
	y := a.logits[0]
	a.slopes[0] = -o.factor
	t := term{loss: o.factor * (a.sums.LSE[0] - y), lse: [2]float64{o.factor}}
	t.moment = o.factor*(a.sums.Mean[0]-y) - t.loss // the factor is τ/τ₀
	return t
}

// classSums are the sums of the vectors of each class that a row has. The positives of
// an anchor are its class without itself, and enter its loss as their sum.
type classSums struct {
	index   map[int]int32 // by label
	of      []int32       // class of each row
	members []int         // of each class
	dim     int

	sums    []float64 // for each class, the sum of its vectors,
	anchors []float64 // and of its anchors by weight, unless that is the same
	same    bool
	rounded [2][]float32 // these, once close has been called
}

// reset prepares c for rows with the given labels.
func (c *classSums) reset(labels []int, dim int) {
	if c.index == nil {
		c.index = make(map[int]int32)
	}
	clear(c.index)
	c.of, c.members, c.dim, c.same = c.of[:0], c.members[:0], dim, true
	for _, l := range labels {
		k, ok := c.index[l]
		if !ok {
			k = int32(len(c.members))
			c.index[l] = k
			c.members = append(c.members, 0)
		}
		c.of = append(c.of, k)
	}
	c.sums = zeros(c.sums, dim*len(c.members))
}

// add adds a vector to the class of its label, if a row has that. The weight is that of
// an anchor, 0 for what is none.
func (c *classSums) add(label int, x []float32, weight float64) {
	k, ok := c.index[label]
	if !ok {
		return
	}
	if weight != 1 && c.same {
		c.anchors, c.same = append(c.anchors[:0], c.sums...), false
	}
	c.members[k]++
	sums := c.sums[c.dim*int(k):][:len(x)]
	if c.same {
		for d, v := range x {
			sums[d] += float64(v)
		}
		return
	}
	anchors := c.anchors[c.dim*int(k):][:len(x)]
	for d, v := range x {
		sums[d] += float64(v)
		anchors[d] += weight * float64(v)
	}
}

// close follows the last add.
func (c *classSums) close() {
	for i, sums := range [...][]float64{c.sums, c.anchors} {
		if i > 0 && c.same {
			return
		}
		rounded := resize(c.rounded[i], len(sums))
		for d, v := range sums {
			rounded[d] = float32(v)
		}
		c.rounded[i] = rounded
	}
}

// positives returns the number of those of row i, which is x, and the sum of their
// cosines with it.
func (c *classSums) positives(i int, x []float32) (n int, cosines float64) {
	n = c.members[c.of[i]] - 1
	var parts [4]float64 // which do not wait for each other
	sums := c.sums[c.dim*int(c.of[i]):][:len(x)]
	for ; len(x) >= len(parts); x, sums = x[len(parts):], sums[len(parts):] {
		for k := range parts {
			v := float64(x[k])
			parts[k] += v * (sums[k] - v)
		}
	}
	for d, v := range x {
		parts[d] += float64(v) * (sums[d] - float64(v))
	}
	return n, parts[0] + parts[1] + parts[2] + parts[3]
}

// addPull adds to g what the positives of row i of list contribute to its gradient, and
// the anchors whose positive it is, given the weight of row i, and −∂Loss/∂(mean logit of
// an anchor's positives) of a weight of 1.
func (c *classSums) addPull(list *engine.List, i int, pull, weight float64, g []float32) {
	n := c.members[c.of[i]] - 1
	if n == 0 {
		return
	}
	pull /= float64(n)
	list.AddScaled(2*pull*weight, i, g) // the sums contain the row itself, twice
	at := c.dim * int(c.of[i])
	if c.same {
		engine.Axpy(-2*pull, c.rounded[0][at:][:len(g)], g)
		return
	}
	engine.Axpy(-pull*weight, c.rounded[0][at:][:len(g)], g)
	engine.Axpy(-pull, c.rounded[1][at:][:len(g)], g)
}
