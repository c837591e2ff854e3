package nn

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/safetensors"
)

// A training is a run with everything that a checkpoint may hold.
type training struct {
	encoder, momentum Sequential
	items             *Embedding
	optimizer         *AdamW
	table             *Adagrad
	plain             *SGD
	head              *Linear
	tau               *Temperature
	queue             *contrastive.Queue
	source            *rand.PCG
	weights           []float32
	step              int
	best              float64
}

func newRun(t *testing.T, seed uint64) *training {
	t.Helper()
	rng := newRand(seed)
	net := func() Sequential {
		return Sequential{NewLinear(4, 6, true, rng), NewBatchNorm(6, true), &ReLU{}, &Dropout{P: 0.2, Seed: 9}, NewLinear(6, 4, true, rng)}
	}
	r := &training{
		encoder: net(), momentum: net(), items: NewEmbedding(20, 4, rng), head: NewLinear(4, 4, false, rng),
		tau: NewTemperature(0.2), source: rand.NewPCG(seed, 7), weights: []float32{1, 2, float32(seed)},
	}
	r.items.Sparse = true
	r.optimizer = &AdamW{Params: Params(r.encoder, r.tau)}
	r.table = &Adagrad{Params: Params(r.items), RowWise: true}
	r.plain = &SGD{Params: Params(r.head)}
	var err error
	if r.queue, err = contrastive.NewQueue(30, 4); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *training) checkpoint() Checkpoint {
	return Checkpoint{
		"encoder": r.encoder, "momentum": r.momentum, "items": r.items, "head": r.head, "tau": r.tau,
		"optimizer": r.optimizer, "table": r.table, "plain": r.plain,
		"queue": r.queue, "random": r.source, "weights": r.weights, "step": &r.step, "best": &r.best,
	}
}

func (r *training) train(t *testing.T, steps int) {
	t.Helper()
	rng := rand.New(r.source)
	dz := contrastive.NewMatrix(8, 4)
	for range steps {
		ids := make([]int, 8)
		for i := range ids {
			ids[i] = rng.IntN(20)
		}
		x, err := r.items.Forward(ids)
		if err != nil {
			t.Fatal(err)
		}
		q := r.head.Forward(r.encoder.Forward(x, true), true)
		k := r.momentum.Forward(x, true)
		result, err := contrastive.InfoNCE{Temperature: r.tau.Value()}.Eval(
			contrastive.Batch{Query: q, Key: k, Queue: r.queue}, contrastive.Gradients{Query: dz})
		if err != nil {
			t.Fatal(err)
		}
		r.tau.Backward(result)
		r.items.Backward(r.encoder.Backward(r.head.Backward(dz, true), true))
		for _, o := range []Optimizer{r.optimizer, r.table, r.plain} {
			if err := o.Step(0.01); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(contrastive.MomentumUpdates(Values(r.momentum), Values(r.encoder), 0.9), r.queue.Enqueue(k)); err != nil {
			t.Fatal(err)
		}
		r.step++
		r.best += result.Loss
		r.weights[0] *= 1.5
	}
}

// contents returns all of a run, bit by bit.
func (r *training) contents(t *testing.T) string {
	t.Helper()
	c, err := r.checkpoint().contents()
	if err != nil {
		t.Fatal(err)
	}
	return c.checksum()
}

// TestCheckpoint: a run that stops and goes on is the run that does not stop, bit by bit.
func TestCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.safetensors")
	whole := newRun(t, 1)
	whole.train(t, 9)

	first := newRun(t, 1)
	first.train(t, 5)
	if err := first.checkpoint().Save(path); err != nil {
		t.Fatal(err)
	}
	second := newRun(t, 2)
	if err := second.checkpoint().Load(path); err != nil {
		t.Fatal(err)
	}
	if second.contents(t) != first.contents(t) || second.step != 5 || second.weights[2] != 1 {
		t.Fatal("what is loaded is not what was saved")
	}
	second.train(t, 4)
	if second.contents(t) != whole.contents(t) {
		t.Error("the run that was resumed differs")
	}
	again := filepath.Join(t.TempDir(), "again")
	if err := first.checkpoint().Save(again); err != nil {
		t.Fatal(err)
	}
	a, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(again); err != nil || !slices.Equal(a, b) {
		t.Errorf("the same run is not the same file: %v", err)
	}

	f, err := safetensors.Open(strings.NewReader(string(a)), int64(len(a)))
	if err != nil {
		t.Fatal(err)
	}
	w, ok := f.Tensor("encoder.0.weight")
	if !ok || !slices.Equal(w.Shape, []int{4, 6}) || w.Type != safetensors.Float32 || f.Metadata["step"] != "5" {
		t.Errorf("the file has %+v, step %q", w, f.Metadata["step"])
	}
}

// TestCheckpointDamage: a file that is short, or of which a bit has changed, is an error
// that changes nothing, unless the bit means nothing.
func TestCheckpointDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.safetensors")
	r := newRun(t, 1)
	r.train(t, 2)
	if err := r.checkpoint().Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	saved := r.contents(t)
	other := newRun(t, 2)
	before := other.contents(t)
	step := 97
	if testing.Short() {
		step = 997
	}
	for n := 0; n < len(data); n += step {
		if err := os.WriteFile(path, data[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		if err := other.checkpoint().Load(path); !errors.Is(err, contrastive.ErrCorrupt) || !strings.HasPrefix(err.Error(), "nn: Checkpoint.Load: "+path) {
			t.Errorf("the first %d of %d bytes: %v", n, len(data), err)
		}
		flipped := slices.Clone(data)
		flipped[n] ^= 1 << (n % 8)
		if err := os.WriteFile(path, flipped, 0o666); err != nil {
			t.Fatal(err)
		}
		err := other.checkpoint().Load(path)
		if after := other.contents(t); err == nil && after != saved || err != nil && after != before {
			t.Fatalf("bit %d of byte %d: %v, and something else is loaded", n%8, n, err)
		} else if err == nil {
			t.Logf("bit %d of byte %d means nothing", n%8, n)
			other = newRun(t, 2)
		}
	}
}

// TestCheckpointErrors: they name what is wrong.
func TestCheckpointErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	rng := newRand(1)
	step, best := 3, 0.5
	queue, err := contrastive.NewQueue(4, 3)
	if err != nil {
		t.Fatal(err)
	}
	base := func() Checkpoint {
		return Checkpoint{"net": Sequential{NewLinear(2, 3, true, rng)}, "queue": queue, "step": &step, "best": &best}
	}
	if err := base().Save(path); err != nil {
		t.Fatal(err)
	}
	with := func(key string, v any) Checkpoint {
		c := base()
		c[key] = v
		return c
	}
	without := func(key string) Checkpoint {
		c := base()
		delete(c, key)
		return c
	}
	wide, err := contrastive.NewQueue(4, 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		checkpoint Checkpoint
		is         error
		want       string
	}{
		{with("net", Sequential{NewLinear(2, 4, true, rng)}), contrastive.ErrShape, "tensor net.0.bias is F32[3], want F32[4]"},
		{with("net", Sequential{NewLinear(2, 3, false, rng)}), contrastive.ErrShape, "it has a tensor net.0.bias, and the checkpoint has not"},
		{with("more", []float32{1}), contrastive.ErrShape, "it has no tensor more"},
		{with("more", &step), contrastive.ErrShape, "it has no number more"},
		{with("step", []float32{1}), contrastive.ErrShape, "it has a number step, and the checkpoint has not"},
		{with("best", &step), contrastive.ErrShape, "best: "},
		{without("queue"), contrastive.ErrShape, "it has a tensor queue, and the checkpoint has not"},
		{with("queue", wide), contrastive.ErrShape, "queue: a queue of 4 keys of 3 dimensions, want 4 of 5"},
		{with("queue", &rand.PCG{}), nil, "queue: "},
		{with("wrong", 3), contrastive.ErrParameter, "wrong is a int"},
		{with("wrong", []int{3}), contrastive.ErrParameter, "wrong is a []int"},
		{with("", &step), contrastive.ErrParameter, `the name "" cannot be used`},
		{with("contrastive.crc64", &step), contrastive.ErrParameter, `the name "contrastive.crc64" cannot be used`},
		{with("net.0.bias", []float32{1}), contrastive.ErrParameter, "two tensors are called net.0.bias"},
	} {
		sum := func() string {
			now, err := c.checkpoint.contents()
			if err != nil {
				return err.Error()
			}
			return now.checksum()
		}
		step, best = 7, 9
		before := sum()
		err := c.checkpoint.Load(path)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.HasPrefix(err.Error(), "nn: Checkpoint.Load: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q that wraps %v", err, c.want, c.is)
		}
		if sum() != before {
			t.Errorf("%v, and something has changed", err)
		}
		if c.is == contrastive.ErrParameter {
			if err := c.checkpoint.Save(path + ".2"); !errors.Is(err, c.is) || !strings.HasPrefix(err.Error(), "nn: Checkpoint.Save: ") {
				t.Errorf("Save: %v", err)
			}
		}
	}
	if err := base().Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if found, err := base().Resume(filepath.Join(t.TempDir(), "none")); found || err != nil {
		t.Errorf("Resume without a file: %v, %v", found, err)
	}
	if found, err := with("more", &step).Resume(path); found || !errors.Is(err, contrastive.ErrShape) || !strings.HasPrefix(err.Error(), "nn: Checkpoint.Resume: ") {
		t.Errorf("Resume from another checkpoint: %v, %v", found, err)
	}
	if found, err := base().Resume(path); !found || err != nil || step != 3 || best != 0.5 {
		t.Errorf("Resume: %v, step %d, best %v, %v", found, step, best, err)
	}
	step, best = 7, 9
	if err := base().Load(path); err != nil || step != 3 || best != 0.5 {
		t.Errorf("step %d, best %v, %v", step, best, err)
	}
	if _, err := os.Stat(path + ".2"); err == nil {
		t.Error("a failed Save leaves a file")
	}
}
