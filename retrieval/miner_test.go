package retrieval_test

import (
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/ref/golden"
	"github.com/contrastive-go/contrastive/retrieval"
)

// TestMineGolden compares with sentence-transformers.
func TestMineGolden(t *testing.T) {
	type mineCase struct {
		Name   string
		Inputs map[string]golden.Tensor
		Params struct {
			Count, Skip, Depth int
			Filter             string
			FilterMargin       float32 `json:"filter_margin"`
			Min, Max           float32
		}
		Positives, Mined [][]int
	}
	filters := map[string]contrastive.Filter{"none": contrastive.NoFilter, "absolute": contrastive.AbsoluteMargin, "relative": contrastive.RelativeMargin}
	cases := load[mineCase](t, "miner.json")
	isatest.Each(t, func(t *testing.T) {
		for _, c := range cases {
			p := c.Params
			filter, ok := filters[p.Filter]
			if !ok {
				t.Fatalf("%s: no filter %q", c.Name, p.Filter)
			}
			m := retrieval.Miner{Count: p.Count, Skip: p.Skip, Depth: p.Depth, Filter: filter, FilterMargin: p.FilterMargin, Min: p.Min, Max: p.Max}
			got, err := m.Mine(matrix(c.Inputs["query"]), matrix(c.Inputs["key"]), c.Positives)
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			for i := range c.Mined {
				if !slices.Equal(got[i], c.Mined[i]) {
					t.Errorf("%s: query %d has %v, want %v", c.Name, i, got[i], c.Mined[i])
				}
			}
		}
	})
}

// candidates returns what m.Mine chooses from for query i, by the definition. It reports
// whether no comparison is a matter of rounding.
func candidates(m retrieval.Miner, cosines []float64, positives []int, dim int) (kept []int, clear bool) {
	limits := []float64{math.Inf(1)}
	rounding := float64(dim+8) * 0x1p-24
	if m.Filter != contrastive.NoFilter && len(positives) > 0 {
		least := 1.0
		for _, j := range positives {
			least = min(least, cosines[j])
		}
		if m.Filter == contrastive.AbsoluteMargin {
			limits[0] = least + float64(m.FilterMargin)
		} else {
			limits[0] = least + math.Abs(least)*float64(m.FilterMargin)
		}
	}
	least := math.Inf(-1)
	if m.Min != 0 {
		least = float64(m.Min)
	}
	if m.Max != 0 {
		limits = append(limits, float64(m.Max))
	}
	depth := m.Depth
	if depth == 0 {
		depth = m.Skip + m.Count
		if m.Filter != contrastive.NoFilter || m.Min != 0 || m.Max != 0 {
			depth += 10 * m.Count
		}
	}
	var near []int
	for _, j := range order(cosines) {
		if !slices.Contains(positives, j) && len(near) < depth {
			near = append(near, j)
		}
	}
	clear = separate(cosines, dim)
	for _, j := range near {
		for _, limit := range append(limits, least) {
			clear = clear && math.Abs(cosines[j]-limit) > rounding
		}
		if cosines[j] <= slices.Min(limits) && cosines[j] >= least {
			kept = append(kept, j)
		}
	}
	return kept[min(m.Skip, len(kept)):], clear
}

func TestMine(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		compared, queriesTried := 0, 0
		for trial := range 80 {
			d := 1 + r.IntN(40)
			queries, keys := normal(r, 1+r.IntN(30), d), normal(r, 1+r.IntN(120), d)
			if trial%4 == 0 {
				queries, keys = grid(r, queries.Rows), grid(r, keys.Rows)
			}
			positives := lists(r, queries.Rows, keys.Rows, 6)
			if trial%8 == 0 { // one query has all keys
				positives[0] = r.Perm(keys.Rows)
			}
			m := retrieval.Miner{Count: 1 + r.IntN(8)}
			if r.IntN(2) == 0 {
				m.Skip = r.IntN(4)
			}
			if r.IntN(2) == 0 {
				m.Depth = m.Skip + 1 + r.IntN(60)
			}
			if r.IntN(2) == 0 {
				m.Filter = contrastive.AbsoluteMargin + contrastive.Filter(r.IntN(2))
				m.FilterMargin = float32(r.NormFloat64()) / 4
			}
			if r.IntN(4) == 0 {
				m.Min = -0.5 * r.Float32()
			}
			if r.IntN(4) == 0 {
				m.Max = 0.1 + r.Float32()
			}
			got, err := m.Mine(queries, keys, positives)
			if err != nil {
				t.Fatal(err)
			}
			m.Random, m.Seed = true, uint64(trial)
			random, err := m.Mine(queries, keys, positives)
			if err != nil {
				t.Fatal(err)
			}
			for i, cos := range losstest.Cosines(queries, keys) {
				want, clear := candidates(m, cos, positives[i], queries.Cols)
				queriesTried++
				if !clear {
					continue
				}
				compared++
				n := min(m.Count, len(want))
				if !slices.Equal(got[i], want[:n]) {
					t.Errorf("%+v: query %d has %v, want %v", m, i, got[i], want[:n])
				}
				// A random choice is as long, nearest first, and of the candidates.
				if len(random[i]) != n {
					t.Errorf("%+v: query %d has %v, want %d of %v", m, i, random[i], n, want)
				}
				last := -1
				for _, j := range random[i] {
					place := slices.Index(want, j)
					if place <= last {
						t.Errorf("%+v: query %d has %v of candidates %v", m, i, random[i], want)
					}
					last = place
				}
			}
		}
		if compared < queriesTried/2 {
			t.Errorf("only %d of %d queries are compared", compared, queriesTried)
		}
	})
}

// TestMineNil has the own key of each query for its positive.
func TestMineNil(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	queries, keys := normal(r, 20, 5), normal(r, 30, 5)
	own := make([][]int, queries.Rows)
	for i := range own {
		own[i] = []int{i}
	}
	m := retrieval.Miner{Count: 29}
	want, err := m.Mine(queries, keys, own)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Mine(queries, keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("the positives are not those of equal rows")
	}
	for i, list := range got {
		if len(list) != 29 || slices.Contains(list, i) {
			t.Errorf("query %d has %d negatives, %v", i, len(list), list)
		}
	}
}

// TestMineRandom counts how often each of 3 or 5 candidates is among the 2 of 6,000 queries.
// That is a binomial variable: six of its deviations are allowed.
func TestMineRandom(t *testing.T) {
	const n, count = 6000, 2
	keys := contrastive.NewMatrix(10, 2)
	for j := range keys.Rows {
		sin, cos := math.Sincos(float64(j) / 8)
		keys.Row(j)[0], keys.Row(j)[1] = float32(cos), float32(sin)
	}
	queries := contrastive.NewMatrix(n, 2)
	for i := range queries.Rows {
		queries.Row(i)[0] = 1
	}
	positives := make([][]int, queries.Rows)
	for i := range positives {
		positives[i] = []int{2}
	}
	var m retrieval.Miner
	var mined [][]int
	for _, candidates := range []int{count + 1, 5} {
		m = retrieval.Miner{Count: count, Skip: 1, Depth: 1 + candidates, Random: true, Seed: 1}
		var err error
		if mined, err = m.Mine(queries, keys, positives); err != nil {
			t.Fatal(err)
		}
		times := make([]int, keys.Rows)
		for _, list := range mined {
			for _, j := range list {
				times[j]++
			}
		}
		p := float64(count) / float64(candidates)
		deviation := math.Sqrt(n * p * (1 - p))
		for j, got := range times {
			candidate := j == 1 || j > 2 && j <= 1+candidates // key 0 is skipped, 2 a positive, the rest too deep
			if candidate && math.Abs(float64(got)-n*p) > 6*deviation || !candidate && got != 0 {
				t.Errorf("key %d of %d candidates is chosen %d times of %d", j, candidates, got, n)
			}
		}
	}
	m.Seed = 2
	other, err := m.Mine(queries, keys, positives)
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(mined, other) {
		t.Error("another seed makes the same choice")
	}
}

// TestMineLimit: a key that is as similar as the limit is kept. Axes have cosines of 1 and 0.
func TestMineLimit(t *testing.T) {
	axes := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{1, 0, 2, 0, 0, 3, 4, 4}}
	query := axes.Slice(0, 1)
	for _, c := range []struct {
		positive int
		margin   float32
		want     []int
	}{{0, 0, []int{1, 3, 2}}, {0, -1, []int{2}}, {2, 0, nil}, {2, 1, []int{0, 1, 3}}} {
		m := retrieval.Miner{Count: 4, Filter: contrastive.AbsoluteMargin, FilterMargin: c.margin}
		got, err := m.Mine(query, axes, [][]int{{c.positive}})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got[0], c.want) {
			t.Errorf("positive %d, margin %v: negatives %v, want %v", c.positive, c.margin, got[0], c.want)
		}
	}
}

// TestMineMemory mines with one query whose positives are all keys but one: memory for a
// list of that length for each query would be more than there may be.
func TestMineMemory(t *testing.T) {
	const n, k, depth = 1000, 10000, 8
	r := rand.New(rand.NewPCG(11, 12))
	queries, keys := normal(r, n, 2), normal(r, k, 2)
	positives := make([][]int, n)
	positives[3] = r.Perm(k)[1:]
	var before, after runtime.MemStats
	m := retrieval.Miner{Count: 2, Depth: depth, Options: retrieval.Options{Workers: 1}}
	runtime.ReadMemStats(&before)
	mined, err := m.Mine(queries, keys, positives)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if len(mined[3]) != 1 || len(mined[4]) != 2 {
		t.Errorf("%d and %d negatives", len(mined[3]), len(mined[4]))
	}
	// Heaps of 12 bytes a key; a sorted copy and a mark of 8 bytes; operands of the keys,
	// which are padded to 64 elements at most, and their norms; 8 MiB for the engine.
	limit := uint64(n*depth*12+2*k*8+k*(64*4+8)+8<<20) * 2
	if got := after.TotalAlloc - before.TotalAlloc; got > limit {
		t.Errorf("%d bytes are allocated, at most %d are needed", got, limit)
	}
}
