package mpi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// value is what a test's rank sends as its element i.
func value(rank, i int) float32 { return float32(rank*1000+i) + 0.5 }

func values(rank, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = value(rank, i)
	}
	return v
}

// collectives checks each call, in one message and in many.
func collectives(ctx context.Context, w *World) error {
	for _, limit := range []int{math.MaxInt32, 3} {
		w.limit = limit
		if err := errors.Join(gathers(ctx, w), sums(ctx, w), shifts(ctx, w)); err != nil {
			return fmt.Errorf("messages of %d: %w", limit, err)
		}
	}
	return nil
}

func gathers(ctx context.Context, w *World) error {
	for _, length := range []func(r int) int{
		func(int) int { return 0 },
		func(int) int { return 5 },
		func(r int) int { return 4 * r },
		func(r int) int { return r % 2 * 7 },
		func(r int) int { return r % 3 * 3 },
	} {
		var counts []int
		var want []float32
		for r := range w.Size() {
			counts = append(counts, length(r))
			want = append(want, values(r, length(r))...)
		}
		dst := make([]float32, len(want))
		if err := w.AllGather(ctx, dst, values(w.Rank(), counts[w.Rank()]), counts); err != nil {
			return err
		}
		if !slices.Equal(dst, want) {
			return fmt.Errorf("AllGather of %v: %v, want %v", counts, dst, want)
		}
	}
	return nil
}

// sums checks that all ranks get the sum in the order of the ranks, bit for bit.
func sums(ctx context.Context, w *World) error {
	for _, n := range []int{0, 1, 10, sumBlock + 3} {
		term := func(rank, i int) float32 { return float32(math.Sin(float64(rank*n + i))) }
		data, want := make([]float32, n), make([]float32, n)
		for i := range data {
			data[i] = term(w.Rank(), i)
			sum := 0.0
			for r := range w.Size() {
				sum += float64(term(r, i))
			}
			want[i] = float32(sum)
		}
		limit := w.limit
		if n > 1000 {
			w.limit = max(limit, 1000) // or there would be many thousand messages
		}
		err := w.AllReduce(ctx, data)
		w.limit = limit
		if err != nil {
			return err
		}
		if !slices.Equal(data, want) {
			return fmt.Errorf("AllReduce of %d elements is not their sum", n)
		}
	}
	return nil
}

// shifts has two transfers under way, and waits for the second first.
func shifts(ctx context.Context, w *World) error {
	for step := range 20 {
		length := func(r, k int) int { return (r*5 + step + 3*k) % 11 }
		previous := (w.Rank() + w.Size() - 1) % w.Size()
		var transfers [2]contrastive.Transfer
		var dst [2][]float32
		for k := range 2 {
			dst[k] = make([]float32, length(previous, k))
			t, err := w.Shift(ctx, dst[k], values(w.Rank()+10*k, length(w.Rank(), k)))
			if err != nil {
				return err
			}
			transfers[k] = t
		}
		runtime.GC() // what is under way is pinned
		for k := range 2 {
			if err := transfers[1-k].Wait(ctx); err != nil {
				return err
			}
		}
		for k := range 2 {
			if want := values(previous+10*k, length(previous, k)); !slices.Equal(dst[k], want) {
				return fmt.Errorf("Shift %d.%d: %v, want %v", step, k, dst[k], want)
			}
		}
	}
	return nil
}

// failures are what comparisons report of a rank.
type failures []error

func (f *failures) Helper()                           {}
func (f *failures) Errorf(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// losses compares sharded losses, over shards of different sizes, with package ref, both
// ways, and repeats them for the same bits.
func losses(ctx context.Context, w *World) error {
	const d = 24
	var rows, elements []int
	n, lo := 0, 0
	for r := range w.Size() {
		if r == w.Rank() {
			lo = n
		}
		rows, elements = append(rows, 3+2*r), append(elements, (3+2*r)*d)
		n += rows[r]
	}
	hi := lo + rows[w.Rank()]
	var f failures
	for k, v := range losstest.Variants {
		if !v.Sharded() {
			continue
		}
		r := rand.New(rand.NewPCG(uint64(k), uint64(w.Size())))
		whole := v.Batch(r, n, d)
		b := contrastive.Batch{Query: whole.Query.Slice(lo, hi), Key: whole.Key.Slice(lo, hi)}
		if v.Labels {
			whole.Labels = losstest.Labels(r, n)
			b.Labels = whole.Labels[lo:hi]
		}
		for _, tau := range []float32{0.25, 0.01} {
			c := losstest.NewTrial(v, fmt.Sprintf("on %d ranks", w.Size()), tau, -5, whole)
			a := losstest.NewAccuracy(v, whole, tau, -5, contrastive.Highest).Sharded(w.Size())
			comparable := a.Condition(c.Want)
			for _, ring := range []bool{false, true} {
				s := contrastive.Sharded{Loss: v.Make(tau, -5, contrastive.Options{}), Collective: w, Ring: ring}
				g, again := losstest.Destinations(b), losstest.Destinations(b)
				got, err := s.Eval(ctx, b, g)
				if err != nil {
					return err
				}
				second, err := s.Eval(ctx, b, again)
				if err != nil {
					return err
				}
				if second != got || !losstest.SameGradients(g, again) {
					f.Errorf("%s, ring %v: other bits the second time", c.Name, ring)
				}
				all := contrastive.Gradients{Query: contrastive.NewMatrix(n, d), Key: contrastive.NewMatrix(n, d)}
				for i, m := range []contrastive.Matrix{g.Query, g.Key} {
					if err := w.AllGather(ctx, losstest.Outputs(all)[i].Data, losstest.Apart(m, 0).Data, elements); err != nil {
						return err
					}
				}
				if comparable {
					a.Check(&f, fmt.Sprintf("%s, ring %v", c.Name, ring), whole, got, all, c.Want)
				}
			}
		}
	}
	return errors.Join(append(f, lists(ctx, w))...)
}

// lists compares a loss whose positives are on all ranks with that of goroutines: messages
// pass bits on, so that these are the same.
func lists(ctx context.Context, w *World) error {
	const n, d = 6, 24
	loss := contrastive.CLIP{Form: contrastive.Shared, Filter: contrastive.AbsoluteMargin, FilterMargin: 0.125}
	evaluate := func(c contrastive.Collective, ring bool) (contrastive.Result, contrastive.Gradients, error) {
		r := rand.New(rand.NewPCG(uint64(c.Rank()), uint64(c.Size())))
		b := contrastive.Batch{Query: losstest.Normal(r, n, d), Key: losstest.Normal(r, 2+c.Rank(), d)}
		keys := 0
		for rank := range c.Size() {
			keys += 2 + rank
		}
		for range n {
			b.Positives = append(b.Positives, r.Perm(keys)[:1+r.IntN(keys)])
		}
		g := losstest.Destinations(b)
		g.Losses = make([]float64, n)
		res, err := contrastive.Sharded{Loss: loss, Collective: c, Ring: ring}.Eval(ctx, b, g)
		return res, g, err
	}
	for _, ring := range []bool{false, true} {
		got, g, err := evaluate(w, ring)
		if err != nil {
			return err
		}
		results, grads := make([]contrastive.Result, w.Size()), make([]contrastive.Gradients, w.Size())
		errs := make([]error, w.Size())
		var group sync.WaitGroup
		for rank, c := range contrastive.NewLocalGroup(w.Size()) {
			group.Go(func() { results[rank], grads[rank], errs[rank] = evaluate(c, ring) })
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if got != results[w.Rank()] || !losstest.SameGradients(g, grads[w.Rank()]) {
			return fmt.Errorf("%T, ring %v: %+v, and other bits of goroutines: %+v", loss, ring, got, results[w.Rank()])
		}
	}
	return nil
}

// queue enqueues keys of all ranks and compares the queues.
func queue(ctx context.Context, w *World) error {
	q, err := contrastive.NewQueue(50, 8)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(7, uint64(w.Rank())))
	for range 5 {
		if err := q.EnqueueAll(ctx, w, losstest.Normal(r, 1+w.Rank(), 8)); err != nil {
			return err
		}
	}
	var file strings.Builder
	if _, err := q.WriteTo(&file); err != nil {
		return err
	}
	own := make([]float32, file.Len())
	for i := range own {
		own[i] = float32(file.String()[i])
	}
	counts := slices.Repeat([]int{len(own)}, w.Size())
	all := make([]float32, len(own)*w.Size())
	if err := w.AllGather(ctx, all, own, counts); err != nil {
		return err
	}
	for r := range w.Size() {
		if !slices.Equal(all[r*len(own):(r+1)*len(own)], own) {
			return fmt.Errorf("the queues of ranks %d and %d differ", r, w.Rank())
		}
	}
	return nil
}

var garbage atomic.Pointer[[1 << 16]byte]

// storm shifts and sums while the garbage collector runs and signals arrive.
func storm(ctx context.Context, w *World) error {
	stop := make(chan struct{})
	for range 4 {
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond): // or 7 ranks would take all processors
					for range 16 {
						garbage.Store(new([1 << 16]byte))
					}
					if n%8 == 0 {
						runtime.GC()
					}
				}
			}
		}()
	}
	defer close(stop)
	previous := (w.Rank() + w.Size() - 1) % w.Size()
	for range 30 { // and not for a time, which would not be the same on all ranks
		const n = 50_000
		dst := make([]float32, n)
		t, err := w.Shift(ctx, dst, values(w.Rank(), n))
		if err != nil {
			return err
		}
		data := values(w.Rank(), 100)
		if err := errors.Join(w.AllReduce(ctx, data), t.Wait(ctx)); err != nil {
			return err
		}
		if !slices.Equal(dst, values(previous, n)) {
			return errors.New("wrong values")
		}
	}
	return nil
}

// mustFail returns nil unless err is nil, and checks that the world stays broken.
func mustFail(ctx context.Context, w *World, err error) error {
	if err == nil {
		return errors.New("no error")
	}
	fmt.Fprintln(os.Stderr, err)
	again := w.AllReduce(ctx, []float32{1})
	if !errors.Is(again, errBroken) {
		return fmt.Errorf("after an error: %w", again)
	}
	return again
}

func shortMessage(ctx context.Context, w *World) error {
	t, err := w.Shift(ctx, make([]float32, 5), make([]float32, 3))
	if err != nil {
		return err
	}
	return mustFail(ctx, w, t.Wait(ctx))
}

func longMessage(ctx context.Context, w *World) error {
	t, err := w.Shift(ctx, make([]float32, 3), make([]float32, 5))
	if err != nil {
		return err
	}
	return mustFail(ctx, w, t.Wait(ctx))
}

// shortParts and longParts send messages of several parts, of which the first are
// right.
func shortParts(ctx context.Context, w *World) error {
	w.limit = 3
	t, err := w.Shift(ctx, make([]float32, 9), make([]float32, 3))
	if err != nil {
		return err
	}
	return mustFail(ctx, w, t.Wait(ctx))
}

func longParts(ctx context.Context, w *World) error {
	w.limit = 3
	t, err := w.Shift(ctx, make([]float32, 6), make([]float32, 7))
	if err != nil {
		return err
	}
	return mustFail(ctx, w, t.Wait(ctx))
}

func misuse(ctx context.Context, w *World) error {
	return mustFail(ctx, w, w.AllGather(ctx, make([]float32, 2), []float32{1}, []int{1, 1, 1}))
}

// A faulty is a world that may have a fault when the third Shift begins, which is in
// the middle of a ring.
type faulty struct {
	*World
	shifts int
	fault  func() // or nil
}

const faultyShift = 3

func (f *faulty) Shift(ctx context.Context, dst, src []float32) (contrastive.Transfer, error) {
	if f.shifts++; f.shifts == faultyShift && f.fault != nil {
		f.fault()
	}
	return f.World.Shift(ctx, dst, src)
}

// deserted evaluates a loss, during which rank 1 has a fault. The others must get an
// error when their contexts end, or before.
func deserted(ctx context.Context, w *World, fault func()) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r := rand.New(rand.NewPCG(3, uint64(w.Rank())))
	const n, d = 10, 8
	b := contrastive.Batch{Query: losstest.Normal(r, n, d), Key: losstest.Normal(r, n, d)}
	g := contrastive.Gradients{Query: contrastive.NewMatrix(n, d), Key: contrastive.NewMatrix(n, d)}
	c := &faulty{World: w}
	s := contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: c, Ring: true}
	if _, err := s.Eval(ctx, b, g); err != nil {
		return err
	}
	if c.shifts <= faultyShift {
		return fmt.Errorf("a loss takes %d shifts: the fault is not in the middle", c.shifts)
	}
	if w.Rank() == 1 {
		c.shifts, c.fault = 0, fault
	}
	before := slices.Clone(g.Query.Data)
	_, err := s.Eval(ctx, b, g)
	if err == nil || w.Rank() == 1 {
		return fmt.Errorf("the error is %v", err)
	}
	if !slices.Equal(before, g.Query.Data) {
		return errors.New("gradients were written in spite of the error")
	}
	if again := w.AllReduce(ctx, []float32{1}); !errors.Is(again, errBroken) {
		return fmt.Errorf("after an error: %w", again)
	}
	fmt.Fprintf(os.Stderr, "rank %d gave up: %v\n", w.Rank(), err)
	time.Sleep(time.Second) // so that all ranks can say so
	return w.Close()
}

// stuck is for a rank that stops answering.
func stuck(ctx context.Context, w *World) error {
	return deserted(ctx, w, func() { select {} })
}

// stopped is for a process that stops.
func stopped(ctx context.Context, w *World) error {
	return deserted(ctx, w, func() { syscall.Kill(os.Getpid(), syscall.SIGSTOP) })
}

// killed is for a process that dies: the launcher ends the others, which wait
// without a deadline.
func killed(ctx context.Context, w *World) error {
	if err := w.AllReduce(ctx, []float32{1}); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "rank %d has begun\n", w.Rank())
	if err := w.AllReduce(ctx, []float32{1}); err != nil {
		return err
	}
	if w.Rank() == 1 {
		kill()
	}
	return w.AllReduce(context.Background(), []float32{1})
}

// orphaned is for a process that dies under a launcher that does not care.
func orphaned(ctx context.Context, w *World) error { return deserted(ctx, w, kill) }

func kill() { syscall.Kill(os.Getpid(), syscall.SIGKILL) }

// functions has rank 1 call another function than the others: all get an error that
// names both, and the ranks are still in step.
func functions(ctx context.Context, w *World) error {
	r := rand.New(rand.NewPCG(9, uint64(w.Rank())))
	q, err := contrastive.NewQueue(50, 8)
	if err != nil {
		return err
	}
	if w.Rank() == 1 {
		err = q.EnqueueAll(ctx, w, losstest.Normal(r, 2, 8))
	} else {
		_, err = contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: w}.Eval(ctx, contrastive.Batch{Query: losstest.Normal(r, 3, 8), Key: losstest.Normal(r, 3, 8)}, contrastive.Gradients{})
	}
	if w.Size() > 1 && (err == nil || !strings.Contains(err.Error(), "rank 1 calls Queue.EnqueueAll, and rank 0 calls Sharded")) {
		return fmt.Errorf("%w does not name both", err)
	}
	return w.AllReduce(ctx, []float32{1})
}

// meetingVariable names a directory in which ranks meet when MPI no longer connects
// them.
const meetingVariable = "CONTRASTIVE_MPI_MEETING"

// meet returns when all ranks have called it.
func meet(w *World, meeting string) error {
	file := func(r int) string { return filepath.Join(os.Getenv(meetingVariable), meeting+strconv.Itoa(r)) }
	if err := os.WriteFile(file(w.Rank()), nil, 0o600); err != nil {
		return err
	}
	for r := range w.Size() {
		for {
			if _, err := os.Stat(file(r)); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// A difference is a call that one rank makes while the others make another, and how
// the errors begin that they get.
type difference struct {
	name          string
	call, another func(ctx context.Context, w *World) error // of the others, and of one
	others, one   string
}

var differences = []difference{
	{"gathering for a sum", gatherOne, sumOne, "AllGather: another rank calls AllReduce", "AllReduce: another rank calls AllGather"},
	{"a sum for a transfer", sumOne, shiftOne, "AllReduce: another rank calls Shift", "Shift: another rank calls AllReduce"},
	{"a transfer for gathering", shiftOne, gatherOne, "Shift: another rank calls AllGather", "AllGather: another rank calls Shift"},
	{"an end for gathering", closeOne, gatherOne, "Close: another rank calls AllGather", "AllGather: another rank calls Close"},
	{"other counts", gatherOne, gather(1, 2, 1), "AllGather: the counts of the ranks differ", "AllGather: the counts of the ranks differ"},
	{"counts in another order", gather(1, 1, 2), gather(2, 1, 1), "AllGather: the counts of the ranks differ", "AllGather: the counts of the ranks differ"},
	{"other lengths", sumOne, func(ctx context.Context, w *World) error {
		return w.AllReduce(ctx, make([]float32, 5))
	}, "AllReduce: data has from 1 to 5 elements", "AllReduce: data has from 1 to 5 elements"},
	{"a mistake", gatherOne, func(ctx context.Context, w *World) error {
		return w.AllGather(ctx, make([]float32, 1), make([]float32, 1), []int{1, 1, 1})
	}, "AllGather: a call of another rank has failed", "AllGather: dst has 1 elements"},
	{"no context", shiftOne, func(_ context.Context, w *World) error {
		var none context.Context
		_, err := w.Shift(none, make([]float32, 1), make([]float32, 1))
		return err
	}, "Shift: a call of another rank has failed", "Shift: ctx is nil"},
	{"no context to wait", shiftTwo, func(ctx context.Context, w *World) error {
		t, err := w.Shift(ctx, make([]float32, 1), make([]float32, 1))
		if err != nil {
			return err
		}
		var none context.Context
		return t.Wait(none)
	}, "Shift: a call of another rank has failed", "Shift: ctx is nil"},
	{"waiting twice", shiftTwo, func(ctx context.Context, w *World) error {
		t, err := w.Shift(ctx, make([]float32, 1), make([]float32, 1))
		if err != nil {
			return err
		}
		return errors.Join(t.Wait(ctx), t.Wait(ctx))
	}, "Shift: a call of another rank has failed", "Shift: Wait called twice"},
	{"a third transfer", shiftTwo, func(ctx context.Context, w *World) error {
		for range 2 {
			if _, err := w.Shift(ctx, make([]float32, 1), make([]float32, 1)); err != nil {
				return err
			}
		}
		_, err := w.Shift(ctx, make([]float32, 1), make([]float32, 1))
		return err
	}, "Shift: a call of another rank has failed", "Shift: two transfers are under way already"},
	{"a third transfer after one that has ended", shiftThree, func(ctx context.Context, w *World) error {
		begin := func() (contrastive.Transfer, error) {
			return w.Shift(ctx, make([]float32, 1), make([]float32, 1))
		}
		first, err := begin()
		if err != nil {
			return err
		}
		if _, err := begin(); err != nil {
			return err
		}
		if err := first.Wait(ctx); err != nil {
			return err
		}
		if _, err := begin(); err != nil {
			return fmt.Errorf("one is under way: %w", err)
		}
		_, err = begin()
		return err
	}, "Shift: a call of another rank has failed", "Shift: two transfers are under way already"},
	{"a cause", gatherOne, func(ctx context.Context, w *World) error {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(errCause)
		err := gatherOne(ctx, w)
		if !errors.Is(err, errCause) || !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%w does not tell both", err)
		}
		return err
	}, "AllGather: a call of another rank has failed", "AllGather: context canceled: the cause"},
}

var errCause = errors.New("the cause")

func gatherOne(ctx context.Context, w *World) error {
	return w.AllGather(ctx, make([]float32, w.Size()), make([]float32, 1), slices.Repeat([]int{1}, w.Size()))
}

// gather returns a call with the counts of three ranks.
func gather(counts ...int) func(ctx context.Context, w *World) error {
	return func(ctx context.Context, w *World) error {
		return w.AllGather(ctx, make([]float32, counts[0]+counts[1]+counts[2]), make([]float32, counts[w.Rank()]), counts)
	}
}

func sumOne(ctx context.Context, w *World) error { return w.AllReduce(ctx, make([]float32, 1)) }

func shiftOne(ctx context.Context, w *World) error {
	t, err := w.Shift(ctx, make([]float32, 1), make([]float32, 1))
	if err != nil {
		return err
	}
	return t.Wait(ctx)
}

// shiftTwo makes the third call that of which a rank may learn that the first has
// failed on another.
func shiftTwo(ctx context.Context, w *World) error {
	for range 2 {
		if err := shiftOne(ctx, w); err != nil {
			return err
		}
	}
	return shiftOne(ctx, w)
}

// shiftThree is shiftTwo after one more.
func shiftThree(ctx context.Context, w *World) error {
	if err := shiftOne(ctx, w); err != nil {
		return err
	}
	return shiftTwo(ctx, w)
}

func closeOne(_ context.Context, w *World) error { return w.Close() }

func (d difference) play(ctx context.Context, w *World) error {
	call := d.call
	if w.Rank() == 1 {
		call = d.another
	}
	err := call(ctx, w)
	fmt.Fprintf(os.Stderr, "rank %d gets: %v\n", w.Rank(), err)
	if again := w.AllReduce(ctx, []float32{1}); !errors.Is(again, errBroken) {
		return fmt.Errorf("afterwards: %w", again)
	}
	if err := meet(w, "end"); err != nil {
		return err
	}
	return errBroken
}

// closing closes the world with a transfer under way, which ends the job.
func closing(ctx context.Context, w *World) error {
	if _, err := w.Shift(ctx, make([]float32, 1), make([]float32, 1)); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "rank %d closes\n", w.Rank())
	if err := meet(w, "end"); err != nil {
		return err
	}
	return w.Close()
}

// late has rank 1 send when the others no longer wait: what they receive must not be
// written to memory that has been given to somebody else.
func late(ctx context.Context, w *World) error {
	const n = 1 << 20
	if w.Rank() == 1 {
		if err := meet(w, "failed"); err != nil {
			return err
		}
		for range 2 {
			t, err := w.Shift(ctx, make([]float32, n), values(1, n))
			if err != nil {
				return err
			}
			if err := t.Wait(ctx); err != nil {
				return fmt.Errorf("its own transfer: %w", err)
			}
		}
		if err := sumOne(ctx, w); err == nil || !strings.Contains(err.Error(), "a call of another rank has failed") {
			return fmt.Errorf("after the others have failed: %w", err)
		}
		if err := meet(w, "sent"); err != nil {
			return err
		}
	} else if err := tooEarly(ctx, w, n); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "rank %d is right\n", w.Rank())
	if err := meet(w, "checked"); err != nil {
		return err
	}
	return errBroken
}

func tooEarly(ctx context.Context, w *World, n int) error {
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	var first contrastive.Transfer
	for k := range 2 { // of which the second is never waited for
		t, err := w.Shift(short, make([]float32, n), values(w.Rank(), n))
		if err != nil {
			return err
		}
		if k == 0 {
			first = t
		}
	}
	if err := first.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("without rank 1: %w", err)
	}
	first = nil
	runtime.GC()
	runtime.GC()
	others := make([][]float32, 20)
	for i := range others {
		others[i] = slices.Repeat([]float32{-1}, n)
	}
	if err := errors.Join(meet(w, "failed"), meet(w, "sent")); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond) // what is sent may be on its way, which nobody can know
	runtime.GC()
	runtime.GC() // would find what has been pinned and forgotten
	for _, v := range others {
		if slices.ContainsFunc(v, func(x float32) bool { return x != -1 }) {
			return errors.New("memory of others has been written to")
		}
	}
	return nil
}
