// Gomlx trains a GoMLX encoder with a loss from outside its graph. GoMLX keeps the
// encoder, automatic differentiation and Adam; the loss gets embeddings and gives
// their gradients back, which a surrogate, Σ stopgrad(dz)·z, carries into the graph:
// its derivative with respect to a parameter is that of the loss.
//
//	go run -C examples/gomlx .
//	GOEXPERIMENT=simd go run -C examples/gomlx .    # GoMLX with SIMD instructions
//
// It trains the same encoder with the same loss inside the graph, compares the two
// curves, and times both.
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/contrastive-go/contrastive"
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
	inputs, hidden, embedding = 256, 128, 64

	temperature = 0.1
	rate        = 1e-3
)

func main() {
	steps := flag.Int("steps", 60, "training steps")
	pairs := flag.Int("pairs", 128, "pairs a step")
	smoke := flag.Bool("smoke", false, "a few small steps")
	flag.Parse()
	log.SetFlags(0)
	if *smoke {
		*steps, *pairs = 4, 16
	}
	if err := run(*steps, *pairs); err != nil {
		log.Fatal(err)
	}
}

func run(steps, pairs int) error {
	// Without this option several products at a time can wait for each other for
	// ever.
	backend, err := gobackend.New("ops_sequential")
	if err != nil {
		return err
	}
	outside, inside, err := newTrainers(backend)
	if err != nil {
		return err
	}
	var seconds [2][]float64
	worst := 0.0
	data := rand.New(rand.NewPCG(1, 2))
	for step := range steps {
		x, y := views(data, pairs)
		var losses [2]float64
		for i, t := range []trainer{outside, inside} {
			start := time.Now()
			if losses[i], err = t.step(x, y); err != nil {
				return err
			}
			seconds[i] = append(seconds[i], time.Since(start).Seconds())
		}
		worst = max(worst, math.Abs(losses[0]-losses[1]))
		if step%10 == 0 || step == steps-1 {
			fmt.Printf("step %3d  loss %.6f, inside the graph %.6f\n", step, losses[0], losses[1])
		}
	}
	fmt.Printf("greatest difference %.1e\n", worst)
	for i := range seconds {
		slices.Sort(seconds[i])
	}
	a, b := seconds[0][steps/2], seconds[1][steps/2]
	fmt.Printf("median step: %.1f ms, loss inside the graph %.1f ms, ratio %.2f\n", 1e3*a, 1e3*b, b/a)
	return nil
}

// A trainer takes a step on two views of the same points, and returns the loss.
type trainer interface {
	step(x, y []float32) (float64, error)
}

// newTrainers returns one with the loss outside and one with the loss inside the
// graph, of equal parameters.
func newTrainers(backend compute.Backend) (*outside, *inside, error) {
	var stores [2]*model.Store
	for i := range stores {
		stores[i] = model.NewStore()
		if err := stores[i].SetRNGStateFromSeed(1); err != nil {
			return nil, nil, err
		}
	}
	out, err := newOutside(backend, stores[0])
	if err != nil {
		return nil, nil, err
	}
	in, err := newInside(backend, stores[1])
	return out, in, err
}

func encoder(scope *model.Scope, x *graph.Node) *graph.Node {
	h := activation.Relu(layers.DenseWithBias(scope.At("hidden"), x, hidden))
	return layers.DenseWithBias(scope.At("embedding"), h, embedding)
}

// outside is the pattern to copy: one executor encodes, the loss is evaluated in
// Go, and another executor takes the step.
type outside struct {
	encode, update *model.Exec
	dz             contrastive.Matrix
}

func newOutside(backend compute.Backend, store *model.Store) (*outside, error) {
	adam := optimizer.Adam().LearningRate(rate).Done()
	encode, err := model.NewExec(backend, store, encoder)
	if err != nil {
		return nil, err
	}
	update, err := model.NewExec(backend, store, func(scope *model.Scope, x, dz *graph.Node) *graph.Node {
		scope.Store().SetTraining(x.Graph(), true)
		surrogate := graph.ReduceAllSum(graph.Mul(graph.StopGradient(dz), encoder(scope, x)))
		adam.UpdateGraph(scope, x.Graph(), surrogate)
		return surrogate
	})
	return &outside{encode: encode, update: update}, err
}

func (o *outside) step(x, y []float32) (float64, error) {
	both := tensors.FromFlatDataAndDimensions(append(slices.Clone(x), y...), 2*len(x)/inputs, inputs)
	z, err := o.encode.Call1(both)
	if err != nil {
		return 0, err
	}
	n := len(x) / inputs
	if o.dz.Rows != 2*n {
		o.dz = contrastive.NewMatrix(2*n, embedding)
	}
	dq, dk := halves(o.dz.Data)
	var result contrastive.Result
	var failed error
	if err := tensors.ConstFlatData(z, func(flat []float32) {
		q, k := halves(flat)
		result, failed = contrastive.CLIP{Temperature: temperature}.Eval(
			contrastive.Batch{Query: q, Key: k},
			contrastive.Gradients{Query: dq, Key: dk})
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	_, err = o.update.Call1(both, tensors.FromFlatDataAndDimensions(o.dz.Data, 2*n, embedding))
	return result.Loss, err
}

// halves returns the first and the second half of the rows of embeddings.
func halves(flat []float32) (first, second contrastive.Matrix) {
	n := len(flat) / (2 * embedding)
	m := contrastive.Matrix{Rows: n, Cols: embedding, Stride: embedding}
	first, second = m, m
	first.Data, second.Data = flat[:n*embedding], flat[n*embedding:]
	return first, second
}

// inside has the loss in the graph, as one would write it without this library.
type inside struct{ update *model.Exec }

func newInside(backend compute.Backend, store *model.Store) (*inside, error) {
	adam := optimizer.Adam().LearningRate(rate).Done()
	update, err := model.NewExec(backend, store, func(scope *model.Scope, x, y *graph.Node) *graph.Node {
		g := x.Graph()
		scope.Store().SetTraining(g, true)
		q, k := graph.L2Normalize(encoder(scope, x), -1), graph.L2Normalize(encoder(scope, y), -1)
		logits := graph.MulScalar(graph.MatMul(q, graph.Transpose(k, 0, 1)), 1/temperature)
		positive := graph.ReduceSum(graph.MulScalar(graph.Mul(q, k), 1/temperature), -1)
		loss := graph.MulScalar(graph.ReduceAllMean(graph.Add(
			graph.Sub(logSumExp(logits), positive),
			graph.Sub(logSumExp(graph.Transpose(logits, 0, 1)), positive))), 0.5)
		adam.UpdateGraph(scope, g, loss)
		return loss
	})
	return &inside{update}, err
}

func logSumExp(x *graph.Node) *graph.Node {
	top := graph.StopGradient(graph.ReduceAndKeep(x, graph.ReduceMax, -1))
	return graph.Add(graph.Log(graph.ReduceSum(graph.Exp(graph.Sub(x, top)), -1)), graph.Squeeze(top, -1))
}

func (i *inside) step(x, y []float32) (float64, error) {
	n := len(x) / inputs
	loss, err := i.update.Call1(tensors.FromFlatDataAndDimensions(x, n, inputs), tensors.FromFlatDataAndDimensions(y, n, inputs))
	if err != nil {
		return 0, err
	}
	return float64(tensors.ToScalar[float32](loss)), nil
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
