package contrastive

import "fmt"

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
func (l InfoNCE) Eval(b Batch, g Gradients) (Result, error) { return evaluate(l, b, g) }

func (l InfoNCE) objective(b Batch) (objective, error) {
	o := objective{
		name:           "InfoNCE",
		takes:          takesKey | takesNegatives | takesQueue,
		options:        l.Options,
		inBatch:        l.InBatch || b.Negatives.isZero() && b.Queue == nil,
		symmetric:      l.Symmetric,
		excludesLabels: true,
		term:           crossEntropy,
	}
	o.parameters[0], o.tau = temperature(l.Temperature, 0.07)
	if o.symmetric && !o.inBatch {
		return o, fmt.Errorf("Symmetric needs InBatch with Negatives or Queue: %w", ErrParameter)
	}
	return o, nil
}
