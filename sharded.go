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
//	InfoNCE  in all its forms; Negatives are spread over the ranks, too, and
//	         shared by the queries of all
//	CLIP     with and without Labels
//	NTXent   with and without Labels
//	SigLIP
//	SupCon   with and without Key and Labels
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
//	InfoNCE          3 gathered or with nothing but a Queue, 4 in a ring
//	CLIP, Symmetric  4
//	SigLIP           3
//	NTXent, SupCon   3, where a single process, which computes a pair once for
//	                 both its anchors, takes the time of 2
//
// With n rows a rank, D dimensions and P ranks, gathering keys receives 4·n·D·(P−1)
// bytes. A ring does for the value, and again for the gradients, unless the loss
// is SigLIP, which needs no sums first. The gradients of keys come home in as many,
// except for NTXent and SupCon, where the owner of a row computes all of its
// gradient. Memory beyond inputs and gradients is O(n·D) in a ring and O(P·n·D)
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
	// Loss is an InfoNCE, CLIP, NTXent, SigLIP or SupCon, or a pointer to one, the
	// same on all ranks but for Workers.
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
	if err := a.join(ctx, s.Collective, jointSharded); err != nil {
		return Result{}, err
	}
	if err := a.meet(a.prepare(s.Loss, b, g), a.describe(s.Ring)); err != nil {
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
	return a.result, nil
}

// A shardKind is a family of losses.
type shardKind uint8

const (
	shardedNone    shardKind = iota
	shardedInfoNCE           // queries against keys, negatives and a queue
	shardedSigmoid           // queries against keys, pair by pair
	shardedViews             // two views against each other
	shardedClasses           // the same, with positives by class
)

// A shard is the state of one call of Sharded.Eval: the rows of one rank, its
// anchors, and what it holds of the columns.
//
// The local rows are listed raw in the engine's list of positives, queries before
// keys before negatives, for cosines and for the final step back through the
// normalisation. Everything else is in unit vectors, and gradients are with
// respect to those.
type shard struct {
	evaluation
	peers
	shardLayout
	shardMemory

	kind      shardKind
	symmetric bool
	inBatch   bool // InfoNCE: keys are columns
	parameter float32
	tau       float64
	precision Precision
	factor    float64 // SupCon: τ/τ₀
	wantRows  bool    // whether this rank wants gradients of its rows
	wantCols  bool    // whether any rank wants gradients of its columns
	wantAny   bool    // whether any rank wants a gradient that takes a pass
	direct    bool    // whether the sums of the rows are complete after one block

	columns  columns
	rowStats []engine.Stat
	colStats []engine.Stat  // of the keys in columns
	known    []engine.Known // of the rows
	pull     []float64      // ∂Loss/∂(logit of the positive pair), for each example
	parts    [parts]float64 // of the result, from this rank
	classes  shardClasses
}

// shardNames are the losses, by kind, as errors name them.
var shardNames = [...]string{"none", "InfoNCE or CLIP", "SigLIP", "NTXent", "SupCon"}

var shardPool = sync.Pool{New: func() any { return new(shard) }}

// release forgets the caller's data. Memory that a failed transfer may still write
// to is left to it.
func (a *shard) release() {
	if a.engine != nil {
		releaseEngine(a.engine)
		a.engine = nil
	}
	a.batch, a.grads, a.problem = Batch{}, Gradients{}, engine.Problem{}
	a.leave()
	if !a.lost {
		shardPool.Put(a)
	}
}

// prepare checks everything about this rank's input.
func (a *shard) prepare(loss Loss, b Batch, g Gradients) error {
	a.kind, a.symmetric, a.inBatch, a.parameter, a.factor, a.views = shardedNone, false, true, 0, 0, 1
	switch l := dereference(loss).(type) {
	case InfoNCE:
		return a.prepareInfoNCE("InfoNCE", l, b, g, usesKey|usesNegatives|usesQueue)
	case CLIP:
		nce := InfoNCE{Temperature: l.Temperature, Symmetric: true, Options: l.Options}
		return a.prepareInfoNCE("CLIP", nce, b, g, usesKey)
	case NTXent:
		a.kind, a.views = shardedViews, 2
		return a.list("NTXent", b, g, l.Options, usesKey, l.Temperature, 0.5)
	case SigLIP:
		a.kind, a.parameter = shardedSigmoid, l.Bias
		if err := a.list("SigLIP", b, g, l.Options, usesKey, l.Temperature, 0.1); err != nil {
			return err
		}
		return checkBias(l.Bias)
	case SupCon:
		return a.prepareSupCon(l, b, g)
	}
	return fmt.Errorf("Loss is %s, and must be InfoNCE, CLIP, NTXent, SigLIP or SupCon: %w", describeLoss(loss), ErrParameter)
}

func (a *shard) prepareInfoNCE(name string, l InfoNCE, b Batch, g Gradients, u uses) error {
	a.kind, a.symmetric = shardedInfoNCE, l.Symmetric
	a.inBatch = l.InBatch || b.Negatives.isZero() && b.Queue == nil
	if !a.inBatch {
		a.views = 0
	}
	if err := a.list(name, b, g, l.Options, u, l.Temperature, 0.07); err != nil {
		return err
	}
	if a.symmetric && !a.inBatch {
		return fmt.Errorf("%s: Symmetric needs InBatch with Negatives or Queue: %w", name, ErrParameter)
	}
	return nil
}

func (a *shard) prepareSupCon(l SupCon, b Batch, g Gradients) error {
	a.kind, a.views, a.parameter = shardedClasses, 2, orDefault(l.BaseTemperature, 0.07)
	if b.Key.isZero() {
		a.views = 1
	}
	if err := a.list("SupCon", b, g, l.Options, usesOptionalKey|usesQueue, l.Temperature, 0.07); err != nil {
		return err
	}
	if b.Labels == nil && b.Key.isZero() {
		return fmt.Errorf("SupCon: without Key there must be Labels: %w", ErrShape)
	}
	if err := checkTemperature("SupCon", "BaseTemperature", a.parameter); err != nil {
		return err
	}
	a.factor = a.tau / float64(a.parameter)
	limit := maxFactor
	if a.tau >= 1 {
		limit = maxWarmFactor
	}
	if a.factor > limit {
		return fmt.Errorf("SupCon: Temperature %v is %.3g times the BaseTemperature %v and must be at most %.3g times: %w", float32(a.tau), a.factor, a.parameter, limit, ErrParameter)
	}
	return nil
}

// list lists the rows of this rank.
func (a *shard) list(name string, b Batch, g Gradients, o Options, u uses, temperature, ifZero float32) error {
	a.precision = o.Precision
	if err := a.begin(name, b, g, o, u); err != nil {
		return err
	}
	var err error
	if a.tau, err = a.setTemperature(temperature, ifZero); err != nil {
		return err
	}
	local := &a.engine.Positives
	if err := a.addTwoViews(local); err != nil {
		return err
	}
	if b.Negatives.isZero() {
		return nil
	}
	return a.add(local, b.Negatives, g.Negatives, "Negatives")
}
