package retrieval_test

import (
	"fmt"
	"log"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/retrieval"
)

// Of the first query, keys 0 and 2 are relevant, key 2 more so; of the second, key 3.
func ExampleRank() {
	queries := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}}
	keys := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{3, 1, 4, 1, 1, 2, 1, 9}}
	relevant := retrieval.Relevance{
		Keys:   [][]int{{0, 2}, {3}},
		Grades: [][]float32{{1, 2}, {1}},
	}
	r, err := retrieval.Rank(queries, keys, relevant, retrieval.Options{}, 1, 3)
	if err != nil {
		log.Fatal(err)
	}
	for c, k := range r.At {
		fmt.Printf("recall@%d %.3f, MRR@%d %.3f, nDCG@%d %.3f\n", k, r.Recall[c], k, r.MRR[c], k, r.NDCG[c])
	}
	fmt.Printf("MAP@R %.3f over %d queries\n", r.MAPAtR, r.Queries)
	// Output:
	// recall@1 0.500, MRR@1 0.500, nDCG@1 0.500
	// recall@3 1.000, MRR@3 0.750, nDCG@3 0.810
	// MAP@R 0.625 over 2 queries
}

// The nearest key that is no positive may be one that nobody has listed: a filter leaves
// out what is as near as the positive, by a margin. The rows of the mined keys, one query
// after the other, are the Hard negatives of a batch.
func ExampleMiner() {
	queries := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}}
	keys := contrastive.Matrix{Rows: 5, Cols: 2, Stride: 2, Data: []float32{8, 1, 1, 8, 9, 1, 2, 1, 1, 2}}
	positives := [][]int{{0}, {1}}

	m := retrieval.Miner{Count: 2, Filter: contrastive.AbsoluteMargin, FilterMargin: -0.05}
	mined, err := m.Mine(queries, keys, positives)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(mined)

	var hard [][]float32
	var counts []int
	for _, list := range mined {
		counts = append(counts, len(list))
		for _, j := range list {
			hard = append(hard, keys.Row(j))
		}
	}
	b := contrastive.Batch{Query: queries, Key: keys, Positives: positives, HardCounts: counts}
	if b.Hard, err = contrastive.FromRows(hard); err != nil {
		log.Fatal(err)
	}
	r, err := contrastive.InfoNCE{}.Eval(b, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.4f\n", r.Loss)
	// Output:
	// [[3 4] [4 3]]
	// loss 0.2212
}
