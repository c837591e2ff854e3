package contrastive_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// A rankCall is what one rank gives to Sharded.Eval.
type rankCall struct {
	loss  contrastive.Loss
	ring  bool
	batch contrastive.Batch
	grads contrastive.Gradients
}

// goodCalls returns those of a few ranks.
func goodCalls(v losstest.Variant, ranks int, ring bool) []rankCall {
	var calls []rankCall
	for range ranks {
		b, g := goodCall(v)
		calls = append(calls, rankCall{v.Make(0.1, 0, options{}), ring, b, g})
	}
	return calls
}

// checkAll fails t unless all ranks return an error of the same text, that is what is
// wanted and has the parts, or none if none is wanted. Where there is one, no destination
// is touched.
func checkAll(t *testing.T, name string, calls []rankCall, want error, parts ...string) {
	t.Helper()
	errs := evalAll(t, name, contrastive.NewLocalGroup(len(calls)), calls)
	for r, err := range errs {
		if !errors.Is(err, want) {
			t.Errorf("%s: rank %d: error %v, want one that is %v", name, r, err, want)
			return
		}
		if err == nil {
			continue
		}
		if err.Error() != errs[0].Error() {
			t.Errorf("%s: rank %d has error %q, rank 0 %q", name, r, err, errs[0])
		}
		if !strings.HasPrefix(err.Error(), "contrastive: Sharded: ") {
			t.Errorf("%s: error %q does not say who speaks", name, err)
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q does not say %q", name, err, part)
			}
		}
	}
}

// evalAll returns the errors of all ranks. It asks that who returns one has a zero
// Result and has written no gradient.
func evalAll(t *testing.T, name string, group []contrastive.Collective, calls []rankCall) []error {
	t.Helper()
	return evalAllIn(t.Context(), func() {}, t, name, group, calls)
}

// evalAllIn is evalAll in ctx. A rank with an error calls failed, as where the others may
// not hear of it.
func evalAllIn(ctx context.Context, failed func(), t *testing.T, name string, group []contrastive.Collective, calls []rankCall) []error {
	t.Helper()
	errs := make([]error, len(calls))
	onRanks(group, func(r int, group contrastive.Collective) {
		c := calls[r]
		before := losstest.Outputs(c.grads)
		for i, m := range before {
			before[i] = losstest.Clone(m)
		}
		losses := slices.Clone(c.grads.Losses)
		s := contrastive.Sharded{Loss: c.loss, Collective: group, Ring: c.ring}
		res, err := s.Eval(ctx, c.batch, c.grads)
		errs[r] = err
		if err == nil {
			return
		}
		failed()
		if res != (contrastive.Result{}) {
			t.Errorf("%s: rank %d: %+v with an error", name, r, res)
		}
		for i, m := range losstest.Outputs(c.grads) {
			if !losstest.SameBits(m, before[i]) {
				t.Errorf("%s: rank %d: gradient %d was written", name, r, i)
			}
		}
		for i, v := range c.grads.Losses {
			if math.Float64bits(v) != math.Float64bits(losses[i]) {
				t.Errorf("%s: rank %d: Losses[%d] was written", name, r, i)
			}
		}
	})
	return errs
}

// TestShardedBadInput gives bad input to one of three ranks.
func TestShardedBadInput(t *testing.T) {
	for _, v := range losstest.Variants {
		if !v.Sharded() {
			continue
		}
		loss, _, _ := strings.Cut(strings.TrimSuffix(v.Name, "W"), "/")
		for i, c := range badInputs {
			if c.fits != nil && !c.fits(v) || c.name == "weights of 0" { // of one rank, which are good
				continue
			}
			bad := i % 3
			calls := goodCalls(v, 3, i%2 == 0)
			c.change(t, &calls[bad].batch, &calls[bad].grads)
			checkAll(t, v.Name+": "+c.name, calls, c.want, append(strings.Fields(c.parts), loss, fmt.Sprintf("rank %d", bad))...)
		}
		for _, c := range [...]struct {
			loss contrastive.Loss
			part string
		}{
			{v.Make(-1, 0, options{}), "Temperature"},
			{v.Make(0.1, 0, options{Workers: -1}), "Workers"},
			{v.Make(0.1, 0, options{Precision: 17}), "Precision"},
			{nil, "Loss is nil"},
			{(*contrastive.CLIP)(nil), "nil *contrastive.CLIP"},
			{(*contrastive.VICReg)(nil), "nil *contrastive.VICReg"},
			{&contrastive.CoSENT{}, "*contrastive.CoSENT"},
			{contrastive.Sharded{}.In(t.Context()), "Loss"},
			{contrastive.Triplet{}, "Triplet"},
		} {
			if c.part == "Temperature" && v.NoTemperature {
				continue
			}
			calls := goodCalls(v, 3, false)
			calls[2].loss = c.loss
			checkAll(t, v.Name+": "+c.part, calls, contrastive.ErrParameter, c.part, "rank 2")
		}
	}
	var two [2]losstest.Variant
	for _, v := range losstest.Variants {
		switch v.Name {
		case "SigLIP":
			two[0] = v
		case "SupCon":
			two[1] = v
		}
	}
	calls := goodCalls(two[0], 2, true)
	calls[1].loss = contrastive.SigLIP{Bias: nan}
	checkAll(t, "Bias", calls, contrastive.ErrParameter, "Bias", "rank 1", "NaN")
	calls[1].loss = contrastive.SigLIP{Bias: -2e30}
	checkAll(t, "Bias", calls, contrastive.ErrParameter, "Bias", "rank 1", "-2e+30", "2^100")
	for _, l := range [...]contrastive.SupCon{{BaseTemperature: -1}, {BaseTemperature: 1e-30}} {
		calls = goodCalls(two[1], 2, true)
		calls[0].loss = l
		checkAll(t, "BaseTemperature", calls, contrastive.ErrParameter, "BaseTemperature", "rank 0")
	}
	calls = goodCalls(two[1], 2, true)
	for r := range calls {
		calls[r].batch.Labels, calls[r].batch.Key, calls[r].grads.Key = nil, contrastive.Matrix{}, contrastive.Matrix{}
	}
	checkAll(t, "neither", calls, contrastive.ErrShape, "Labels", "rank 0")
	if _, err := (contrastive.Sharded{Loss: contrastive.CLIP{}}).Eval(t.Context(), contrastive.Batch{}, contrastive.Gradients{}); !errors.Is(err, contrastive.ErrParameter) {
		t.Errorf("without a Collective: %v", err)
	}
}

// TestShardedDisagreement has ranks with good input each, that does not go
// together.
func TestShardedDisagreement(t *testing.T) {
	r := rand.New(rand.NewPCG(53, 1))
	x := func(rows, cols int) contrastive.Batch {
		return contrastive.Batch{Query: losstest.Normal(r, rows, cols), Key: losstest.Normal(r, rows, cols)}
	}
	labelled, negatives, queued, fuller, relabelled, one := x(5, 4), x(5, 4), x(5, 4), x(5, 4), x(5, 4), x(5, 4)
	labelled.Labels = []int{1, 2, 3, 4, 5}
	negatives.Negatives = losstest.Normal(r, 5, 4)
	queued.Queue = losstest.NewQueue(t, 9, losstest.Normal(r, 5, 4))
	fuller.Queue = losstest.NewQueue(t, 9, losstest.Normal(r, 6, 4))
	relabelled.Queue = losstest.NewQueue(t, 9, losstest.Normal(r, 5, 4), 1, 2, 3, 4, 5)
	one.Labels, one.Key = labelled.Labels, contrastive.Matrix{}
	turned := queued
	turned.Queue = losstest.NewQueue(t, 5, losstest.Normal(r, 5, 4))
	wrapped := turned
	wrapped.Queue = losstest.NewQueue(t, 5, losstest.Normal(r, 4, 4))
	if err := wrapped.Queue.Enqueue(losstest.Normal(r, 2, 4)); err != nil {
		t.Fatal(err)
	}
	nce := contrastive.InfoNCE{}
	for _, c := range [...]struct {
		name   string
		losses [2]contrastive.Loss
		b      [2]contrastive.Batch
		ring   bool // of rank 1; that of rank 0 is true
		want   error
		part   string
	}{
		{"loss", [2]contrastive.Loss{nce, contrastive.SigLIP{Temperature: 0.07}}, [2]contrastive.Batch{x(5, 4), x(5, 4)}, true, contrastive.ErrParameter, "SigLIP"},
		{"symmetry", [2]contrastive.Loss{nce, contrastive.InfoNCE{Symmetric: true}}, [2]contrastive.Batch{x(5, 4), x(5, 4)}, true, contrastive.ErrParameter, "Symmetric"},
		{"temperature", [2]contrastive.Loss{nce, contrastive.InfoNCE{Temperature: 0.1}}, [2]contrastive.Batch{x(5, 4), x(5, 4)}, true, contrastive.ErrParameter, "0.1"},
		{"bias", [2]contrastive.Loss{contrastive.SigLIP{}, contrastive.SigLIP{Bias: 3}}, [2]contrastive.Batch{x(5, 4), x(5, 4)}, true, contrastive.ErrParameter, "3"},
		{"base temperature", [2]contrastive.Loss{contrastive.SupCon{}, contrastive.SupCon{BaseTemperature: 2}}, [2]contrastive.Batch{labelled, labelled}, true, contrastive.ErrParameter, "BaseTemperature"},
		{"precision", [2]contrastive.Loss{nce, contrastive.InfoNCE{Options: options{Precision: contrastive.Medium}}}, [2]contrastive.Batch{x(5, 4), x(5, 4)}, true, contrastive.ErrParameter, "Precision"},
		{"way", [2]contrastive.Loss{nce, nce}, [2]contrastive.Batch{x(5, 4), x(5, 4)}, false, contrastive.ErrParameter, "Ring"},
		{"dimension", [2]contrastive.Loss{nce, nce}, [2]contrastive.Batch{x(5, 4), x(5, 3)}, true, contrastive.ErrShape, "3"},
		{"labels", [2]contrastive.Loss{nce, nce}, [2]contrastive.Batch{x(5, 4), labelled}, true, contrastive.ErrShape, "Labels"},
		{"key", [2]contrastive.Loss{contrastive.SupCon{}, contrastive.SupCon{}}, [2]contrastive.Batch{labelled, one}, true, contrastive.ErrShape, "Key"},
		{"negatives", [2]contrastive.Loss{contrastive.InfoNCE{InBatch: true}, contrastive.InfoNCE{InBatch: true}}, [2]contrastive.Batch{x(5, 4), negatives}, true, contrastive.ErrShape, "Negatives"},
		{"in batch", [2]contrastive.Loss{nce, nce}, [2]contrastive.Batch{x(5, 4), negatives}, true, contrastive.ErrShape, "Negatives of rank 1 is given, and that of rank 0 is not given"},
		{"queue", [2]contrastive.Loss{contrastive.InfoNCE{InBatch: true}, contrastive.InfoNCE{InBatch: true}}, [2]contrastive.Batch{x(5, 4), queued}, true, contrastive.ErrShape, "Queue"},
		{"length of queue", [2]contrastive.Loss{nce, nce}, [2]contrastive.Batch{queued, fuller}, true, contrastive.ErrShape, "Len"},
		{"capacity of queue", [2]contrastive.Loss{nce, nce}, [2]contrastive.Batch{queued, turned}, true, contrastive.ErrShape, "Cap"},
		{"next of queue", [2]contrastive.Loss{nce, nce}, [2]contrastive.Batch{turned, wrapped}, true, contrastive.ErrShape, "next"},
		{"labels of queue", [2]contrastive.Loss{nce, nce}, [2]contrastive.Batch{queued, relabelled}, true, contrastive.ErrShape, "labels in Queue"},
	} {
		var calls []rankCall
		for i := range 2 {
			calls = append(calls, rankCall{c.losses[i], c.ring || i == 0, c.b[i], losstest.Destinations(c.b[i])})
		}
		checkAll(t, c.name, calls, c.want, c.part, "rank 1")
	}
}

// TestShardedHyperParameters changes one field of the loss of one rank after the
// other: every one that the result depends on must be an error.
func TestShardedHyperParameters(t *testing.T) {
	r := rand.New(rand.NewPCG(60, 1))
	for _, loss := range [...]contrastive.Loss{
		contrastive.InfoNCE{InBatch: true}, contrastive.CLIP{}, contrastive.NTXent{}, contrastive.SigLIP{}, contrastive.SupCon{},
	} {
		b := contrastive.Batch{Query: losstest.Normal(r, 5, 4), Key: losstest.Normal(r, 5, 4)}
		if _, ok := loss.(contrastive.InfoNCE); ok {
			b.Negatives = losstest.Normal(r, 5, 4) // or InBatch would mean nothing
		}
		fields := 0
		for _, f := range reflect.VisibleFields(reflect.TypeOf(loss)) {
			if f.Anonymous || f.Name == "Workers" || f.Name == "KeepBytes" {
				continue
			}
			other := reflect.New(reflect.TypeOf(loss)).Elem()
			other.Set(reflect.ValueOf(loss))
			switch v := other.FieldByIndex(f.Index); v.Kind() {
			case reflect.Float32:
				v.SetFloat(0.3)
			case reflect.Bool:
				v.SetBool(!v.Bool())
			default:
				v.SetUint(1)
			}
			calls := []rankCall{{loss, true, b, losstest.Destinations(b)}, {other.Interface().(contrastive.Loss), true, b, losstest.Destinations(b)}}
			checkAll(t, fmt.Sprintf("%T.%s", loss, f.Name), calls, contrastive.ErrParameter, f.Name, "rank 1")
			fields++
		}
		if fields < 2 {
			t.Errorf("%T: %d fields", loss, fields)
		}
	}
}

// TestShardedPointers has pointers to losses, and other numbers of workers, on some
// of the ranks.
func TestShardedPointers(t *testing.T) {
	for _, v := range losstest.Variants {
		if !v.Sharded() {
			continue
		}
		calls, want := goodCalls(v, 2, true), goodCalls(v, 2, true)
		pointer := reflect.New(reflect.TypeOf(calls[1].loss))
		pointer.Elem().Set(reflect.ValueOf(v.Make(0.1, 0, options{Workers: 3})))
		calls[1].loss = pointer.Interface().(contrastive.Loss)
		for r, err := range append(evalAll(t, v.Name, contrastive.NewLocalGroup(2), calls), evalAll(t, v.Name, contrastive.NewLocalGroup(2), want)...) {
			if err != nil {
				t.Errorf("%s: rank %d: %v", v.Name, r%2, err)
			}
		}
		for r := range calls {
			if !losstest.SameBits(calls[r].grads.Query, want[r].grads.Query) {
				t.Errorf("%s: a pointer gives another gradient on rank %d", v.Name, r)
			}
		}
	}
}

// TestBadInputAndContext has one rank with bad input that it cannot tell the others of.
func TestBadInputAndContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for r, err := range []error{
		second(contrastive.Sharded{Collective: contrastive.NewLocalGroup(2)[0]}.Eval(ctx, contrastive.Batch{}, contrastive.Gradients{})),
		losstest.NewQueue(t, 9, contrastive.NewMatrix(2, 3)).EnqueueAll(ctx, contrastive.NewLocalGroup(2)[0], contrastive.NewMatrix(0, 3)),
	} {
		if want := [...]error{contrastive.ErrParameter, contrastive.ErrEmpty}[r]; !errors.Is(err, want) || !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want that ctx has ended, and %v", err, want)
		}
	}
}

// TestNoContext has a nil context, which must be no panic, and an error at once.
func TestNoContext(t *testing.T) {
	b := contrastive.Batch{Query: contrastive.NewMatrix(4, 3), Key: contrastive.NewMatrix(4, 3)}
	q := losstest.NewQueue(t, 9, contrastive.NewMatrix(2, 3))
	s := contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: contrastive.NewLocalGroup(1)[0]}
	_, eval := s.Eval(noContext, b, contrastive.Gradients{})
	_, loss := s.In(noContext).Eval(b, contrastive.Gradients{})
	for name, err := range map[string]error{"Eval": eval, "In": loss, "EnqueueAll": q.EnqueueAll(noContext, s.Collective, b.Query)} {
		if !errors.Is(err, contrastive.ErrParameter) || !strings.Contains(err.Error(), "ctx is nil") {
			t.Errorf("%s: %v, want that ctx is nil", name, err)
		}
	}
	if q.Len() != 2 {
		t.Errorf("the queue has %d keys", q.Len())
	}
}

// TestOtherFunction has one rank in EnqueueAll, and the others in Sharded.Eval, with
// good input and bad. All must return an error that names both, and the ranks are
// still in step.
func TestOtherFunction(t *testing.T) {
	v := losstest.Variants[0]
	for bad := range 3 {
		group, calls := contrastive.NewLocalGroup(3), goodCalls(v, 3, true)
		keys := calls[1].batch.Query
		switch bad {
		case 1:
			keys = contrastive.Matrix{}
		case 2:
			calls[0].loss = nil
		}
		q := losstest.NewQueue(t, 9, calls[1].batch.Key)
		before := q.Len()
		errs := make([]error, 3)
		onRanks(group, func(r int, c contrastive.Collective) {
			if r == 1 {
				errs[r] = q.EnqueueAll(t.Context(), c, keys)
			} else {
				_, errs[r] = contrastive.Sharded{Loss: calls[r].loss, Collective: c}.Eval(t.Context(), calls[r].batch, calls[r].grads)
			}
			if err := c.AllReduce(t.Context(), []float32{1}); err != nil {
				t.Errorf("rank %d: afterwards: %v", r, err)
			}
		})
		for r, err := range errs {
			if !errors.Is(err, contrastive.ErrParameter) || !strings.Contains(err.Error(), "rank 1 calls Queue.EnqueueAll, and rank 0 calls Sharded") {
				t.Errorf("rank %d: %v, want an error that names both functions", r, err)
			}
		}
		if q.Len() != before {
			t.Error("the queue has changed")
		}
	}
}

// TestShardedErrorKinds asks that errors.Is finds the same on all ranks, and errors.As
// more on the one whose input it is.
func TestShardedErrorKinds(t *testing.T) {
	for _, v := range losstest.Variants {
		switch v.Name {
		case "InfoNCE":
			calls := goodCalls(v, 3, true)
			calls[1].batch.Key.Row(4)[2] = nan
			errs := evalAll(t, v.Name, contrastive.NewLocalGroup(3), calls)
			for r, err := range errs {
				var where *contrastive.NotFiniteError
				found := errors.As(err, &where)
				if !errors.Is(err, contrastive.ErrNotFinite) || found != (r == 1) {
					t.Errorf("rank %d: %v, in which errors.As finds %v", r, err, where)
				}
				if found && (where.Argument != "Key" || where.Row != 4 || where.Col != 2) {
					t.Errorf("rank %d: %+v, want row 4 column 2 of Key", r, where)
				}
			}
		case "SigLIP":
			calls := goodCalls(v, 3, true)
			calls[1].batch.Queue = losstest.NewQueue(t, 9, calls[0].batch.Key)
			checkAll(t, v.Name, calls, contrastive.ErrUnused, "Queue", "rank 1")
			calls = goodCalls(v, 3, true)
			calls[1].ring = false
			for _, err := range evalAll(t, v.Name, contrastive.NewLocalGroup(3), calls) {
				if errors.Is(err, contrastive.ErrUnused) {
					t.Errorf("%v is %q", err, contrastive.ErrUnused)
				}
			}
		}
	}
}

// A long loss has a name of many bytes.
type long[A, B any] struct{ contrastive.DCL }

// TestShardedLongError has one rank with an error of a long text, of which the others
// get the beginning.
func TestShardedLongError(t *testing.T) {
	type (
		a = long[int, int]
		b = long[a, a]
		c = long[b, b]
		d = long[c, c]
		e = long[d, d]
	)
	calls := goodCalls(losstest.Variants[0], 2, false)
	calls[1].loss = e{}
	if n := len(fmt.Sprintf("%T", e{})); n < 1100 {
		t.Fatalf("the name has only %d bytes", n)
	}
	errs := evalAll(t, "long", contrastive.NewLocalGroup(2), calls)
	for r, err := range errs {
		const prefix = len("contrastive: Sharded: rank 1: ")
		if n := len(err.Error()); n < 1000 || n > 1024+prefix || err.Error() != errs[0].Error() {
			t.Errorf("rank %d: %d bytes: %v", r, n, err)
		}
	}
}

// A failing Collective ends its context, and with it the group, at one of its calls.
type failing struct {
	contrastive.Collective
	calls int // until it fails
	ctx   context.Context
	fail  context.CancelCauseFunc
}

var errInjected = errors.New("injected")

func newFailing(c contrastive.Collective, calls int) *failing {
	ctx, fail := context.WithCancelCause(context.Background())
	return &failing{c, calls, ctx, fail}
}

func (f *failing) count() context.Context {
	if f.calls--; f.calls == 0 {
		f.fail(errInjected)
	}
	return f.ctx
}

func (f *failing) AllGather(_ context.Context, dst, src []float32, counts []int) error {
	return f.Collective.AllGather(f.count(), dst, src, counts)
}

func (f *failing) Shift(_ context.Context, dst, src []float32) (contrastive.Transfer, error) {
	t, err := f.Collective.Shift(f.count(), dst, src)
	return failingTransfer{t, f}, err
}

type failingTransfer struct {
	contrastive.Transfer
	f *failing
}

func (t failingTransfer) Wait(context.Context) error { return t.Transfer.Wait(t.f.count()) }

// TestShardedFailure has one of three ranks fail at each of its calls in turn: the
// others must return an error, and leave the gradients alone. The next evaluation,
// with another group, must be right.
func TestShardedFailure(t *testing.T) {
	for _, v := range losstest.Variants {
		if !v.Sharded() {
			continue
		}
		for _, way := range shardWays {
			for n := 1; ; n++ {
				name := fmt.Sprintf("%s %s call %d", v.Name, way.name, n)
				group := contrastive.NewLocalGroup(3)
				f := newFailing(group[n%3], n)
				group[n%3] = f
				errs := evalAll(t, name, group, goodCalls(v, 3, way.ring))
				if f.calls > 0 {
					if err := errors.Join(errs...); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if n < 3 {
						t.Errorf("%s: only %d calls", name, n-1)
					}
					break
				}
				for r, err := range errs {
					if !errors.Is(err, errInjected) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), fmt.Sprintf("rank %d", r)) {
						t.Errorf("%s: rank %d: error %v, want the injected one", name, r, err)
					}
				}
			}
		}
	}
}

// TestShardedContext ends the context of ranks that wait for one that never calls.
func TestShardedContext(t *testing.T) {
	group := contrastive.NewLocalGroup(3)
	ctx, cancel := context.WithCancel(t.Context())
	b := contrastive.Batch{Query: contrastive.NewMatrix(4, 3), Key: contrastive.NewMatrix(4, 3)}
	errs := make([]error, 3)
	onRanks(group, func(r int, c contrastive.Collective) {
		if r == 2 {
			cancel()
			return
		}
		_, errs[r] = contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: c}.Eval(ctx, b, contrastive.Gradients{})
	})
	for r, err := range errs[:2] {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("rank %d: %v, want that the context was cancelled", r, err)
		}
		if want := fmt.Sprintf("contrastive: Sharded: rank %d of 3: AllGather: ", r); !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "contrastive: ") != 1 {
			t.Errorf("rank %d: %q does not begin with %q, or names the package again", r, err, want)
		}
	}
}

// TestShardedCalls counts the calls of a Collective. They depend on the call of
// Eval, and not on those before it, whose memory it uses again.
func TestShardedCalls(t *testing.T) {
	calls := func(v losstest.Variant, ring bool, gradients bool) int {
		const many = 1 << 20
		group := contrastive.NewLocalGroup(3)
		f := newFailing(group[1], many)
		group[1] = f
		cs := goodCalls(v, 3, ring)
		for r := range cs {
			if !gradients {
				cs[r].grads = contrastive.Gradients{}
			}
		}
		if err := errors.Join(evalAll(t, v.Name, group, cs)...); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		return many - f.calls
	}
	for _, v := range losstest.Variants {
		if !v.Sharded() {
			continue
		}
		for _, way := range shardWays {
			values, all := calls(v, way.ring, false), calls(v, way.ring, true)
			if again := calls(v, way.ring, false); again != values {
				t.Errorf("%s %s: %d calls for the value after one with gradients, %d before", v.Name, way.name, again, values)
			}
			if all <= values && v.Name != "NegativeCosine" && !v.Columns { // whose gradients need nothing more from other ranks
				t.Errorf("%s %s: %d calls for the value, %d with gradients", v.Name, way.name, values, all)
			}
		}
	}
}

// A recording Collective notes the memory that it is given.
type recording struct {
	contrastive.Collective
	slices [][]float32
}

func (c *recording) AllGather(ctx context.Context, dst, src []float32, counts []int) error {
	c.slices = append(c.slices, dst, src)
	return c.Collective.AllGather(ctx, dst, src, counts)
}

func (c *recording) Shift(ctx context.Context, dst, src []float32) (contrastive.Transfer, error) {
	c.slices = append(c.slices, dst, src)
	return c.Collective.Shift(ctx, dst, src)
}

// TestFailedMemory asks that memory which a Collective has been given by a call
// that has failed is not used again: a message that comes late may be written to
// it.
func TestFailedMemory(t *testing.T) {
	b, g := contrastive.Batch{Query: contrastive.NewMatrix(4, 3), Key: contrastive.NewMatrix(4, 3)}, contrastive.Gradients{}
	for _, call := range [...]func(ctx context.Context, c contrastive.Collective) error{
		func(ctx context.Context, c contrastive.Collective) error {
			_, err := contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: c, Ring: true}.Eval(ctx, b, g)
			return err
		},
		func(ctx context.Context, c contrastive.Collective) error {
			q, err := contrastive.NewQueue(9, 3)
			return errors.Join(err, q.EnqueueAll(ctx, c, b.Query))
		},
	} {
		evaluate := func(calls int) (slices [][]float32, err error) {
			group := contrastive.NewLocalGroup(2)
			group[0] = newFailing(group[0], calls)
			records := []*recording{{Collective: group[0]}, {Collective: group[1]}}
			errs := make([]error, 2)
			onRanks([]contrastive.Collective{records[0], records[1]}, func(r int, c contrastive.Collective) { errs[r] = call(t.Context(), c) })
			return append(records[0].slices, records[1].slices...), errors.Join(errs...)
		}
		for n := 1; ; n++ {
			lost, err := evaluate(n)
			if err == nil {
				break
			}
			next, err := evaluate(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range lost {
				for _, y := range next {
					if &x[0] == &y[0] {
						t.Fatalf("memory of a call that failed at call %d of the Collective is used again", n)
					}
				}
			}
		}
	}
}

// TestShardedLists has lists and weights that are good or bad only together with those of
// other ranks. Each rank has 5 queries and 6 keys.
func TestShardedLists(t *testing.T) {
	for _, c := range [...]struct {
		name   string
		change func(calls []rankCall)
		want   error
		parts  []string
	}{
		{"index of another rank", func(calls []rankCall) { calls[0].batch.Positives[1] = []int{17, 0} }, nil, nil},
		{"index beyond", func(calls []rankCall) { calls[2].batch.Positives[1] = []int{0, 18} }, contrastive.ErrParameter, []string{"rank 2", "InfoNCE", "Positives[1][1]", "18", "all 3 ranks is 18×4"}},
		{"negative index", func(calls []rankCall) { calls[0].batch.Positives[4] = []int{-1} }, contrastive.ErrParameter, []string{"rank 0", "Positives[4][0]", "-1"}},
		{"repeated index", func(calls []rankCall) { calls[1].batch.Positives[0] = []int{9, 9} }, contrastive.ErrParameter, []string{"rank 1", "Positives[0][1]", "9", "second time"}},
		{"excluded beyond", func(calls []rankCall) { calls[1].batch.Exclude = [][]int{{}, {18}, {}, {}, {}} }, contrastive.ErrParameter, []string{"rank 1", "Exclude[1][0]", "18"}},
		{"excluded positive of another rank", func(calls []rankCall) {
			calls[1].batch.Positives[1] = []int{13}
			calls[1].batch.Exclude = [][]int{{}, {13}, {}, {}, {}}
		}, contrastive.ErrParameter, []string{"rank 1", "Exclude[1][0]", "13", "query 1"}},
		{"no positives on two ranks", func(calls []rankCall) {
			calls[0].batch.Positives, calls[1].batch.Positives = make([][]int, 5), make([][]int, 5)
		}, nil, nil},
		{"no positives", func(calls []rankCall) {
			for r := range calls {
				calls[r].batch.Positives = make([][]int, 5)
			}
		}, contrastive.ErrEmpty, []string{"Positives", "15"}},
		{"weights of 0 on one rank", func(calls []rankCall) {
			calls[0].batch.Weights, calls[1].batch.Weights, calls[2].batch.Weights = make([]float32, 5), []float32{1, 0, 2, 1, 1}, make([]float32, 5)
		}, nil, nil},
		{"weights of 0 for all that count", func(calls []rankCall) {
			calls[1].batch.Positives[1] = nil
			calls[0].batch.Weights, calls[1].batch.Weights, calls[2].batch.Weights = make([]float32, 5), []float32{0, 1, 0, 0, 0}, make([]float32, 5)
		}, contrastive.ErrParameter, []string{"Weights"}},
		{"weights on one rank", func(calls []rankCall) { calls[1].batch.Weights = []float32{1, 0, 2, 1, 1} }, contrastive.ErrShape, []string{"Weights", "rank 1"}},
		{"lists on two ranks", func(calls []rankCall) {
			calls[2].batch.Positives, calls[2].batch.Key, calls[2].grads.Key = nil, calls[2].batch.Key.Slice(0, 5), contrastive.Matrix{}
		}, contrastive.ErrShape, []string{"Positives", "rank 2"}},
		{"hard negatives on one rank", func(calls []rankCall) {
			calls[2].batch.Hard, calls[2].batch.HardCounts = losstest.Normal(rand.New(rand.NewPCG(66, 2)), 2, 4), []int{0, 2, 0, 0, 0}
		}, nil, nil},
		{"logQ on one rank", func(calls []rankCall) { calls[1].batch.KeyLogQ = make([]float32, 6) }, contrastive.ErrShape, []string{"KeyLogQ", "rank 1"}},
		{"dot products too great together", func(calls []rankCall) {
			for r := range calls {
				calls[r].loss = contrastive.InfoNCE{Similarity: contrastive.Dot}
			}
			calls[0].batch.Query.Row(2)[1], calls[2].batch.Key.Row(3)[0] = 1e18, 1e18
		}, contrastive.ErrParameter, []string{"2^100"}},
	} {
		for _, way := range shardWays {
			r := rand.New(rand.NewPCG(66, 1))
			var calls []rankCall
			for rank := range 3 {
				b := contrastive.Batch{Query: losstest.Normal(r, 5, 4), Key: losstest.Normal(r, 6, 4), Positives: [][]int{{rank}, {17 - rank, 3}, {5}, {}, {2, 16, 7}}}
				g := losstest.Destinations(b)
				g.Losses = []float64{7, 7, 7, 7, 7}
				calls = append(calls, rankCall{contrastive.InfoNCE{}, way.ring, b, g})
			}
			c.change(calls)
			checkAll(t, c.name+" "+way.name, calls, c.want, c.parts...)
		}
	}
}

// TestShardedParts has losses that are made of others differ between the ranks, or bad on
// one of them.
func TestShardedParts(t *testing.T) {
	type (
		matryoshka = contrastive.Matryoshka
		losses     = []contrastive.Loss
	)
	nce, clip := contrastive.InfoNCE{}, contrastive.CLIP{}
	good := matryoshka{Loss: nce, Dims: []int{4, 2}, Weights: []float32{1, 2}}
	both := contrastive.Sum{Losses: losses{nce, clip}}
	for _, c := range [...]struct {
		name   string
		losses [2]contrastive.Loss
		change func(b *contrastive.Batch)
		want   error
		parts  []string
	}{
		{"pointers", [2]contrastive.Loss{&good, good}, nil, nil, nil},
		{"parts within parts", [2]contrastive.Loss{contrastive.Sum{Losses: losses{good, &both}}, contrastive.Sum{Losses: losses{&good, both}}}, nil, nil, nil},
		{"columns", [2]contrastive.Loss{matryoshka{Loss: contrastive.VICReg{}, Dims: []int{3}}, matryoshka{Loss: contrastive.VICReg{}, Dims: []int{3}}}, nil, nil, nil},
		{"whole and parts", [2]contrastive.Loss{nce, good}, nil, contrastive.ErrParameter, []string{"Loss of rank 1 is Matryoshka", "InfoNCE"}},
		{"parts and columns", [2]contrastive.Loss{both, contrastive.BarlowTwins{}}, nil, contrastive.ErrParameter, []string{"Loss of rank 1 is BarlowTwins", "Sum"}},
		{"kinds of parts", [2]contrastive.Loss{both, contrastive.Sum{Losses: losses{clip, clip}}}, nil, contrastive.ErrParameter, []string{"Loss of rank 1 is CLIP", "InfoNCE"}},
		{"number of parts", [2]contrastive.Loss{both, contrastive.Sum{Losses: losses{nce}}}, nil, contrastive.ErrParameter, []string{"number of Losses", "rank 1", "1", "2"}},
		{"dimensions", [2]contrastive.Loss{good, matryoshka{Loss: nce, Dims: []int{4, 3}, Weights: good.Weights}}, nil, contrastive.ErrParameter, []string{"Dims[1] of rank 1 is 3", "2"}},
		{"weights", [2]contrastive.Loss{good, matryoshka{Loss: nce, Dims: good.Dims}}, nil, contrastive.ErrParameter, []string{"Weights[1] of rank 1 is 1", "2"}},
		{"dimension beyond", [2]contrastive.Loss{good, matryoshka{Loss: nce, Dims: []int{5, 2}}}, nil, contrastive.ErrParameter, []string{"rank 1", "Matryoshka", "Dims[0]", "5"}},
		{"no parts", [2]contrastive.Loss{both, contrastive.Sum{}}, nil, contrastive.ErrParameter, []string{"rank 1", "Sum", "Losses"}},
		{"nil part", [2]contrastive.Loss{good, matryoshka{Dims: good.Dims, Weights: good.Weights}}, nil, contrastive.ErrParameter, []string{"rank 1", "Matryoshka", "Loss is nil"}},
		{"part that cannot be sharded", [2]contrastive.Loss{contrastive.Sum{Losses: losses{nce, contrastive.Triplet{}}}, contrastive.Sum{Losses: losses{nce, contrastive.Triplet{}}}}, nil, contrastive.ErrParameter, []string{"rank 0", "Triplet"}},
		{"part out of range", [2]contrastive.Loss{both, contrastive.Sum{Losses: losses{nce, contrastive.CLIP{Temperature: -1}}}}, nil, contrastive.ErrParameter, []string{"rank 1", "CLIP", "Temperature", "-1"}},
		{"queue", [2]contrastive.Loss{good, good}, func(b *contrastive.Batch) {
			b.Queue = losstest.NewQueue(t, 9, losstest.Normal(rand.New(rand.NewPCG(68, 2)), 3, 4))
		}, contrastive.ErrUnused, []string{"rank 1", "Matryoshka", "Queue"}},
		{"NaN", [2]contrastive.Loss{both, both}, func(b *contrastive.Batch) { b.Key.Row(2)[3] = nan }, contrastive.ErrNotFinite, []string{"rank 1", "Key row 2 column 3"}},
		{"what no part takes", [2]contrastive.Loss{both, both}, func(b *contrastive.Batch) { b.Scores = losstest.Normal(rand.New(rand.NewPCG(68, 2)), 5, 1) }, contrastive.ErrUnused, []string{"rank 1", "Sum", "Scores"}},
	} {
		for _, way := range shardWays {
			r := rand.New(rand.NewPCG(68, 1))
			var calls []rankCall
			for _, loss := range c.losses {
				b := contrastive.Batch{Query: losstest.Normal(r, 5, 4), Key: losstest.Normal(r, 5, 4)}
				calls = append(calls, rankCall{loss, way.ring, b, losstest.Destinations(b)})
			}
			if c.change != nil {
				c.change(&calls[1].batch)
			}
			checkAll(t, c.name+" "+way.name, calls, c.want, c.parts...)
		}
	}
	_, err := contrastive.Sharded{Loss: good}.Eval(t.Context(), contrastive.Batch{}, contrastive.Gradients{})
	if !errors.Is(err, contrastive.ErrParameter) || !strings.Contains(err.Error(), "contrastive: Sharded: Collective is nil") {
		t.Errorf("without a Collective: %v", err)
	}
}
