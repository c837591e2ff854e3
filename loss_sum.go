package contrastive

import (
	"fmt"
	"math"
)

// Sum is a weighted sum of losses of the same batch, Σ w·ℓ. Each loss is shown the fields
// of the batch that it takes; a field that none of them takes is [ErrUnused].
//
// Loss, TemperatureGrad, BiasGrad and Gradients.Losses are the weighted sums; the other
// fields of the Result are those of the first loss. A loss without TemperatureGrad, say,
// adds 0 to it. No losses, or weights that are negative or not finite, are [ErrParameter].
// Other errors are those of the losses.
type Sum struct {
	Losses []Loss

	// Weights are w, one for each of Losses. Nil means 1.
	Weights []float32
}

// Eval implements [Loss].
func (l Sum) Eval(b Batch, g Gradients) (Result, error) {
	return evaluateParts("Sum", l, b, g)
}
func (l Sum) check(b *Batch, g *Gradients) error {
	if err := checkCombination("Losses", len(l.Losses), l.Weights); err != nil {
		return err
	}
	var all inputs
	for i, loss := range l.Losses {
		if isMissing(loss) {
			return fmt.Errorf("Losses[%d] is %s: %w", i, describeLoss(loss), ErrParameter)
		}
		all |= inputsOf(loss, *b)
	}
	if err := checkUnused(all, b, g); err != nil {
		return err
	}
	return checkSums(b, g)
}

func (l Sum) combine(c *combination, b Batch, g Gradients) (Result, error) {
	c.begin(g)
	var first Result
	for i, loss := range l.Losses {
		takes := inputsOf(loss, b)
		r, err := c.add(loss, b.shownTo(takes), g.shownTo(takes), weightAt(l.Weights, i))
		if err != nil {
			return Result{}, err
		}
		if i == 0 {
			first = r
		}
	}
	return c.finish(first), nil
}

func (l Sum) parts() (name string, numbers []uint64, weights []float32) {
	return "Losses", make([]uint64, len(l.Losses)), l.Weights
}

// shownTo returns b without the fields that a loss does not take, and g without the
// gradients of these.
func (b Batch) shownTo(takes inputs) Batch {
	has := func(i inputs) bool { return takes&i != 0 }
	if !has(takesKey | takesOptionalKey) {
		b.Key = Matrix{}
	}
	if !has(takesNegatives) {
		b.Negatives = Matrix{}
	}
	if !has(takesQueue) {
		b.Queue = nil
	}
	if !has(takesHard | needsHard) {
		b.Hard, b.HardCounts = Matrix{}, nil
	}
	if !has(takesScores) {
		b.Scores = Matrix{}
	}
	if !has(takesWeights) {
		b.Weights = nil
	}
	if !has(takesPositives) {
		b.Positives = nil
	}
	if !has(takesPositiveWeights) {
		b.PositiveWeights = nil
	}
	if !has(takesLabels) && len(b.Labels) == b.Query.Rows { // else ErrShape
		b.Labels = nil
	}
	if !has(takesKeyLabels) {
		b.KeyLabels = nil
	}
	if !has(takesNegativeLabels) {
		b.NegativeLabels = nil
	}
	if !has(takesExclude) {
		b.Exclude = nil
	}
	if !has(takesLogQ) {
		b.KeyLogQ, b.NegativeLogQ = nil, nil
	}
	if !has(takesGuide) {
		b.GuideQuery, b.GuideKey, b.GuideNegatives = Matrix{}, Matrix{}, Matrix{}
	}
	return b
}

func (g Gradients) shownTo(takes inputs) Gradients {
	if takes&(takesKey|takesOptionalKey) == 0 || takes&constantKey != 0 {
		g.Key = Matrix{}
	}
	if takes&takesNegatives == 0 {
		g.Negatives = Matrix{}
	}
	if takes&(takesHard|needsHard) == 0 {
		g.Hard = Matrix{}
	}
	if takes&givesLosses == 0 {
		g.Losses = nil
	}
	return g
}

// inputsOf returns what a loss takes; all, if it is not of this package.
func inputsOf(l Loss, b Batch) inputs {
	if l != nil && isOwn(l) {
		switch l := l.(type) {
		case interface{ inputs(b Batch) inputs }:
			return l.inputs(b)
		case interface{ pairLoss() pairLoss }:
			return l.pairLoss().takes
		case featureLoss:
			return takesKey
		case pairwise:
			o, _ := l.objective(b)
			return o.takes
		}
	}
	return math.MaxUint32 &^ constantKey
}

func (l Sum) inputs(b Batch) inputs {
	var all inputs
	for _, loss := range l.Losses {
		all |= inputsOf(loss, b) &^ constantKey
	}
	return all
}
