package contrastive

import (
	"fmt"
	"math"
	"sync"

	"github.com/contrastive-go/contrastive/simd"
)

// Matryoshka is a loss of embeddings whose first few columns are embeddings, too: with ℓ
// the loss of the first d columns of Query, Key, Negatives and Hard,
//
//	L = Σ_d w_d·ℓ(first d columns), d over Dims
//
// It is equation 1 of Kusupati et al., "Matryoshka Representation Learning" (2022).
//
// Loss, TemperatureGrad, BiasGrad and Gradients.Losses are the weighted sums; the other
// fields of the Result are those of the greatest dimension. Columns beyond that have a
// gradient of 0. A Queue, whose keys have all columns, is [ErrUnused]; dimensions that
// are repeated or not from 1 to D, and weights that are negative or not finite, are
// [ErrParameter]. Other errors are those of Loss.
type Matryoshka struct {
	Loss Loss
	Dims []int

	// Weights are w, one for each of Dims. Nil means 1.
	Weights []float32
}

// Eval implements [Loss].
func (l Matryoshka) Eval(b Batch, g Gradients) (Result, error) {
	c := combinations.Get().(*combination)
	defer c.release()
	r, err := c.matryoshka(l, b, g)
	return r, wrap("Matryoshka", err)
}

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
	c := combinations.Get().(*combination)
	defer c.release()
	r, err := c.sum(l, b, g)
	return r, wrap("Sum", err)
}

// A combination adds up losses and their gradients, which reach their destinations when
// no loss can fail any more.
type combination struct {
	part, total gradientBuffers
	grads       Gradients
	result      Result
}

// gradientBuffers are memory for Gradients.
type gradientBuffers struct {
	matrices [4]Matrix
	losses   []float64
}

var combinations = sync.Pool{New: func() any { return new(combination) }}

func (c *combination) release() {
	c.grads = Gradients{}
	combinations.Put(c)
}

// begin prepares for sums of gradients that go to g.
func (c *combination) begin(b *Batch, g Gradients) error {
	if err := checkMatrix("Query", b.Query); err != nil {
		return err
	}
	if g.Losses != nil {
		if err := checkLength("Gradients.Losses", len(g.Losses), b.Query); err != nil {
			return err
		}
	}
	if err := checkGradients(b, &g); err != nil {
		return err
	}
	c.grads, c.result = g, Result{}
	total := c.total.like(g)
	for _, m := range total.matrices() {
		clear(m.Data)
	}
	clear(total.Losses)
	return nil
}

// like returns Gradients in b's memory that want what g does.
func (b *gradientBuffers) like(g Gradients) Gradients {
	for i, m := range g.matrices() {
		b.matrices[i] = reshape(b.matrices[i], m.Rows, m.Cols)
	}
	wanted := func(i int) Matrix {
		if b.matrices[i].Rows == 0 {
			return Matrix{}
		}
		return b.matrices[i]
	}
	like := Gradients{Query: wanted(0), Key: wanted(1), Negatives: wanted(2), Hard: wanted(3)}
	if g.Losses != nil {
		b.losses = resize(b.losses, len(g.Losses))
		like.Losses = b.losses
	}
	return like
}

// matrices returns those of g, in the order of its fields.
func (g *Gradients) matrices() [4]Matrix { return [4]Matrix{g.Query, g.Key, g.Negatives, g.Hard} }

// add evaluates a loss and adds weight times what it finds.
func (c *combination) add(l Loss, b Batch, wanted Gradients, weight float32) (Result, error) {
	part := c.part.like(wanted)
	r, err := l.Eval(b, part)
	if err != nil {
		return r, err
	}
	w := float64(weight)
	c.result.Loss += w * r.Loss
	c.result.TemperatureGrad += w * r.TemperatureGrad
	c.result.BiasGrad += w * r.BiasGrad
	for i, m := range part.matrices() {
		for k := range m.Rows {
			simd.Axpy(weight, m.Row(k), c.total.matrices[i].Row(k)[:m.Cols])
		}
	}
	for i, v := range part.Losses {
		c.total.losses[i] += w * v
	}
	return r, nil
}

// finish stores the sums. The fields of the Result that do not add up are those of r.
func (c *combination) finish(r Result) Result {
	for i, dst := range c.grads.matrices() {
		for k := range dst.Rows {
			row := dst.Row(k)
			for d, v := range c.total.matrices[i].Row(k) {
				c.grads.store(&row[d], float64(v))
			}
		}
	}
	copy(c.grads.Losses, c.total.losses)
	r.Loss, r.TemperatureGrad, r.BiasGrad = c.result.Loss, c.result.TemperatureGrad, c.result.BiasGrad
	return r
}

func (c *combination) matryoshka(l Matryoshka, b Batch, g Gradients) (Result, error) {
	if err := checkLosses("Loss", l.Loss); err != nil {
		return Result{}, err
	}
	if err := checkCombination("Dims", len(l.Dims), l.Weights); err != nil {
		return Result{}, err
	}
	if b.Queue != nil {
		return Result{}, fmt.Errorf("Queue is given: %w", ErrUnused)
	}
	if err := c.begin(&b, g); err != nil {
		return Result{}, err
	}
	greatest := 0
	for i, d := range l.Dims {
		if d < 1 || d > b.Query.Cols {
			return Result{}, fmt.Errorf("Dims[%d] is %d, Query is %d×%d: %w", i, d, b.Query.Rows, b.Query.Cols, ErrParameter)
		}
		for _, other := range l.Dims[:i] {
			if other == d {
				return Result{}, fmt.Errorf("Dims[%d] is %d for the second time: %w", i, d, ErrParameter)
			}
		}
		greatest = max(greatest, d)
	}
	var kept Result
	for i, d := range l.Dims {
		r, err := c.add(l.Loss, b.prefix(d), g.prefix(d), weightAt(l.Weights, i))
		if err != nil {
			return Result{}, err
		}
		if d == greatest {
			kept = r
		}
	}
	return c.finish(kept), nil
}

func (c *combination) sum(l Sum, b Batch, g Gradients) (Result, error) {
	if err := checkCombination("Losses", len(l.Losses), l.Weights); err != nil {
		return Result{}, err
	}
	var all inputs
	for i, loss := range l.Losses {
		if err := checkLosses(fmt.Sprintf("Losses[%d]", i), loss); err != nil {
			return Result{}, err
		}
		all |= inputsOf(loss, b)
	}
	if err := checkUnused(all, &b, &g); err != nil {
		return Result{}, err
	}
	if err := c.begin(&b, g); err != nil {
		return Result{}, err
	}
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

// checkLosses returns an error if a loss is missing.
func checkLosses(argument string, l Loss) error {
	if l == nil || isNilPointer(l) {
		return fmt.Errorf("%s is %s: %w", argument, describeLoss(l), ErrParameter)
	}
	return nil
}

// checkCombination returns an error unless there are parts, and weights for them.
func checkCombination(parts string, n int, weights []float32) error {
	if n == 0 {
		return fmt.Errorf("%s is empty: %w", parts, ErrParameter)
	}
	if weights != nil && len(weights) != n {
		return fmt.Errorf("Weights has %d elements, %s has %d: %w", len(weights), parts, n, ErrShape)
	}
	for i, w := range weights {
		if must := isNonNegative(w); must != "" {
			return fmt.Errorf("Weights[%d] is %v and must be %s: %w", i, w, must, ErrParameter)
		}
	}
	return nil
}

func weightAt(weights []float32, i int) float32 {
	if weights == nil {
		return 1
	}
	return weights[i]
}

// prefix returns b with the first d columns of its embeddings, and g with those of its
// gradients.
func (b Batch) prefix(d int) Batch {
	b.Query, b.Key, b.Negatives, b.Hard = b.Query.prefix(d), b.Key.prefix(d), b.Negatives.prefix(d), b.Hard.prefix(d)
	return b
}

func (g Gradients) prefix(d int) Gradients {
	g.Query, g.Key, g.Negatives, g.Hard = g.Query.prefix(d), g.Key.prefix(d), g.Negatives.prefix(d), g.Hard.prefix(d)
	return g
}

// prefix is Prefix for a matrix that may be absent, or of another width, which is found
// to be an error by the loss.
func (m Matrix) prefix(d int) Matrix {
	if m.isZero() || d > m.Cols {
		return m
	}
	m.Cols = d
	return m
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
		b.Positives, b.PositiveWeights = nil, nil
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
	switch l := l.(type) {
	case interface{ inputs(b Batch) inputs }:
		if isOwn(l.(Loss)) {
			return l.inputs(b)
		}
	case interface{ pairLoss() pairLoss }:
		if isOwn(l.(Loss)) {
			return l.pairLoss().takes
		}
	case pairwise:
		if isOwn(l.(Loss)) {
			o, _ := l.objective(b)
			return o.takes
		}
	}
	return math.MaxUint32 &^ constantKey
}

func (l Matryoshka) inputs(b Batch) inputs { return inputsOf(l.Loss, b) &^ takesQueue }

func (l Sum) inputs(b Batch) inputs {
	var all inputs
	for _, loss := range l.Losses {
		all |= inputsOf(loss, b) &^ constantKey
	}
	return all
}

func (BarlowTwins) inputs(Batch) inputs { return takesKey }
func (VICReg) inputs(Batch) inputs      { return takesKey }
