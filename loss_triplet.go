package contrastive

import "fmt"

// Triplet is the triplet loss. For the rows k of Key and n of Hard of each query q, in any
// number, with d the distance and m the margin, it is the mean over all triplets of
//
//	max(0, d(q,k) − d(q,n) + m)
//
// With the Euclidean distance, rows are taken as they are. Where a distance or a triplet's
// loss is 0, its gradient is taken to be 0.
//
// It is that of Reimers and Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
// BERT-Networks" (2019), section 3; Schroff, Kalenichenko and Philbin, "FaceNet: A Unified
// Embedding for Face Recognition and Clustering" (2015), take squares of distances.
//
// Eval takes Query and Key, N×D, Hard, and optionally HardCounts and Weights: each triplet
// has the weight of its query. A query without rows of Hard does not count. Without a
// triplet it is ErrEmpty; without one whose weight is not 0, ErrParameter.
//
// Gradients.Losses are the means over the triplets of each query if all queries have
// equally many. If not, each is the sum over them divided by the mean number of triplets,
// weighted, of the queries that have any, so that the weighted mean of Losses is the loss.
//
// PositiveCosine is 0 unless the distance is CosineDistance. Other inputs are [ErrUnused];
// for other errors see [Loss].
type Triplet struct {
	// Margin is m, in units of the distance. 0 means 5, a value for Euclidean distances of
	// rows that are not normalised.
	Margin float32

	Distance Distance // Euclidean by default

	Options
}

// Eval implements [Loss].
func (l Triplet) Eval(b Batch, g Gradients) (Result, error) { return evaluatePairs(l.pairLoss(), b, g) }

func (l Triplet) pairLoss() pairLoss {
	margin := orDefault(l.Margin, 5)
	p := pairLoss{
		name: "Triplet", takes: takesKey | needsHard | takesWeights | givesLosses, options: l.Options,
		parameter: parameter{"Margin", margin, isPositive}, scale: float64(margin),
		measure: distances, learn: func(a *pairs) { a.hinge(1) },
	}
	switch {
	case l.Distance == CosineDistance:
		p.measure, p.learn = products, func(a *pairs) { a.hinge(-1) }
	case l.Distance > CosineDistance:
		p.bad = fmt.Errorf("Distance is %d, which is none of Euclidean and CosineDistance: %w", l.Distance, ErrParameter)
	}
	return p
}

// hinge takes sign times what pairs measure for their distances, but for what is the same
// for all.
func (a *pairs) hinge(sign float64) {
	triplets := 0.0 // of a query, on average
	for i, w := range a.weights {
		first, end := a.hard(i)
		triplets += w * float64(end-first)
	}
	for i, w := range a.weights {
		sum, pull := 0.0, sign*w/triplets
		first, end := a.hard(i)
		for p := first; p < end; p++ {
			if excess := sign*(a.measured[i]-a.measured[p]) + a.scale; excess > 0 {
				sum += excess
				a.pull[i] += pull
				a.pull[p] = -pull
			}
		}
		a.addLoss(i, sum/triplets)
	}
}

// A Distance tells how far apart two embeddings are.
type Distance uint8

const (
	Euclidean      Distance = iota // ‖q − k‖ of the rows as they are
	CosineDistance                 // 1 − s, with s the cosine
)

// String returns the name of d.
func (d Distance) String() string {
	switch d {
	case Euclidean:
		return "Euclidean"
	case CosineDistance:
		return "CosineDistance"
	}
	return fmt.Sprintf("Distance(%d)", uint8(d))
}
