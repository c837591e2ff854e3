package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/contrastive-go/contrastive"
)

// The metrics of a query, in the order of the tables.
const (
	metricNDCG10 = iota
	metricRecall1
	metricRecall10
	metricRecall100
	metricMRR
	metrics
)

var metricNames = [metrics]string{"nDCG@10", "recall@1", "recall@10", "recall@100", "MRR"}

// depth is how many documents of a ranking are looked at; the MRR is cut there.
const depth = 100

// A queryMetrics is those of one query, as package retrieval defines them.
type queryMetrics [metrics]float64

// rankedDocuments is how many documents are ranked at a time: they are packed for the
// product, and a million of 768 dimensions do not fit into memory twice.
const rankedDocuments = 1 << 16

// nearest returns the depth nearest documents of each query, nearest first.
func nearest(queries, documents contrastive.Matrix, workers int) ([][]int, error) {
	type candidate struct {
		row    int
		cosine float32
	}
	search := contrastive.Search{Options: contrastive.Options{Workers: workers}}
	best := make([][]candidate, queries.Rows)
	for lo := 0; lo < documents.Rows; lo += rankedDocuments {
		block := documents.Slice(lo, min(lo+rankedDocuments, documents.Rows))
		index, cosine, err := search.TopK(queries, block, min(depth, block.Rows))
		if err != nil {
			return nil, err
		}
		for i := range index {
			for n, j := range index[i] {
				best[i] = append(best[i], candidate{lo + j, cosine[i][n]})
			}
			// Stable, so that of equal cosines that of the lower row stays first.
			slices.SortStableFunc(best[i], func(a, b candidate) int {
				switch {
				case a.cosine > b.cosine:
					return -1
				case a.cosine < b.cosine:
					return 1
				}
				return 0
			})
			best[i] = best[i][:min(depth, len(best[i]))]
		}
	}
	rows := make([][]int, queries.Rows)
	for i, candidates := range best {
		for _, c := range candidates {
			rows[i] = append(rows[i], c.row)
		}
	}
	return rows, nil
}

// measure returns the metrics of queries whose rankings are given, of which each has a
// relevant document.
func measure(order [][]int, keys [][]int, grades [][]float32) []queryMetrics {
	all := make([]queryMetrics, len(order))
	for i, ranking := range order {
		grade := map[int]float64{}
		var ideal []float64
		for n, j := range keys[i] {
			if g := float64(grades[i][n]); g > 0 {
				grade[j] = g
				ideal = append(ideal, g)
			}
		}
		slices.Sort(ideal)
		slices.Reverse(ideal)
		gain, best := 0.0, 0.0
		for n, g := range ideal[:min(10, len(ideal))] {
			best += g / math.Log2(float64(n)+2)
		}
		m := &all[i]
		for n, j := range ranking {
			g := grade[j]
			if g == 0 {
				continue
			}
			if m[metricMRR] == 0 {
				m[metricMRR] = 1 / float64(n+1)
			}
			if n < 10 {
				gain += g / math.Log2(float64(n)+2)
				m[metricRecall10] += 1 / float64(len(ideal))
			}
			if n == 0 {
				m[metricRecall1] = 1 / float64(len(ideal))
			}
			m[metricRecall100] += 1 / float64(len(ideal))
		}
		m[metricNDCG10] = gain / best
	}
	return all
}

// An interval is a mean over queries, and where 95 % of the means of bootstrap samples
// of the queries are.
type interval struct{ mean, low, high float64 }

// A comparison is what two ways of ranking do for the same queries.
type comparison struct {
	queries                   int
	before, after, difference [metrics]interval
}

// resamples is how many bootstrap samples are drawn.
const resamples = 1000

// compare draws the same queries for both ways, so that the difference is that of pairs:
// the percentile bootstrap of Efron, "Bootstrap Methods: Another Look at the Jackknife"
// (1979).
func compare(before, after []queryMetrics, seed uint64) comparison {
	n := len(before)
	c := comparison{queries: n}
	var samples [3][metrics][]float64
	rng := rand.New(rand.NewPCG(seed, 0))
	mean := func(sample func(i int) int) (sums [3]queryMetrics) {
		for i := range n {
			q := sample(i)
			for m := range metrics {
				sums[0][m] += before[q][m] / float64(n)
				sums[1][m] += after[q][m] / float64(n)
				sums[2][m] += (after[q][m] - before[q][m]) / float64(n)
			}
		}
		return sums
	}
	for range resamples {
		sums := mean(func(int) int { return rng.IntN(n) })
		for k := range sums {
			for m, v := range sums[k] {
				samples[k][m] = append(samples[k][m], v)
			}
		}
	}
	means := mean(func(i int) int { return i })
	for k, into := range [...]*[metrics]interval{&c.before, &c.after, &c.difference} {
		for m := range metrics {
			s := samples[k][m]
			slices.Sort(s)
			into[m] = interval{means[k][m], s[resamples*25/1000], s[resamples*975/1000-1]}
		}
	}
	return c
}
