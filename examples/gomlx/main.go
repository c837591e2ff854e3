// Gomlx trains a GoMLX encoder with a loss from outside its graph, by module gomlx.
//
//	go run -C examples/gomlx .
//	go run -C examples/gomlx . -pairs 2048 -steps 10
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

func encoder(scope *model.Scope, inputs []*graph.Node) *graph.Node {
	h := activation.Relu(layers.DenseWithBias(scope.At("hidden"), inputs[0], hidden))
	return layers.DenseWithBias(scope.At("embedding"), h, embedding)
}

// outside is the pattern to copy.
type outside struct {
	trainer *gomlx.Trainer
	encoder *gomlx.Encoder
	dz      contrastive.Matrix
}

func newOutside(backend compute.Backend, store *model.Store) (*outside, error) {
	trainer := gomlx.NewTrainer(backend, store, optimizer.Adam().LearningRate(rate).Done())
	e, err := trainer.NewEncoder("/encoder", encoder)
	return &outside{trainer: trainer, encoder: e}, err
}

func (o *outside) step(x, y []float32) (float64, error) {
	n := len(x) / inputs
	both := tensors.FromFlatDataAndDimensions(append(slices.Clone(x), y...), 2*n, inputs)
	pass, err := o.encoder.Encode(both)
	if err != nil {
		return 0, err
	}
	if o.dz.Rows != 2*n {
		o.dz = contrastive.NewMatrix(2*n, embedding)
	}
	result, err := contrastive.CLIP{Temperature: temperature}.Eval(
		contrastive.Batch{Query: pass.Embeddings.Slice(0, n), Key: pass.Embeddings.Slice(n, 2*n)},
		contrastive.Gradients{Query: o.dz.Slice(0, n), Key: o.dz.Slice(n, 2*n)})
	if err != nil {
		return 0, err
	}
	if err := pass.Backward(o.dz); err != nil {
		return 0, err
	}
	return result.Loss, o.trainer.Step()
}

// inside has the loss in the graph, as one would write it without this library.
type inside struct{ update *model.Exec }

func newInside(backend compute.Backend, store *model.Store) (*inside, error) {
	adam := optimizer.Adam().LearningRate(rate).Done()
	update, err := model.NewExec(backend, store, func(scope *model.Scope, x, y *graph.Node) *graph.Node {
		g := x.Graph()
		scope.Store().SetTraining(g, true)
		encode := func(x *graph.Node) *graph.Node {
			return graph.L2Normalize(encoder(scope.Store().Scope("/encoder"), []*graph.Node{x}), -1)
		}
		q, k := encode(x), encode(y)
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
