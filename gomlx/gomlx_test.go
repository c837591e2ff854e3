package gomlx_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/gomlx"
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train/optimizer"
)

const (
	inputs, hidden, embedding = 24, 32, 16

	temperature = 0.1
)

func newBackend(t testing.TB) compute.Backend {
	t.Helper()
	backend, err := gobackend.New("ops_sequential")
	if err != nil {
		t.Fatal(err)
	}
	return backend
}

func newStore(t testing.TB) *model.Store {
	t.Helper()
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		t.Fatal(err)
	}
	return store
}

func newEncoder(t testing.TB, trainer *gomlx.Trainer, scope string, f gomlx.EncoderFunc) *gomlx.Encoder {
	t.Helper()
	e, err := trainer.NewEncoder(scope, f)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// mlp is two layers.
func mlp(scope *model.Scope, inputs []*graph.Node) *graph.Node {
	h := activation.Relu(layers.DenseWithBias(scope.At("hidden"), inputs[0], hidden))
	return layers.DenseWithBias(scope.At("embedding"), h, embedding)
}

// insideCLIP is CLIP in the graph, as one would write it without package contrastive.
func insideCLIP(x, y *graph.Node) *graph.Node {
	q, k := graph.L2Normalize(x, -1), graph.L2Normalize(y, -1)
	logits := graph.MulScalar(graph.MatMul(q, graph.Transpose(k, 0, 1)), 1/temperature)
	positive := graph.ReduceSum(graph.MulScalar(graph.Mul(q, k), 1/temperature), -1)
	logSumExp := func(x *graph.Node) *graph.Node {
		top := graph.StopGradient(graph.ReduceAndKeep(x, graph.ReduceMax, -1))
		return graph.Add(graph.Log(graph.ReduceSum(graph.Exp(graph.Sub(x, top)), -1)), graph.Squeeze(top, -1))
	}
	return graph.MulScalar(graph.ReduceAllMean(graph.Add(
		graph.Sub(logSumExp(logits), positive),
		graph.Sub(logSumExp(graph.Transpose(logits, 0, 1)), positive))), 0.5)
}

// views returns two noisy views of the same points.
func views(r *rand.Rand, n int) (x, y []float32) {
	for range n * inputs {
		v := r.NormFloat64()
		x = append(x, float32(v+r.NormFloat64()))
		y = append(y, float32(v+r.NormFloat64()))
	}
	return x, y
}

func rows(x []float32) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(x, len(x)/inputs, inputs)
}

// encode encodes x and fails the test if that does.
func encode(t testing.TB, e *gomlx.Encoder, x []float32) *gomlx.Pass {
	t.Helper()
	p, err := e.Encode(rows(x))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// clip evaluates CLIP outside the graph and goes back.
func clip(t testing.TB, e *gomlx.Encoder, x, y []float32) float64 {
	t.Helper()
	q, k := encode(t, e, x), encode(t, e, y)
	n := q.Embeddings.Rows
	dq, dk := contrastive.NewMatrix(n, embedding), contrastive.NewMatrix(n, embedding)
	r, err := contrastive.CLIP{Temperature: temperature}.Eval(
		contrastive.Batch{Query: q.Embeddings, Key: k.Embeddings},
		contrastive.Gradients{Query: dq, Key: dk})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Backward(dq), k.Backward(dk)); err != nil {
		t.Fatal(err)
	}
	return r.Loss
}

// values returns the values of the variables in a scope, by the rest of their paths.
func values(t testing.TB, store *model.Store, scope string) map[string][]float32 {
	t.Helper()
	all := map[string][]float32{}
	for v := range store.IterVariables() {
		if name, ok := strings.CutPrefix(v.Path(), scope); ok && v.HasValue() {
			flat, err := tensors.CopyFlatData[float32](v.MustValue())
			if err != nil {
				t.Fatal(err)
			}
			all[name] = flat
		}
	}
	return all
}

const sums = "/contrastive_gradients"

// compareAll compares two sets of values, each within a share of the greatest.
func compareAll(t testing.TB, what string, got, want map[string][]float32, share float64) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("%s: %d variables, want %d", what, len(got), len(want))
	}
	for name, w := range want {
		top := 0.0
		for _, v := range w {
			top = max(top, math.Abs(float64(v)))
		}
		for i, v := range w {
			if math.Abs(float64(got[name][i]-v)) > share*top {
				t.Fatalf("%s: %s[%d] is %v, want %v", what, name, i, got[name][i], v)
			}
		}
	}
}

// TestGradients compares the sums of gradients with those of the loss in the graph. Both
// are float32: logits are within 2⁻²⁰ of magnitudes up to 10, so that weights of pairs
// are within 2⁻¹⁶; sums of 24 rows add little to that.
func TestGradients(t *testing.T) {
	backend, store := newBackend(t), newStore(t)
	trainer := gomlx.NewTrainer(backend, store, optimizer.Adam().Done())
	e := newEncoder(t, trainer, "/encoder", mlp)
	x, y := views(rand.New(rand.NewPCG(1, 2)), 24)
	loss := clip(t, e, x, y)

	got := values(t, store, sums+"/encoder")
	inside, err := model.NewExec(backend, store, func(root *model.Scope, x, y *graph.Node) []*graph.Node {
		scope := store.Scope("/encoder")
		l := insideCLIP(mlp(scope, []*graph.Node{x}), mlp(store.Scope("/encoder"), []*graph.Node{y}))
		return append([]*graph.Node{l}, scope.BuildTrainableVariablesGradientsGraph(l)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := inside.Call(rows(x), rows(y))
	if err != nil {
		t.Fatal(err)
	}
	if want := float64(tensors.ToScalar[float32](out[0])); math.Abs(loss-want) > 0x1p-18*want {
		t.Errorf("loss %v, want %v", loss, want)
	}
	want := map[string][]float32{}
	i := 1
	for v := range store.Scope("/encoder").IterVariables() {
		want[strings.TrimPrefix(v.Path(), "/encoder")] = tensors.MustCopyFlatData[float32](out[i])
		i++
	}
	compareAll(t, "gradients", got, want, 0x1p-14)
}

// TestCurves trains with the loss outside and inside the graph, by Adam and by SGD. Adam
// divides gradients by their magnitudes, so that where these nearly vanish a rounding is
// a part of a step: the curves are compared, not the variables.
func TestCurves(t *testing.T) {
	for name, newOptimizer := range map[string]func() optimizer.Interface{
		"adam": func() optimizer.Interface { return optimizer.Adam().LearningRate(1e-3).Done() },
		"sgd":  func() optimizer.Interface { return optimizer.StochasticGradientDescent() },
	} {
		backend := newBackend(t)
		outside, inside := newStore(t), newStore(t)
		trainer := gomlx.NewTrainer(backend, outside, newOptimizer())
		e := newEncoder(t, trainer, "/encoder", mlp)
		o := newOptimizer()
		update, err := model.NewExec(backend, inside, func(root *model.Scope, x, y *graph.Node) *graph.Node {
			inside.SetTraining(x.Graph(), true)
			l := insideCLIP(mlp(inside.Scope("/encoder"), []*graph.Node{x}), mlp(inside.Scope("/encoder"), []*graph.Node{y}))
			o.UpdateGraph(root, x.Graph(), l)
			return l
		})
		if err != nil {
			t.Fatal(err)
		}
		x, y := views(rand.New(rand.NewPCG(3, 4)), 24)
		var first, last float64
		for step := range 20 {
			last = clip(t, e, x, y)
			if err := trainer.Step(); err != nil {
				t.Fatal(err)
			}
			out, err := update.Call1(rows(x), rows(y))
			if err != nil {
				t.Fatal(err)
			}
			if want := float64(tensors.ToScalar[float32](out)); math.Abs(last-want) > 1e-5 {
				t.Errorf("%s, step %d: loss %v outside the graph, %v inside", name, step, last, want)
			}
			if step == 0 {
				first = last
			}
		}
		if !(last < 0.9*first) {
			t.Errorf("%s: the loss goes from %v to %v", name, first, last)
		}
		if got, want := optimizer.GetGlobalStep(outside), optimizer.GetGlobalStep(inside); got != want {
			t.Errorf("%s: %d steps outside, %d inside", name, got, want)
		}
	}
}

// TestGradientCache compares chunks of all sizes with one pass: the same sums in another
// order, of 26 rows.
func TestGradientCache(t *testing.T) {
	const n = 13
	backend := newBackend(t)
	x, y := views(rand.New(rand.NewPCG(5, 6)), n)
	var want map[string][]float32
	var loss float64
	for _, chunk := range []int{n, 1, 5, 100} {
		store := newStore(t)
		trainer := gomlx.NewTrainer(backend, store, optimizer.Adam().Done())
		e := newEncoder(t, trainer, "/encoder", mlp)
		tower := func(all []float32) contrastive.Tower {
			return e.Tower(n, embedding, func(lo, hi int) ([]*tensors.Tensor, error) {
				return []*tensors.Tensor{rows(all[lo*inputs : hi*inputs])}, nil
			})
		}
		r, err := contrastive.GradientCache{Loss: contrastive.CLIP{Temperature: temperature}, Chunk: chunk}.Step(
			contrastive.Towers{Query: tower(x), Key: tower(y)}, contrastive.Batch{})
		if err != nil {
			t.Fatal(err)
		}
		got := values(t, store, sums)
		if want == nil {
			want, loss = got, r.Loss
		}
		compareAll(t, "gradients in chunks", got, want, 32*0x1p-20)
		if math.Abs(r.Loss-loss) > 0x1p-18*loss {
			t.Errorf("chunks of %d: loss %v, want %v", chunk, r.Loss, loss)
		}
		if err := trainer.Step(); err != nil {
			t.Fatal(err)
		}
		for name, v := range values(t, store, sums) {
			for _, s := range v {
				if s != 0 {
					t.Fatalf("%s is %v after a step", name, s)
				}
			}
		}
	}
}

// TestDropout has embeddings dropout(x)·W with W the unit matrix, so that dW is zᵀ·dz if
// and only if Backward drops what Encode has dropped: in one pass, in two of which the
// first goes back last, and in chunks.
func TestDropout(t *testing.T) {
	store := newStore(t)
	unit := make([]float32, inputs*inputs)
	for i := range inputs {
		unit[i*inputs+i] = 1
	}
	if _, err := store.CreateVariable("/encoder/w", tensors.FromFlatDataAndDimensions(unit, inputs, inputs)); err != nil {
		t.Fatal(err)
	}
	trainer := gomlx.NewTrainer(newBackend(t), store, optimizer.StochasticGradientDescent())
	e := newEncoder(t, trainer, "/encoder", func(scope *model.Scope, in []*graph.Node) *graph.Node {
		x := layers.DropoutStatic(scope, in[0], 0.5)
		return graph.MatMul(x, scope.GetVariable("w").NodeValue(x.Graph()))
	})
	r := rand.New(rand.NewPCG(7, 8))
	want := make([]float32, inputs*inputs)
	add := func(z, dz contrastive.Matrix) {
		for n := range z.Rows {
			for i, v := range z.Row(n) {
				for j, w := range dz.Row(n) {
					want[i*inputs+j] += v * w
				}
			}
		}
	}
	dropped := 0
	random := func(n int) contrastive.Matrix {
		m := contrastive.NewMatrix(n, inputs)
		for i := range m.Data {
			m.Data[i] = float32(r.IntN(9) - 4) // products are exact
		}
		return m
	}
	x, y := views(r, 6)
	for i := range x {
		x[i], y[i] = float32(1+r.IntN(8)), float32(1+r.IntN(8))
	}
	first, second := encode(t, e, x), encode(t, e, y)
	for _, v := range first.Embeddings.Data {
		if v == 0 {
			dropped++
		}
	}
	if dropped == 0 || dropped == len(x) {
		t.Fatalf("%d of %d elements are dropped", dropped, len(x))
	}
	for _, p := range []*gomlx.Pass{second, first} {
		dz := random(6)
		add(p.Embeddings, dz)
		if err := p.Backward(dz); err != nil {
			t.Fatal(err)
		}
	}
	tower := e.Tower(6, inputs, func(lo, hi int) ([]*tensors.Tensor, error) {
		return []*tensors.Tensor{rows(x[lo*inputs : hi*inputs])}, nil
	})
	chunks := []contrastive.Matrix{contrastive.NewMatrix(4, inputs), contrastive.NewMatrix(2, inputs)}
	if err := errors.Join(tower.Encode(0, 4, chunks[0]), tower.Encode(4, 6, chunks[1])); err != nil {
		t.Fatal(err)
	}
	for i, z := range chunks {
		dz := random(z.Rows)
		add(z, dz)
		if err := tower.Backward(4*i, 4*i+z.Rows, dz); err != nil {
			t.Fatal(err)
		}
	}
	compareAll(t, "gradients", values(t, store, sums+"/encoder"), map[string][]float32{"/w": want}, 0)

	// In use nothing is dropped, and the generator goes on.
	z, err := e.Embed(rows(x))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range z.Data {
		if v != x[i] {
			t.Fatalf("embedding %v of %v", v, x[i])
		}
	}
	if again := encode(t, e, x); sameData(again.Embeddings.Data, first.Embeddings.Data) {
		t.Error("two passes drop the same")
	}
}

func sameData(x, y []float32) bool {
	for i, v := range x {
		if v != y[i] {
			return false
		}
	}
	return true
}

// TestLateEncoder steps once with one encoder, and then with another one, too.
func TestLateEncoder(t *testing.T) {
	store := newStore(t)
	trainer := gomlx.NewTrainer(newBackend(t), store, optimizer.StochasticGradientDescent())
	x, _ := views(rand.New(rand.NewPCG(9, 10)), 4)
	dz := contrastive.NewMatrix(4, embedding)
	for i := range dz.Data {
		dz.Data[i] = float32(i%5) - 1
	}
	for _, scope := range []string{"/one", "/two"} {
		p := encode(t, newEncoder(t, trainer, scope, mlp), x)
		before := values(t, store, scope)
		if err := errors.Join(p.Backward(dz), trainer.Step()); err != nil {
			t.Fatal(err)
		}
		for name, v := range values(t, store, scope) {
			if sameData(v, before[name]) {
				t.Errorf("%s%s has not moved", scope, name)
			}
		}
	}
}

func TestMomentumUpdate(t *testing.T) {
	store := model.NewStore()
	for path, values := range map[string][]float32{
		"/online/a/w": {1, 2}, "/online/b": {3}, "/target/a/w": {5, 6}, "/target/b": {7}, "/other": {9},
	} {
		if _, err := store.CreateVariable(path, tensors.FromFlatDataAndDimensions(values, len(values))); err != nil {
			t.Fatal(err)
		}
	}
	if err := gomlx.MomentumUpdate(store, "/target", "/online", 0.75); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]float32{
		"/online/a/w": {1, 2}, "/online/b": {3}, "/target/a/w": {4, 5}, "/target/b": {6}, "/other": {9},
	} {
		if got := tensors.MustCopyFlatData[float32](store.GetVariable(path).MustValue()); !sameData(want, got) {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	store := newStore(t)
	trainer := gomlx.NewTrainer(newBackend(t), store, optimizer.Adam().Done())
	e := newEncoder(t, trainer, "/encoder", mlp)
	x, _ := views(rand.New(rand.NewPCG(11, 12)), 3)
	p := encode(t, e, x)
	vector := newEncoder(t, trainer, "/vector", func(_ *model.Scope, in []*graph.Node) *graph.Node { return graph.ReduceSum(in[0], -1) })
	_, vectorErr := vector.Encode(rows(x))
	constant := newEncoder(t, trainer, "/constant", func(_ *model.Scope, in []*graph.Node) *graph.Node { return in[0] })
	none := encode(t, constant, x)
	tower := e.Tower(3, embedding+1, func(lo, hi int) ([]*tensors.Tensor, error) { return []*tensors.Tensor{rows(x)}, nil })
	cache := contrastive.GradientCache{Loss: contrastive.CLIP{}}
	_, towerErr := cache.Step(contrastive.Towers{Query: tower, Key: tower}, contrastive.Batch{})
	if towerErr == nil || !errors.Is(towerErr, contrastive.ErrShape) || !strings.Contains(towerErr.Error(), "the embeddings are 3×16, want 3×17") {
		t.Errorf("tower of another dimension: %v", towerErr)
	}
	for _, c := range []struct {
		err  error
		want error
		text string
	}{
		{trainer.Step(), contrastive.ErrEmpty, "gomlx: Step: there are no gradients"},
		{p.Backward(contrastive.NewMatrix(3, 5)), contrastive.ErrShape, "gomlx: Backward: dz is 3×5, the embeddings are 3×16"},
		{vectorErr, contrastive.ErrShape, "must be a matrix of Float32"},
		{none.Backward(contrastive.NewMatrix(3, inputs)), contrastive.ErrParameter, "no trainable variables"},
		{gomlx.MomentumUpdate(store, "/nowhere", "/encoder", 0.75), contrastive.ErrShape, "gomlx: MomentumUpdate: /nowhere has no hidden"},
		{gomlx.MomentumUpdate(store, "/encoder", "/nowhere", 0.75), contrastive.ErrShape, "gomlx: MomentumUpdate: /nowhere has no variables"},
		{gomlx.MomentumUpdate(store, "/encoder", "/encoder", 0.5), contrastive.ErrShape, "gomlx: MomentumUpdate: /encoder/hidden"},
	} {
		if !errors.Is(c.err, c.want) || !strings.HasPrefix(c.err.Error(), "gomlx: ") || !strings.Contains(c.err.Error(), c.text) {
			t.Errorf("%v, want %v with %q", c.err, c.want, c.text)
		}
	}
	// After an error in a graph the encoder goes on.
	encode(t, e, x)
}
