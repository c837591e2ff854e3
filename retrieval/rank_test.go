package retrieval_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/ref/golden"
	"github.com/contrastive-go/contrastive/retrieval"
)

// compare compares every figure. They are sums of fewer than 2¹⁰ terms of magnitude 1,
// each of a few operations in float64, over their number.
func compare(t *testing.T, what string, got, want retrieval.Ranking) {
	t.Helper()
	const tolerance = 0x1p-42
	if got.Queries != want.Queries || !slices.Equal(got.At, want.At) {
		t.Errorf("%s: %d queries at %v, want %d at %v", what, got.Queries, got.At, want.Queries, want.At)
		return
	}
	within(t, what+": RPrecision", got.RPrecision, want.RPrecision, tolerance)
	within(t, what+": MAPAtR", got.MAPAtR, want.MAPAtR, tolerance)
	for _, m := range [...]struct {
		name      string
		got, want []float64
	}{
		{"Hit", got.Hit, want.Hit}, {"Recall", got.Recall, want.Recall}, {"Precision", got.Precision, want.Precision},
		{"MRR", got.MRR, want.MRR}, {"MAP", got.MAP, want.MAP}, {"NDCG", got.NDCG, want.NDCG},
	} {
		if len(m.got) != len(want.At) {
			t.Fatalf("%s: %s has %d elements for %d cuts", what, m.name, len(m.got), len(want.At))
		}
		for c, k := range want.At {
			within(t, fmt.Sprintf("%s: %s@%d", what, m.name, k), m.got[c], m.want[c], tolerance)
		}
	}
}

// TestRankGolden compares with sentence-transformers and pytorch-metric-learning.
func TestRankGolden(t *testing.T) {
	type rankCase struct {
		Name                                   string
		Inputs                                 map[string]golden.Tensor
		Relevant                               [][]int
		Grades                                 [][]float32
		At                                     []int
		Hit, Recall, Precision, MRR, MAP, NDCG []float64
		RPrecision                             float64 `json:"r_precision"`
		MAPAtR                                 float64 `json:"map_at_r"`
		Queries                                int
	}
	cases := load[rankCase](t, "rank.json")
	isatest.Each(t, func(t *testing.T) {
		for _, c := range cases {
			got, err := retrieval.Rank(matrix(c.Inputs["query"]), matrix(c.Inputs["key"]),
				retrieval.Relevance{Keys: c.Relevant, Grades: c.Grades}, retrieval.Options{}, c.At...)
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			compare(t, c.Name, got, retrieval.Ranking{
				At: c.At, Hit: c.Hit, Recall: c.Recall, Precision: c.Precision, MRR: c.MRR, MAP: c.MAP, NDCG: c.NDCG,
				RPrecision: c.RPrecision, MAPAtR: c.MAPAtR, Queries: c.Queries,
			})
		}
	})
}

// rankSlowly is Rank from its definitions, one after the other.
func rankSlowly(queries, keys contrastive.Matrix, relevant retrieval.Relevance, at []int) retrieval.Ranking {
	cos := losstest.Cosines(queries, keys)
	n := 0.0
	want := retrieval.Ranking{At: at}
	for _, m := range []*[]float64{&want.Hit, &want.Recall, &want.Precision, &want.MRR, &want.MAP, &want.NDCG} {
		*m = make([]float64, len(at))
	}
	for i := range queries.Rows {
		grade := map[int]float64{}
		var ideal []float64
		for k, j := range relevant.Keys[i] {
			g := 1.0
			if relevant.Grades != nil {
				g = float64(relevant.Grades[i][k])
			}
			if g > 0 {
				grade[j] = g
				ideal = append(ideal, g)
			}
		}
		if len(grade) == 0 {
			continue
		}
		n++
		slices.Sort(ideal)
		slices.Reverse(ideal)
		ranked := order(cos[i])
		hits := func(k int) (h float64) {
			for _, j := range ranked[:min(k, len(ranked))] {
				if grade[j] > 0 {
					h++
				}
			}
			return h
		}
		precisions := func(k int) (sum float64) {
			for r := 1; r <= min(k, len(ranked)); r++ {
				if grade[ranked[r-1]] > 0 {
					sum += hits(r) / float64(r)
				}
			}
			return sum
		}
		relevantKeys := len(ideal)
		for c, k := range at {
			h := hits(k)
			want.Hit[c] += min(1, h)
			want.Recall[c] += h / float64(relevantKeys)
			want.Precision[c] += h / float64(k)
			for r := 1; r <= min(k, len(ranked)); r++ {
				if grade[ranked[r-1]] > 0 {
					want.MRR[c] += 1 / float64(r)
					break
				}
			}
			want.MAP[c] += precisions(k) / float64(min(k, relevantKeys))
			gain, best := 0.0, 0.0
			for r := 1; r <= k; r++ {
				if r <= len(ranked) {
					gain += grade[ranked[r-1]] / math.Log2(float64(r+1))
				}
				if r <= relevantKeys {
					best += ideal[r-1] / math.Log2(float64(r+1))
				}
			}
			want.NDCG[c] += gain / best
		}
		want.RPrecision += hits(relevantKeys) / float64(relevantKeys)
		want.MAPAtR += precisions(relevantKeys) / float64(relevantKeys)
	}
	for _, m := range []*[]float64{&want.Hit, &want.Recall, &want.Precision, &want.MRR, &want.MAP, &want.NDCG, {want.RPrecision}, {want.MAPAtR}} {
		for c := range *m {
			(*m)[c] /= n
		}
	}
	want.RPrecision, want.MAPAtR, want.Queries = want.RPrecision/n, want.MAPAtR/n, int(n)
	return want
}

func TestRank(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		compared := 0
		const trials = 60
		for range trials {
			d := 1 + r.IntN(40)
			queries, keys := normal(r, 1+r.IntN(40), d), normal(r, 1+r.IntN(90), d)
			if r.IntN(3) == 0 {
				queries, keys = grid(r, queries.Rows), grid(r, keys.Rows)
			}
			if slices.ContainsFunc(losstest.Cosines(queries, keys), func(cos []float64) bool { return !separate(cos, queries.Cols) }) {
				continue
			}
			relevant := retrieval.Relevance{Keys: lists(r, queries.Rows, keys.Rows, 12)}
			relevant.Keys[r.IntN(queries.Rows)] = []int{keys.Rows - 1}
			if r.IntN(2) == 0 {
				for _, list := range relevant.Keys {
					grades := make([]float32, len(list))
					for k := range grades {
						grades[k] = float32(r.IntN(4)) / 2
					}
					relevant.Grades = append(relevant.Grades, grades)
				}
				relevant.Grades[slices.IndexFunc(relevant.Keys, func(list []int) bool { return len(list) > 0 })][0] = 3
			}
			at := []int{1 + r.IntN(10), 1, 1000, 1 + r.IntN(100), 1}[:r.IntN(6)]
			got, err := retrieval.Rank(queries, keys, relevant, retrieval.Options{}, at...)
			if err != nil {
				t.Fatal(err)
			}
			compared++
			compare(t, fmt.Sprintf("%d×%d×%d", queries.Rows, keys.Rows, queries.Cols), got, rankSlowly(queries, keys, relevant, at))
		}
		if compared < trials/2 {
			t.Errorf("the keys of only %d of %d trials are apart", compared, trials)
		}
	})
}

// TestRankTies has keys that coincide, of which the last is relevant: it comes last.
func TestRankTies(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for _, n := range []int{1, 7, 16, 40} {
			keys := contrastive.NewMatrix(n, 3)
			for i := range n {
				copy(keys.Row(i), []float32{1, 2, 3})
			}
			got, err := retrieval.Rank(keys.Slice(0, 1), keys, retrieval.Relevance{Keys: [][]int{{n - 1}}}, retrieval.Options{}, n)
			if err != nil {
				t.Fatal(err)
			}
			within(t, "MRR", got.MRR[0], 1/float64(n), 0)
		}
	})
}

// TestRankByHand has the figures of one query, whose keys come in the order 0, 1, 2, 3 and
// of which 1 and 3 are relevant, by hand.
func TestRankByHand(t *testing.T) {
	keys := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{5, 0, 4, 1, 1, 1, 0, 2}}
	queries := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 1, 0}}
	got, err := retrieval.Rank(queries, keys, retrieval.Relevance{
		Keys: [][]int{{3, 1, 2}, {0}}, Grades: [][]float32{{3, 1, 0}, {0}},
	}, retrieval.Options{}, 1, 2, 8)
	if err != nil {
		t.Fatal(err)
	}
	third := math.Log2(3)
	compare(t, "by hand", got, retrieval.Ranking{
		At:  []int{1, 2, 8},
		Hit: []float64{0, 1, 1}, Recall: []float64{0, 0.5, 1}, Precision: []float64{0, 0.5, 0.25},
		MRR: []float64{0, 0.5, 0.5}, MAP: []float64{0, 0.25, 0.5},
		NDCG:       []float64{0, (1 / third) / (3 + 1/third), (1/third + 3/math.Log2(5)) / (3 + 1/third)},
		RPrecision: 0.5, MAPAtR: 0.25, Queries: 1,
	})
}
