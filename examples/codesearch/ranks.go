package main

import (
	"context"
	"time"

	"github.com/contrastive-go/contrastive"
)

// connect returns the ranks that train together, and a function that parts them. It
// is nil but in builds with -tags mpi.
var connect func() (ranks contrastive.Collective, part func() error, err error)

// patience is how long a rank waits for the others in one step.
const patience = time.Minute

// first reports whether this process is the one that measures and answers.
func (t *Training) first() bool { return t.Ranks == nil || t.Ranks.Rank() == 0 }

// part returns the share of this rank of the rows of a batch.
func (t *Trainer) part() (lo, hi int) {
	r, n := t.Ranks.Rank(), t.Ranks.Size()
	return r * t.Batch / n, (r + 1) * t.Batch / n
}

// evaluateTogether evaluates this rank's rows of the encoded batch, and gathers the
// gradients of all. So each rank takes the same step from the same batch, which
// keeps their parameters equal.
func (t *Trainer) evaluateTogether(loss contrastive.Loss, x contrastive.Matrix) (contrastive.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	lo, hi := t.part()
	n := t.Batch
	result, err := contrastive.Sharded{Loss: loss, Collective: t.Ranks, Ring: true}.Eval(ctx,
		contrastive.Batch{Query: x.Slice(lo, hi), Key: x.Slice(n+lo, n+hi), Labels: t.groups[lo:hi]},
		contrastive.Gradients{Query: t.dx.Slice(lo, hi), Key: t.dx.Slice(n+lo, n+hi)})
	if err != nil {
		return result, err
	}
	size := t.Ranks.Size()
	counts := make([]int, size)
	for r := range counts {
		counts[r] = ((r+1)*t.Batch/size - r*t.Batch/size) * t.encoder.Dim
	}
	for _, m := range []contrastive.Matrix{t.dx.Slice(0, n), t.dx.Slice(n, 2*n)} {
		own := append([]float32(nil), m.Slice(lo, hi).Data...)
		if err := t.Ranks.AllGather(ctx, m.Data, own, counts); err != nil {
			return result, err
		}
	}
	return result, nil
}
