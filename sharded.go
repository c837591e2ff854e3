package contrastive

import (
	"context"
	"fmt"
	"reflect"
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
//	InfoNCE, CLIP, SigLIP, NTXent, SupCon, DCL, HardNegative, NegativeCosine
//	BarlowTwins, VICReg, of which nothing but sums over rows travels: Ring is ignored
//	Matryoshka, Sum, of those above, one part after the other
//
// It takes what the loss takes, and gives what it gives. A rank gives of each field what
// belongs to its own rows, of which all ranks have at least one:
//
//	Query, Labels, Weights, HardCounts, Losses     of its queries
//	Key, KeyLabels, KeyLogQ, GuideKey              of its keys; as many as queries, but for
//	                                               Positives
//	Negatives, NegativeLabels, NegativeLogQ, …     of its negatives, which are those of the
//	                                               queries of all ranks
//	Hard                                           of its queries alone, so that it does not
//	                                               travel; a rank may have none
//	Positives, PositiveWeights, Exclude            lists of its queries, of rows of the Keys
//	                                               of all ranks: that of rank 0, followed
//	                                               by that of rank 1, and so on
//	Queue                                          the same on every rank, which
//	                                               [Queue.EnqueueAll] sees to; its Len, Cap
//	                                               and place of the next key are compared,
//	                                               its keys are not
//
// Fields are given on all ranks or on none, but for Hard, PositiveWeights and Exclude,
// which a rank may do without. Weights may be 0 for all queries of a rank, and its
// Positives may all be empty, unless those of the others are, too.
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
//	BarlowTwins, VICReg     products of the D columns of the local rows instead: 3, or 4,
//	                        at the Highest precision
//
// A Filter by a guide takes one more of the guide's dimension for each of these that makes
// similarities.
//
// With n rows a rank, D dimensions and P ranks, gathering keys receives 4·n·D·(P−1)
// bytes. A ring does for the value, and again for the gradients, unless the loss
// is SigLIP, which needs no sums first; once more if a Filter has to know Positives
// before. The gradients of keys come home in as many, except for NTXent and its kin,
// SupCon, DCL and HardNegative, where the owner of a row computes all of its gradient.
// Where keys are anchors and Positives are given, each rank gets 40 bytes for each
// positive of all ranks, and 28 for each key. Memory beyond inputs and gradients is O(n·D)
// in a ring, and that of these numbers where they travel, and O(P·n·D) gathered.
//
// BarlowTwins sums a D×D matrix of products of columns in float32 by AllReduce, and VICReg
// two, or more if columns differ in size by 2¹⁶; means, variances and the like are sums in
// float64, of which a rank receives some 10·P·D numbers of 12 bytes each. Memory beyond
// inputs and gradients is O((n+D+P)·D).
//
// What else travels are unit vectors, or rows times a power of 2 if similarities are dot
// products, and the gradients with respect to them in float32, of which those below 2⁻¹²⁶
// may vanish; scalars and labels travel exactly. The cosine of a query and a positive of
// another rank is off by 2·2⁻²⁴ at most, that of local ones by the rounding of float64.
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
// good, and lists of keys once the number of these is known. If that of any is not, if
// their losses, dimensions or kinds of input differ, or if some have called another
// function, all return an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite] or
// [ErrParameter] and names the rank. A rank without rows is ErrEmpty. When the Collective
// fails, or ctx ends, the error wraps that of the Collective. A ctx or Collective that is
// nil is ErrParameter on this rank, of which the others do not hear. After an error no
// gradient has been written.
func (s Sharded) Eval(ctx context.Context, b Batch, g Gradients) (Result, error) {
	if l, ok := s.Loss.(combined); ok && isOwn(s.Loss) {
		return s.evalCombined(ctx, l, b, g)
	}
	a := shardPool.Get().(*shard)
	defer a.release()
	res, err := a.eval(ctx, s, b, g)
	return res, named(err)
}

// In returns s as a [Loss], each Eval of which is one of s in ctx: for a
// [GradientCache], and whatever else takes a Loss.
//
// All ranks evaluate it at the same time. A rank that cannot come to that, as when an
// encoder fails before a [GradientCache] has reached the loss, must end its ctx, or the
// one that the ranks share: the others wait for it.
func (s Sharded) In(ctx context.Context) Loss { return shardedLoss{s, ctx} }

type shardedLoss struct {
	sharded Sharded
	ctx     context.Context
}

func (l shardedLoss) Eval(b Batch, g Gradients) (Result, error) { return l.sharded.Eval(l.ctx, b, g) }

func (l shardedLoss) inputs(b Batch) inputs { return inputsOf(l.sharded.Loss, b) }

// A shard is the state of one call of Sharded.Eval: the rows of one rank, its
// anchors, and what it holds of the columns.
//
// The local rows are in the list local, raw: queries, then keys, then negatives, for
// cosines and for the final step back through the normalisation. Everything else is in
// unit vectors, or in those of dot products, and gradients are with respect to those.
type shard struct {
	evaluation
	peers
	shardLayout
	shardMemory
	shardPairs

	features  *features // of a loss of columns, which takes the place of all below
	local     engine.List
	guideRows engine.List // of the local GuideKey, then of GuideNegatives

	losses     []float64  // where the caller wants them
	dotFactors [2]float64 // of queries and of other rows
	biased     bool       // whether columns have a bias
	wantRows   bool       // whether this rank wants gradients of its rows
	wantCols   bool       // whether any rank wants gradients of its columns
	wantAny    bool       // whether any rank wants a gradient that takes a pass
	direct     bool       // whether the sums of the rows are complete after one section

	columns   columns
	rowLabels []int
	ownLabels []int // of the local keys, or of examples
	rowStats  []engine.Stat
	colStats  []engine.Stat   // of the keys in columns
	weights   []engine.Weight // of the rows
}

var shardPool = sync.Pool{New: func() any { return new(shard) }}

// release forgets the caller's data. Memory that a failed transfer may still write
// to is left to it.
func (a *shard) release() {
	a.forget()
	a.losses = nil
	a.local.Reset(0)
	a.guideRows.Reset(0)
	a.leave()
	f := a.features
	a.features = nil
	if a.lost {
		return
	}
	if f != nil {
		f.release()
	}
	shardPool.Put(a)
}

func (a *shard) eval(ctx context.Context, s Sharded, b Batch, g Gradients) (Result, error) {
	if err := a.join(ctx, s.Collective, jointSharded); err != nil {
		return Result{}, err
	}
	a.engine = acquireEngine()
	a.entered = a.engine
	var words []uint64
	err := a.prepare(s.Loss, b, g)
	if err == nil {
		words = a.describe(s.Ring)
	}
	if err := a.meet(err, words); err != nil {
		return Result{}, err
	}
	if err := a.agree(s.Ring); err != nil {
		return Result{}, err
	}
	if a.features != nil {
		return a.evalFeatures(s.Loss.(featureLoss))
	}
	if a.anyLists { // which can be checked now that the rows of Key are known
		keys := listedRows{argument: "Key", total: a.sum(0, a.size, func(r int) int { return a.keyRows[r] }), cols: a.dim, ranks: a.size}
		keys.first = a.sum(0, a.rank, func(r int) int { return a.keyRows[r] })
		err := withFunction(a.name, checkKeyLists(&a.batch, keys))
		if err := a.meet(err, nil); err != nil {
			return Result{}, err
		}
	}
	if err := a.layOut(); err != nil {
		return Result{}, err
	}
	if err := a.run(); err != nil {
		return Result{}, err
	}
	a.storeGradients()
	copy(a.losses, a.lossOf)
	return a.result(), nil
}

// prepare checks everything about this rank's input, and lists its rows.
func (a *shard) prepare(loss Loss, b Batch, g Gradients) error {
	if l, ok := loss.(featureLoss); ok && isOwn(loss) {
		return a.prepareFeatures(l, b, g)
	}
	l, ok := loss.(pairwise)
	if !ok || !isOwn(loss) {
		return fmt.Errorf("Loss is %s, and must be one of those that Sharded takes: %w", describeLoss(loss), ErrParameter)
	}
	o, err := l.objective(b)
	if err == nil {
		err = a.begin(o, b, g, checkShard)
	}
	if err == nil {
		err = a.makeLocalLists(1, 1)
	}
	if err != nil {
		return withFunction(o.name, err)
	}
	a.losses = g.Losses
	if a.losses != nil { // the caller's are written when nothing can fail any more
		a.lossOf = zeros(a.lossOf, a.n)
		a.grads.Losses = a.lossOf
	}
	return nil
}

// makeLocalLists lists the rows of this rank; those of dot products times factors.
func (a *shard) makeLocalLists(query, other float64) error {
	b, g, local, unit := &a.batch, &a.grads, &a.local, !a.dot
	local.Reset(b.Query.Cols)
	a.hardRows.Reset(b.Query.Cols)
	local.Accumulate, a.hardRows.Accumulate = g.Accumulate, g.Accumulate
	a.guides[0].Reset(b.GuideQuery.Cols)
	a.guideRows.Reset(b.GuideQuery.Cols)
	for _, in := range [...]struct {
		list    *engine.List
		m, grad Matrix
		name    string
		unit    bool
		factor  float64
	}{
		{local, b.Query, g.Query, "Query", unit, query},
		{local, b.Key, g.Key, "Key", unit, other},
		{local, b.Negatives, g.Negatives, "Negatives", unit, other},
		{&a.hardRows, b.Hard, g.Hard, "Hard", unit, other},
		{&a.guides[0], b.GuideQuery, Matrix{}, "GuideQuery", true, 1},
		{&a.guideRows, b.GuideKey, Matrix{}, "GuideKey", true, 1},
		{&a.guideRows, b.GuideNegatives, Matrix{}, "GuideNegatives", true, 1},
	} {
		if in.m.isZero() {
			continue
		}
		if err := addRowsTimes(in.list, in.m, in.grad, in.name, in.unit, in.factor); err != nil {
			return err
		}
	}
	return nil
}

// oneList reports whether rows are columns too.
func (a *shard) oneList() bool { return a.layout != queriesAmongKeys }

// nameOf returns the name of a loss of this package, or of what one points to.
func nameOf(loss Loss) string {
	t := reflect.TypeOf(loss)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// isOwn reports whether loss is, or points to, one of this package: not to a type that
// embeds one, whose Eval may be another.
func isOwn(loss Loss) bool {
	if loss == nil {
		return false
	}
	t := reflect.TypeOf(loss)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return !isNilPointer(loss) && t.PkgPath() == reflect.TypeFor[Batch]().PkgPath()
}

// isNilPointer reports whether loss is a pointer that points to none.
func isNilPointer(loss Loss) bool {
	v := reflect.ValueOf(loss)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// describeLoss says what a loss is that is not supported.
func describeLoss(loss Loss) string {
	if isNilPointer(loss) {
		return fmt.Sprintf("a nil %T", loss)
	}
	if loss == nil {
		return "nil"
	}
	return fmt.Sprintf("%T", loss)
}
