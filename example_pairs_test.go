package contrastive_test

import (
	"fmt"
	"log"

	"github.com/contrastive-go/contrastive"
)

// Pairs of sentences have grades, whose order alone is learned. The second pair is more
// similar than the first, and should be less.
func ExampleCoSENT() {
	b := contrastive.Batch{
		Query:  contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 1, 0, 1, 0}},
		Key:    contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{3, 4, 4, 3, 0, 1}},
		Scores: contrastive.Matrix{Rows: 3, Cols: 1, Stride: 1, Data: []float32{5, 2.5, 0}},
	}
	dq := contrastive.NewMatrix(3, 2)
	r, err := contrastive.CoSENT{}.Eval(b, contrastive.Gradients{Query: dq})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("cosines 0.6, 0.8 and 0: loss %.4f\n", r.Loss)
	fmt.Printf("the first two turn: %.2f %.2f\n", dq.Row(0), dq.Row(1))
	// Output:
	// cosines 0.6, 0.8 and 0: loss 4.0182
	// the first two turn: [0.00 -15.71] [0.00 11.78]
}

// The first pair should be the less similar, but its cosine is 1, where the cosine has no
// slope: CoSENT cannot turn it, and AnglE can. Their gradients are added up.
func ExampleAnglE() {
	b := contrastive.Batch{
		Query:  contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Key:    contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 1, 1}},
		Scores: contrastive.Matrix{Rows: 2, Cols: 1, Stride: 1, Data: []float32{0, 1}},
	}
	dq := contrastive.NewMatrix(2, 2)
	g := contrastive.Gradients{Query: dq}
	for _, l := range []contrastive.Loss{contrastive.CoSENT{}, contrastive.AnglE{}} {
		r, err := l.Eval(b, g)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%T: loss %.4f, gradient of the first query %.4f\n", l, r.Loss, dq.Row(0))
		g.Accumulate = true // from here on, the sum
	}
	// Output:
	// contrastive.CoSENT: loss 5.8607, gradient of the first query [0.0000 0.0000]
	// contrastive.AnglE: loss 0.0003, gradient of the first query [0.0000 0.0050]
}

func ExampleCosineMSE() {
	b := contrastive.Batch{
		Query:  contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 1, 0}},
		Key:    contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 4, 0, 1}},
		Scores: contrastive.Matrix{Rows: 2, Cols: 1, Stride: 1, Data: []float32{1, 0.5}},
	}
	losses := make([]float64, 2)
	r, err := contrastive.CosineMSE{}.Eval(b, contrastive.Gradients{Losses: losses})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.3f, the mean of %.2f\n", r.Loss, losses)
	// Output: loss 0.205, the mean of [0.16 0.25]
}

// A cross-encoder has scored the key and two hard negatives of a query. What counts is by
// how much it prefers the key.
func ExampleMarginMSE() {
	b := contrastive.Batch{
		Query:  contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{2, 1}},
		Key:    contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 1}},
		Hard:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 1, 0, 2}},
		Scores: contrastive.Matrix{Rows: 1, Cols: 3, Stride: 3, Data: []float32{9, 5, 1}},
	}
	dh := contrastive.NewMatrix(2, 2)
	r, err := contrastive.MarginMSE{}.Eval(b, contrastive.Gradients{Hard: dh})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("margins 4 and 5 for 4 and 8: loss %.1f\n", r.Loss)
	fmt.Printf("the second negative is too near: %v\n", dh.Row(1))
	// Output:
	// margins 4 and 5 for 4 and 8: loss 4.5
	// the second negative is too near: [6 3]
}

func ExampleDistillKL() {
	b := contrastive.Batch{
		Query:  contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{2, 1}},
		Key:    contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 1}},
		Hard:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 1, 0, 2}},
		Scores: contrastive.Matrix{Rows: 1, Cols: 3, Stride: 3, Data: []float32{9, 5, 1}},
	}
	for _, temperature := range []float32{1, 4} {
		r, err := contrastive.DistillKL{Temperature: temperature}.Eval(b, contrastive.Gradients{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("T = %v: loss %.4f\n", temperature, r.Loss)
	}
	// Output:
	// T = 1: loss 0.0053
	// T = 4: loss 0.4528
}

func ExampleEmbeddingMSE() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{1, 5}}, // student
		Key:   contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 4}}, // teacher
	}
	dq := contrastive.NewMatrix(1, 2)
	r, err := contrastive.EmbeddingMSE{}.Eval(b, contrastive.Gradients{Query: dq})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.1f, gradient %v\n", r.Loss, dq.Row(0))
	// Output: loss 2.5, gradient [-2 1]
}

// The second query has three hard negatives, the first has one.
func ExampleTriplet() {
	b := contrastive.Batch{
		Query:      contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{0, 0, 1, 0}},
		Key:        contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 4, 1, 1}},
		Hard:       contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{0, 2, 1, 9, 1, 5, 3, 0}},
		HardCounts: []int{1, 3},
	}
	dq := contrastive.NewMatrix(2, 2)
	r, err := contrastive.Triplet{}.Eval(b, contrastive.Gradients{Query: dq})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("triplets lose 8, 0, 1 and 4: loss %.2f\n", r.Loss)
	fmt.Printf("gradient of the second query %v\n", dq.Row(1))
	// Output:
	// triplets lose 8, 0, 1 and 4: loss 3.25
	// gradient of the second query [0.25 -0.25]
}
