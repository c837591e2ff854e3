package contrastive

import (
	"errors"
	"fmt"
)

// A Matrix is a view of row-major float32 data: row i is
// Data[i*Stride : i*Stride+Cols]. Copying a Matrix does not copy Data.
//
// It has the fields of gonum's blas32.General in the same order, so that
// contrastive.Matrix(g) converts one without copying, and this package does
// not import gonum.
type Matrix struct {
	Rows, Cols int
	Stride     int // distance between the starts of consecutive rows, in elements
	Data       []float32
}

// NewMatrix returns a rows×cols matrix of zeros with Stride equal to cols. It
// panics if a dimension is negative, or if no memory can hold the matrix.
func NewMatrix(rows, cols int) Matrix {
	if rows < 0 || cols < 0 {
		panic(fmt.Sprintf("contrastive: NewMatrix(%d, %d): negative dimension", rows, cols))
	}
	if cols > 0 && rows > maxElements/cols {
		panic(fmt.Sprintf("contrastive: NewMatrix(%d, %d): more than %d elements", rows, cols, maxElements))
	}
	return Matrix{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
}

// Row returns row i of m, sharing its storage.
func (m Matrix) Row(i int) []float32 {
	return m.Data[i*m.Stride : i*m.Stride+m.Cols : i*m.Stride+m.Cols]
}

// FromRows returns a matrix of copies of rows, with Stride equal to their length. It
// returns an error that wraps [ErrEmpty] if there are no elements, or [ErrShape] if the
// lengths differ.
func FromRows(rows [][]float32) (Matrix, error) {
	cols := 0
	if len(rows) > 0 {
		cols = len(rows[0])
	}
	for i, row := range rows {
		if len(row) != cols {
			return Matrix{}, fmt.Errorf("FromRows: row %d has %d elements, row 0 has %d: %w", i, len(row), cols, ErrShape)
		}
	}
	if cols == 0 {
		return Matrix{}, fmt.Errorf("FromRows: rows is %d×%d: %w", len(rows), cols, ErrEmpty)
	}
	if len(rows) > maxElements/cols {
		return Matrix{}, fmt.Errorf("FromRows: rows is %d×%d, which no memory can hold: %w", len(rows), cols, ErrShape)
	}
	m := NewMatrix(len(rows), cols)
	for i, row := range rows {
		copy(m.Row(i), row)
	}
	return m, nil
}

// Slice returns rows i to j-1 of m, sharing its storage. It panics unless
// 0 ≤ i ≤ j ≤ Rows.
func (m Matrix) Slice(i, j int) Matrix {
	if i < 0 || j < i || j > m.Rows {
		panic(fmt.Sprintf("contrastive: Matrix.Slice(%d, %d): out of range with %d rows", i, j, m.Rows))
	}
	return m.view(i, j, m.Cols)
}

// Prefix returns the first d columns of m, sharing its storage: the embeddings of
// fewer dimensions that Matryoshka training makes. It panics unless 0 ≤ d ≤ Cols.
func (m Matrix) Prefix(d int) Matrix {
	if d < 0 || d > m.Cols {
		panic(fmt.Sprintf("contrastive: Matrix.Prefix(%d): out of range with %d columns", d, m.Cols))
	}
	return m.view(0, m.Rows, d)
}

// view returns the first cols columns of rows i to j-1. Data ends with the last
// element, as that of m may.
func (m Matrix) view(i, j, cols int) Matrix {
	v := Matrix{Rows: j - i, Cols: cols, Stride: m.Stride, Data: m.Data[:0:0]}
	if v.Rows > 0 && cols > 0 {
		first, end := i*m.Stride, (j-1)*m.Stride+cols
		v.Data = m.Data[first:end:end]
	}
	return v
}

// isZero reports whether m is the zero Matrix, which stands for an absent
// input or an unwanted gradient.
func (m Matrix) isZero() bool {
	return m.Rows == 0 && m.Cols == 0 && m.Stride == 0 && len(m.Data) == 0
}

// A Batch is what a loss is evaluated on. Embeddings are raw: every loss but
// BarlowTwins and VICReg normalises each row to unit length, and its gradients
// flow back through that normalisation. A row of zeros has similarity 0 to
// everything and gradient 0. A row whose norm is below 2⁻¹²⁶ counts as one, in queues
// and metrics, too.
//
// A zero Matrix, a nil Queue and nil Labels are absent. Labels that are empty, but not
// nil, are of the wrong length.
type Batch struct {
	// Query holds N×D embeddings: view 1, anchors, predictions or images.
	Query Matrix

	// Key holds N×D embeddings, of which row i is the positive of query i:
	// view 2, targets or texts.
	Key Matrix

	// Negatives optionally holds M×D further negatives, shared by all queries.
	Negatives Matrix

	// Queue optionally holds further negatives that take no gradient: MoCo's
	// dictionary.
	Queue *Queue

	// Labels optionally holds N class ids. SupCon takes rows of one class for
	// each other's positives; InfoNCE, NTXent and CLIP do not take them for
	// each other's negatives.
	Labels []int
}

// Gradients names the matrices that receive ∂Loss/∂input. A zero Matrix means
// that the gradient is not wanted; it is not computed. The others have the
// shape of their input, may be strided, and must share no element with each
// other or with an input. They are overwritten, and left untouched when Eval
// returns an error. An element too large for float32 saturates at ±MaxFloat32.
type Gradients struct {
	Query, Key, Negatives Matrix
}

// A Result is what one evaluation learns. Fields that have no meaning for a
// loss are 0.
type Result struct {
	Loss            float64 // in nats unless the loss says otherwise
	TemperatureGrad float64 // ∂Loss/∂τ; ∂Loss/∂log(1/τ) is -τ times this
	BiasGrad        float64 // ∂Loss/∂bias (SigLIP)

	// Accuracy is the share of the anchors whose positive is more similar than
	// every negative, by more than rounding: 2⁻²⁰ of cosine, 2⁻¹⁴ if Precision is
	// High, 2⁻⁶ if Medium. Anchors without a negative do not count; if none has
	// one, as with a queue that nothing has been enqueued to, it is 0. It is
	// always 0 for SupCon, NegativeCosine, BarlowTwins and VICReg.
	Accuracy float64

	PositiveCosine float64 // mean cosine of positive pairs
	NegativeCosine float64 // mean cosine of negative pairs, 0 if there are none
}

// A Loss evaluates a batch and, where wanted, its gradients. The losses of this
// package are plain structs of hyper-parameters whose zero fields mean the
// documented defaults; they are safe for concurrent use.
//
// Eval returns an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite] or
// [ErrParameter]; its text names the loss, the argument, the row and the
// numbers. After an error no gradient has been written.
type Loss interface {
	Eval(b Batch, g Gradients) (Result, error)
}

// Options are common to all losses.
type Options struct {
	// Workers is the number of goroutines that share the work. Zero means
	// GOMAXPROCS. Results do not depend on it, bit for bit.
	Workers int

	// Precision is that of the matrix products.
	Precision Precision
}

// A Precision bounds the error of the matrix products, in the terms of
// torch.set_float32_matmul_precision and jax.lax.Precision: that of a cosine, to
// which an error of float32, (D+2)·2⁻²⁴, comes, and that of the weights of pairs in
// gradients, relative to each. Every instruction set honours all three; one that
// gains nothing by less computes Highest.
//
// On AMX, a float32 is the sum of three, two or one bfloat16, of which six, three
// and one products are formed. AMD's processors with AVX512_BF16 gain by Medium.
type Precision uint8

const (
	Highest Precision = iota // no worse than plain float32
	High                     // 3·2⁻¹⁶
	Medium                   // 3·2⁻⁸
)

// String returns the name of p.
func (p Precision) String() string {
	switch p {
	case Highest:
		return "Highest"
	case High:
		return "High"
	case Medium:
		return "Medium"
	}
	return fmt.Sprintf("Precision(%d)", uint8(p))
}

// The errors that errors.Is finds behind those that this package returns.
var (
	ErrShape     = errors.New("shapes do not fit")
	ErrEmpty     = errors.New("empty input")
	ErrNotFinite = errors.New("not finite")
	ErrParameter = errors.New("parameter out of range")
)
