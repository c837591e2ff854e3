package main

import (
	"cmp"
	"math"
	"slices"
)

// bm25 returns the nearest documents of each query by the formula of Robertson and
// Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the
// usual k₁ = 1.2 and b = 0.75.
func bm25(queries, documents [][]string) [][]int {
	const k1, b = 1.2, 0.75
	type posting struct {
		document int
		count    float64
	}
	postings := map[string][]posting{}
	meanLength := 0.0
	for i, d := range documents {
		meanLength += float64(len(d)) / float64(len(documents))
		counts := map[string]float64{}
		for _, w := range d {
			counts[w]++
		}
		for w, n := range counts {
			postings[w] = append(postings[w], posting{i, n})
		}
	}
	order := make([][]int, len(queries))
	each(len(queries), func(q int) {
		scores := make([]float64, len(documents))
		query := slices.Clone(queries[q])
		slices.Sort(query) // so that sums have one order
		for _, w := range slices.Compact(query) {
			n := float64(len(postings[w]))
			idf := math.Log(1 + (float64(len(documents))-n+0.5)/(n+0.5))
			for _, p := range postings[w] {
				length := float64(len(documents[p.document]))
				scores[p.document] += idf * p.count * (k1 + 1) / (p.count + k1*(1-b+b*length/meanLength))
			}
		}
		all := make([]int, len(documents))
		for i := range all {
			all[i] = i
		}
		slices.SortStableFunc(all, func(i, j int) int { return cmp.Compare(scores[j], scores[i]) })
		order[q] = all[:min(depth, len(all))]
	})
	return order
}
