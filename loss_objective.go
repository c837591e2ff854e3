package contrastive

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// An objective is a pairwise loss as data: what it takes, which pairs count, what the
// engine makes of them, and how the sums of an anchor become its loss. [evaluate]
// walks it over a batch, and [Sharded] over a batch that is spread over ranks.
type objective struct {
	name       string
	takes      inputs
	options    Options
	parameters [7]parameter // all that Options does not hold

	layout         layout
	inBatch        bool // queriesAmongKeys: keys are columns
	keepsKeys      bool // queriesAmongKeys: and are with whatever else
	symmetric      bool // queriesAmongKeys: keys are anchors, too
	stopKey        bool // keys take a gradient of 0
	excludesLabels bool // examples of one label are no negatives of each other
	minRows        int

	form      engine.Form
	terms     int // log-sum-exps of an anchor
	exponents [2]float64
	tau       float64 // similarities are divided by it
	bias      float64 // Sigmoid
	term      func(o *objective, a *anchor) term

	// Of losses whose terms are sums of these over positives, by their shares, and of what
	// pairs that are not positive add up to.
	logistic func(o *objective, s *engine.Stat, y, linear float64) logistic

	// InfoNCE and CLIP alone.
	margin       float64 // subtracted from similarities of positives
	hardness     float64 // times a negative's similarity is added to its logit
	filter       Filter
	filterMargin float64
	dot          bool // similarities are dot products

	// What the terms of some losses depend on besides.
	factor    float64 // SupCon: τ/τ₀
	tauPlus   float64 // HardNegative, as are the logarithms
	logM      float64 // of the number of negatives M,
	logFalse  float64 // of τ⁺·M,
	logTrue   float64 // and of 1 − τ⁺
	sigma     float64 // DCLW: the weights of pairs are a softmax of cosine/σ; 0 for equal weights
	pairs     float64 // N, of all ranks
	pairTop   float64 // if sigma > 0: the greatest cosine of the pairs,
	pairTotal float64 // and Σ exp((cosine − pairTop)/σ) over them
}

// A pairwise loss has an objective, for batches of the kind of b.
type pairwise interface {
	objective(b Batch) (objective, error)
}

// A layout says what are rows and columns, and which pairs are positive.
type layout uint8

const (
	// queriesAmongKeys compares queries with keys, negatives and a queue. The positive
	// of a query is the key of the same index.
	queriesAmongKeys layout = iota
	// twoViews compares queries and keys with each other. The positive of each is the
	// other view of its example.
	twoViews
	// byClass compares queries and, if there are any, keys with each other and with a
	// queue. The positives of each are all others of its label.
	byClass
)

// An anchor is what its loss depends on. With classes, one positive stands for all, of
// their mean cosine.
type anchor struct {
	positives int       // their number
	cosines   []float64 // of the positives,
	logits    []float64 // their logits,
	linear    []float64 // the part of these that is inverse to τ,
	shares    []float64 // and their shares in the loss, of sum 1
	sums      engine.Stat
	slopes    []float64 // receives ∂loss/∂logit of the positives
}

// A term is the loss of one anchor and its derivatives.
type term struct {
	loss   float64
	lse    [2]float64 // with respect to the log-sum-exps
	bias   float64
	moment float64 // Σ ∂loss/∂logit·(the part of the logit that is inverse to τ), which is −τ·∂loss/∂τ
}

// setPairs sets the number of pairs of all ranks, and what depends on it.
func (o *objective) setPairs(n int) {
	o.pairs = float64(n)
	m := 2*o.pairs - 2
	o.logM, o.logFalse, o.logTrue = math.Log(m), math.Log(o.tauPlus*m), math.Log1p(-o.tauPlus)
}

// A logistic is what the similarity of a positive adds to the loss of its anchor: log(1 +
// e^x), and to the derivatives: that with respect to x times these.
type logistic struct{ x, lse, bias, moment float64 }

// crossEntropy is the mean, by their shares, of log(1 + e^(R−y)) over the positives,
// with R the log-sum-exp of the negatives and y the logit of a positive. It keeps its
// relative accuracy when it is near 0.
func crossEntropy(o *objective, a *anchor) term {
	var t term
	for j, y := range a.logits {
		l := againstOthers(o, &a.sums, y, a.linear[j])
		loss, p := softplus(l.x)
		p *= a.shares[j]
		t.loss += a.shares[j] * loss
		t.lse[0] += p
		t.moment += p * l.moment
		a.slopes[j] = -p
	}
	return t
}

// againstOthers is R − y, for the logit y of a positive and the part of it that is inverse
// to τ.
func againstOthers(_ *objective, s *engine.Stat, y, linear float64) logistic {
	return logistic{x: s.LSE[0] - y, lse: 1, moment: s.Mean[0] - linear}
}

// ones are the terms of anchors with one positive each, those of the pairs of their numbers.
type ones struct {
	sums                      []engine.Stat
	terms                     []logistic
	arguments, values, slopes []float64 // with room for a whole group behind the last anchor
}

// resize makes room for n anchors.
func (o *ones) resize(n int) {
	o.sums, o.terms = resize(o.sums, n), resize(o.terms, n)
	for _, s := range [...]*[]float64{&o.arguments, &o.values, &o.slopes} {
		*s = resize(*s, n+len(engine.Group{}))
	}
}

// learnOnes computes the terms of a group of anchors from first on, whose shares are 1: all
// their logarithms at once.
func (e *evaluation) learnOnes(first int, sums []engine.Stat) {
	o := &e.ones
	copy(o.sums[first:], sums)
	for n := range sums {
		i := first + n
		y := (e.positives.Cosine[i] - e.margin/e.unit) * e.problem.Scale
		o.terms[i] = e.logistic(&e.objective, &sums[n], y, y)
		o.arguments[i] = o.terms[i].x
	}
	group := func(s []float64) *engine.Group { return (*engine.Group)(s[first:]) }
	engine.Softplus(group(o.arguments), group(o.values), group(o.slopes), len(sums))
}

// pullOne sets what the positive of the i'th of them pulls. It returns the derivative with
// respect to the log-sum-exp, times the weight.
func (e *evaluation) pullOne(i int, weight float64) float64 {
	p := e.ones.slopes[i]
	e.positives.Pull[i] -= weight * p
	return weight * p * e.ones.terms[i].lse
}

// totalOne adds the term of the i'th of them to the totals, and returns its loss.
func (e *evaluation) totalOne(i int, weight float64) float64 {
	s, t, p := &e.ones.sums[i], &e.ones.terms[i], e.ones.slopes[i]
	loss := s.Sum + e.ones.values[i]
	e.totals[totalLoss] += weight * loss
	e.totals[totalMoment] += weight * (s.Moment + p*t.moment)
	e.totals[totalBias] += weight * (s.Weight + p*t.bias)
	return loss
}

// softplus returns log(1 + e^x) and its derivative, 1/(1 + e^-x), without overflow
// and with the relative accuracy of float64 for negative x.
func softplus(x float64) (value, derivative float64) {
	e := math.Exp(-math.Abs(x))
	if x < 0 {
		return math.Log1p(e), e / (1 + e)
	}
	return x + math.Log1p(e), 1 / (1 + e)
}

// check returns an error unless all parameters obey their rules.
func (o *objective) check() error {
	for _, p := range o.parameters {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

// checkRows returns an error unless n rows of Query are enough.
func (o *objective) checkRows(n int) error {
	if n < o.minRows {
		return fmt.Errorf("Query has %d row, and a pair needs another for its negatives: %w", n, ErrShape)
	}
	return nil
}

// temperature returns τ as a parameter, and its value.
func temperature(v, ifZero float32) (parameter, float64) {
	v = orDefault(v, ifZero)
	return parameter{"Temperature", v, isTemperature}, float64(v)
}
