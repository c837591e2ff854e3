package contrastive

import (
	"fmt"
	"slices"
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
	return evaluateParts("Matryoshka", l, b, g)
}
func (l Matryoshka) check(b *Batch, g *Gradients) error {
	if isMissing(l.Loss) {
		return fmt.Errorf("Loss is %s: %w", describeLoss(l.Loss), ErrParameter)
	}
	if err := checkCombination("Dims", len(l.Dims), l.Weights); err != nil {
		return err
	}
	if b.Queue != nil {
		return fmt.Errorf("Queue is given: %w", ErrUnused)
	}
	if err := checkSums(b, g); err != nil {
		return err
	}
	for i, d := range l.Dims {
		if d < 1 || d > b.Query.Cols {
			return fmt.Errorf("Dims[%d] is %d, Query is %d×%d: %w", i, d, b.Query.Rows, b.Query.Cols, ErrParameter)
		}
		if slices.Contains(l.Dims[:i], d) {
			return fmt.Errorf("Dims[%d] is %d for the second time: %w", i, d, ErrParameter)
		}
	}
	return nil
}

func (l Matryoshka) combine(c *combination, b Batch, g Gradients) (Result, error) {
	c.begin(g)
	greatest := slices.Max(l.Dims)
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

func (l Matryoshka) parts() (name string, numbers []uint64, weights []float32) {
	for _, d := range l.Dims {
		numbers = append(numbers, uint64(d))
	}
	return "Dims", numbers, l.Weights
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

func (l Matryoshka) inputs(b Batch) inputs { return inputsOf(l.Loss, b) &^ takesQueue }
