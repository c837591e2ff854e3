package mpi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/contrastive-go/contrastive"
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

func normal(r *rand.Rand, rows, cols int) contrastive.Matrix {
	m := contrastive.NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(r.NormFloat64())
	}
	return m
}

// losses compares sharded losses, over shards of different sizes, with those of
// the whole batch in one process, both ways, and repeats them for the same bits.
func losses(ctx context.Context, w *World) error {
	const d = 24
	lo := 0
	for r := range w.Rank() {
		lo += 3 + 2*r
	}
	hi, n := lo+3+2*w.Rank(), 0
	for r := range w.Size() {
		n += 3 + 2*r
	}
	r := rand.New(rand.NewPCG(1, uint64(w.Size())))
	whole := contrastive.Batch{Query: normal(r, n, d), Key: normal(r, n, d)}
	for range n {
		whole.Labels = append(whole.Labels, r.IntN(n/2+1))
	}
	local := contrastive.Batch{Query: whole.Query.Slice(lo, hi), Key: whole.Key.Slice(lo, hi), Labels: whole.Labels[lo:hi]}
	for _, loss := range []contrastive.Loss{
		contrastive.InfoNCE{}, contrastive.CLIP{}, contrastive.CLIP{Temperature: 0.01}, contrastive.NTXent{},
		contrastive.SigLIP{Bias: -5}, contrastive.SupCon{},
	} {
		b, whole := local, whole
		if _, ok := loss.(contrastive.SigLIP); ok {
			b.Labels, whole.Labels = nil, nil
		}
		wq, wk := contrastive.NewMatrix(n, d), contrastive.NewMatrix(n, d)
		want, err := loss.Eval(whole, contrastive.Gradients{Query: wq, Key: wk})
		if err != nil {
			return err
		}
		for _, ring := range []bool{false, true} {
			s := contrastive.Sharded{Loss: loss, Collective: w, Ring: ring}
			q, k := contrastive.NewMatrix(hi-lo, d), contrastive.NewMatrix(hi-lo, d)
			got, err := s.Eval(ctx, b, contrastive.Gradients{Query: q, Key: k})
			if err != nil {
				return err
			}
			// The rounding of float32, for sums over n pairs and d dimensions, of
			// logits of up to 1/τ = 100.
			const tolerance = 1e-4
			if diff := math.Abs(got.Loss - want.Loss); diff > tolerance*(1+want.Loss) {
				return fmt.Errorf("%T, ring %v: loss %v, want %v", loss, ring, got.Loss, want.Loss)
			}
			if diff := math.Abs(got.TemperatureGrad - want.TemperatureGrad); diff > tolerance*(1+math.Abs(want.TemperatureGrad)) {
				return fmt.Errorf("%T, ring %v: ∂/∂τ %v, want %v", loss, ring, got.TemperatureGrad, want.TemperatureGrad)
			}
			if err := errors.Join(near(q, wq.Slice(lo, hi), tolerance), near(k, wk.Slice(lo, hi), tolerance)); err != nil {
				return fmt.Errorf("%T, ring %v: %w", loss, ring, err)
			}
			q2, k2 := contrastive.NewMatrix(hi-lo, d), contrastive.NewMatrix(hi-lo, d)
			again, err := s.Eval(ctx, b, contrastive.Gradients{Query: q2, Key: k2})
			if err != nil {
				return err
			}
			if again != got || !slices.Equal(q2.Data, q.Data) || !slices.Equal(k2.Data, k.Data) {
				return fmt.Errorf("%T, ring %v: other bits the second time", loss, ring)
			}
		}
	}
	return nil
}

// near compares gradients, relative to their greatest element.
func near(got, want contrastive.Matrix, tolerance float64) error {
	greatest := 0.0
	for i := range want.Rows {
		for _, v := range want.Row(i) {
			greatest = math.Max(greatest, math.Abs(float64(v)))
		}
	}
	for i := range got.Rows {
		for j, v := range got.Row(i) {
			if d := math.Abs(float64(v - want.Row(i)[j])); !(d <= tolerance*greatest) {
				return fmt.Errorf("gradient row %d column %d is %v, want %v", i, j, v, want.Row(i)[j])
			}
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
		if err := q.EnqueueAll(ctx, w, normal(r, 1+w.Rank(), 8)); err != nil {
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
	b := contrastive.Batch{Query: normal(r, n, d), Key: normal(r, n, d)}
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
