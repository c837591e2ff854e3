package retrieval_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/ref/golden"
	"github.com/contrastive-go/contrastive/retrieval"
)

// load reads the cases of a file of testdata, whose README describes them.
func load[T any](t *testing.T, file string) (cases []T) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", file))
	if err == nil {
		err = json.Unmarshal(data, &cases)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatalf("%s has no cases", file)
	}
	return cases
}

func matrix(t golden.Tensor) contrastive.Matrix {
	return contrastive.Matrix{Rows: t.Rows, Cols: t.Cols, Stride: t.Cols, Data: t.Data}
}

// normal returns a matrix of standard normal deviates.
func normal(r *rand.Rand, rows, cols int) contrastive.Matrix {
	m := contrastive.NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(r.NormFloat64())
	}
	return m
}

// grid returns rows of the plane at multiples of 45° and of several lengths, or of zeros.
// Cosines of 0 and ±1 are exact: equal ones are equal in float32, too, and others are
// apart by more than rounding.
func grid(r *rand.Rand, rows int) contrastive.Matrix {
	m := contrastive.NewMatrix(rows, 2)
	for i := range rows {
		length := float32(int(1) << r.IntN(8))
		m.Row(i)[0] = length * float32(r.IntN(3)-1)
		if m.Row(i)[0] == 0 || r.IntN(2) == 0 {
			m.Row(i)[0], m.Row(i)[1] = 0, length*float32(r.IntN(3)-1)
		}
	}
	return m
}

// lists returns lists of distinct numbers below n, at most longest each, some empty.
func lists(r *rand.Rand, count, n, longest int) [][]int {
	all := make([][]int, count)
	for i := range all {
		all[i] = r.Perm(n)[:r.IntN(min(n, longest)+1)]
	}
	return all
}

// order returns all keys by descending cosine, and by row among equals.
func order(cosines []float64) []int {
	keys := make([]int, len(cosines))
	for j := range keys {
		keys[j] = j
	}
	slices.SortStableFunc(keys, func(a, b int) int { return cmp.Compare(cosines[b], cosines[a]) })
	return keys
}

// separate reports whether the cosines of different keys with a query are equal or
// differ by more than the rounding of float32.
func separate(cosines []float64, dim int) bool {
	sorted := slices.Sorted(slices.Values(cosines))
	for j := 1; j < len(sorted); j++ {
		if gap := sorted[j] - sorted[j-1]; gap != 0 && gap <= 2*float64(dim+4)*0x1p-24 {
			return false
		}
	}
	return true
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %v, want %v ± %v", what, got, want, tolerance)
	}
}

func TestErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x, keys := normal(r, 3, 4), normal(r, 5, 4)
	nan := normal(r, 5, 4)
	nan.Row(2)[1] = float32(math.NaN())
	one := retrieval.Relevance{Keys: [][]int{{0}, {1}, {2}}}
	rank := func(q, k contrastive.Matrix, v retrieval.Relevance, o retrieval.Options, at ...int) error {
		got, err := retrieval.Rank(q, k, v, o, at...)
		if !reflect.DeepEqual(got, retrieval.Ranking{}) {
			t.Errorf("Rank returns %+v with error %v", got, err)
		}
		return err
	}
	mine := func(m retrieval.Miner, q, k contrastive.Matrix, positives [][]int) error {
		got, err := m.Mine(q, k, positives)
		if got != nil {
			t.Errorf("Mine returns %v with error %v", got, err)
		}
		return err
	}
	with := func(change func(m *retrieval.Miner)) error {
		m := retrieval.Miner{Count: 2}
		change(&m)
		return mine(m, x, keys, one.Keys)
	}
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		err  error
		want error
		text string
	}{
		{rank(contrastive.Matrix{}, keys, one, retrieval.Options{}, 1), contrastive.ErrEmpty, "Rank: queries is 0×0"},
		{rank(x, contrastive.Matrix{Cols: 4}, one, retrieval.Options{}, 1), contrastive.ErrEmpty, "Rank: keys is 0×4"},
		{rank(contrastive.Matrix{Rows: -1, Cols: 4}, keys, one, retrieval.Options{}, 1), contrastive.ErrShape, "Rank: queries is -1×4"},
		{rank(x, normal(r, 5, 3), one, retrieval.Options{}, 1), contrastive.ErrShape, "Rank: keys is 5×3, queries is 3×4"},
		{rank(x, contrastive.Matrix{Rows: 5, Cols: 4, Stride: 4, Data: make([]float32, 19)}, one, retrieval.Options{}, 1), contrastive.ErrShape, "Rank: keys is 5×4 with a stride of 4"},
		{rank(x, nan, one, retrieval.Options{}, 1), contrastive.ErrNotFinite, "Rank: keys row 2 column 1 is NaN"},
		{rank(nan, keys, retrieval.Relevance{Keys: [][]int{{0}, {}, {}, {}, {}}}, retrieval.Options{}, 1), contrastive.ErrNotFinite, "Rank: queries row 2 column 1 is NaN"},
		{rank(x, keys, one, retrieval.Options{Workers: -1}, 1), contrastive.ErrParameter, "Rank: Workers is -1"},
		{rank(x, keys, one, retrieval.Options{}, 1, 0), contrastive.ErrParameter, "Rank: at[1] is 0"},
		{rank(x, keys, one, retrieval.Options{}, -3), contrastive.ErrParameter, "Rank: at[0] is -3"},
		{rank(x, keys, retrieval.Relevance{}, retrieval.Options{}, 1), contrastive.ErrShape, "Rank: relevant.Keys has 0 elements, queries is 3×4"},
		{rank(x, keys, retrieval.Relevance{Keys: [][]int{{0}, {1}}}, retrieval.Options{}, 1), contrastive.ErrShape, "Rank: relevant.Keys has 2 elements"},
		{rank(x, keys, retrieval.Relevance{Keys: [][]int{{0}, {1, 5}, {2}}}, retrieval.Options{}, 1), contrastive.ErrParameter, "Rank: relevant.Keys[1][1] is 5, keys is 5×4"},
		{rank(x, keys, retrieval.Relevance{Keys: [][]int{{0}, {-1}, {2}}}, retrieval.Options{}, 1), contrastive.ErrParameter, "Rank: relevant.Keys[1][0] is -1"},
		{rank(x, keys, retrieval.Relevance{Keys: [][]int{{0}, {1}, {2, 3, 2}}}, retrieval.Options{}, 1), contrastive.ErrParameter, "Rank: relevant.Keys[2][2] is 2 for the second time"},
		{rank(x, keys, retrieval.Relevance{Keys: [][]int{{}, nil, {}}}, retrieval.Options{}, 1), contrastive.ErrEmpty, "Rank: no query has a relevant key"},
		{rank(x, keys, retrieval.Relevance{Keys: one.Keys, Grades: [][]float32{{0}, {0}, {0}}}, retrieval.Options{}, 1), contrastive.ErrEmpty, "Rank: no query has a relevant key"},
		{rank(x, keys, retrieval.Relevance{Keys: one.Keys, Grades: [][]float32{{1}, {1}}}, retrieval.Options{}, 1), contrastive.ErrShape, "Rank: relevant.Grades has 2 elements"},
		{rank(x, keys, retrieval.Relevance{Keys: one.Keys, Grades: [][]float32{{1}, {}, {1}}}, retrieval.Options{}, 1), contrastive.ErrShape, "Rank: relevant.Grades[1] has 0 elements, relevant.Keys[1] has 1"},
		{rank(x, keys, retrieval.Relevance{Keys: one.Keys, Grades: [][]float32{{1}, {-1}, {1}}}, retrieval.Options{}, 1), contrastive.ErrParameter, "Rank: relevant.Grades[1][0] is -1"},
		{rank(x, keys, retrieval.Relevance{Keys: one.Keys, Grades: [][]float32{{1}, {1}, {inf}}}, retrieval.Options{}, 1), contrastive.ErrNotFinite, "Rank: relevant.Grades row 2 column 0 is +Inf"},

		{mine(retrieval.Miner{}, x, keys, one.Keys), contrastive.ErrParameter, "Mine: Count is 0"},
		{with(func(m *retrieval.Miner) { m.Count = -2 }), contrastive.ErrParameter, "Mine: Count is -2"},
		{with(func(m *retrieval.Miner) { m.Skip = -1 }), contrastive.ErrParameter, "Mine: Skip is -1 and must not be negative"},
		{with(func(m *retrieval.Miner) { m.Depth = -1 }), contrastive.ErrParameter, "Mine: Depth is -1"},
		{with(func(m *retrieval.Miner) { m.Skip, m.Depth = 4, 4 }), contrastive.ErrParameter, "Mine: Depth is 4 and must exceed Skip, which is 4"},
		{with(func(m *retrieval.Miner) { m.Filter = 3 }), contrastive.ErrParameter, "Mine: Filter is 3"},
		{with(func(m *retrieval.Miner) { m.FilterMargin = 0.1 }), contrastive.ErrParameter, "Mine: FilterMargin is 0.1 without a Filter"},
		{with(func(m *retrieval.Miner) { m.Filter, m.FilterMargin = contrastive.AbsoluteMargin, inf }), contrastive.ErrParameter, "Mine: FilterMargin is +Inf"},
		{with(func(m *retrieval.Miner) { m.Min = float32(math.NaN()) }), contrastive.ErrParameter, "Mine: Min is NaN"},
		{with(func(m *retrieval.Miner) { m.Max = -inf }), contrastive.ErrParameter, "Mine: Max is -Inf"},
		{with(func(m *retrieval.Miner) { m.Min, m.Max = 0.5, 0.25 }), contrastive.ErrParameter, "Mine: Min is 0.5 and must not exceed Max, which is 0.25"},
		{with(func(m *retrieval.Miner) { m.Workers = -1 }), contrastive.ErrParameter, "Mine: Workers is -1"},
		{mine(retrieval.Miner{Count: 1}, x, contrastive.Matrix{}, nil), contrastive.ErrEmpty, "Mine: keys is 0×0"},
		{mine(retrieval.Miner{Count: 1}, contrastive.Matrix{Rows: -5, Cols: 4}, keys, nil), contrastive.ErrShape, "Mine: queries is -5×4"},
		{mine(retrieval.Miner{Count: 1}, keys, x, nil), contrastive.ErrShape, "Mine: queries is 5×4, keys is 3×4 and has no positive for the last"},
		{mine(retrieval.Miner{Count: 1}, x, keys, [][]int{}), contrastive.ErrShape, "Mine: positives has 0 elements"},
		{mine(retrieval.Miner{Count: 1}, x, keys, [][]int{{0}, {5}, {1}}), contrastive.ErrParameter, "Mine: positives[1][0] is 5, keys is 5×4"},
		{mine(retrieval.Miner{Count: 1}, x, keys, [][]int{{0, 0}, {1}, {1}}), contrastive.ErrParameter, "Mine: positives[0][1] is 0 for the second time"},
		{mine(retrieval.Miner{Count: 1}, x, nan, one.Keys), contrastive.ErrNotFinite, "Mine: keys row 2 column 1 is NaN"},
		{mine(retrieval.Miner{Count: 1}, x, normal(r, 5, 3), one.Keys), contrastive.ErrShape, "Mine: keys is 5×3, queries is 3×4"},
	} {
		if !errors.Is(c.err, c.want) || !strings.HasPrefix(c.err.Error(), "retrieval: "+c.text) || strings.Contains(c.err.Error(), "contrastive") {
			t.Errorf("%v, want %v with %q", c.err, c.want, c.text)
		}
	}
	var place *contrastive.NotFiniteError
	if err := rank(x, nan, one, retrieval.Options{}, 1); !errors.As(err, &place) || place.Row != 2 || place.Col != 1 {
		t.Errorf("%v does not tell the place", err)
	}
}

// TestWorkers compares the results of several numbers of workers.
func TestWorkers(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		queries, keys := normal(r, 301, 40), normal(r, 1000, 40)
		for i := range 100 {
			copy(keys.Row(500+i), keys.Row(i)) // ties
		}
		positives := lists(r, 301, 1000, 4)
		var rankings []retrieval.Ranking
		var mined [][][]int
		for _, workers := range []int{1, 2, 3, 8, 0} {
			ranking, err := retrieval.Rank(queries, keys, retrieval.Relevance{Keys: positives}, retrieval.Options{Workers: workers}, 1, 10, 100)
			if err != nil {
				t.Fatal(err)
			}
			m := retrieval.Miner{Count: 5, Depth: 50, Max: 0.7, Random: true, Options: retrieval.Options{Workers: workers}}
			negatives, err := m.Mine(queries, keys, positives)
			if err != nil {
				t.Fatal(err)
			}
			rankings, mined = append(rankings, ranking), append(mined, negatives)
		}
		for n := range rankings {
			if !reflect.DeepEqual(rankings[n], rankings[0]) {
				t.Errorf("rankings differ: %+v and %+v", rankings[n], rankings[0])
			}
			if !reflect.DeepEqual(mined[n], mined[0]) {
				t.Error("mined lists differ")
			}
		}
	})
}
