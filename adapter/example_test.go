package adapter_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/adapter"
	"github.com/contrastive-go/contrastive/retrieval"
)

func ExampleFit() {
	// Here the model has put the first half of a query's vector where documents have the
	// second; query i asks for document i.
	const n, dim = 500, 8
	rng := rand.New(rand.NewPCG(1, 2))
	queries, documents := contrastive.NewMatrix(n, dim), contrastive.NewMatrix(n, dim)
	for i := range n {
		for j := range dim {
			v := float32(rng.NormFloat64())
			documents.Row(i)[j], queries.Row(i)[(j+dim/2)%dim] = v, v
		}
	}

	a, err := adapter.Fit(context.Background(),
		adapter.Data{Queries: queries, Documents: documents},
		adapter.Config{LearningRate: 0.02, BatchSize: 64})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("NDCG@10 of held-out queries: %.1f → %.1f\n", a.Training.NDCGBefore, a.Training.NDCG)

	// The index stays as it is; queries are mapped.
	mapped := contrastive.NewMatrix(n, dim)
	if err := a.Query.ApplyMatrix(mapped, queries); err != nil {
		fmt.Println(err)
		return
	}
	answers := make([][]int, n)
	for i := range answers {
		answers[i] = []int{i}
	}
	r, err := retrieval.Rank(mapped, documents, retrieval.Relevance{Keys: answers}, retrieval.Options{}, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("recall@1 of all: %.1f\n", r.Recall[0])
	// Output:
	// NDCG@10 of held-out queries: 0.0 → 1.0
	// recall@1 of all: 1.0
}

func ExampleTransform_Apply() {
	a, err := adapter.Load("testdata/adapter.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	vector := []float32{0, 3, 0, 4}
	if err := a.Query.Apply(vector, vector); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.2f\n", vector)
	// Output:
	// [0.80 0.60 0.00 0.00]
}
