package nn

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
)

// TestEmbedding: numbers that can be checked by hand.
func TestEmbedding(t *testing.T) {
	e := NewEmbedding(3, 2, newRand(1))
	copy(e.Weight.Value, []float32{1, 2, 3, 4, 5, 6})
	if got := e.Table(); got.Rows != 3 || !slices.Equal(got.Row(2), []float32{5, 6}) {
		t.Errorf("table %v", got)
	}
	y, err := e.Forward([]int{2, 0, 2})
	if err != nil || !slices.Equal(y.Data, []float32{5, 6, 1, 2, 5, 6}) {
		t.Fatalf("%v, %v", y.Data, err)
	}
	dy := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 2, 10, 20, 100, 200}}
	e.Backward(dy)
	if want := []float32{10, 20, 0, 0, 101, 202}; !slices.Equal(e.Weight.Grad, want) {
		t.Errorf("gradient %v, want %v", e.Weight.Grad, want)
	}
	e.Weight.ZeroGrad()

	y, err = e.ForwardBags([][]int{{0, 1}, {}, {2, 2}}, [][]float32{{1, -1}, {}, {0.5, 2}})
	if err != nil || !slices.Equal(y.Data, []float32{-2, -2, 0, 0, 12.5, 15}) {
		t.Fatalf("bags %v, %v", y.Data, err)
	}
	dw := e.BackwardBags(dy)
	if want := []float32{1, 2, -1, -2, 250, 500}; !slices.Equal(e.Weight.Grad, want) {
		t.Errorf("gradient of bags %v, want %v", e.Weight.Grad, want)
	}
	if want := []float32{5, 11, 1700, 1700}; !slices.Equal(dw, want) {
		t.Errorf("gradient of weights %v, want %v", dw, want)
	}

	y, err = e.ForwardBags([][]int{{0, 1}, {}, {2, 1, 2, 0}}, nil)
	if err != nil || !slices.Equal(y.Data, []float32{2, 3, 0, 0, 3.5, 4.5}) {
		t.Fatalf("means %v, %v", y.Data, err)
	}
}

// TestEmbeddingGradients compares with differences. y and dy are exact in what is
// summed, so that only the sums are rounded.
func TestEmbeddingGradients(t *testing.T) {
	const rows, dim = 7, 5
	rng := newRand(31)
	e := NewEmbedding(rows, dim, rng)
	bags := [][]int{{3, 1, 3}, {}, {6}, {0, 1, 2, 3}}
	weights := [][]float32{{0.5, -1, 2}, {}, {1.5}, {1, 2, 3, 4}}
	dy := random(rng, len(bags), dim)
	if _, err := e.ForwardBags(bags, weights); err != nil {
		t.Fatal(err)
	}
	dw := e.BackwardBags(dy)
	table, w := slice64(e.Weight.Value), [][]float64{}
	for _, v := range weights {
		w = append(w, slice64(v))
	}
	value := func() (sum float64) {
		for i, bag := range bags {
			for k, id := range bag {
				for j := range dim {
					sum += float64(dy.Row(i)[j]) * w[i][k] * table[id*dim+j]
				}
			}
		}
		return sum
	}
	// The value is linear in each: the difference has the error of rounding alone.
	slope := func(p *float64) float64 {
		old := *p
		*p = old + 1
		up := value()
		*p = old - 1
		down := value()
		*p = old
		return (up - down) / 2
	}
	for i := range table {
		// At most 3 products are added.
		if want := slope(&table[i]); math.Abs(float64(e.Weight.Grad[i])-want) > 40*u {
			t.Errorf("gradient of element %d is %v, want %v", i, e.Weight.Grad[i], want)
		}
	}
	at := 0
	for i := range bags {
		for k := range bags[i] {
			if want := slope(&w[i][k]); math.Abs(float64(dw[at])-want) > 40*u {
				t.Errorf("gradient of weight %d,%d is %v, want %v", i, k, dw[at], want)
			}
			at++
		}
	}
}

// TestSparse: an optimiser that looks at the rows that were used has the same bits as one
// that looks at all, also after several passes before one step.
func TestSparse(t *testing.T) {
	for name, optimizer := range map[string]func(p []*Param) Optimizer{
		"SGD":            func(p []*Param) Optimizer { return &SGD{Params: p} },
		"momentum":       func(p []*Param) Optimizer { return &SGD{Params: p, Momentum: 0.9} },
		"decay":          func(p []*Param) Optimizer { return &SGD{Params: p, WeightDecay: 0.1} },
		"Adagrad":        func(p []*Param) Optimizer { return &Adagrad{Params: p} },
		"Adagrad by row": func(p []*Param) Optimizer { return &Adagrad{Params: p, RowWise: true} },
		"AdamW":          func(p []*Param) Optimizer { return &AdamW{Params: p, WeightDecay: 0.1} },
	} {
		var results [2][]float32
		for i := range results {
			rng := newRand(32)
			e := NewEmbedding(50, 8, rng)
			e.Sparse = i == 1
			o := optimizer(Params(e))
			for range 5 {
				for range 3 {
					ids := make([]int, 6)
					for k := range ids {
						ids[k] = rng.IntN(50)
					}
					if _, err := e.Forward(ids); err != nil {
						t.Fatal(err)
					}
					e.Backward(random(rng, 6, 8))
				}
				norm, err := ClipGradNorm(Params(e), 3)
				if err != nil {
					t.Fatal(err)
				}
				results[i] = append(results[i], float32(norm))
				results[i] = append(results[i], e.Weight.Grad...)
				if err := o.Step(0.1); err != nil {
					t.Fatal(err)
				}
				results[i] = append(results[i], e.Weight.Grad...)
			}
			results[i] = append(results[i], e.Weight.Value...)
		}
		if !slices.Equal(results[0], results[1]) {
			t.Errorf("%s: Sparse changes the result", name)
		}
	}
}

func TestEmbeddingOf(t *testing.T) {
	m := random(newRand(34), 4, 3)
	mustPanic(t, "nn: EmbeddingOf(4×3 with Stride 6)", func() { EmbeddingOf(m) })
	mustPanic(t, "nn: EmbeddingOf(0×3", func() { EmbeddingOf(contrastive.NewMatrix(0, 3)) })
	table := contrastive.NewMatrix(4, 3)
	e := EmbeddingOf(table)
	e.Weight.Value[5] = 7
	y, err := e.Forward([]int{1})
	if err != nil || !slices.Equal(y.Data, []float32{0, 0, 7}) || table.Row(1)[2] != 7 {
		t.Errorf("row %v, %v, table %v", y.Data, err, table)
	}
}

// TestSortByRow compares with the stable sort of the standard library.
func TestSortByRow(t *testing.T) {
	rng := newRand(33)
	for _, rows := range []int{1, 2, 2048, 2049, 5000, math.MaxInt32} {
		for _, n := range []int{0, 1, 5, 3000} {
			uses := make([]use, n)
			for i := range uses {
				uses[i] = use{row: int32(rng.IntN(rows)), place: int32(i), output: int32(2 * i)}
				if i%3 == 1 {
					uses[i].row = uses[i/2].row
				}
			}
			want := slices.Clone(uses)
			slices.SortStableFunc(want, func(a, b use) int { return cmp.Compare(a.row, b.row) })
			if got, _ := sortByRow(uses, nil, rows); !slices.Equal(got, want) {
				t.Errorf("%d uses of %d rows are not sorted", n, rows)
			}
		}
	}
}

func TestBadIndices(t *testing.T) {
	e := NewEmbedding(3, 2, newRand(1))
	src := contrastive.NewMatrix(3, 2)
	bags := func(b [][]int, w [][]float32) func() error {
		return func() error { _, err := e.ForwardBags(b, w); return err }
	}
	forward := func(ids ...int) func() error {
		return func() error { _, err := e.Forward(ids); return err }
	}
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		f    func() error
		is   error
		want string
	}{
		{forward(0, 3), contrastive.ErrParameter, "nn: Embedding: ids[1] is 3 and must be from 0 to 2"},
		{forward(-1), contrastive.ErrParameter, "nn: Embedding: ids[0] is -1"},
		{bags([][]int{{0}, {1, 3}}, nil), contrastive.ErrParameter, "nn: Embedding: bags[1][1] is 3"},
		{bags([][]int{{0}}, [][]float32{}), contrastive.ErrShape, "nn: Embedding: weights has 0 lists, bags has 1"},
		{bags([][]int{{0}, {1, 2}}, [][]float32{{1}, {1}}), contrastive.ErrShape, "nn: Embedding: weights[1] has 1 elements, bags[1] has 2"},
		{bags([][]int{{0}, {1, 2}}, [][]float32{{1}, {1, inf}}), contrastive.ErrNotFinite, "nn: Embedding: weights[1][1] is +Inf"},
		{func() error { return Gather(contrastive.NewMatrix(2, 2), src, []int{0, 3}) }, contrastive.ErrParameter, "nn: Gather: rows[1] is 3, src has 3 rows"},
		{func() error { return Gather(contrastive.NewMatrix(2, 2), src, []int{-1, 0}) }, contrastive.ErrParameter, "nn: Gather: rows[0] is -1"},
		{func() error { return Gather(contrastive.NewMatrix(2, 3), src, []int{0, 0}) }, contrastive.ErrShape, "nn: Gather: dst is 2×3, want 2×2"},
		{func() error { return Gather(contrastive.NewMatrix(3, 2), src, []int{0, 0}) }, contrastive.ErrShape, "nn: Gather: dst is 3×2, want 2×2"},
	} {
		if err := c.f(); err == nil || !errors.Is(err, c.is) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("error %v, want %q that wraps %v", err, c.want, c.is)
		}
	}
}

func TestPick(t *testing.T) {
	if got := Pick([]string{"a", "b", "c"}, []int{2, 0, 2}); !slices.Equal(got, []string{"c", "a", "c"}) {
		t.Errorf("%q", got)
	}
}

func TestFlatten(t *testing.T) {
	rows, counts := Flatten([][]int{{4, 1}, nil, {7}})
	if !slices.Equal(rows, []int{4, 1, 7}) || !slices.Equal(counts, []int{2, 0, 1}) {
		t.Errorf("rows %v, counts %v", rows, counts)
	}
}

func TestGather(t *testing.T) {
	src := random(newRand(2), 4, 3)
	dst := random(newRand(3), 3, 3)
	if err := Gather(dst, src, []int{3, 1, 3}); err != nil {
		t.Fatal(err)
	}
	for i, r := range []int{3, 1, 3} {
		if !slices.Equal(dst.Row(i), src.Row(r)) {
			t.Errorf("row %d is not row %d", i, r)
		}
	}
}
