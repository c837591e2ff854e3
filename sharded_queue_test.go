package contrastive_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// TestEnqueueAll compares the queues of ranks with one that gets all keys.
func TestEnqueueAll(t *testing.T) {
	const d = 5
	for _, ranks := range [...]int{1, 2, 3, 7} {
		for _, labelled := range [...]bool{false, true} {
			r := rand.New(rand.NewPCG(54, uint64(ranks)))
			one, err := contrastive.NewQueue(20, d)
			if err != nil {
				t.Fatal(err)
			}
			queues := make([]*contrastive.Queue, ranks)
			for i := range queues {
				if queues[i], err = contrastive.NewQueue(20, d); err != nil {
					t.Fatal(err)
				}
			}
			group := contrastive.NewLocalGroup(ranks)
			for step := range 6 {
				n := ranks + r.IntN(9)
				keys, ids, first := losstest.Normal(r, n, d), []int(nil), 0
				if labelled {
					ids = make([]int, n)
					for i := range ids {
						ids[i] = r.Int() - math.MaxInt/2
					}
				}
				if err := one.Enqueue(keys, ids...); err != nil {
					t.Fatal(err)
				}
				parts, labels := make([]contrastive.Matrix, ranks), make([][]int, ranks)
				for i, size := range split(r, n, ranks) {
					parts[i] = losstest.Slice(keys, first, first+size)
					if labelled {
						labels[i] = ids[first : first+size]
					}
					first += size
				}
				onRanks(group, func(i int, c contrastive.Collective) {
					if err := queues[i].EnqueueAll(t.Context(), c, parts[i], labels[i]...); err != nil {
						t.Errorf("%d ranks, step %d: rank %d: %v", ranks, step, i, err)
					}
				})
				for i, q := range queues {
					if !losstest.SameBits(q.Keys(), one.Keys()) || !slices.Equal(q.Labels(), one.Labels()) {
						t.Fatalf("%d ranks, step %d: the queue of rank %d differs", ranks, step, i)
					}
				}
			}
		}
	}
}

// TestEnqueueAllErrors has one of two ranks with bad keys, or with another queue.
func TestEnqueueAllErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(55, 1))
	queue := func(capacity, n, d int, labels ...int) *contrastive.Queue {
		return losstest.NewQueue(t, capacity, losstest.Normal(r, n, d), labels...)
	}
	bad := losstest.Normal(r, 3, 4)
	bad.Row(1)[2] = nan
	turned := queue(4, 3, 4)
	if err := turned.Enqueue(losstest.Normal(r, 2, 4)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [...]struct {
		name   string
		queues [2]*contrastive.Queue
		keys   contrastive.Matrix // of rank 1
		labels []int
		want   error
		parts  string
	}{
		{"NaN", [2]*contrastive.Queue{queue(9, 2, 4), queue(9, 2, 4)}, bad, nil, contrastive.ErrNotFinite, "rank 1 row 1 column 2"},
		{"no keys", [2]*contrastive.Queue{queue(9, 2, 4), queue(9, 2, 4)}, contrastive.Matrix{}, nil, contrastive.ErrEmpty, "rank 1 keys"},
		{"narrow keys", [2]*contrastive.Queue{queue(9, 2, 4), queue(9, 2, 4)}, losstest.Normal(r, 2, 3), nil, contrastive.ErrShape, "rank 1 2×3"},
		{"labels", [2]*contrastive.Queue{queue(9, 2, 4), queue(9, 2, 4)}, losstest.Normal(r, 2, 4), []int{1, 2}, contrastive.ErrShape, "rank 1 2 labels"},
		{"labels of one", [2]*contrastive.Queue{queue(9, 2, 4), queue(9, 2, 4, 1, 2)}, losstest.Normal(r, 2, 4), []int{1, 2}, contrastive.ErrShape, "rank 1 labels"},
		{"another dimension", [2]*contrastive.Queue{queue(9, 2, 4), queue(9, 2, 5)}, losstest.Normal(r, 2, 5), nil, contrastive.ErrShape, "rank 1 dimensions 5 4"},
		{"another length", [2]*contrastive.Queue{queue(9, 2, 4), queue(9, 3, 4)}, losstest.Normal(r, 2, 4), nil, contrastive.ErrShape, "rank 1 Len 3 2"},
		{"another capacity", [2]*contrastive.Queue{queue(9, 2, 4), queue(8, 2, 4)}, losstest.Normal(r, 2, 4), nil, contrastive.ErrShape, "rank 1 Cap 8 9"},
		{"another place", [2]*contrastive.Queue{queue(4, 4, 4), turned}, losstest.Normal(r, 2, 4), nil, contrastive.ErrShape, "rank 1 next 1 0"},
	} {
		good := losstest.Normal(r, 3, 4)
		before := [...]contrastive.Matrix{losstest.Clone(c.queues[0].Keys()), losstest.Clone(c.queues[1].Keys())}
		onRanks(contrastive.NewLocalGroup(2), func(i int, group contrastive.Collective) {
			keys, labels := good, []int(nil)
			if i == 1 {
				keys, labels = c.keys, c.labels
			}
			err := c.queues[i].EnqueueAll(t.Context(), group, keys, labels...)
			if !errors.Is(err, c.want) {
				t.Errorf("%s: rank %d: error %v, want one that is %q", c.name, i, err, c.want)
				return
			}
			var at *contrastive.NotFiniteError
			if own := i == 1 && c.want == contrastive.ErrNotFinite; errors.As(err, &at) != own || own && (at.Row != 1 || at.Col != 2) {
				t.Errorf("%s: rank %d: error %v tells the place %+v", c.name, i, err, at)
			}
			for _, part := range append(strings.Fields(c.parts), "contrastive: Queue.EnqueueAll: ") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: error %q does not say %q", c.name, err, part)
				}
			}
		})
		for i, q := range c.queues {
			if !losstest.SameBits(q.Keys(), before[i]) {
				t.Errorf("%s: the queue of rank %d has changed", c.name, i)
			}
		}
	}
	if err := turned.EnqueueAll(t.Context(), nil, losstest.Normal(r, 1, 4)); !errors.Is(err, contrastive.ErrParameter) {
		t.Errorf("without a Collective: %v", err)
	}
}

// TestEnqueueAllFailure has one of three ranks fail at each of its calls in turn.
func TestEnqueueAllFailure(t *testing.T) {
	r := rand.New(rand.NewPCG(56, 1))
	for n := 1; ; n++ {
		group := contrastive.NewLocalGroup(3)
		f := newFailing(group[n%3], n)
		group[n%3] = f
		keys := losstest.Normal(r, 2, 4)
		errs := make([]error, 3)
		onRanks(group, func(i int, c contrastive.Collective) {
			q, err := contrastive.NewQueue(9, 4)
			if err != nil {
				t.Error(err)
				return
			}
			errs[i] = q.EnqueueAll(t.Context(), c, keys, 1, 2)
			if errs[i] != nil && q.Len() != 0 {
				t.Errorf("call %d: rank %d has keys after %v", n, i, errs[i])
			}
		})
		if f.calls > 0 {
			if err := errors.Join(errs...); err != nil || n < 4 {
				t.Errorf("%d calls: %v", n-1, err)
			}
			return
		}
		for i, err := range errs {
			if !errors.Is(err, errInjected) || !strings.Contains(err.Error(), fmt.Sprintf("rank %d", i)) {
				t.Errorf("call %d: rank %d: error %v, want the injected one", n, i, err)
			}
		}
	}
}
