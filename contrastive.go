// Package contrastive computes contrastive-learning losses and their gradients
// on the CPU, without cgo and without holding the matrix of similarities.
//
// A loss is a plain struct of hyper-parameters. A zero field means the default that
// its comment states, so that the zero value of a loss can be used; not every default
// is the value of a paper. It is evaluated on a [Batch] of embeddings and fills in
// the [Gradients] that are wanted:
//
//	dq, dk := contrastive.NewMatrix(n, d), contrastive.NewMatrix(n, d)
//	r, err := contrastive.CLIP{Temperature: tau}.Eval(
//		contrastive.Batch{Query: images, Key: texts},
//		contrastive.Gradients{Query: dq, Key: dk})
//
// The embeddings are raw: losses normalise rows, and gradients flow back through
// the normalisation to what the encoder returned. Feed dq and dk to the encoder's
// backward pass. In a framework that only differentiates scalars, the sum of
// dq·q with dq held constant has the right gradient.
//
// # Losses
//
//	InfoNCE         queries against keys, shared negatives or a queue (CPC, MoCo)
//	NTXent          two views, all others negatives (SimCLR)
//	CLIP            two modalities, both directions, learnable temperature
//	SigLIP          two modalities, pair by pair, learnable temperature and bias
//	SupCon          positives by class
//	DCL             NTXent without the positive in the denominator, also weighted
//	HardNegative    negatives weighted by hardness, and debiased
//	NegativeCosine  no negatives: predictions and targets (BYOL, SimSiam)
//	BarlowTwins     no negatives: decorrelated features
//	VICReg          no negatives: variance, invariance, covariance
//	Matryoshka      another loss, of the first columns, too
//	Sum             several losses
//	CoSENT          the order of graded pairs
//	AnglE           the same, by angles of complex vectors
//	CosineMSE       cosines of graded pairs
//	Triplet         hard negatives of each query, with a margin
//	MarginMSE       a teacher's preference of the key to hard negatives
//	DistillKL       a teacher's distribution over the key and hard negatives
//	EmbeddingMSE    a teacher's embeddings
//
// [Queue] is MoCo's dictionary; [MomentumUpdates] and [CosineSchedule] serve
// momentum encoders, [LogitScale] a temperature that is learned, and [WarmupCosine]
// the learning rate; a [GradientCache] takes batches whose activations do not fit
// in memory; and [Alignment], [Uniformity], [Collapse], [TopK], [KNN], [RecallAt]
// and [MRR] measure embeddings. [Search] has options for the last four.
//
// [Sharded] evaluates a loss over a batch whose rows are spread over processes or
// machines, which a [Collective] connects.
//
// # Notation
//
// N is the number of queries, K that of the keys they are compared with, D the
// dimension. τ is the temperature, s a cosine, s/τ a logit, and u = 2⁻²⁴ the unit
// roundoff of float32. Logarithms are natural and losses are in nats.
//
// # Cost
//
// Counting a product of N×D and D×K as one, the value of a loss takes one
// product, and its gradients one each; [NTXent], [SupCon], [DCL] and [HardNegative]
// compute each pair once for both its anchors. The weights of these and of [CLIP]
// depend on sums that are complete only after all pairs: exponentials are kept until
// then as far as Options.KeepBytes allows, and those of other pairs are computed
// again, with their part of a product. The same is true of what precedes the sums
// below temperatures of 0.02, the greatest similarity of each anchor. Memory beyond
// inputs and gradients is O((N+K)·D) and KeepBytes, whatever the number of pairs.
//
// # Accuracy
//
// Products are computed in float32; norms, the similarities of positive pairs,
// sums over keys and the loss in float64. The error of the loss and of gradients
// is no worse than that of the plain float32 method (normalise, multiply,
// log-softmax), plus that of the exponential, which package simd bounds. A loss
// near 0 keeps its relative accuracy, where the plain method loses every digit:
// the positive is never subtracted from a sum that contains it. The exception is
// SupCon, whose denominators contain the positives.
//
// # Determinism
//
// On one instruction set, results are the same bits for any number of workers
// and from run to run. They differ between instruction sets by rounding. See
// package simd for how to choose one.
//
// The floating-point mode that a thread may have from code in another language, such as
// a library that takes subnormal numbers for zeros, changes nothing on amd64, 386 and
// arm64: computations take place in the standard mode. They do in that of the thread
// elsewhere and with -tags purego.
//
// # Errors
//
// Bad input is an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite] or
// [ErrParameter] and names the loss, the argument, the row and the numbers. No
// gradient is written before all inputs have been checked.
//
// What only a wrong program can cause is a panic, as with slices: a negative size for
// [NewMatrix], no ranks for [NewLocalGroup]. A number that may be a user's setting, as
// the capacity for [NewQueue], is an error.
package contrastive

import (
	"errors"
	"fmt"
	"slices"
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
	if err := checkRows(rows, cols); err != nil {
		return Matrix{}, wrap("FromRows", err)
	}
	m := NewMatrix(len(rows), cols)
	for i, row := range rows {
		copy(m.Row(i), row)
	}
	return m, nil
}

func checkRows(rows [][]float32, cols int) error {
	for i, row := range rows {
		if len(row) != cols {
			return fmt.Errorf("row %d has %d elements, row 0 has %d: %w", i, len(row), cols, ErrShape)
		}
	}
	if cols == 0 {
		return fmt.Errorf("rows is %d×%d: %w", len(rows), cols, ErrEmpty)
	}
	if len(rows) > maxElements/cols {
		return fmt.Errorf("rows is %d×%d, which no memory can hold: %w", len(rows), cols, ErrShape)
	}
	return nil
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

// columns returns those from first up to end. Data ends with the last element.
func (m Matrix) columns(first, end int) Matrix {
	v := m.view(0, m.Rows, end)
	v.Cols, v.Data = end-first, v.Data[first:]
	return v
}

// resize returns a slice of n arbitrary elements, in the memory of s if that is enough.
func resize[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

// zeros is resize for elements that are to be 0.
func zeros[T any](s []T, n int) []T {
	s = resize(s, n)
	clear(s)
	return s
}

// reshape returns a rows×cols matrix of arbitrary elements, in the memory of m if that
// is enough.
func reshape(m Matrix, rows, cols int) Matrix {
	return Matrix{Rows: rows, Cols: cols, Stride: cols, Data: resize(m.Data, rows*cols)}
}

// isZero reports whether m is the zero Matrix, which stands for an absent
// input or an unwanted gradient.
func (m Matrix) isZero() bool {
	return m.Rows == 0 && m.Cols == 0 && m.Stride == 0 && len(m.Data) == 0
}

// The errors that errors.Is finds behind those that this package returns.
var (
	ErrShape     = errors.New("shapes do not fit")
	ErrEmpty     = errors.New("empty input")
	ErrNotFinite = errors.New("not finite")
	ErrParameter = errors.New("parameter out of range")

	// ErrUnused is for input that a loss does not take. It wraps ErrParameter.
	ErrUnused error = unusedError{}
)

type unusedError struct{}

func (unusedError) Error() string { return "the loss does not take it" }
func (unusedError) Unwrap() error { return ErrParameter }

// A NotFiniteError tells where a NaN or an infinity is, for programs that leave out such
// rows. It is found by errors.As, and wraps [ErrNotFinite].
type NotFiniteError struct {
	Argument string // Query, Key, Negatives, …
	Row, Col int
	Value    float32
}

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("%s row %d column %d is %v: %v", e.Argument, e.Row, e.Col, e.Value, ErrNotFinite)
}

func (e *NotFiniteError) Unwrap() error { return ErrNotFinite }
