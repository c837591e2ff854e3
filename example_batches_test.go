package contrastive_test

import (
	"fmt"
	"log"

	"github.com/contrastive-go/contrastive"
)

// Several captions describe one image: captions 0 and 1 the first, 2 and 3 the second. The
// captions of an image are no negatives of it, nor of each other.
func ExampleBatch_captions() {
	images := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}}
	captions := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{3, 1, 2, 0, 1, 2, 0, 3}}
	r, err := contrastive.CLIP{Temperature: 0.1}.Eval(contrastive.Batch{
		Query: images, Key: captions,
		Positives: [][]int{{0, 1}, {2, 3}},
	}, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.4f, cosine of images and their captions %.3f\n", r.Loss, r.PositiveCosine)
	// Output: loss 0.0035, cosine of images and their captions 0.961
}

// Each question has an answer and two hard negatives of its own, and takes the answers of
// the others for negatives, too: MultipleNegativesRankingLoss elsewhere.
func ExampleBatch_hardNegatives() {
	questions := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}}
	answers := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 1, 1, 3}}
	hard := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{1, 1, 2, 3, 1, 1, 3, 2}}
	dHard := contrastive.NewMatrix(4, 2)
	r, err := contrastive.InfoNCE{Temperature: 0.05, InBatch: true}.Eval(
		contrastive.Batch{Query: questions, Key: answers, Hard: hard},
		contrastive.Gradients{Hard: dHard})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.4f, gradient of the first hard negative %.4f\n", r.Loss, dHard.Row(0))
	// Output: loss 0.0083, gradient of the first hard negative [0.0280 -0.0280]
}

// A recommender with two towers corrects for the popularity of items, which come into the
// batch as often as people click on them.
func ExampleBatch_popularity() {
	users := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}}
	items := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{2, 1, 1, 2}}
	loss := contrastive.InfoNCE{Similarity: contrastive.Dot}
	for _, logQ := range [][]float32{nil, {-1, -5}} { // the first item is e⁴ times as popular
		r, err := loss.Eval(contrastive.Batch{Query: users, Key: items, KeyLogQ: logQ}, contrastive.Gradients{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.4f ", r.Loss)
	}
	// Output: 0.3133 1.5277
}

// Three queries share two documents. Each document is encoded once, and no query takes its
// own document for a negative.
func ExampleBatch_sharedDocuments() {
	queries := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 2, 1, 0, 1}}
	documents := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 1, 1, 3}}
	r, err := contrastive.InfoNCE{Temperature: 0.1}.Eval(contrastive.Batch{
		Query: queries, Key: documents,
		Positives: [][]int{{0}, {0}, {1}},
	}, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.4f, accuracy %.0f\n", r.Loss, r.Accuracy)
	// Output: loss 0.0203, accuracy 1
}

// The third key answers the first question as well as its own key does, so that it is
// left out of its negatives.
func ExampleFilter() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, 1, 1}},
		Key:   contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{2, 1, 0, 1, 5, 1}},
	}
	for _, l := range []contrastive.InfoNCE{
		{Temperature: 0.1, Filter: contrastive.NoFilter}, // the default
		{Temperature: 0.1, Filter: contrastive.AbsoluteMargin, FilterMargin: 0.05},
		{Temperature: 0.1, Filter: contrastive.RelativeMargin, FilterMargin: -0.05}, // 95 % of the positive's
	} {
		r, err := l.Eval(b, contrastive.Gradients{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.4f ", r.Loss)
	}
	// Output: 0.9072 0.0855 0.0855
}

// The first two and all four columns are to be embeddings.
func ExampleMatryoshka() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 4, Stride: 4, Data: []float32{1, 0, 2, 0, 0, 1, 0, 2}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 4, Stride: 4, Data: []float32{3, 1, 1, 0, 1, 3, 0, 1}},
	}
	l := contrastive.Matryoshka{Loss: contrastive.CLIP{Temperature: 0.1}, Dims: []int{2, 4}}
	r, err := l.Eval(b, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f\n", r.Loss)
	// Output: 0.0063
}

// Pairs are to be told apart as a teacher tells them, and by the batch.
func ExampleSum() {
	b := contrastive.Batch{
		Query:  contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Key:    contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 1, 1, 3}},
		Scores: contrastive.Matrix{Rows: 2, Cols: 1, Stride: 1, Data: []float32{0.9, 0.8}},
	}
	l := contrastive.Sum{
		Losses:  []contrastive.Loss{contrastive.CLIP{Temperature: 0.1}, contrastive.CosineMSE{}},
		Weights: []float32{1, 0.5},
	}
	r, err := l.Eval(b, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f\n", r.Loss)
	// Output: 0.0079
}
