package contrastive_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/contrastive-go/contrastive"
)

// testCollective asks of a group what the interface promises. Its ranks send
// numbers that tell where they are from.
func testCollective(t *testing.T, group []contrastive.Collective) {
	size := len(group)
	at := func(rank, i int) float32 { return float32(1000*rank+i) + 1/float32(3+i) }
	var mu sync.Mutex
	reduced := make([][]float32, size)
	onRanks(group, func(rank int, c contrastive.Collective) {
		ctx := t.Context()
		if c.Rank() != rank || c.Size() != size {
			t.Errorf("rank %d of %d, want %d of %d", c.Rank(), c.Size(), rank, size)
		}
		for round := range 3 {
			// Rank r has r+round elements, but every third none.
			counts, want := make([]int, size), []float32(nil)
			for r := range counts {
				counts[r] = (r + round) % 3 * (r + round)
				for i := range counts[r] {
					want = append(want, at(r, i))
				}
			}
			src := make([]float32, counts[rank])
			for i := range src {
				src[i] = at(rank, i)
			}
			dst := make([]float32, len(want))
			if err := c.AllGather(ctx, dst, src, counts); err != nil {
				t.Errorf("rank %d: %v", rank, err)
				return
			}
			for i, v := range want {
				if dst[i] != v {
					t.Errorf("rank %d: AllGather: element %d is %v, want %v", rank, i, dst[i], v)
				}
			}

			// Sums of numbers of which float32 arithmetic would lose the small.
			data := make([]float32, 5)
			sums := make([]float64, len(data))
			for i := range data {
				for r := range size {
					v := at(r, i) * float32(math.Pow(-1000, float64((r+i)%3)))
					sums[i] += float64(v)
					if r == rank {
						data[i] = v
					}
				}
			}
			if err := c.AllReduce(ctx, data); err != nil {
				t.Errorf("rank %d: %v", rank, err)
				return
			}
			for i, v := range data {
				// One rounding of a sum, and those of the terms of one in float32.
				if bound := float64(size) * u * 1e6 * 8000; math.Abs(float64(v)-sums[i]) > bound {
					t.Errorf("rank %d: AllReduce: element %d is %v, want %v", rank, i, v, sums[i])
				}
			}
			mu.Lock()
			reduced[rank] = data
			mu.Unlock()
		}

		// Two transfers at a time of other lengths on every rank, waited for in
		// either order.
		before := (rank + size - 1) % size
		message := func(r, k int) []float32 {
			m := make([]float32, 1+(r+k)%4)
			for i := range m {
				m[i] = at(r, 10*k+i)
			}
			m[0] = float32(math.Inf(-1))
			return m
		}
		for k := range 6 {
			var dst [2][]float32
			var ts [2]contrastive.Transfer
			for i := range 2 {
				var err error
				dst[i] = make([]float32, len(message(before, 2*k+i)))
				if ts[i], err = c.Shift(ctx, dst[i], message(rank, 2*k+i)); err != nil {
					t.Errorf("rank %d: %v", rank, err)
					return
				}
			}
			for i := range 2 {
				if err := ts[(i+k)%2].Wait(ctx); err != nil {
					t.Errorf("rank %d: %v", rank, err)
					return
				}
			}
			for i := range 2 {
				if got, want := fmt.Sprint(dst[i]), fmt.Sprint(message(before, 2*k+i)); got != want {
					t.Errorf("rank %d: transfer %d: %s, want %s", rank, 2*k+i, got, want)
				}
			}
		}
	})
	for r := range reduced {
		for i, v := range reduced[r] {
			if v != reduced[0][i] {
				t.Errorf("AllReduce: element %d of rank %d is %v, that of rank 0 %v", i, r, v, reduced[0][i])
			}
		}
	}
}

var noContext context.Context

func TestLocalGroup(t *testing.T) {
	for _, size := range [...]int{1, 2, 3, 7} {
		testCollective(t, contrastive.NewLocalGroup(size))
	}
	defer func() {
		if recover() == nil {
			t.Error("a group of no ranks does not panic")
		}
	}()
	contrastive.NewLocalGroup(0)
}

// TestLocalGroupMisuse makes calls that do not fit: all ranks get an error, and so
// do all calls that follow.
func TestLocalGroupMisuse(t *testing.T) {
	ones := func(n int) []float32 { return make([]float32, n) }
	gather := func(c contrastive.Collective, dst, src int, counts ...int) error {
		return c.AllGather(context.Background(), ones(dst), ones(src), counts)
	}
	shift := func(c contrastive.Collective, dst, src int) error {
		tr, err := c.Shift(context.Background(), ones(dst), ones(src))
		if err != nil {
			return err
		}
		return tr.Wait(context.Background())
	}
	// shiftTwice waits for one of two transfers before the other.
	shiftTwice := func(c contrastive.Collective, first, second int) error {
		var ts [2]contrastive.Transfer
		for i := range ts {
			var err error
			if ts[i], err = c.Shift(context.Background(), ones(1), ones(1)); err != nil {
				return err
			}
		}
		return errors.Join(ts[first].Wait(context.Background()), ts[second].Wait(context.Background()))
	}
	shiftThrice := func(c contrastive.Collective) error {
		for range 2 {
			if _, err := c.Shift(context.Background(), ones(1), ones(1)); err != nil {
				return err
			}
		}
		_, err := c.Shift(context.Background(), ones(1), ones(1))
		return err
	}
	for _, c := range [...]struct {
		name string
		call [2]func(c contrastive.Collective) error
		want error
	}{
		{"counts of another size", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return gather(c, 2, 1, 1, 1, 0) },
			func(c contrastive.Collective) error { return gather(c, 2, 1, 1, 1) },
		}, contrastive.ErrShape},
		{"a short dst", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return gather(c, 1, 1, 1, 1) },
			func(c contrastive.Collective) error { return gather(c, 2, 1, 1, 1) },
		}, contrastive.ErrShape},
		{"other counts", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return gather(c, 3, 1, 1, 2) },
			func(c contrastive.Collective) error { return gather(c, 2, 1, 1, 1) },
		}, contrastive.ErrShape},
		{"other lengths", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return c.AllReduce(context.Background(), ones(2)) },
			func(c contrastive.Collective) error { return c.AllReduce(context.Background(), ones(3)) },
		}, contrastive.ErrShape},
		{"other calls", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return c.AllReduce(context.Background(), ones(2)) },
			func(c contrastive.Collective) error { return gather(c, 2, 1, 1, 1) },
		}, nil},
		{"a transfer of another length", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return shift(c, 3, 2) },
			func(c contrastive.Collective) error { return shift(c, 1, 4) },
		}, contrastive.ErrShape},
		{"three transfers", [2]func(c contrastive.Collective) error{shiftThrice, shiftThrice}, contrastive.ErrParameter},
		{"waiting twice", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error {
				tr, err := c.Shift(context.Background(), ones(1), ones(1))
				return errors.Join(err, tr.Wait(context.Background()), tr.Wait(context.Background()))
			},
			func(c contrastive.Collective) error {
				return errors.Join(shift(c, 1, 1), c.AllReduce(context.Background(), ones(1)))
			},
		}, contrastive.ErrParameter},
		{"a transfer for a gathering", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return shift(c, 1, 1) },
			func(c contrastive.Collective) error { return gather(c, 2, 1, 1, 1) },
		}, nil},
		{"a transfer for a sum", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return c.AllReduce(context.Background(), ones(1)) },
			func(c contrastive.Collective) error { return shift(c, 1, 1) },
		}, nil},
		{"not waiting", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error {
				tr, err := c.Shift(context.Background(), ones(1), ones(1))
				return errors.Join(err, gather(c, 2, 1, 1, 1), tr.Wait(context.Background()))
			},
			func(c contrastive.Collective) error { return errors.Join(shift(c, 1, 1), gather(c, 2, 1, 1, 1)) },
		}, nil},
		{"another transfer first", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return shiftTwice(c, 0, 1) },
			func(c contrastive.Collective) error { return shiftTwice(c, 1, 0) },
		}, nil},
		{"no context for a gathering", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return c.AllGather(noContext, ones(2), ones(1), []int{1, 1}) },
			func(c contrastive.Collective) error { return gather(c, 2, 1, 1, 1) },
		}, contrastive.ErrParameter},
		{"no context for a sum", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { return c.AllReduce(noContext, ones(2)) },
			func(c contrastive.Collective) error { return c.AllReduce(context.Background(), ones(2)) },
		}, contrastive.ErrParameter},
		{"no context for a transfer", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error { _, err := c.Shift(noContext, ones(1), ones(1)); return err },
			func(c contrastive.Collective) error { return shift(c, 1, 1) },
		}, contrastive.ErrParameter},
		{"no context for waiting", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error {
				tr, err := c.Shift(context.Background(), ones(1), ones(1))
				return errors.Join(err, tr.Wait(noContext))
			},
			func(c contrastive.Collective) error { return shift(c, 1, 1) },
		}, contrastive.ErrParameter},
		{"a context with a cause", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error {
				ctx, cancel := context.WithCancelCause(context.Background())
				cancel(errInjected)
				err := c.AllReduce(ctx, ones(1))
				if !errors.Is(err, errInjected) {
					return fmt.Errorf("%v does not tell the cause", err)
				}
				return err
			},
			func(c contrastive.Collective) error { return gather(c, 2, 1, 1, 1) },
		}, context.Canceled},
		{"a context that has ended before a transfer", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_, err := c.Shift(ctx, ones(1), ones(1))
				return err
			},
			func(c contrastive.Collective) error { return shift(c, 1, 1) },
		}, context.Canceled},
		{"a context that has ended", [2]func(c contrastive.Collective) error{
			func(c contrastive.Collective) error {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				return c.AllReduce(ctx, ones(1))
			},
			func(c contrastive.Collective) error { return shift(c, 1, 1) },
		}, context.Canceled},
	} {
		group := contrastive.NewLocalGroup(2)
		errs := make([]error, 2)
		onRanks(group, func(r int, g contrastive.Collective) { errs[r] = c.call[r](g) })
		for r, err := range errs {
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "contrastive: ") || !strings.Contains(err.Error(), fmt.Sprintf("rank %d of 2", r)) {
				t.Errorf("%s: rank %d: error %v, want one that is %v", c.name, r, err, c.want)
			}
		}
		onRanks(group, func(r int, g contrastive.Collective) {
			if err := gather(g, 2, 1, 1, 1); err == nil {
				t.Errorf("%s: rank %d can gather afterwards", c.name, r)
			}
			if _, err := g.Shift(context.Background(), ones(1), ones(1)); err == nil {
				t.Errorf("%s: rank %d can shift afterwards", c.name, r)
			}
		})
	}
}

// A program is a sequence of calls of a Collective: "gather", "sum", "shift", or
// "wait" for the first or second of the transfers under way.
type program []string

// randomProgram returns one of about n calls that is allowed.
func randomProgram(r *rand.Rand, n int) program {
	var p program
	underWay := 0
	for range n {
		calls := []string{"gather", "sum"}
		if underWay < 2 {
			calls = append(calls, "shift")
		}
		if underWay > 0 {
			calls = append(calls, "wait 0")
		}
		if underWay > 1 {
			calls = append(calls, "wait 1")
		}
		call := calls[r.IntN(len(calls))]
		switch {
		case call == "shift":
			underWay++
		case call[0] == 'w':
			underWay--
		}
		p = append(p, call)
	}
	return append(p, "sum")
}

// run makes the calls until one fails.
func (p program) run(c contrastive.Collective) error {
	ctx := context.Background()
	var ts []contrastive.Transfer
	for _, call := range p {
		var err error
		switch call {
		case "gather":
			err = c.AllGather(ctx, make([]float32, 2*c.Size()), make([]float32, 2), slices.Repeat([]int{2}, c.Size()))
		case "sum":
			err = c.AllReduce(ctx, make([]float32, 3))
		case "shift":
			var t contrastive.Transfer
			t, err = c.Shift(ctx, make([]float32, 2), make([]float32, 2))
			ts = append(ts, t)
		default:
			i := int(call[len(call)-1] - '0')
			err = ts[i].Wait(ctx)
			ts = slices.Delete(ts, i, i+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestLocalGroupOrder has one rank make other calls than the rest from some place on,
// or none: either all ranks return an error, without a deadline, or none does.
func TestLocalGroupOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(59, seed))
		size := 2 + r.IntN(3)
		same, odd := randomProgram(r, 12), randomProgram(r, 12)
		if seed%4 == 0 {
			odd = same
		}
		strange := r.IntN(size)
		errs := make([]error, size)
		onRanks(contrastive.NewLocalGroup(size), func(rank int, c contrastive.Collective) {
			if rank == strange {
				errs[rank] = odd.run(c)
			} else {
				errs[rank] = same.run(c)
			}
		})
		for rank, err := range errs {
			if (err == nil) != slices.Equal(same, odd) {
				t.Errorf("rank %d returns %v where rank %d of %d calls %v, and the others call %v", rank, err, strange, size, odd, same)
			}
		}
	}
}

// TestLocalGroupLetsGo has one rank write to what it has sent after its Wait has
// failed: the race detector sees if the other may still read it.
func TestLocalGroupLetsGo(t *testing.T) {
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		onRanks(contrastive.NewLocalGroup(2), func(rank int, c contrastive.Collective) {
			src, dst := make([]float32, 1000), make([]float32, 1000)
			tr, err := c.Shift(t.Context(), dst, src)
			if err != nil {
				return // the other's has failed
			}
			if rank == 1 {
				tr.Wait(t.Context())
				return
			}
			cancel()
			if tr.Wait(ctx) != nil {
				src[0] = 1
			}
		})
	}
}

// TestLocalGroupMemory asks that a group keeps nothing of calls that are over.
func TestLocalGroupMemory(t *testing.T) {
	const calls = 10_000
	group := contrastive.NewLocalGroup(2)
	round := func(n int) {
		onRanks(group, func(rank int, c contrastive.Collective) {
			for range n {
				if err := (program{"shift", "sum", "wait 0", "gather"}).run(c); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // pools keep what they have for one collection
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	round(10)
	before := held()
	round(calls)
	if after := held(); after > before+4*calls {
		t.Errorf("%d bytes are kept of %d calls", after-before, 4*calls)
	}
	runtime.KeepAlive(group)
}

// TestLocalGroupSum adds up numbers of which float32 would lose the last two.
func TestLocalGroupSum(t *testing.T) {
	terms := [...]float32{1, 0x1p-24, 0x1p-24}
	onRanks(contrastive.NewLocalGroup(len(terms)), func(r int, c contrastive.Collective) {
		data := []float32{terms[r]}
		if err := c.AllReduce(t.Context(), data); err != nil || data[0] != 1+0x1p-23 {
			t.Errorf("rank %d: the sum is %v (%v), want %v", r, data[0], err, 1+0x1p-23)
		}
	})
}
