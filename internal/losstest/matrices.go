package losstest

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// Normal returns a matrix of standard normal deviates. Its rows are apart, and
// what is between them is not finite: a loss that reads it will show.
func Normal(r *rand.Rand, rows, cols int) contrastive.Matrix {
	m := contrastive.NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(r.NormFloat64())
	}
	return Apart(m, 3)
}

// ScaleRows multiplies row i of m by f(i).
func ScaleRows(m contrastive.Matrix, f func(i int) float64) {
	for i := range m.Rows {
		row := m.Row(i)
		for d, x := range row {
			row[d] = float32(f(i) * float64(x))
		}
	}
}

// MapMatrix sets every element of m to f of its row, its column and itself.
func MapMatrix(m contrastive.Matrix, f func(i, d int, v float32) float32) {
	for i := range m.Rows {
		for d, v := range m.Row(i) {
			m.Row(i)[d] = f(i, d, v)
		}
	}
}

// Apart returns m with gap elements between its rows, which are NaN.
func Apart(m contrastive.Matrix, gap int) contrastive.Matrix {
	s := contrastive.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols + gap}
	s.Data = make([]float32, m.Rows*s.Stride-gap)
	for i := range s.Data {
		s.Data[i] = float32(math.NaN())
	}
	for i := range m.Rows {
		copy(s.Row(i), m.Row(i))
	}
	return s
}

// Slice returns rows first to end-1 of m, sharing its storage; of a zero Matrix,
// none.
func Slice(m contrastive.Matrix, first, end int) contrastive.Matrix {
	if m.Data == nil {
		return m
	}
	return m.Slice(first, end)
}

// RowsOf returns the rows of m in float64, nil for a zero Matrix.
func RowsOf(m contrastive.Matrix) [][]float64 {
	var rows [][]float64
	for i := range m.Rows {
		row := make([]float64, m.Cols)
		for d, x := range m.Row(i) {
			row[d] = float64(x)
		}
		rows = append(rows, row)
	}
	return rows
}

// Cosines returns those of all pairs of rows, in float64.
func Cosines(x, y contrastive.Matrix) [][]float64 {
	s := make([][]float64, x.Rows)
	for i := range s {
		s[i] = make([]float64, y.Rows)
		for j := range s[i] {
			var xy, xx, yy float64
			for d, v := range x.Row(i) {
				w := float64(y.Row(j)[d])
				xy += float64(v) * w
				xx += float64(v) * float64(v)
				yy += w * w
			}
			if xx > 0 && yy > 0 {
				s[i][j] = xy / math.Sqrt(xx) / math.Sqrt(yy)
			}
		}
	}
	return s
}

// Reference returns b for the oracle.
func Reference(b contrastive.Batch) ref.Batch {
	rb := ref.Batch{
		Query: RowsOf(b.Query), Key: RowsOf(b.Key), Negatives: RowsOf(b.Negatives), Labels: b.Labels,
		Hard: RowsOf(b.Hard), HardCounts: b.HardCounts, Scores: RowsOf(b.Scores),
	}
	for _, w := range b.Weights {
		rb.Weights = append(rb.Weights, float64(w))
	}
	if b.Queue != nil {
		rb.Queue = RowsOf(b.Queue.Keys())
		rb.QueueLabels = b.Queue.Labels()
		if rb.Queue == nil {
			rb.Queue = [][]float64{} // empty, but given
		}
	}
	return rb
}

// NewQueue returns a queue of the given keys.
func NewQueue(t testing.TB, capacity int, keys contrastive.Matrix, labels ...int) *contrastive.Queue {
	t.Helper()
	q, err := contrastive.NewQueue(capacity, keys.Cols)
	if err == nil {
		err = q.Enqueue(keys, labels...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// A Reporter is what comparisons need of a test, so that programs that are none have
// them, too, as the ranks of a job.
type Reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

// Inputs and Outputs return the matrices of a call, in one order.
func Inputs(b contrastive.Batch) [4]contrastive.Matrix {
	return [...]contrastive.Matrix{b.Query, b.Key, b.Negatives, b.Hard}
}

func Outputs(g contrastive.Gradients) [4]contrastive.Matrix {
	return [...]contrastive.Matrix{g.Query, g.Key, g.Negatives, g.Hard}
}

// Canary fills destinations before a call. It is a NaN, so that an element that
// is forgotten shows as well.
var Canary = math.Float32frombits(0x7fa5a5a5)

// Destination returns a matrix of the size of m for its gradient, with a gap
// between rows, and a zero Matrix for one.
func Destination(m contrastive.Matrix) contrastive.Matrix {
	const gap = 5
	if m.Data == nil {
		return contrastive.Matrix{}
	}
	dst := contrastive.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols + gap}
	dst.Data = make([]float32, m.Rows*dst.Stride)
	for i := range dst.Data {
		dst.Data[i] = Canary
	}
	return dst
}

// Destinations returns matrices for all gradients of b.
func Destinations(b contrastive.Batch) contrastive.Gradients {
	return contrastive.Gradients{
		Query: Destination(b.Query), Key: Destination(b.Key), Negatives: Destination(b.Negatives), Hard: Destination(b.Hard),
	}
}

// Destinations returns matrices for all gradients that v has, and losses if it gives them.
func (v Variant) Destinations(b contrastive.Batch) contrastive.Gradients {
	g := Destinations(b)
	if v.ConstantKey {
		g.Key = contrastive.Matrix{}
	}
	if v.Losses {
		g.Losses = make([]float64, b.Query.Rows)
		for i := range g.Losses {
			g.Losses[i] = float64(Canary)
		}
	}
	return g
}

// SameGradients reports whether two sets of destinations of one layout hold the same
// bits.
func SameGradients(a, b contrastive.Gradients) bool {
	for i, m := range Outputs(a) {
		if !SameBits(m, Outputs(b)[i]) {
			return false
		}
	}
	return slices.EqualFunc(a.Losses, b.Losses, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

// CheckGaps fails t if something was written between the rows of m, or not
// written within them.
func CheckGaps(t Reporter, name string, m contrastive.Matrix) {
	t.Helper()
	for k, x := range m.Data {
		if kept := math.Float32bits(x) == math.Float32bits(Canary); k%m.Stride >= m.Cols && !kept {
			t.Errorf("%s: row %d: %v was written %d elements after its end", name, k/m.Stride, x, k%m.Stride-m.Cols)
			return
		} else if k%m.Stride < m.Cols && kept {
			t.Errorf("%s: row %d column %d was not written", name, k/m.Stride, k%m.Stride)
			return
		}
	}
}

// SameBits reports whether two matrices of one layout hold the same bits.
func SameBits(a, b contrastive.Matrix) bool {
	if len(a.Data) != len(b.Data) {
		return false
	}
	for i, x := range a.Data {
		if math.Float32bits(x) != math.Float32bits(b.Data[i]) {
			return false
		}
	}
	return true
}

// Clone copies m with its storage.
func Clone(m contrastive.Matrix) contrastive.Matrix {
	m.Data = append([]float32(nil), m.Data...)
	return m
}

// Eval evaluates without an error, and checks that the inputs are as before.
func Eval(t *testing.T, name string, l contrastive.Loss, b contrastive.Batch, g contrastive.Gradients) contrastive.Result {
	t.Helper()
	before := Inputs(b)
	for i, m := range before {
		before[i] = Clone(m)
	}
	res, err := l.Eval(b, g)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for i, m := range Inputs(b) {
		if !SameBits(before[i], m) {
			t.Errorf("%s: input %d has changed", name, i)
		}
	}
	return res
}

func Within(t Reporter, name string, got, want, bound float64) {
	t.Helper()
	if !(math.Abs(got-want) <= bound) {
		t.Errorf("%s = %v, want %v ± %.2g; off by %.2g", name, got, want, bound, math.Abs(got-want))
	}
}
