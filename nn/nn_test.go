package nn

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/fpmode/fpmodetest"
	"github.com/contrastive-go/contrastive/internal/race"
)

// everyLayer returns a net with a layer of each kind.
func everyLayer(in, hidden, out int) Sequential {
	rng := newRand(21)
	return Sequential{
		NewLinear(in, hidden, false, rng), NewBatchNorm(hidden, true), &ReLU{},
		Sequential{NewLinear(hidden, hidden, true, rng), &GELU{}, NewLayerNorm(hidden)},
		&Dropout{P: 0.1, Seed: 1},
		NewLinear(hidden, out, true, rng), NewBatchNorm(out, false),
	}
}

func TestSequential(t *testing.T) {
	rng := newRand(22)
	x, dy := random(rng, 6, 5), random(rng, 6, 3)
	together, apart := everyLayer(5, 8, 3), everyLayer(5, 8, 3)

	y, z := together.Forward(x, true), x
	for _, l := range apart {
		z = l.Forward(z, true)
	}
	if !slices.Equal(y.Data, z.Data) {
		t.Error("outputs differ from those of the layers")
	}
	dx, dz := together.Backward(dy, true), dy
	for _, l := range slices.Backward(apart) {
		dz = l.Backward(dz, true)
	}
	if !slices.Equal(dx.Data, dz.Data) {
		t.Error("gradients of inputs differ from those of the layers")
	}
	if dx := together.Backward(dy, false); dx.Data != nil {
		t.Error("a gradient that is not wanted is returned")
	}
	if dx := (Sequential{}).Backward(dy, false); dx.Data != nil {
		t.Error("a gradient that is not wanted is returned by the empty net")
	}

	var names []string
	for _, s := range State(together) {
		names = append(names, fmt.Sprint(s.Name, s.Shape))
	}
	want := []string{
		"0.weight[5 8]", "1.weight[8]", "1.bias[8]", "1.running_mean[8]", "1.running_var[8]",
		"3.0.weight[8 8]", "3.0.bias[8]", "3.2.weight[8]", "3.2.bias[8]", "4.draws[2]",
		"5.weight[8 3]", "5.bias[3]", "6.running_mean[3]", "6.running_var[3]",
	}
	if !slices.Equal(names, want) {
		t.Errorf("state %q, want %q", names, want)
	}
	var buffers []string
	for _, b := range together.Buffers() {
		buffers = append(buffers, b.Name)
	}
	if want := []string{"1.running_mean", "1.running_var", "4.draws", "6.running_mean", "6.running_var"}; !slices.Equal(buffers, want) {
		t.Errorf("buffers %q, want %q", buffers, want)
	}
}

// TestDecay: weights and tables decay, and nothing else does.
func TestDecay(t *testing.T) {
	rng := newRand(28)
	e := NewEmbedding(3, 2, rng)
	var decaying []string
	for _, p := range Params(everyLayer(5, 8, 3), e, NewTemperature(1), NewScalar("bias", 1)) {
		if !p.NoDecay {
			decaying = append(decaying, fmt.Sprint(p.Name, p.Shape))
		}
	}
	if want := []string{"weight[5 8]", "weight[8 8]", "weight[8 3]", "weight[3 2]"}; !slices.Equal(decaying, want) {
		t.Errorf("%q decay, want %q", decaying, want)
	}
}

func TestCopy(t *testing.T) {
	src, dst := everyLayer(5, 8, 3), everyLayer(5, 8, 3)
	perturb(newRand(23), src.Params())
	x := random(newRand(24), 6, 5)
	src.Forward(x, true)
	if err := Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(src.Forward(x, true).Data, dst.Forward(x, true).Data) {
		t.Error("a copy is another function, or drops something else")
	}
	before := slices.Concat(Values(dst)...)
	for _, other := range []Module{everyLayer(5, 9, 3), NewBatchNorm(3, true), dst[:3]} {
		if err := Copy(dst, other); !errors.Is(err, contrastive.ErrShape) || !strings.HasPrefix(err.Error(), "nn: Copy: ") {
			t.Errorf("Copy of another shape: %v", err)
		}
	}
	if !slices.Equal(before, slices.Concat(Values(dst)...)) {
		t.Error("an error has changed something")
	}
	if err := contrastive.MomentumUpdates(Values(dst), Values(src), 0.5); err != nil {
		t.Error(err)
	}
}

// train makes steps with every layer, optimiser and an embedding, and returns all that
// they change.
func train(workers, rows, in, hidden, steps int) []float32 {
	rng := newRand(25)
	n := everyLayer(in, hidden, hidden)
	e := NewEmbedding(1000, in, rng)
	e.Sparse = true
	n.SetWorkers(workers)
	e.SetWorkers(workers)
	tau := NewTemperature(0.1)
	optimizers := []Optimizer{
		&AdamW{Params: Params(n[:3], tau), WeightDecay: 0.1, Workers: workers},
		&SGD{Params: Params(n[3:5]), Momentum: 0.9, WeightDecay: 0.01, Workers: workers},
		&SGD{Params: Params(n[5:]), WeightDecay: 0.01, Workers: workers},
		&Adagrad{Params: Params(e), RowWise: true, Workers: workers},
	}
	loss := contrastive.NTXent{Options: contrastive.Options{Workers: workers}}
	dy := contrastive.NewMatrix(rows, hidden)
	sampler := Sampler{Rows: 1000, Size: rows}
	for step := range steps {
		x, err := e.Forward(sampler.Batch(step))
		if err != nil {
			panic(err)
		}
		y := n.Forward(x, true)
		loss.Temperature = tau.Value()
		h := rows / 2
		r, err := loss.Eval(contrastive.Batch{Query: y.Slice(0, h), Key: y.Slice(h, 2*h)},
			contrastive.Gradients{Query: dy.Slice(0, h), Key: dy.Slice(h, 2*h)})
		if err != nil {
			panic(err)
		}
		tau.Backward(r)
		e.Backward(n.Backward(dy, true))
		if _, err := ClipGradNorm(Params(n, e), 1); err != nil {
			panic(err)
		}
		for _, o := range optimizers {
			if err := o.Step(0.1); err != nil {
				panic(err)
			}
		}
	}
	all := slices.Concat(Values(n, e, tau)...)
	for _, b := range n.Buffers() {
		all = append(all, b.Data...)
	}
	return append(all, n.Forward(e.y, false).Data...)
}

// TestWorkers: training is the same, bit for bit, for any number of workers, on shapes
// that have several parts.
func TestWorkers(t *testing.T) {
	want := train(1, 300, 150, 250, 3)
	for _, workers := range []int{2, 3, 7, 0} {
		if !slices.Equal(want, train(workers, 300, 150, 250, 3)) {
			t.Errorf("%d workers change the result", workers)
		}
	}
}

// TestMode: so it is on threads in another floating-point mode.
func TestMode(t *testing.T) {
	want := train(1, 40, 20, 30, 2)
	fpmodetest.Each(t, func(t *testing.T) {
		if !slices.Equal(want, train(1, 40, 20, 30, 2)) {
			t.Error("the mode changes the result")
		}
	})
}

// TestAllocations: after the first steps nothing is allocated.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("sync.Pool drops what it holds")
	}
	for _, workers := range []int{1, 4} {
		rng := newRand(26)
		n := everyLayer(64, 96, 32)
		e := NewEmbedding(5000, 64, rng)
		bag := NewEmbedding(500, 64, rng)
		bag.Sparse = true
		n.SetWorkers(workers)
		e.SetWorkers(workers)
		bag.SetWorkers(workers)
		optimizers := []Optimizer{
			&AdamW{Params: Params(n), Workers: workers},
			&SGD{Params: Params(e), Momentum: 0.9, Workers: workers},
			&Adagrad{Params: Params(bag), Workers: workers},
		}
		sampler := Sampler{Rows: 5000, Size: 1000}
		bags, weights := make([][]int, 1000), make([][]float32, 1000)
		for i := range bags {
			bags[i], weights[i] = []int{i % 500, i * 7 % 500}, []float32{1, 2}
		}
		dy, x := random(rng, 1000, 32), contrastive.NewMatrix(1000, 64)
		step := func() {
			items, err := e.Forward(sampler.Batch(0))
			if err != nil {
				t.Fatal(err)
			}
			words, err := bag.ForwardBags(bags, weights)
			if err != nil {
				t.Fatal(err)
			}
			for i := range x.Data {
				x.Data[i] = items.Data[i] + words.Data[i]
			}
			n.Forward(x, true)
			dx := n.Backward(dy, true)
			e.Backward(dx)
			bag.BackwardBags(dx)
			for _, o := range optimizers {
				if err := o.Step(1e-3); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 3 {
			step()
		}
		runtime.GC()
		step()
		if n := testing.AllocsPerRun(10, step); n > 0 {
			t.Errorf("%d workers: %v allocations a step", workers, n)
		}
	}
}

func TestPanics(t *testing.T) {
	rng := newRand(27)
	l := NewLinear(3, 2, true, rng)
	m := contrastive.NewMatrix
	mustPanic(t, "nn: NewLinear(0, 2)", func() { NewLinear(0, 2, true, rng) })
	mustPanic(t, "nn: NewEmbedding(3, -1)", func() { NewEmbedding(3, -1, rng) })
	mustPanic(t, "nn: NewLayerNorm(0)", func() { NewLayerNorm(0) })
	mustPanic(t, "nn: NewBatchNorm(-1)", func() { NewBatchNorm(-1, true) })
	mustPanic(t, `nn: NewParam("x", [2 -1])`, func() { NewParam("x", 2, -1) })
	mustPanic(t, "nn: Linear: Forward of 2×4, want 3 columns", func() { l.Forward(m(2, 4), true) })
	mustPanic(t, "nn: Linear: Forward of 2×3 with Stride 3 has 5 elements", func() {
		l.Forward(contrastive.Matrix{Rows: 2, Cols: 3, Stride: 3, Data: make([]float32, 5)}, true)
	})
	mustPanic(t, "nn: Linear: Forward of 2×3 with Stride 2", func() {
		l.Forward(contrastive.Matrix{Rows: 2, Cols: 3, Stride: 2, Data: make([]float32, 6)}, true)
	})
	l.Forward(m(2, 3), true)
	mustPanic(t, "nn: Linear: Backward of 3×2, the latest outputs are 2×2", func() { l.Backward(m(3, 2), true) })
	mustPanic(t, "nn: BatchNorm: Forward of 1 rows in 1 shards", func() { NewBatchNorm(3, true).Forward(m(1, 3), true) })
	mustPanic(t, "nn: Dropout: P is 1", func() { (&Dropout{P: 1}).Forward(m(1, 3), true) })
	mustPanic(t, "nn: Dropout: Seek(", func() { (&Dropout{}).Seek(1 << 48) })
	mustPanic(t, "nn: Sampler: Size is 0", func() { (&Sampler{Rows: 3}).Batch(0) })
	mustPanic(t, "nn: Sampler: Size is 4", func() { (&Sampler{Rows: 3, Size: 4}).Steps() })
	mustPanic(t, "nn: Sampler: Batch(-1)", func() { (&Sampler{Rows: 3, Size: 1}).Batch(-1) })
}

// TestEmptyBatch: no rows are no outputs.
func TestEmptyBatch(t *testing.T) {
	n := Sequential{NewLinear(3, 4, true, newRand(1)), &ReLU{}, &GELU{}, NewLayerNorm(4), &Dropout{P: 0.5}}
	if y := n.Forward(contrastive.NewMatrix(0, 3), true); y.Rows != 0 || y.Cols != 4 {
		t.Errorf("outputs %d×%d", y.Rows, y.Cols)
	}
	if dx := n.Backward(contrastive.NewMatrix(0, 4), true); dx.Rows != 0 || dx.Cols != 3 {
		t.Errorf("gradient %d×%d", dx.Rows, dx.Cols)
	}
}
