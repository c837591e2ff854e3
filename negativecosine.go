package contrastive

import (
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// NegativeCosine is the loss of BYOL and SimSiam, which have no negatives: the
// rows of Query are predictions, and those of Key their targets,
//
//	L = −1/N · Σᵢ s(qᵢ,kᵢ)
//
// with s the cosine: −1 when each prediction points at its target. The targets
// are under stop-gradient: Gradients.Key is zero. Both papers average the loss
// with that of the views exchanged.
//
// It is equation 1 of Chen and He, "Exploring Simple Siamese Representation
// Learning" (2021). Equation 2 of Grill et al., "Bootstrap Your Own Latent"
// (2020), is 2 + 2L.
//
// Eval takes Query and Key. PositiveCosine is −Loss. Other inputs are ErrParameter,
// except Labels, which mean nothing here; for other errors see [Loss].
type NegativeCosine struct {
	Options
}

// Eval implements [Loss].
func (l NegativeCosine) Eval(b Batch, g Gradients) (Result, error) {
	a := cosinePool.Get().(*cosinePairs)
	defer a.release(&cosinePool, a)
	if err := a.begin("NegativeCosine", b, g, l.Options, usesKey); err != nil {
		return Result{}, err
	}
	q, k := &a.engine.Rows, &a.engine.Cols
	q.Reset(b.Query.Cols)
	k.Reset(b.Query.Cols)
	if err := a.add(q, b.Query, g.Query, "Query"); err != nil {
		return Result{}, err
	}
	if err := a.add(k, b.Key, g.Key, "Key"); err != nil {
		return Result{}, err
	}
	n := float64(a.n)
	for i := range a.n {
		a.result.PositiveCosine += engine.Cosine(q, i, k, i) / n
	}
	a.setCosines(a.result.PositiveCosine, 0)
	a.result.Loss = -a.result.PositiveCosine
	if !g.Query.isZero() {
		a.vector = resizeVector(a.vector, b.Query.Cols)
		for i := range a.n {
			clear(a.vector)
			k.AddScaled(-1/n, i, a.vector)
			q.Store(i, a.vector, 1)
		}
	}
	if !g.Key.isZero() {
		for i := range a.n {
			clear(g.Key.Row(i))
		}
	}
	return a.result, nil
}

type cosinePairs struct{ evaluation }

var cosinePool = sync.Pool{New: func() any { return new(cosinePairs) }}
