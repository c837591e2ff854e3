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
	// pairs that are not positive add up to. Linear says that they are their arguments.
	logistic logisticOf
	linear   bool

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
	logistic  logistic  // of one of them
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
type logistic struct {
	x            float64
	pull         float64 // with respect to the logit of the positive
	lse, second  float64 // and to the log-sum-exps
	bias, moment float64
}

// A logisticOf sets that of a positive, given the sums of its anchor, its similarity, its
// logit and the part of that which is inverse to τ.
type logisticOf = func(l *logistic, o *objective, s *engine.Stat, cosine, y, linear float64)

// set sets a logistic of the first log-sum-exp.
func (l *logistic) set(x, pull, lse, moment float64) {
	l.x, l.pull, l.lse, l.second, l.bias, l.moment = x, pull, lse, 0, 0, moment
}

// againstOthers is R − y, with R the log-sum-exp of the negatives and y the logit.
func againstOthers(l *logistic, _ *objective, s *engine.Stat, _, y, linear float64) {
	l.set(s.LSE[0]-y, -1, 1, s.Mean[0]-linear)
}

// crossEntropy is the mean, by their shares, of log(1 + e^(R−y)) over the positives. It
// keeps its relative accuracy when it is near 0.
func crossEntropy(o *objective, a *anchor) term { return a.sumLogistics(o, againstOthers) }

// byLogistics is the sum of the logistics of the loss.
func byLogistics(o *objective, a *anchor) term { return a.sumLogistics(o, o.logistic) }

func (a *anchor) sumLogistics(o *objective, of logisticOf) term {
	var t term
	t.open(&a.sums)
	l := &a.logistic
	for j, y := range a.logits {
		of(l, o, &a.sums, a.cosines[j], y, a.linear[j])
		value, derivative := l.x, 1.0
		if !o.linear {
			value, derivative = softplus(l.x)
		}
		a.slopes[j] = t.add(l, value, derivative, a.shares[j])
	}
	return t
}

// open sets t to the term of what pairs that are not positive add up to.
func (t *term) open(s *engine.Stat) {
	t.loss, t.bias, t.moment = s.Sum, s.Weight, s.Moment
	t.lse[0], t.lse[1] = 0, 0
}

// add adds a logistic by its share, given its value and its derivative, and returns the
// derivative with respect to the logit of the positive.
func (t *term) add(l *logistic, value, derivative, share float64) float64 {
	p := share * derivative
	t.loss += share * value
	t.lse[0] += p * l.lse
	t.lse[1] += p * l.second
	t.bias += p * l.bias
	t.moment += p * l.moment
	return p * l.pull
}

// learnt are the terms of anchors that are sums of logistics, and the greatest similarities
// of their negatives.
type learnt struct {
	terms  []term
	tops   []float64
	groups []anchorGroup
}

const groupSize = len(engine.Group{})

// An anchorGroup is the weights of anchors whose sums are learnt at once, and some of their
// pairs, whose functions are computed at once.
type anchorGroup struct {
	first   int
	weights [groupSize]float64

	n                         int // pairs
	pairs                     [groupSize]groupPair
	arguments, values, slopes engine.Group
}

// A groupPair is a pair of an anchor of a group, and its logistic.
type groupPair struct {
	anchor, pair int32
	share        float64
	logistic
}

// resize makes room for n anchors.
func (l *learnt) resize(n int) {
	l.terms, l.tops = resize(l.terms, n), resize(l.tops, n)
	l.groups = resize(l.groups, (n+groupSize-1)/groupSize)
}

// openGroup returns the group of the anchors from first on, without pairs.
func (e *evaluation) openGroup(first int, sums []engine.Stat) *anchorGroup {
	g := &e.learnt.groups[first/groupSize]
	g.first, g.n = first, 0
	for n := range sums {
		e.learnt.terms[first+n].open(&sums[n])
		e.learnt.tops[first+n] = sums[n].Top
		e.setLinearMean(&sums[n])
	}
	return g
}

// addPair adds a pair, one of n of the anchor that is the a'th of a group.
func (g *anchorGroup) addPair(e *evaluation, a int, sums *engine.Stat, pair int, shares []float64, n int) {
	if g.n == groupSize {
		g.learnPairs(e)
	}
	p, s := &g.pairs[g.n], e.positives.Cosine[pair]
	linear := e.linearLogit(s)
	p.anchor, p.pair, p.share = int32(a), int32(pair), e.share(shares, pair, n)
	e.logistic(&p.logistic, &e.objective, sums, s, linear-e.logQOfPair(pair), linear)
	g.arguments[g.n] = p.x
	g.n++
}

// learnPairs adds the pairs to the terms of their anchors.
func (g *anchorGroup) learnPairs(e *evaluation) {
	if e.linear {
		g.values = g.arguments
		for k := range g.n {
			g.slopes[k] = 1
		}
	} else {
		engine.Softplus(&g.arguments, &g.values, &g.slopes, g.n)
	}
	terms, pull := e.learnt.terms[g.first:], e.positives.Pull
	for k := range g.pairs[:g.n] {
		p := &g.pairs[k]
		pull[p.pair] += g.weights[p.anchor] * terms[p.anchor].add(&p.logistic, g.values[k], g.slopes[k], p.share)
	}
	g.n = 0
}

// close adds what is left of the pairs, and sets the derivatives with respect to the
// log-sum-exps of the anchors.
func (g *anchorGroup) close(e *evaluation, slopes [][2]float64) {
	g.learnPairs(e)
	for a := range slopes {
		t, s := &e.learnt.terms[g.first+a], &slopes[a]
		s[0], s[1] = g.weights[a]*t.lse[0], g.weights[a]*t.lse[1]
	}
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
