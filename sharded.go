package contrastive

import (
	"context"
	"fmt"
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// Sharded is a loss over a batch whose rows are spread over the ranks of a
// [Collective]. All ranks call Eval at the same time, each with its rows of
// Query and Key, in any number; the batch is that of rank 0, followed by that of
// rank 1, and so on.
//
// The rows of other ranks can come in two ways, with results that differ by
// rounding. Gathered, every rank holds the keys of all: one large message. In a
// ring, the keys pass from rank to rank while each computes with those that it
// has, and their gradients follow them home: memory is that of a few times the
// keys of one rank, and the messages of the next step travel while one computes.
// The first is what OpenCLIP does with its local loss and a gradient through the
// gather (Cherti et al., "Reproducible Scaling Laws for Contrastive
// Language-Image Learning", 2023); the second is that of Cheng et al., "Breaking
// the Memory Barrier: Near Infinite Batch Size Scaling for Contrastive Loss"
// (2024), section 3.
//
// # Losses
//
//	InfoNCE         in all its forms; Negatives are spread over the ranks, too, and
//	                shared by the queries of all
//	CLIP, NTXent    with and without Labels
//	SigLIP
//	SupCon          with and without Key and Labels
//	DCL             with equal weights or those of all pairs
//	HardNegative
//	NegativeCosine  in which nothing but sums travels
//
// Of a batch it takes Query, Key, Negatives, Queue and Labels. Other fields are
// [ErrUnused], and so are Gradients.Losses.
//
// A Queue must hold the same keys on every rank, which [Queue.EnqueueAll] sees to.
// Its Len, Cap and place of the next key are compared; its keys are not.
//
// # Cost
//
// Each product below is one of a rank's rows with the columns of all ranks, and with
// all gradients; the value alone takes 1. At temperatures below 0.02 all but SigLIP
// take one more.
//
//	InfoNCE                 3 gathered or with nothing but a Queue, 4 in a ring
//	CLIP, Symmetric         4
//	SigLIP                  3
//	NTXent and its kin      3, where a single process, which computes a pair once for
//	                        both its anchors, takes the time of 2
//
// With n rows a rank, D dimensions and P ranks, gathering keys receives 4·n·D·(P−1)
// bytes. A ring does for the value, and again for the gradients, unless the loss
// is SigLIP, which needs no sums first. The gradients of keys come home in as many,
// except for NTXent and its kin, SupCon, DCL and HardNegative, where the owner of a row
// computes all of its gradient. Memory beyond inputs and gradients is O(n·D) in a ring and O(P·n·D)
// gathered.
//
// What travels are unit vectors and the gradients with respect to them in float32,
// of which those below 2⁻¹²⁶ may vanish; scalars and labels travel exactly.
//
// # Training
//
// Gradients are those of the loss of the whole batch, as if one process had it. So the
// gradient of a parameter is the sum over the ranks of what their rows give: a trainer
// that takes the mean, as for losses that are means over the rows of a rank, has only
// the P-th part of it. TemperatureGrad and BiasGrad are whole on every rank already.
//
//	r, err := loss.Eval(ctx, batch, contrastive.Gradients{Query: dq, Key: dk})
//	encoder.Backward(dq, dk, grad)        // of the rows of this rank, added to grad
//	err = collective.AllReduce(ctx, grad) // summed over the ranks, and not divided
//	scale.Step(r.TemperatureGrad)         // the same on all ranks, and not summed
//
// # Determinism
//
// For a given number of rows on each rank the results are the same bits in every
// run, for any number of workers, and Result is the same on all ranks. It is the
// loss of the concatenated batch to rounding.
type Sharded struct {
	// Loss is one of those above, or a pointer to one, the same on all ranks but for
	// Workers and KeepBytes.
	Loss Loss

	// Collective connects the ranks.
	Collective Collective

	// Ring passes keys from rank to rank instead of gathering them.
	Ring bool
}

// Eval evaluates the loss of the whole batch, given the rows of this rank. g
// receives the gradients of these rows; ranks may want different ones.
//
// Before any embedding is sent the ranks tell each other whether their input is
// good. If that of any is not, if their losses, dimensions or kinds of input differ,
// or if some have called another function, all return an error that wraps [ErrShape],
// [ErrEmpty], [ErrNotFinite] or [ErrParameter] and names the rank. A rank without rows
// is ErrEmpty. When the Collective fails, or ctx ends, the error wraps that of the
// Collective. A ctx or Collective that is nil is ErrParameter on this rank, of which
// the others do not hear. After an error no gradient has been written.
func (s Sharded) Eval(ctx context.Context, b Batch, g Gradients) (Result, error) {
	a := shardPool.Get().(*shard)
	defer a.release()
	res, err := a.eval(ctx, s, b, g)
	return res, named(err)
}

// A shard is the state of one call of Sharded.Eval: the rows of one rank, its
// anchors, and what it holds of the columns.
//
// The local rows are in keys, raw: queries, then keys, then negatives, for cosines and
// for the final step back through the normalisation. Everything else is in unit
// vectors, and gradients are with respect to those.
type shard struct {
	evaluation
	peers
	shardLayout
	shardMemory

	wantRows bool // whether this rank wants gradients of its rows
	wantCols bool // whether any rank wants gradients of its columns
	wantAny  bool // whether any rank wants a gradient that takes a pass
	direct   bool // whether the sums of the rows are complete after one block

	columns   columns
	rowLabels []int
	rowStats  []engine.Stat
	colStats  []engine.Stat   // of the keys in columns
	weights   []engine.Weight // of the rows
}

var shardPool = sync.Pool{New: func() any { return new(shard) }}

// release forgets the caller's data. Memory that a failed transfer may still write
// to is left to it.
func (a *shard) release() {
	a.forget()
	a.leave()
	if !a.lost {
		shardPool.Put(a)
	}
}

func (a *shard) eval(ctx context.Context, s Sharded, b Batch, g Gradients) (Result, error) {
	if err := a.join(ctx, s.Collective, jointSharded); err != nil {
		return Result{}, err
	}
	a.engine = acquireEngine()
	a.entered = a.engine
	err := a.prepare(s.Loss, b, g)
	if err := a.meet(err, a.describe(s.Ring)); err != nil {
		return Result{}, err
	}
	if err := a.agree(s.Ring); err != nil {
		return Result{}, err
	}
	a.layOut()
	if err := a.run(); err != nil {
		return Result{}, err
	}
	a.storeGradients()
	return a.result(), nil
}

// prepare checks everything about this rank's input, and lists its rows.
func (a *shard) prepare(loss Loss, b Batch, g Gradients) error {
	l, ok := loss.(pairwise)
	if !ok || !isOwn(loss) {
		return fmt.Errorf("Loss is %s, and must be one of those that Sharded takes: %w", describeLoss(loss), ErrParameter)
	}
	o, err := l.objective(b)
	o.takes &= takesKey | takesOptionalKey | takesNegatives | takesQueue
	if err == nil {
		err = a.begin(o, b, g)
	}
	if err == nil {
		err = a.listLocal()
	}
	return withFunction(o.name, err)
}

func (a *shard) listLocal() error {
	local := &a.keys
	local.Reset(a.batch.Query.Cols)
	local.Accumulate = a.grads.Accumulate
	if err := addRows(local, a.batch.Query, a.grads.Query, "Query", true); err != nil {
		return err
	}
	a.views = 1
	if !a.batch.Key.isZero() {
		if err := addRows(local, a.batch.Key, a.grads.Key, "Key", true); err != nil {
			return err
		}
		if a.oneList() {
			a.views = 2
		}
	}
	if a.layout == queriesAmongKeys && !a.inBatch {
		a.views = 0
	}
	if a.batch.Negatives.isZero() {
		return nil
	}
	return addRows(local, a.batch.Negatives, a.grads.Negatives, "Negatives", true)
}

// oneList reports whether rows are columns too.
func (a *shard) oneList() bool { return a.layout != queriesAmongKeys }
