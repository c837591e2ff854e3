package main

import (
	"math"
	"strconv"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/adapter"
	"github.com/contrastive-go/contrastive/retrieval"
	"github.com/contrastive-go/contrastive/simd"
	"github.com/philippgille/chromem-go"
)

func TestRun(t *testing.T) {
	if err := run(t.Context(), "split a string", 1, 3e-3, true); err != nil {
		t.Fatal(err)
	}
}

// TestSearch trains on half of the queries of a few packages, which may only be found as
// well or better then, and compares what chromem finds with TopK.
func TestSearch(t *testing.T) {
	ctx := t.Context()
	functions, err := standardLibrary(true)
	if err != nil {
		t.Fatal(err)
	}
	index, err := chromem.NewDB().CreateCollection("functions", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range functions {
		v := embed(f.text)
		if norm := float64(simd.Norm(v)); math.Abs(norm-1) > 0x1p-20 {
			t.Fatalf("%s: embedding of norm %v", f.name, norm)
		}
		if err := index.AddDocument(ctx, chromem.Document{ID: strconv.Itoa(i), Embedding: v}); err != nil {
			t.Fatal(err)
		}
	}
	data, test, err := split(ctx, index, functions, 1)
	if err != nil {
		t.Fatal(err)
	}
	if data.Queries.Rows+test.queries.Rows != len(functions) || data.Documents.Rows != len(functions) {
		t.Errorf("%d and %d queries, %d documents, %d functions", data.Queries.Rows, test.queries.Rows, data.Documents.Rows, len(functions))
	}
	for i, list := range test.relevant.Keys {
		for j, other := range data.Relevant.Keys {
			if functions[list[0]].pkg == functions[other[0]].pkg {
				t.Fatalf("test query %d and training query %d are of package %s", i, j, functions[list[0]].pkg)
			}
		}
	}

	a, err := adapter.Fit(ctx, data, adapter.Config{Epochs: 3})
	if err != nil {
		t.Fatal(err)
	}
	mapped := contrastive.NewMatrix(data.Queries.Rows, dim)
	if err := a.Query.ApplyMatrix(mapped, data.Queries); err != nil {
		t.Fatal(err)
	}
	var mrr [2]float64
	for i, queries := range []contrastive.Matrix{data.Queries, mapped} {
		r, err := retrieval.Rank(queries, data.Documents, data.Relevant, retrieval.Options{}, len(functions))
		if err != nil {
			t.Fatal(err)
		}
		mrr[i] = r.MRR[0]
	}
	if mrr[1] < mrr[0] {
		t.Errorf("MRR of the queries that were trained with is %.3f, and was %.3f", mrr[1], mrr[0])
	}

	_, cosines, err := contrastive.TopK(mapped, data.Documents, 5)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		results, err := index.QueryEmbedding(ctx, mapped.Row(i), 5, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for n, r := range results {
			// Sums of 512 products in float32, in another order.
			if math.Abs(float64(r.Similarity-cosines[i][n])) > 2*512*0x1p-24 {
				t.Errorf("query %d: %v as number %d, want %v", i, r.Similarity, n, cosines[i][n])
			}
		}
	}
}
