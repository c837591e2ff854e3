package contrastive_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/contrastive-go/contrastive"
)

// A query has two positives, one of them far away. Where it is enough that one is similar,
// that costs little.
func ExamplePositiveForm() {
	b := contrastive.Batch{
		Query:     contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{1, 0}},
		Key:       contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Positives: [][]int{{0, 1}},
		Negatives: contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 4}},
	}
	for _, form := range []contrastive.PositiveForm{contrastive.Separate, contrastive.Shared, contrastive.Any} {
		r, err := contrastive.InfoNCE{Temperature: 0.2, Form: form}.Eval(b, contrastive.Gradients{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.3f ", r.Loss)
	}
	// Output: 1.588 2.633 0.126
}

// The margin is in units of the distance.
func ExampleDistance() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 4}},
		Key:   contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{6, 8}},
		Hard:  contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 0}},
	}
	for _, l := range []contrastive.Triplet{
		{Distance: contrastive.Euclidean, Margin: 1},
		{Distance: contrastive.CosineDistance, Margin: 0.5},
	} {
		r, err := l.Eval(b, contrastive.Gradients{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v: %.2f\n", l.Distance, r.Loss)
	}
	// Output:
	// Euclidean: 2.00
	// CosineDistance: 0.10
}

// Dot products reward long rows, and cosines do not.
func ExampleSimilarity() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 0, 0, 3}},
	}
	for _, similarity := range []contrastive.Similarity{contrastive.DefaultSimilarity, contrastive.Cosine, contrastive.Dot} {
		r, err := contrastive.InfoNCE{Temperature: 1, Similarity: similarity}.Eval(b, contrastive.Gradients{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v: loss %.3f, similarity of pairs %v\n", similarity, r.Loss, r.PositiveCosine)
	}
	// Output:
	// DefaultSimilarity: loss 0.313, similarity of pairs 1
	// Cosine: loss 0.313, similarity of pairs 1
	// Dot: loss 0.049, similarity of pairs 3
}

// meanNorm is a loss from outside the package: it keeps embeddings from growing.
type meanNorm struct{}

func (meanNorm) Eval(b contrastive.Batch, g contrastive.Gradients) (contrastive.Result, error) {
	sum := 0.0
	for i := range b.Query.Rows {
		for d, v := range b.Query.Row(i) {
			sum += float64(v) * float64(v)
			if g.Query.Rows > 0 {
				g.Query.Row(i)[d] = 2 * v / float32(b.Query.Rows)
			}
		}
	}
	return contrastive.Result{Loss: sum / float64(b.Query.Rows)}, nil
}

// A loss of one's own goes wherever a Loss does. This one is a penalty beside CLIP.
func ExampleLoss() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 3}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
	}
	dq := contrastive.NewMatrix(2, 2)
	l := contrastive.Sum{Losses: []contrastive.Loss{contrastive.CLIP{}, meanNorm{}}, Weights: []float32{1, 0.1}}
	r, err := l.Eval(b, contrastive.Gradients{Query: dq})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.3f, gradient of the second query %.1f\n", r.Loss, dq.Row(1))
	// Output: loss 0.500, gradient of the second query [0.0 0.3]
}

// The gradient of x is computed and that of y is not, and the loss of each pair is told.
func ExampleGradients() {
	x := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}}
	y := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 1, 0, 1}}
	dx, losses := contrastive.NewMatrix(2, 2), make([]float64, 2)
	r, err := contrastive.NTXent{}.Eval(
		contrastive.Batch{Query: x, Key: y},
		contrastive.Gradients{Query: dx, Losses: losses})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.3f is the mean of %.3f; the first row turns by %.3f\n", r.Loss, losses, dx.Row(0)[1])
	// Output: 0.637 is the mean of [0.747 0.526]; the first row turns by -0.108
}

func ExampleResult() {
	r, err := contrastive.SigLIP{Bias: -5}.Eval(contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 3, 4}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
	}, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.3f, by temperature %.2f, by bias %.3f\n", r.Loss, r.TemperatureGrad, r.BiasGrad)
	fmt.Printf("accuracy %.1f, cosines of pairs %.1f and of others %.1f\n", r.Accuracy, r.PositiveCosine, r.NegativeCosine)
	// Output:
	// loss 0.688, by temperature -19.70, by bias 0.342
	// accuracy 1.0, cosines of pairs 0.9 and of others 0.3
}

// The rows of a matrix may lie in a wider buffer.
func ExampleMatrix() {
	m := contrastive.NewMatrix(2, 3)
	copy(m.Row(1), []float32{1, 2, 3})
	left := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 3, Data: m.Data}
	fmt.Println(m.Data, left.Row(1))
	// Output: [0 0 0 1 2 3] [1 2]
}

// Three ranks add up a number, gather one of each, and pass one on.
func ExampleCollective() {
	group := contrastive.NewLocalGroup(3)
	rank := func(c contrastive.Collective) (sum, all, arrived []float32, err error) {
		ctx, own := context.Background(), float32(c.Rank()+1)
		sum, all, arrived = []float32{own}, make([]float32, c.Size()), make([]float32, 1)
		if err := c.AllReduce(ctx, sum); err != nil {
			return nil, nil, nil, err
		}
		if err := c.AllGather(ctx, all, []float32{own}, []int{1, 1, 1}); err != nil {
			return nil, nil, nil, err
		}
		transfer, err := c.Shift(ctx, arrived, []float32{own})
		if err != nil {
			return nil, nil, nil, err
		}
		return sum, all, arrived, transfer.Wait(ctx)
	}
	for _, c := range group[1:] {
		go rank(c)
	}
	sum, all, arrived, err := rank(group[0])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum, all, arrived)
	// Output: [6] [1 2 3] [3]
}

// A rank computes while what its neighbours send is under way.
func ExampleTransfer() {
	c, ctx := contrastive.NewLocalGroup(1)[0], context.Background() // a ring of one
	src, dst := []float32{1, 2}, make([]float32, 2)
	var transfer contrastive.Transfer
	transfer, err := c.Shift(ctx, dst, src)
	if err != nil {
		log.Fatal(err)
	}
	sum := src[0] + src[1] // which only reads src
	if err := transfer.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum, dst)
	// Output: 3 [1 2]
}

// Precision is about speed where an instruction set has products of bfloat16. It never
// makes more of an error than it says.
func ExamplePrecision() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 3}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 1, 0, 1}},
	}
	for _, p := range []contrastive.Precision{contrastive.Highest, contrastive.High, contrastive.Medium} {
		r, err := contrastive.CLIP{Temperature: 1, Options: contrastive.Options{Precision: p}}.Eval(b, contrastive.Gradients{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v: %.2f\n", p, r.Loss)
	}
	// Output:
	// Highest: 0.49
	// High: 0.49
	// Medium: 0.49
}

// The kind of an error is found by errors.Is, and its place is in the text.
func Example_errors() {
	x := contrastive.NewMatrix(2, 3)
	for _, b := range []contrastive.Batch{
		{},
		{Query: x, Key: contrastive.NewMatrix(2, 4)},
		{Query: x, Key: x, Negatives: x},
		{Query: x, Key: x, Weights: []float32{1, -1}},
	} {
		_, err := contrastive.CLIP{}.Eval(b, contrastive.Gradients{})
		switch {
		case errors.Is(err, contrastive.ErrEmpty), errors.Is(err, contrastive.ErrShape):
			fmt.Println("look at the data:", err)
		case errors.Is(err, contrastive.ErrUnused):
			fmt.Println("look at the loss:", err)
		case errors.Is(err, contrastive.ErrParameter):
			fmt.Println("look at the numbers:", err)
		}
	}
	// Output:
	// look at the data: contrastive: CLIP: Query is 0×0: empty input
	// look at the data: contrastive: CLIP: Key is 2×4, Query is 2×3: shapes do not fit
	// look at the loss: contrastive: CLIP: Negatives is given: the loss does not take it
	// look at the numbers: contrastive: CLIP: Weights[1] is -1 and must not be negative: parameter out of range
}

// After a change of the encoder, old keys are worth nothing.
func ExampleQueue_Reset() {
	queue, err := contrastive.NewQueue(4, 2)
	if err != nil {
		log.Fatal(err)
	}
	if err := queue.Enqueue(contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 4}}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(queue.Len(), queue.Keys().Row(0))
	queue.Reset()
	fmt.Println(queue.Len(), queue.Cap())
	// Output:
	// 1 [0.6 0.8]
	// 0 4
}
