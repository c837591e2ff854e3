package nn_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// In training every pass drops others, which makes two views of one batch.
func ExampleDropout() {
	dropout := &nn.Dropout{P: 0.5, Seed: 3}
	x := contrastive.Matrix{Rows: 1, Cols: 6, Stride: 6, Data: []float32{1, 1, 1, 1, 1, 1}}
	fmt.Println(dropout.Forward(x, true).Row(0))
	fmt.Println(dropout.Forward(x, true).Row(0))
	fmt.Println(dropout.Forward(x, false).Row(0))
	// Output:
	// [0 2 2 2 2 0]
	// [2 2 2 0 2 0]
	// [1 1 1 1 1 1]
}

// Columns are brought to mean 0 and variance 1.
func ExampleBatchNorm() {
	norm := nn.NewBatchNorm(2, true)
	x := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 10, 3, 30}}
	y := norm.Forward(x, true)
	fmt.Printf("%.2f %.2f\n", y.Row(0), y.Row(1))
	// Output: [-1.00 -1.00] [1.00 1.00]
}

// Rows are.
func ExampleLayerNorm() {
	norm := nn.NewLayerNorm(2)
	x := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 10, 30, 3}}
	y := norm.Forward(x, true)
	fmt.Printf("%.2f %.2f\n", y.Row(0), y.Row(1))
	// Output: [-1.00 1.00] [1.00 -1.00]
}

func ExampleGELU() {
	x := contrastive.Matrix{Rows: 1, Cols: 3, Stride: 3, Data: []float32{-1, 0, 1}}
	fmt.Printf("%.3f\n", new(nn.GELU).Forward(x, false).Row(0))
	// Output: [-0.159 0.000 0.841]
}

// Items 2 and 0 are looked up, and only they move.
func ExampleEmbedding() {
	items := nn.EmbeddingOf(contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, 1, 1}})
	items.Sparse = true
	optimizer := &nn.Adagrad{Params: items.Params()}
	x, err := items.Forward([]int{2, 0})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(x.Row(0), x.Row(1))
	items.Backward(contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{4, 0, 0, -4}})
	if err := optimizer.Step(0.5); err != nil {
		log.Fatal(err)
	}
	fmt.Println(items.Table().Data)
	// Output:
	// [1 1] [1 0]
	// [1 0.5 0 1 0.5 1]
}

// Every optimiser moves against the gradient, and takes the same calls.
func ExampleOptimizer() {
	for _, optimizer := range []func([]*nn.Param) nn.Optimizer{
		func(p []*nn.Param) nn.Optimizer { return &nn.SGD{Params: p, Momentum: 0.9} },
		func(p []*nn.Param) nn.Optimizer { return &nn.Adagrad{Params: p} },
		func(p []*nn.Param) nn.Optimizer { return &nn.AdamW{Params: p, WeightDecay: 0.01} },
	} {
		w := nn.NewParam("weight", 2)
		o := optimizer([]*nn.Param{w})
		copy(w.Grad, []float32{1, -4})
		if err := o.Step(0.1); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%T %.1f\n", o, w.Value)
	}
	// Output:
	// *nn.SGD [-0.1 0.4]
	// *nn.Adagrad [-0.1 0.1]
	// *nn.AdamW [-0.1 0.1]
}

// scaling is a layer of one's own: every row times a number, which is trained.
type scaling struct {
	factor *nn.Param
	x      contrastive.Matrix
	y, dx  contrastive.Matrix
}

func (s *scaling) Params() []*nn.Param  { return []*nn.Param{s.factor} }
func (s *scaling) Buffers() []nn.Tensor { return nil }

func (s *scaling) Forward(x contrastive.Matrix, training bool) contrastive.Matrix {
	s.x, s.y = x, contrastive.NewMatrix(x.Rows, x.Cols)
	for i := range x.Rows {
		for j, v := range x.Row(i) {
			s.y.Row(i)[j] = s.factor.Value[0] * v
		}
	}
	return s.y
}

func (s *scaling) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	s.dx = contrastive.NewMatrix(dy.Rows, dy.Cols)
	for i := range dy.Rows {
		for j, g := range dy.Row(i) {
			s.factor.Grad[0] += g * s.x.Row(i)[j]
			s.dx.Row(i)[j] = s.factor.Value[0] * g
		}
	}
	return s.dx
}

// A layer of one's own goes between others.
func ExampleLayer() {
	own := &scaling{factor: nn.NewParam("factor", 1)}
	own.factor.Value[0] = 2
	var layer nn.Layer = own
	net := nn.Sequential{&nn.ReLU{}, layer}
	x := contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, -4}}
	fmt.Println(net.Forward(x, true).Row(0))
	dx := net.Backward(contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{1, 1}}, true)
	fmt.Println(dx.Row(0), own.factor.Grad)
	// Output:
	// [6 0]
	// [2 0] [3]
}

// What a checkpoint holds of a module goes by the names that PyTorch has for it.
func ExampleState() {
	rng := rand.New(rand.NewPCG(1, 2))
	var encoder nn.Module = nn.Sequential{nn.NewLinear(4, 3, true, rng), nn.NewBatchNorm(3, true), &nn.ReLU{}, nn.NewLinear(3, 2, false, rng)}
	for _, tensor := range nn.State(encoder) {
		fmt.Println(tensor.Name, tensor.Shape)
	}
	// Output:
	// 0.weight [4 3]
	// 0.bias [3]
	// 1.weight [3]
	// 1.bias [3]
	// 1.running_mean [3]
	// 1.running_var [3]
	// 3.weight [3 2]
}

// Each rank has the gradients of its rows, which add up to those of the batch.
func ExampleGrads() {
	ranks := contrastive.NewLocalGroup(1)[0]
	encoder := nn.NewLinear(2, 1, true, rand.New(rand.NewPCG(1, 2)))
	encoder.Forward(contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 4}}, true)
	encoder.Backward(contrastive.Matrix{Rows: 1, Cols: 1, Stride: 1, Data: []float32{2}}, false)
	for _, grad := range nn.Grads(encoder) {
		if err := ranks.AllReduce(context.Background(), grad); err != nil {
			log.Fatal(err)
		}
		fmt.Println(grad)
	}
	// Output:
	// [6 8]
	// [2]
}

// The labels of a batch of rows.
func ExamplePick() {
	names := []string{"a", "b", "c", "d"}
	fmt.Println(nn.Pick(names, []int{3, 0}))
	// Output: [d a]
}

// Hard negatives of three queries, as a Batch takes them.
func ExampleFlatten() {
	rows, counts := nn.Flatten([][]int{{7, 3}, {}, {5}})
	fmt.Println(rows, counts)
	// Output: [7 3 5] [2 0 1]
}

// Item 0 is met three times of four, so that it is a negative three times as often.
func ExampleLogQ() {
	fmt.Printf("%.2f\n", nn.LogQ([]int{0, 0, 1, 0}, 2))
	// Output: [-0.29 -1.39]
}

// The first start of a program finds no file; the next goes on where it was.
func ExampleCheckpoint_Resume() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "run.safetensors")
	for range 2 {
		step := 0
		checkpoint := nn.Checkpoint{"encoder": nn.NewLayerNorm(4), "step": &step}
		resumed, err := checkpoint.Resume(path)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(resumed, step)
		step += 100
		if err := checkpoint.Save(path); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// false 0
	// true 100
}
