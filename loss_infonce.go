package contrastive

import (
	"fmt"
	"math"
)

// InfoNCE is the InfoNCE loss. For queries q, their keys k and the temperature
// τ, with s the cosine,
//
//	L = −1/N · Σᵢ log( exp(s(qᵢ,kᵢ)/τ) / (exp(s(qᵢ,kᵢ)/τ) + Σⱼ exp(s(qᵢ,nⱼ)/τ)) )
//
// in nats: log(1+M) when all cosines are equal, for M negatives n. The negatives
// of a query are the rows of Negatives and the keys of Queue, if given, and the
// other rows of Key if neither is given or InBatch is set. With Labels, the
// other rows of Key and the keys of a labelled Queue that have the query's label
// are no negatives.
//
// It is equation 4 of van den Oord, Li and Vinyals, "Representation Learning
// with Contrastive Predictive Coding" (2018), with the scaled cosine for a
// score; with a Queue, equation 1 of He, Fan, Wu, Xie and Girshick, "Momentum
// Contrast for Unsupervised Visual Representation Learning" (2020). If no
// gradient is wanted for Key, keys cost nothing but their similarities.
//
// A query without a negative, as with an empty queue, has a loss and gradients of 0
// and does not count in Accuracy. [Queue] says how to begin.
//
// Eval takes Query and Key, and optionally all of a [Batch] but Scores; a guide goes with
// a Filter. It gives Gradients.Losses, those of queries among keys. Accuracy and the mean
// cosines are those of queries among keys. For errors see [Loss].
type InfoNCE struct {
	// Temperature is τ, in units of the similarity. 0 means 0.07, the value in
	// "Momentum Contrast", or 1 for dot products.
	Temperature float32

	// Symmetric averages the loss with that of keys among queries, in which the
	// other rows of Query are the negatives. It needs the negatives in the
	// batch: with Negatives, Hard or Queue but not InBatch it is ErrParameter. So are
	// Weights beside Positives: a key weighs as much as the query of its row.
	Symmetric bool

	// InBatch keeps the other rows of Key as negatives when Negatives, Hard or Queue
	// is given.
	InBatch bool

	// Form says what becomes of several positives of a query.
	Form PositiveForm

	// Margin is m, at least 0: the logit of a positive is (s − m)/τ, as in the additive
	// margin of CosFace (Wang et al., 2018).
	Margin float32

	// Hardness is α, at least 0: to the logit of a negative, α·s is added, through which
	// no gradient flows, so that harder negatives weigh more (Lan et al., "LLaVE", 2025).
	Hardness float32

	// Filter leaves out negatives that may be positives, by a margin FilterMargin.
	Filter       Filter
	FilterMargin float32

	// Similarity is Cosine unless it is Dot.
	Similarity Similarity

	Options
}

// Eval implements [Loss].
func (l InfoNCE) Eval(b Batch, g Gradients) (Result, error) { return evaluate(l, b, g) }

func (l InfoNCE) objective(b Batch) (objective, error) {
	o := objective{
		name: "InfoNCE",
		takes: takesKey | takesNegatives | takesQueue | takesHard | takesPositives | takesPositiveWeights | takesLabels | takesKeyLabels |
			takesNegativeLabels | takesExclude | takesWeights | takesLogQ | takesGuide | givesLosses,
		options:        l.Options,
		inBatch:        l.InBatch || b.Negatives.isZero() && b.Hard.isZero() && b.Queue == nil,
		keepsKeys:      l.InBatch,
		symmetric:      l.Symmetric,
		excludesLabels: true,
		margin:         float64(l.Margin),
		hardness:       float64(l.Hardness),
		filter:         l.Filter,
		filterMargin:   float64(l.FilterMargin),
		dot:            l.Similarity == Dot,
	}
	ifZero := float32(0.07)
	if o.dot {
		ifZero = 1
	}
	if l.Form == Separate {
		o.logistic = againstOthers
	}
	if l.Filter == NoFilter {
		o.takes &^= takesGuide
	}
	if l.Form == Any {
		o.takes &^= takesPositiveWeights
	}
	o.parameters[0], o.tau = temperature(l.Temperature, ifZero)
	o.parameters[1] = parameter{"Margin", l.Margin, isLogitTerm}
	o.parameters[2] = parameter{"Hardness", l.Hardness, isLogitTerm}
	o.parameters[3] = parameter{"FilterMargin", l.FilterMargin, isFinite}
	o.parameters[4] = parameter{name: "Form", value: float32(l.Form)}
	o.parameters[5] = parameter{name: "Filter", value: float32(l.Filter)}
	o.parameters[6] = parameter{name: "Similarity", value: float32(l.Similarity)}
	var err error
	if o.term, err = l.Form.term(); err != nil {
		return o, err
	}
	if err := l.Similarity.check(); err != nil {
		return o, err
	}
	switch {
	case o.symmetric && !o.inBatch:
		return o, fmt.Errorf("Symmetric needs InBatch with Negatives, Hard or Queue: %w", ErrParameter)
	case o.symmetric && b.Weights != nil && b.Positives != nil:
		return o, fmt.Errorf("Weights with keys for anchors need the key of each query to be its only positive: %w", ErrParameter)
	case l.Form == Any && b.PositiveWeights != nil:
		return o, fmt.Errorf("PositiveWeights mean nothing to the form Any: %w", ErrParameter)
	}
	return o, l.Filter.check(l.FilterMargin)
}

// A PositiveForm says what becomes of several positives of a query. With R the
// log-sum-exp of the logits of its negatives, y those of its positives, and p the weights
// of these, of sum 1, they are, for one positive, the same.
type PositiveForm uint8

const (
	// Separate is Σⱼ pⱼ·log(1 + e^(R − yⱼ)): a positive has no other for a competitor.
	Separate PositiveForm = iota

	// Shared is Σⱼ pⱼ·(log(e^R + Σₖ e^yₖ) − yⱼ): the cross-entropy with the targets p, and
	// form "out" of Khosla et al., "Supervised Contrastive Learning" (2020).
	Shared

	// Any is log(e^R + Σₖ e^yₖ) − log Σₖ e^yₖ: it is enough that one positive is similar.
	// Miech et al., "End-to-End Learning of Visual Representations from Uncurated
	// Instructional Videos" (2020), call it MIL-NCE. PositiveWeights are ErrParameter.
	Any
)

func (f PositiveForm) term() (func(o *objective, a *anchor) term, error) {
	switch f {
	case Separate:
		return crossEntropy, nil
	case Shared:
		return sharedCrossEntropy, nil
	case Any:
		return anyCrossEntropy, nil
	}
	return nil, fmt.Errorf("Form is %d, which is none of Separate, Shared and Any: %w", f, ErrParameter)
}

// sharedCrossEntropy is that of the form Shared. The log-sum-exp of all but one positive
// comes from those of the positives before and after it, so that nothing cancels.
func sharedCrossEntropy(o *objective, a *anchor) term {
	if len(a.logits) == 1 {
		return crossEntropy(o, a)
	}
	after := math.Inf(-1)
	for j := len(a.logits) - 1; j >= 0; j-- {
		a.slopes[j] = after
		after = logAddExp(after, a.logits[j])
	}
	all := logAddExp(a.sums.LSE[0], after)
	t := term{lse: [2]float64{math.Exp(a.sums.LSE[0] - all)}}
	t.moment = t.lse[0] * (a.sums.Mean[0] - a.linear[0]) // the slopes of all logits add up to 0
	before := a.sums.LSE[0]
	for j, y := range a.logits {
		loss, others := softplus(logAddExp(before, a.slopes[j]) - y)
		before = logAddExp(before, y)
		t.loss += a.shares[j] * loss
		// The share of y in all exponentials, less that of the target: neither near 1.
		a.slopes[j] = math.Exp(y-all)*(1-a.shares[j]) - others*a.shares[j]
		t.moment += a.slopes[j] * (a.linear[j] - a.linear[0])
	}
	return t
}

// anyCrossEntropy is that of the form Any.
func anyCrossEntropy(_ *objective, a *anchor) term {
	any := math.Inf(-1)
	for _, y := range a.logits {
		any = logAddExp(any, y)
	}
	loss, p := softplus(a.sums.LSE[0] - any)
	t := term{loss: loss, lse: [2]float64{p}}
	for j, y := range a.logits {
		share := p * math.Exp(y-any)
		a.slopes[j] = -share
		t.moment += share * (a.sums.Mean[0] - a.linear[j])
	}
	return t
}

// logAddExp returns log(e^x + e^y), of which one may be −∞.
func logAddExp(x, y float64) float64 {
	if x < y {
		x, y = y, x
	}
	return x + math.Log1p(math.Exp(y-x))
}

// maxLogitTerm keeps logits and what is added to them within the range in which
// temperatures keep them.
const maxLogitTerm = 0x1p60

func isLogitTerm(v float32) string {
	if v > maxLogitTerm {
		return "at most 2^60"
	}
	return isNonNegative(v)
}

// checkLogQ returns an error unless popularities are of a size that they have where logits
// are similarities, too: times τ, or whatever else the scale of logits is the inverse of.
func (o *objective) checkLogQ(b *Batch) error {
	most := min(maxLogitTerm, maxLogitTerm*maxLogitTerm/o.tau)
	for _, l := range [...]struct {
		argument string
		values   []float32
	}{{"KeyLogQ", b.KeyLogQ}, {"NegativeLogQ", b.NegativeLogQ}} {
		for j, v := range l.values {
			if math.Abs(float64(v)) > most {
				return fmt.Errorf("%s[%d] is %v and must be at most %.3g in magnitude: %w", l.argument, j, v, most, ErrParameter)
			}
		}
	}
	return nil
}

func isFinite(v float32) string {
	if v-v != 0 {
		return "finite"
	}
	return ""
}
