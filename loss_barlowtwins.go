package contrastive

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// BarlowTwins is the redundancy-reduction loss. The columns of Query and Key,
// N×D, are standardised over the batch to mean 0 and variance 1 (the biased
// variance plus 10⁻⁵, as in batch normalisation); with C = 1/N · Q̂ᵀK̂ their D×D
// cross-correlation,
//
//	L = Σᵢ (1 − Cᵢᵢ)² + λ · Σᵢ Σ_{j≠i} Cᵢⱼ²
//
// Rows are not normalised. It is equation 1 of Zbontar, Jing, Misra, LeCun and
// Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction"
// (2021).
//
// Eval takes Query and Key, of at least two rows, or it is ErrShape. The D×D matrix
// is never held, but by [Sharded]. Other inputs are [ErrUnused]; for other errors see
// [Loss].
type BarlowTwins struct {
	// Lambda is λ, at least 0. 0 means 0.005.
	Lambda float32

	Options
}

// Eval implements [Loss].
func (l BarlowTwins) Eval(b Batch, g Gradients) (Result, error) { return evaluateFeatures(l, b, g) }

func (l BarlowTwins) features() featureObjective {
	o := featureObjective{name: "BarlowTwins", options: l.Options, needsTwo: "a correlation"}
	o.parameters[0] = parameter{"Lambda", orDefault(l.Lambda, 0.005), isNonNegative}
	return o
}

func (l BarlowTwins) compute(a *features) error {
	if err := a.standardize(); err != nil {
		return err
	}
	lambda, n := float64(orDefault(l.Lambda, 0.005)), float64(a.total)
	a.allColumns(&a.rows, &a.views[0], a.wants[0])
	a.allColumns(&a.cols, &a.views[1], a.wants[1])
	p := &a.problem
	p.Gain, a.lossGain = 2*lambda/(n*n), lambda/(n*n)
	p.Positives = &a.diagonal
	a.diagonal.Reset(&a.cols)
	a.sums = a.sums[:0]
	for d := range a.batch.Query.Cols {
		a.sums = append(a.sums, engine.Cosine(&a.rows, d, &a.cols, d))
	}
	if err := a.addUp(a.sums); err != nil {
		return err
	}
	for d, sum := range a.sums {
		c := sum / n
		a.result.Loss += (1 - c) * (1 - c)
		a.diagonal.Add(d, c)
		a.diagonal.Pull[d] = -2 * (1 - c) / n
		a.diagonal.Close()
	}
	if err := a.square(); err != nil {
		return err
	}
	return a.meanStandardized()
}

// standardize copies the inputs, transposed, with mean 0 and variance 1.
func (a *features) standardize() error {
	const epsilon = 1e-5
	if err := a.centre(); err != nil {
		return err
	}
	sums, err := a.sumEach(func(v int) {
		for d := range a.batch.Query.Cols {
			squares := 0.0
			for _, x := range a.centred(v, d) {
				squares += x * x
			}
			a.sums = append(a.sums, squares)
		}
	})
	for v, squares := range sums {
		view := &a.views[v]
		view.deviation = view.deviation[:0]
		for d, s := range squares {
			deviation := math.Sqrt(s/float64(a.total) + epsilon)
			view.deviation = append(view.deviation, deviation)
			row := view.rows.Row(d)
			for i, x := range a.centred(v, d) {
				row[i] = float32(x / deviation)
			}
		}
	}
	return err
}

// meanStandardized computes what store needs of all rows.
func (a *features) meanStandardized() error {
	sums, err := a.sumEach(func(v int) {
		view := &a.views[v]
		for d := range view.rows.Rows {
			var mean, along float64
			if a.wants[v] {
				row := view.rows.Row(d)
				for i, g := range view.grad.Row(d) {
					mean += float64(g)
					along += float64(g) * float64(row[i])
				}
			}
			a.sums = append(a.sums, mean, along)
		}
	})
	for v, s := range sums {
		view := &a.views[v]
		view.gradMean, view.along = view.gradMean[:0], view.along[:0]
		for ; len(s) > 0; s = s[2:] {
			view.gradMean, view.along = append(view.gradMean, s[0]/float64(a.total)), append(view.along, s[1]/float64(a.total))
		}
	}
	return err
}

// store writes the gradients with respect to the inputs, given those with respect to the
// standardised columns ẑ:
//
//	∂L/∂x = (∂L/∂ẑ − mean ∂L/∂ẑ − ẑ·mean(ẑ·∂L/∂ẑ)) / deviation
func (l BarlowTwins) store(a *features) {
	for v := range a.views {
		view := &a.views[v]
		a.storeColumns(v, func(d int) []float64 {
			row, column := view.rows.Row(d), resize(a.column, a.n)
			mean, along, deviation := view.gradMean[d], view.along[d], view.deviation[d]
			for i, g := range view.grad.Row(d) {
				column[i] = (float64(g) - mean - along*float64(row[i])) / deviation
			}
			return column
		})
	}
}
