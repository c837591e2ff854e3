package contrastive_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// u is the unit roundoff of float32.
const u = 0x1p-24

type options = contrastive.Options

// matrices are legal matrices whose elements say where they are: row i, column j
// holds 10·i + j. Data ends with the last row, or goes on.
func matrices() map[string]contrastive.Matrix {
	fill := func(m contrastive.Matrix) contrastive.Matrix {
		for i := range m.Rows {
			for j := range m.Cols {
				m.Row(i)[j] = float32(10*i + j)
			}
		}
		return m
	}
	return map[string]contrastive.Matrix{
		"contiguous": fill(contrastive.NewMatrix(4, 3)),
		"strided":    fill(contrastive.Matrix{Rows: 4, Cols: 3, Stride: 5, Data: make([]float32, 20)}),
		"ends early": fill(contrastive.Matrix{Rows: 4, Cols: 3, Stride: 5, Data: make([]float32, 18)}),
		"one row":    fill(contrastive.Matrix{Rows: 1, Cols: 3, Stride: math.MaxInt, Data: make([]float32, 3)}),
		"no rows":    contrastive.NewMatrix(0, 3),
		"no columns": contrastive.NewMatrix(4, 0),
		"zero":       {},
	}
}

// checkView fails t unless v is the rows from i on and the columns of m that its
// size says, in the same storage, of which it holds nothing beyond its last element.
func checkView(t *testing.T, name string, m, v contrastive.Matrix, i, rows, cols int) {
	t.Helper()
	if v.Rows != rows || v.Cols != cols || v.Stride != m.Stride {
		t.Errorf("%s is %d×%d with a stride of %d, want %d×%d with %d", name, v.Rows, v.Cols, v.Stride, rows, cols, m.Stride)
		return
	}
	need := 0
	if rows > 0 && cols > 0 {
		need = (rows-1)*m.Stride + cols
	}
	if len(v.Data) != need || cap(v.Data) != need {
		t.Errorf("%s has %d elements of Data and room for %d, want %d", name, len(v.Data), cap(v.Data), need)
		return
	}
	for r := range rows {
		if cols > 0 && &v.Row(r)[0] != &m.Row(i + r)[0] {
			t.Errorf("%s: row %d is not row %d", name, r, i+r)
		}
	}
}

func TestSliceAndPrefix(t *testing.T) {
	panics := func(f func()) (text string) {
		defer func() { text, _ = recover().(string) }()
		f()
		return ""
	}
	for name, m := range matrices() {
		for i := range m.Rows + 1 {
			for j := i; j <= m.Rows; j++ {
				checkView(t, fmt.Sprintf("%s: Slice(%d, %d)", name, i, j), m, m.Slice(i, j), i, j-i, m.Cols)
			}
		}
		for d := range m.Cols + 1 {
			checkView(t, fmt.Sprintf("%s: Prefix(%d)", name, d), m, m.Prefix(d), 0, m.Rows, d)
		}
		for _, c := range [][2]int{{-1, 0}, {0, m.Rows + 1}, {m.Rows + 1, m.Rows + 1}, {1, 0}, {math.MinInt, math.MaxInt}} {
			want := fmt.Sprintf("contrastive: Matrix.Slice(%d, %d): out of range with %d rows", c[0], c[1], m.Rows)
			if got := panics(func() { m.Slice(c[0], c[1]) }); got != want {
				t.Errorf("%s: panic %q, want %q", name, got, want)
			}
		}
		for _, d := range []int{-1, m.Cols + 1, math.MaxInt} {
			want := fmt.Sprintf("contrastive: Matrix.Prefix(%d): out of range with %d columns", d, m.Cols)
			if got := panics(func() { m.Prefix(d) }); got != want {
				t.Errorf("%s: panic %q, want %q", name, got, want)
			}
		}
	}
	if zero := (contrastive.Matrix{}); zero.Slice(0, 0).Data != nil || zero.Prefix(0).Data != nil {
		t.Error("a view of the zero Matrix is not zero")
	}
}

func TestFromRows(t *testing.T) {
	rows := [][]float32{{1, 2, 3}, {4, 5, 6}}
	m, err := contrastive.FromRows(rows)
	if err != nil || m.Rows != 2 || m.Cols != 3 || m.Stride != 3 || !slices.Equal(m.Data, []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("%v, %v", m, err)
	}
	m.Data[0] = 7
	if rows[0][0] != 1 {
		t.Error("the matrix shares storage with the rows")
	}
	// 2²⁰ + 1 copies of one row are more than any memory holds.
	huge := make([]float32, 1<<16)
	many := slices.Repeat([][]float32{huge}, 1<<20)
	for _, c := range []struct {
		rows [][]float32
		want error
		part string
	}{
		{nil, contrastive.ErrEmpty, "rows is 0×0"},
		{[][]float32{}, contrastive.ErrEmpty, "rows is 0×0"},
		{[][]float32{{}, nil}, contrastive.ErrEmpty, "rows is 2×0"},
		{[][]float32{{1}, {1, 2}}, contrastive.ErrShape, "row 1 has 2 elements, row 0 has 1"},
		{[][]float32{{1}, nil}, contrastive.ErrShape, "row 1 has 0 elements, row 0 has 1"},
		{[][]float32{nil, {1}}, contrastive.ErrShape, "row 1 has 1 elements, row 0 has 0"},
		{append(many, huge), contrastive.ErrShape, "no memory"},
	} {
		m, err := contrastive.FromRows(c.rows)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.part) || !called(err, "FromRows") || m.Data != nil {
			t.Errorf("%v, %v, want %v with %q", m, err, c.want, c.part)
		}
	}
}

// An absence is an argument without elements, as nil and as not.
type absence struct {
	name   string
	ints   []int
	floats []float32
	lists  [][]float32
	matrix contrastive.Matrix
}

// TestAbsent gives every argument that may be absent, and those that may not, as nil
// and as an empty slice: there is no difference.
func TestAbsent(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 1))
	x, y, labels := losstest.Normal(r, 4, 3), losstest.Normal(r, 4, 3), []int{5, 6, 5, 6}
	evaluate := func(l contrastive.Loss, b contrastive.Batch, g contrastive.Gradients) error {
		_, err := l.Eval(b, g)
		return err
	}
	// A queue must be as good after the call as before, and so must its file.
	enqueue := func(n int, labels []int, enqueue func(q *contrastive.Queue) error) error {
		q, err := contrastive.NewQueue(6, 3)
		if err == nil && n > 0 {
			err = q.Enqueue(x.Slice(0, n), labels...)
		}
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		err = enqueue(q)
		if _, err := q.WriteTo(&file); err != nil {
			t.Error(err)
		}
		want := n + x.Rows
		if err != nil {
			want = n
		}
		read, readErr := contrastive.ReadQueue(&file)
		if readErr != nil || read.Len() != min(want, 6) || q.Len() != min(want, 6) || !slices.Equal(read.Labels(), labels) {
			t.Errorf("the queue holds %d keys and %v; its file is %v, %v", q.Len(), q.Labels(), read, readErr)
		}
		return err
	}
	alone := contrastive.NewLocalGroup(1)[0]
	for _, c := range []struct {
		name string
		want error
		call func(a absence) error
	}{
		{"Enqueue, the first keys", nil, func(a absence) error {
			return enqueue(0, nil, func(q *contrastive.Queue) error { return q.Enqueue(x, a.ints...) })
		}},
		{"Enqueue", nil, func(a absence) error {
			return enqueue(4, nil, func(q *contrastive.Queue) error { return q.Enqueue(x, a.ints...) })
		}},
		{"Enqueue after Reset", nil, func(a absence) error {
			return enqueue(0, nil, func(q *contrastive.Queue) error {
				return errors.Join(q.Enqueue(x, labels...), func() error { q.Reset(); return q.Enqueue(x, a.ints...) }())
			})
		}},
		{"Enqueue, labelled", contrastive.ErrShape, func(a absence) error {
			return enqueue(4, labels, func(q *contrastive.Queue) error { return q.Enqueue(x, a.ints...) })
		}},
		{"Enqueue, no keys", contrastive.ErrEmpty, func(a absence) error {
			return enqueue(4, labels, func(q *contrastive.Queue) error { return q.Enqueue(a.matrix, a.ints...) })
		}},
		{"EnqueueAll, the first keys", nil, func(a absence) error {
			return enqueue(0, nil, func(q *contrastive.Queue) error { return q.EnqueueAll(t.Context(), alone, x, a.ints...) })
		}},
		{"EnqueueAll", nil, func(a absence) error {
			return enqueue(4, nil, func(q *contrastive.Queue) error { return q.EnqueueAll(t.Context(), alone, x, a.ints...) })
		}},
		{"EnqueueAll, labelled", contrastive.ErrShape, func(a absence) error {
			return enqueue(4, labels, func(q *contrastive.Queue) error { return q.EnqueueAll(t.Context(), alone, x, a.ints...) })
		}},
		{"Query", contrastive.ErrEmpty, func(a absence) error {
			return evaluate(contrastive.CLIP{}, contrastive.Batch{Query: a.matrix, Key: x}, contrastive.Gradients{})
		}},
		{"Key", contrastive.ErrShape, func(a absence) error {
			return evaluate(contrastive.CLIP{}, contrastive.Batch{Query: x, Key: a.matrix}, contrastive.Gradients{})
		}},
		{"optional Key", nil, func(a absence) error {
			return evaluate(contrastive.SupCon{}, contrastive.Batch{Query: x, Key: a.matrix, Labels: labels}, contrastive.Gradients{})
		}},
		{"Negatives", nil, func(a absence) error {
			return evaluate(contrastive.InfoNCE{}, contrastive.Batch{Query: x, Key: y, Negatives: a.matrix}, contrastive.Gradients{})
		}},
		{"Negatives of CLIP", nil, func(a absence) error {
			return evaluate(contrastive.CLIP{}, contrastive.Batch{Query: x, Key: y, Negatives: a.matrix}, contrastive.Gradients{})
		}},
		{"Gradients", nil, func(a absence) error {
			g := contrastive.Gradients{Query: a.matrix, Key: a.matrix, Negatives: a.matrix}
			return evaluate(contrastive.CLIP{}, contrastive.Batch{Query: x, Key: y}, g)
		}},
		{"Sharded", nil, func(a absence) error {
			l := contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: alone}
			_, err := l.Eval(t.Context(), contrastive.Batch{Query: x, Key: y, Negatives: a.matrix}, contrastive.Gradients{Query: a.matrix})
			return err
		}},
		{"GradientCache", nil, func(a absence) error {
			q, k := newLinearTower(x, losstest.Normal(r, 3, 2)), newLinearTower(y, losstest.Normal(r, 3, 2))
			_, err := contrastive.GradientCache{Loss: contrastive.CLIP{}}.Step(contrastive.Towers{Query: q.tower(), Key: k.tower()}, contrastive.Batch{Query: a.matrix, Key: a.matrix, Negatives: a.matrix})
			return err
		}},
		{"MomentumUpdate", nil, func(a absence) error { return contrastive.MomentumUpdate(a.floats, a.floats, 0.5) }},
		{"MomentumUpdates", nil, func(a absence) error { return contrastive.MomentumUpdates(a.lists, a.lists, 0.5) }},
		{"MomentumUpdates of empty slices", nil, func(a absence) error {
			return contrastive.MomentumUpdates([][]float32{a.floats, a.floats, {1}}, [][]float32{a.floats, a.floats, {2}}, 0.5)
		}},
		{"FromRows", contrastive.ErrEmpty, func(a absence) error {
			_, err := contrastive.FromRows(a.lists)
			return err
		}},
		{"Alignment", contrastive.ErrEmpty, func(a absence) error {
			_, err := contrastive.Alignment(a.matrix, a.matrix, 2)
			return err
		}},
		{"Uniformity", contrastive.ErrEmpty, func(a absence) error {
			_, err := contrastive.Uniformity(a.matrix, 2)
			return err
		}},
		{"Collapse", contrastive.ErrEmpty, func(a absence) error {
			_, err := contrastive.Collapse(a.matrix)
			return err
		}},
		{"TopK", contrastive.ErrEmpty, func(a absence) error {
			_, _, err := contrastive.TopK(a.matrix, a.matrix, 1)
			return err
		}},
		{"KNN", contrastive.ErrEmpty, func(a absence) error {
			_, err := contrastive.KNN(a.matrix, a.ints, a.matrix, 1, 1)
			return err
		}},
		{"KNN, no labels", contrastive.ErrShape, func(a absence) error {
			_, err := contrastive.KNN(x, a.ints, y, 1, 1)
			return err
		}},
		{"RecallAt", nil, func(a absence) error {
			recall, err := contrastive.RecallAt(x, y, a.ints...)
			if len(recall) != 0 {
				t.Errorf("no k, and recall %v", recall)
			}
			return err
		}},
		{"MRR", contrastive.ErrEmpty, func(a absence) error {
			_, err := contrastive.MRR(a.matrix, a.matrix)
			return err
		}},
	} {
		for _, a := range []absence{
			{name: "nil"},
			{name: "empty", ints: []int{}, floats: []float32{}, lists: [][]float32{}, matrix: contrastive.NewMatrix(0, 0)},
		} {
			if err := c.call(a); !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v, want %v", c.name, a.name, err, c.want)
			}
		}
	}
}

func TestPrecisionString(t *testing.T) {
	for p, want := range map[contrastive.Precision]string{
		contrastive.Highest: "Highest", contrastive.High: "High", contrastive.Medium: "Medium", 3: "Precision(3)", 255: "Precision(255)",
	} {
		if got := p.String(); got != want {
			t.Errorf("Precision %d is %q, want %q", uint8(p), got, want)
		}
	}
}
