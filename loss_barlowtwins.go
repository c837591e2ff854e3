package contrastive

import (
	"fmt"
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
// is never held. Other inputs are ErrParameter, except Labels, which mean nothing
// here; for other errors see [Loss].
type BarlowTwins struct {
	// Lambda is λ, at least 0. 0 means 0.005.
	Lambda float32

	Options
}

// Eval implements [Loss].
func (l BarlowTwins) Eval(b Batch, g Gradients) (Result, error) {
	a := newFeatures()
	defer a.release()
	err := a.begin(b, g, l.Options, parameter{"Lambda", orDefault(l.Lambda, 0.005), isNonNegative})
	if err == nil && a.n < 2 {
		err = fmt.Errorf("Query has %d row, and a correlation needs 2: %w", a.n, ErrShape)
	}
	if err == nil {
		err = a.standardize()
	}
	if err != nil {
		return Result{}, wrap("BarlowTwins", err)
	}
	lambda, n := float64(orDefault(l.Lambda, 0.005)), float64(a.n)
	a.listAll(&a.rows, &a.views[0], !g.Query.isZero())
	a.listAll(&a.cols, &a.views[1], !g.Key.isZero())
	p := &a.problem
	p.Gain, a.lossGain = 2*lambda/(n*n), lambda/(n*n)
	p.Positives = &a.diagonal
	a.diagonal.Reset(&a.cols)
	for d := range b.Query.Cols {
		c := engine.Cosine(&a.rows, d, &a.cols, d) / n
		a.result.Loss += (1 - c) * (1 - c)
		a.diagonal.Add(d, c)
		a.diagonal.Pull[d] = -2 * (1 - c) / n
		a.diagonal.Close()
	}
	a.engine.Run(p, a)
	for v, dst := range [...]Matrix{g.Query, g.Key} {
		if !dst.isZero() {
			a.storeStandardized(dst, &a.views[v])
		}
	}
	return a.result, nil
}

func (BarlowTwins) inputs(Batch) inputs { return takesKey }

// standardize copies the inputs, transposed, with mean 0 and variance 1.
func (a *features) standardize() error {
	const epsilon = 1e-5
	if err := a.open(); err != nil {
		return err
	}
	for v, m := range [...]Matrix{a.batch.Query, a.batch.Key} {
		view := &a.views[v]
		view.deviation = view.deviation[:0]
		for d := range m.Cols {
			column, squares := a.centred(m, d), 0.0
			for _, x := range column {
				squares += x * x
			}
			deviation := math.Sqrt(squares/float64(m.Rows) + epsilon)
			view.deviation = append(view.deviation, deviation)
			row := view.rows.Row(d)
			for i, x := range column {
				row[i] = float32(x / deviation)
			}
		}
	}
	return nil
}

// storeStandardized writes the gradient with respect to the input, given that
// with respect to the standardised columns ẑ:
//
//	∂L/∂x = (∂L/∂ẑ − mean ∂L/∂ẑ − ẑ·mean(ẑ·∂L/∂ẑ)) / deviation
func (a *features) storeStandardized(dst Matrix, view *featureView) {
	for d := range view.rows.Rows {
		row, grad := view.rows.Row(d), view.grad.Row(d)
		var mean, along float64
		for i, g := range grad {
			mean += float64(g)
			along += float64(g) * float64(row[i])
		}
		mean /= float64(len(row))
		along /= float64(len(row))
		for i, g := range grad {
			a.grads.store(&dst.Data[i*dst.Stride+d], (float64(g)-mean-along*float64(row[i]))/view.deviation[d])
		}
	}
}
