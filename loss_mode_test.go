package contrastive_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/internal/fpmode/fpmodetest"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// TestThreadMode evaluates everything on threads that round upwards, take subnormal
// numbers for zeros or trap at them, and asks for the bits of the standard mode. Half
// of the rows are of subnormal elements.
func TestThreadMode(t *testing.T) {
	type computation struct {
		name string
		run  func(t *testing.T) *bitSum
	}
	var all []computation
	small := func(i int) float64 { return [...]float64{1, 0x1p-127}[i%2] }

	r := rand.New(rand.NewPCG(91, 0))
	for _, v := range losstest.Variants {
		alone := v.Batch(r, 21, 33)
		batches := []contrastive.Batch{alone}
		if slices.Contains(forms, v.Name) {
			batches = append(batches, parallel(v, r))
		}
		for _, b := range batches {
			losstest.ScaleRows(b.Query, small)
			losstest.ScaleRows(b.Key, func(i int) float64 { return small(i / 2) })
			all = append(all, computation{v.Name, func(t *testing.T) *bitSum {
				g := v.Destinations(b)
				sum := new(bitSum)
				sum.result(losstest.Eval(t, v.Name, v.Make(0.1, -3, options{Workers: 3}), b, g), g)
				return sum
			}})
		}
		if v.Sharded() {
			all = append(all, computation{"Sharded " + v.Name, func(t *testing.T) *bitSum { return threadModeSharded(t, v, alone) }})
		}
	}

	x, y := losstest.Normal(r, 150, 40), losstest.Normal(r, 150, 40)
	losstest.ScaleRows(x, small)
	x.Row(0)[0] = 0x1p-130 // subnormal beside others that are not
	classes := losstest.Labels(r, x.Rows)
	all = append(all,
		computation{"metrics", func(t *testing.T) *bitSum { return threadModeMetrics(t, x, y, classes) }},
		computation{"Queue", func(t *testing.T) *bitSum {
			q := losstest.NewQueue(t, 2*x.Rows, x)
			err := q.EnqueueAll(context.Background(), contrastive.NewLocalGroup(1)[0], x)
			var file bytes.Buffer
			if err == nil {
				_, err = q.WriteTo(&file)
			}
			if err == nil {
				q, err = contrastive.ReadQueue(&file)
			}
			if err != nil {
				t.Fatal(err)
			}
			sum := new(bitSum)
			sum.matrix(q.Keys())
			return sum
		}},
		computation{"MomentumUpdate", func(t *testing.T) *bitSum {
			one, several := losstest.Clone(x), losstest.Clone(x)
			if err := contrastive.MomentumUpdate(one.Row(1), y.Row(1), 0.999); err != nil {
				t.Fatal(err)
			}
			if err := contrastive.MomentumUpdates([][]float32{several.Row(1)}, [][]float32{x.Row(3)}, 0.9); err != nil {
				t.Fatal(err)
			}
			sum := new(bitSum)
			sum.matrix(one)
			sum.matrix(several)
			return sum
		}},
	)

	want := make([]string, len(all))
	for i, c := range all {
		want[i] = c.run(t).String()
	}
	fpmodetest.Each(t, func(t *testing.T) {
		for i, c := range all {
			if got := c.run(t).String(); got != want[i] {
				t.Errorf("%s: the bits are others than in the standard mode", c.name)
			}
		}
	})
}

// threadModeSharded evaluates v over two ranks, of which the calling goroutine is one.
func threadModeSharded(t *testing.T, v losstest.Variant, b contrastive.Batch) *bitSum {
	sum := new(bitSum)
	for _, ring := range []bool{false, true} {
		group := contrastive.NewLocalGroup(2)
		rank := func(rank int, g contrastive.Gradients) contrastive.Result {
			c := modeCollective{t, group[rank], threadMode()}
			s := contrastive.Sharded{Loss: v.Make(0.1, -3, options{Workers: 2}), Collective: c, Ring: ring}
			res, err := s.Eval(context.Background(), b, g)
			if err != nil {
				t.Errorf("Sharded %s: %v", v.Name, err)
			}
			return res
		}
		var other sync.WaitGroup
		other.Go(func() { rank(1, contrastive.Gradients{}) })
		g := losstest.Destinations(b)
		sum.result(rank(0, g), g)
		other.Wait()
	}
	return sum
}

// threadMode returns the mode of the thread.
func threadMode() fpmode.Mode {
	m := fpmode.Enter()
	m.Leave()
	return m
}

// A modeCollective expects to be called in the mode of the caller of Eval.
type modeCollective struct {
	t *testing.T
	contrastive.Collective
	want fpmode.Mode
}

func (c modeCollective) check(function string) {
	if threadMode() != c.want {
		c.t.Errorf("%s is called in another mode than that of the caller", function)
	}
}

func (c modeCollective) AllGather(ctx context.Context, dst, src []float32, counts []int) error {
	c.check("AllGather")
	return c.Collective.AllGather(ctx, dst, src, counts)
}

func (c modeCollective) Shift(ctx context.Context, dst, src []float32) (contrastive.Transfer, error) {
	c.check("Shift")
	t, err := c.Collective.Shift(ctx, dst, src)
	return modeTransfer{c, t}, err
}

type modeTransfer struct {
	modeCollective
	contrastive.Transfer
}

func (t modeTransfer) Wait(ctx context.Context) error {
	t.check("Wait")
	return t.Transfer.Wait(ctx)
}

func threadModeMetrics(t *testing.T, x, y contrastive.Matrix, classes []int) *bitSum {
	sum := new(bitSum)
	floats := func(err error, values ...float64) {
		if err != nil {
			t.Fatal(err)
		}
		sum.floats(values...)
	}
	_, cosines, err := contrastive.TopK(x, y, 7)
	for i := range cosines {
		for _, c := range cosines[i] {
			floats(err, float64(c))
		}
	}
	predicted, err := contrastive.KNN(x, classes, y, 20, 0.07)
	for _, label := range predicted {
		floats(err, float64(label))
	}
	recalls, err := contrastive.RecallAt(x, y, 1, 10, 100)
	floats(err, recalls...)
	mrr, err := contrastive.MRR(x, y)
	floats(err, mrr)
	alignment, err := contrastive.Alignment(x, y, 2)
	floats(err, alignment)
	uniformity, err := contrastive.Uniformity(x, 2)
	floats(err, uniformity)
	c, err := contrastive.Collapse(x)
	floats(err, c.Std, c.MinStd, c.EffectiveRank, c.MeanCosine)
	return sum
}
