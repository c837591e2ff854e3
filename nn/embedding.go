package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/simd"
)

// Embedding is a table of Rows×Dim vectors that are looked up by index: the items of a
// recommender, the words of a text.
type Embedding struct {
	Weight *Param // Rows×Dim

	// Sparse keeps a list of the rows that have been looked up since the last step.
	// Then Adagrad, and SGD without momentum, take time for these alone, with results
	// that are the same bits; [ClipGradNorm] does, too. A gradient that something
	// else than Backward has written, as a sum over ranks does, is not seen. It is to
	// be set before the first Backward.
	Sparse bool

	Workers int // as that of [Linear]

	rows, dim int
	y, dy     contrastive.Matrix

	// What is looked up: bag i is ids[starts[i]:starts[i+1]], with weights, or nil
	// for one id each, all with weight 1.
	ids     []int
	starts  []int
	weights []float32

	uses    []use
	sorted  []use // scratch
	groups  []int // where in uses another row begins, and their length
	touched []int
	dw      []float32
}

// A use is one row of the table in one row of the output. Its place is in ids.
type use struct{ row, place, output int32 }

// NewEmbedding returns a table whose elements are normal with variance 1/dim, so that
// rows are about as long as the unit vectors that losses compare. It panics unless rows
// and dim are positive and rows below 2³¹.
func NewEmbedding(rows, dim int, rng *rand.Rand) *Embedding {
	if rows <= 0 || dim <= 0 || rows > math.MaxInt32 {
		panic(fmt.Sprintf("nn: NewEmbedding(%d, %d): dimensions must be positive, and rows below 2³¹", rows, dim))
	}
	e := &Embedding{Weight: NewParam("weight", rows, dim), rows: rows, dim: dim}
	fillNormal(e.Weight.Value, 1/math.Sqrt(float64(dim)), rng)
	return e
}

// EmbeddingOf returns a table that is m, in m's memory. It panics unless the stride of m is
// its columns, and its dimensions are those that [NewEmbedding] takes.
func EmbeddingOf(m contrastive.Matrix) *Embedding {
	checkMatrix("EmbeddingOf", "table", m)
	if m.Rows <= 0 || m.Cols <= 0 || m.Rows > math.MaxInt32 || m.Stride != m.Cols {
		panic(fmt.Sprintf("nn: EmbeddingOf(%d×%d with Stride %d): dimensions must be positive, rows below 2³¹, and Stride the columns", m.Rows, m.Cols, m.Stride))
	}
	n := m.Rows * m.Cols
	p := &Param{Name: "weight", Shape: []int{m.Rows, m.Cols}, Value: m.Data[:n:n], Grad: make([]float32, n)}
	return &Embedding{Weight: p, rows: m.Rows, dim: m.Cols}
}

// Table returns the whole table, in its own memory: all items, to be ranked.
func (e *Embedding) Table() contrastive.Matrix {
	return contrastive.Matrix{Rows: e.rows, Cols: e.dim, Stride: e.dim, Data: e.Weight.Value}
}

// Forward returns row ids[i] of the table as row i, in memory of the Embedding that is
// valid until its next Forward. ids must not change before Backward.
//
// It returns an error that wraps [contrastive.ErrParameter] if an id is not from 0 to
// Rows-1.
func (e *Embedding) Forward(ids []int) (contrastive.Matrix, error) {
	if err := e.checkIDs("ids", ids); err != nil {
		return contrastive.Matrix{}, fmt.Errorf("nn: Embedding: %w", err)
	}
	e.ids, e.starts, e.weights = ids, e.starts[:0], nil
	y := resize(&e.y, len(ids), e.dim)
	run((*embeddingForward)(e), y.Rows, rowGrain(e.dim), e.Workers)
	return y, nil
}

// ForwardBags returns Σ weights[i][j]·table[bags[i][j]] as row i: the embedding of a text
// by its words. Without weights row i is the mean of its bag, and 0 if that is empty. The
// result is valid until the next Forward; bags and weights may change at once.
//
// It returns an error that wraps [contrastive.ErrParameter] if an id is not from 0 to
// Rows-1, [contrastive.ErrShape] if weights are not shaped like bags, or
// [contrastive.ErrNotFinite] if a weight is not finite.
func (e *Embedding) ForwardBags(bags [][]int, weights [][]float32) (contrastive.Matrix, error) {
	if err := e.checkBags(bags, weights); err != nil {
		return contrastive.Matrix{}, fmt.Errorf("nn: Embedding: %w", err)
	}
	if len(e.starts) == 0 {
		e.ids = nil // they are the caller's
	}
	e.keepBags(bags, weights)
	y := resize(&e.y, len(bags), e.dim)
	run((*embeddingForward)(e), y.Rows, 16, e.Workers)
	return y, nil
}

func (e *Embedding) keepBags(bags [][]int, weights [][]float32) {
	defer fpmode.Enter().Leave()
	e.ids, e.weights, e.starts = e.ids[:0], e.weights[:0], append(e.starts[:0], 0)
	for i, bag := range bags {
		e.ids = append(e.ids, bag...)
		e.starts = append(e.starts, len(e.ids))
		if weights != nil {
			e.weights = append(e.weights, weights[i]...)
			continue
		}
		for range bag {
			e.weights = append(e.weights, float32(1/float64(len(bag))))
		}
	}
}

func (e *Embedding) checkIDs(name string, ids []int) error {
	if len(ids) > math.MaxInt32 {
		return fmt.Errorf("%s has %d elements, which must be below 2³¹: %w", name, len(ids), contrastive.ErrShape)
	}
	for i, id := range ids {
		if id < 0 || id >= e.rows {
			return fmt.Errorf("%s[%d] is %d and must be from 0 to %d: %w", name, i, id, e.rows-1, contrastive.ErrParameter)
		}
	}
	return nil
}

func (e *Embedding) checkBags(bags [][]int, weights [][]float32) error {
	if weights != nil && len(weights) != len(bags) {
		return fmt.Errorf("weights has %d lists, bags has %d: %w", len(weights), len(bags), contrastive.ErrShape)
	}
	total := 0
	for i, bag := range bags {
		for j, id := range bag {
			if id < 0 || id >= e.rows {
				return fmt.Errorf("bags[%d][%d] is %d and must be from 0 to %d: %w", i, j, id, e.rows-1, contrastive.ErrParameter)
			}
		}
		if total += len(bag); total > math.MaxInt32 {
			return fmt.Errorf("bags has 2³¹ elements or more: %w", contrastive.ErrShape)
		}
		if weights == nil {
			continue
		}
		if len(weights[i]) != len(bag) {
			return fmt.Errorf("weights[%d] has %d elements, bags[%d] has %d: %w", i, len(weights[i]), i, len(bag), contrastive.ErrShape)
		}
		for j, w := range weights[i] {
			if w-w != 0 {
				return fmt.Errorf("weights[%d][%d] is %v: %w", i, j, w, contrastive.ErrNotFinite)
			}
		}
	}
	return nil
}

type embeddingForward Embedding

func (e *embeddingForward) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		y := e.y.Row(i)
		if len(e.starts) == 0 {
			copy(y, e.row(e.ids[i]))
			continue
		}
		clear(y)
		for k := e.starts[i]; k < e.starts[i+1]; k++ {
			simd.Axpy(e.weights[k], e.row(e.ids[k]), y)
		}
	}
}

func (e *embeddingForward) row(i int) []float32 { return e.Weight.Value[i*e.dim : (i+1)*e.dim] }

// Backward takes the gradient of the rows of the latest Forward or ForwardBags and adds
// to that of the table, in the order of the rows.
func (e *Embedding) Backward(dy contrastive.Matrix) {
	checkGradient("Embedding", dy, e.y)
	e.dy = dy
	e.sortUses()
	run((*embeddingBackward)(e), len(e.groups)-1, max(1, rowGrain(e.dim)/4), e.Workers)
	if e.Sparse {
		e.touch()
	}
}

// BackwardBags is Backward after ForwardBags with weights, and returns also their
// gradients, shaped like them, one after the other, valid until the next Backward:
// ∂L/∂weights[i][j] is the product of dy's row i and row bags[i][j] of the table.
func (e *Embedding) BackwardBags(dy contrastive.Matrix) (dweights []float32) {
	e.Backward(dy)
	e.dw = slices.Grow(e.dw[:0], len(e.ids))[:len(e.ids)]
	run((*embeddingWeights)(e), dy.Rows, 16, e.Workers)
	return e.dw
}

type embeddingWeights Embedding

func (e *embeddingWeights) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		from, to := i, i+1
		if len(e.starts) > 0 {
			from, to = e.starts[i], e.starts[i+1]
		}
		for k := from; k < to; k++ {
			e.dw[k] = simd.Dot(e.dy.Row(i), (*embeddingForward)(e).row(e.ids[k]))
		}
	}
}

// sortUses lists the uses of each row of the table, in their order.
func (e *Embedding) sortUses() {
	e.uses = e.uses[:0]
	if len(e.starts) == 0 {
		for i, id := range e.ids {
			e.uses = append(e.uses, use{int32(id), int32(i), int32(i)})
		}
	} else {
		for i := range len(e.starts) - 1 {
			for k := e.starts[i]; k < e.starts[i+1]; k++ {
				e.uses = append(e.uses, use{int32(e.ids[k]), int32(k), int32(i)})
			}
		}
	}
	e.uses, e.sorted = sortByRow(e.uses, e.sorted, e.rows)
	e.groups = e.groups[:0]
	for i, u := range e.uses {
		if i == 0 || u.row != e.uses[i-1].row {
			e.groups = append(e.groups, i)
		}
	}
	e.groups = append(e.groups, len(e.uses))
}

// sortByRow returns uses in the order of their rows, below n, and those of one row in the
// order that they had; and the slice that it does not return, as scratch for the next
// time. It is a radix sort: there is little else to do for a use.
func sortByRow(uses, scratch []use, n int) (sorted, rest []use) {
	const digit = 11 // bits
	scratch = slices.Grow(scratch[:0], len(uses))[:len(uses)]
	for shift := 0; (n-1)>>shift > 0; shift += digit {
		var start [1<<digit + 1]int32
		for _, u := range uses {
			start[u.row>>shift&(1<<digit-1)+1]++
		}
		for i := range 1 << digit {
			start[i+1] += start[i]
		}
		for _, u := range uses {
			at := &start[u.row>>shift&(1<<digit-1)]
			scratch[*at] = u
			*at++
		}
		uses, scratch = scratch, uses
	}
	return uses, scratch
}

type embeddingBackward Embedding

func (e *embeddingBackward) part(lo, hi int) {
	for k := lo; k < hi; k++ {
		uses := e.uses[e.groups[k]:e.groups[k+1]]
		row := int(uses[0].row)
		grad := e.Weight.Grad[row*e.dim : (row+1)*e.dim]
		for _, u := range uses {
			w := float32(1)
			if len(e.starts) > 0 {
				w = e.weights[u.place]
			}
			simd.Axpy(w, e.dy.Row(int(u.output)), grad)
		}
	}
}

// touch adds the rows that have been used to those of the parameter.
func (e *Embedding) touch() {
	p := e.Weight
	p.sparse = true
	e.touched = append(e.touched[:0], p.touched...)
	p.touched = p.touched[:0]
	old := e.touched
	for _, at := range e.groups[:len(e.groups)-1] {
		row := int(e.uses[at].row)
		for len(old) > 0 && old[0] < row {
			p.touched, old = append(p.touched, old[0]), old[1:]
		}
		if len(old) > 0 && old[0] == row {
			old = old[1:]
		}
		p.touched = append(p.touched, row)
	}
	p.touched = append(p.touched, old...)
}

// Params implements [Module].
func (e *Embedding) Params() []*Param { return []*Param{e.Weight} }

// Buffers implements [Module].
func (e *Embedding) Buffers() []Tensor { return nil }

// SetWorkers sets Workers.
func (e *Embedding) SetWorkers(n int) { e.Workers = n }

// Pick returns src[rows[0]], src[rows[1]], …: the labels, or indices, of a batch. It panics
// if an index is out of range, as slices do.
func Pick[T any](src []T, rows []int) []T {
	picked := make([]T, len(rows))
	for i, r := range rows {
		picked[i] = src[r]
	}
	return picked
}

// Flatten returns the elements of all lists, one list after the other, and how many each
// has: the rows and HardCounts of a [contrastive.Batch], from lists of hard negatives.
func Flatten(lists [][]int) (rows, counts []int) {
	counts = make([]int, len(lists))
	for i, l := range lists {
		rows = append(rows, l...)
		counts[i] = len(l)
	}
	return rows, counts
}

// Gather sets row i of dst to row rows[i] of src: a batch from a matrix of all data. It
// returns an error that wraps [contrastive.ErrShape] if dst has not len(rows) rows and
// the columns of src, or [contrastive.ErrParameter] if an index is not one of src's
// rows; then dst has not changed. They must not overlap.
func Gather(dst, src contrastive.Matrix, rows []int) error {
	if dst.Rows != len(rows) || dst.Cols != src.Cols {
		return fmt.Errorf("nn: Gather: dst is %d×%d, want %d×%d: %w", dst.Rows, dst.Cols, len(rows), src.Cols, contrastive.ErrShape)
	}
	for i, r := range rows {
		if r < 0 || r >= src.Rows {
			return fmt.Errorf("nn: Gather: rows[%d] is %d, src has %d rows: %w", i, r, src.Rows, contrastive.ErrParameter)
		}
	}
	for i, r := range rows {
		copy(dst.Row(i), src.Row(r))
	}
	return nil
}
