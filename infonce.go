package contrastive

import (
	"fmt"
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
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
// Eval takes Query and Key, N×D, and optionally Negatives, M×D, a Queue of D
// dimensions, and Labels. Accuracy and the mean cosines are those of queries among
// keys. For errors see [Loss].
type InfoNCE struct {
	// Temperature is τ, in units of the cosine. 0 means 0.07, the value in
	// "Momentum Contrast".
	Temperature float32

	// Symmetric averages the loss with that of keys among queries, in which the
	// other rows of Query are the negatives. It needs the negatives in the
	// batch: with Negatives or Queue but not InBatch it is ErrParameter.
	Symmetric bool

	// InBatch keeps the other rows of Key as negatives when Negatives or Queue
	// is given.
	InBatch bool

	Options
}

// Eval implements [Loss].
func (l InfoNCE) Eval(b Batch, g Gradients) (Result, error) {
	return evalInfoNCE("InfoNCE", l, b, g, usesKey|usesNegatives|usesQueue)
}

// CLIP is InfoNCE in both directions, averaged: the loss of images among texts
// and of texts among images. For N pairs with cosines s and the temperature τ,
//
//	L = −1/2N · Σᵢ [ log( exp(sᵢᵢ/τ) / Σⱼ exp(sᵢⱼ/τ) ) + log( exp(sᵢᵢ/τ) / Σⱼ exp(sⱼᵢ/τ) ) ]
//
// in nats: log N when all cosines are equal. With Labels, pairs of one label
// are no negatives of each other.
//
// It is the loss of figure 3 of Radford et al., "Learning Transferable Visual
// Models From Natural Language Supervision" (2021). CLIP learns log(1/τ), whose
// gradient is −τ·TemperatureGrad, and keeps 1/τ from growing beyond 100.
//
// Eval takes Query and Key, and optionally Labels. Accuracy and the mean cosines are
// those of queries among keys. Other inputs are ErrParameter; for other errors see
// [Loss].
type CLIP struct {
	// Temperature is τ, in units of the cosine. 0 means 0.07, where CLIP begins.
	Temperature float32

	Options
}

// Eval implements [Loss].
func (l CLIP) Eval(b Batch, g Gradients) (Result, error) {
	nce := InfoNCE{Temperature: l.Temperature, Symmetric: true, Options: l.Options}
	return evalInfoNCE("CLIP", nce, b, g, usesKey)
}

// nceAnchors are the queries and, for the symmetric loss, the keys.
type nceAnchors struct {
	evaluation
	symmetric bool
	inBatch   bool
	weight    float64   // of an anchor in the mean
	pull      []float64 // ∂Loss/∂(logit of the positive pair)
}

var ncePool = sync.Pool{New: func() any { return new(nceAnchors) }}

func evalInfoNCE(name string, l InfoNCE, b Batch, g Gradients, u uses) (Result, error) {
	a := ncePool.Get().(*nceAnchors)
	defer a.release(&ncePool, a)
	if err := a.begin(name, b, g, l.Options, u); err != nil {
		return Result{}, err
	}
	a.symmetric = l.Symmetric
	a.inBatch = l.InBatch || b.Negatives.isZero() && b.Queue == nil
	if a.symmetric && !a.inBatch {
		return Result{}, fmt.Errorf("%s: Symmetric needs InBatch with Negatives or Queue: %w", name, ErrParameter)
	}
	tau, err := a.setTemperature(l.Temperature, 0.07)
	if err != nil {
		return Result{}, err
	}
	if err := a.list(); err != nil {
		return Result{}, err
	}
	a.run(tau)
	return a.result, nil
}

// list makes the lists of queries and of what they are compared with, and masks
// what is not a negative.
func (a *nceAnchors) list() error {
	en, b, g := a.engine, &a.batch, &a.grads
	en.Rows.Reset(b.Query.Cols)
	en.Cols.Reset(b.Query.Cols)
	en.Positives.Reset(b.Query.Cols)
	if err := a.add(&en.Rows, b.Query, g.Query, "Query"); err != nil {
		return err
	}
	keys := &en.Positives
	if a.inBatch {
		keys = &en.Cols
		a.problem.Mask.Exclude(0)
		a.colLabels = append(a.colLabels, b.Labels...)
	}
	if err := a.add(keys, b.Key, g.Key, "Key"); err != nil {
		return err
	}
	// Columns without labels come after those with labels.
	queue := b.Queue != nil && b.Queue.Len() > 0
	if queue && b.Queue.Labels() != nil {
		a.addQueue()
		a.colLabels = append(a.colLabels, b.Queue.Labels()...)
		queue = false
	}
	if !b.Negatives.isZero() {
		if err := a.add(&en.Cols, b.Negatives, g.Negatives, "Negatives"); err != nil {
			return err
		}
	}
	if queue {
		a.addQueue()
	}
	if b.Labels != nil {
		a.problem.Mask.RowLabels, a.problem.Mask.ColLabels = b.Labels, a.colLabels
	}
	return nil
}

func (a *nceAnchors) addQueue() {
	// The keys of a queue are finite and of unit norm.
	a.engine.Cols.Add(engine.Matrix(a.batch.Queue.Keys()), engine.Matrix{}, false)
}

func (a *nceAnchors) run(tau float64) {
	en, n := a.engine, a.n
	a.weight = 1 / float64(n)
	a.problem.Rows, a.problem.Cols = &en.Rows, &en.Cols
	if q := a.batch.Queue; q != nil && en.Cols.Len() == q.Len() {
		if panels := q.laidOut(a.problem.Pieces); panels != nil {
			a.problem.Cols = panels // nothing but the queue's keys, as it keeps them
		}
	}
	if a.symmetric {
		a.weight /= 2
		a.problem.ColAnchors = n
	}
	a.positives, a.pull = a.positives[:0], a.pull[:0]
	for i := range n {
		s := engine.Cosine(&en.Rows, i, a.keys(), i)
		a.positives = append(a.positives, s)
		a.pull = append(a.pull, 0)
		a.result.PositiveCosine += s / float64(n)
	}
	a.problem.Mask.Similarities[0] = a.positives // of the diagonal, if it is excluded
	en.Run(&a.problem, a)
	if !a.inBatch && !a.grads.Key.isZero() {
		a.vector = resizeVector(a.vector, a.batch.Key.Cols)
		for i := range n {
			clear(a.vector)
			en.Rows.AddScaled(a.pull[i], i, a.vector)
			en.Positives.Store(i, a.vector, a.problem.Scale)
		}
	}
	a.setCosines(a.result.PositiveCosine, en.PairMean(&a.problem))
	a.result.TemperatureGrad = -a.moment / tau
	a.result.Accuracy = a.accuracy()
}

// keys is the list that the positives are in, from its beginning.
func (a *nceAnchors) keys() *engine.Panels {
	if a.inBatch {
		return &a.engine.Cols
	}
	return &a.engine.Positives
}

func (a *nceAnchors) Row(i int, s engine.Stat) [2]float64 {
	a.countAccurate(a.positives[i], s.Top)
	return a.anchor(i, s)
}

func (a *nceAnchors) Col(i int, s engine.Stat) [2]float64 { return a.anchor(i, s) }

// anchor adds the loss of one anchor. With R the log-sum-exp of the negatives
// and y the logit of the positive, that is log(1 + e^(R−y)), which keeps its
// relative accuracy when it is near 0.
func (a *nceAnchors) anchor(i int, s engine.Stat) [2]float64 {
	y := a.positives[i] * a.problem.Scale
	loss, p := softplus(s.LSE[0] - y)
	a.result.Loss += a.weight * loss
	p *= a.weight
	a.pull[i] -= p
	a.moment += p * (s.Mean[0] - y)
	return [2]float64{p}
}

func (a *nceAnchors) AddRow(i int, g []float32, factor float64) {
	a.keys().AddScaled(factor*a.pull[i], i, g)
}

func (a *nceAnchors) AddCol(j int, g []float32, factor float64) {
	if a.inBatch && j < a.n {
		a.engine.Rows.AddScaled(factor*a.pull[j], j, g)
	}
}

func resizeVector(v []float32, n int) []float32 {
	if cap(v) < n {
		return make([]float32, n)
	}
	return v[:n]
}
