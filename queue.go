package contrastive

import (
	"fmt"
	"math"
	"slices"

	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/internal/fpmode"
)

// A Queue is a dictionary of keys to compare queries with: a ring that holds the
// latest Cap keys, of unit norm, first in, first out. It starts empty and is used
// as far as it is filled. It may hold labels with its keys.
//
// It is the queue of algorithm 1 of He, Fan, Wu, Xie and Girshick, "Momentum
// Contrast for Unsupervised Visual Representation Learning" (2020), and the
// cross-batch memory of Wang, Zhang, Huang and Scott, "Cross-Batch Memory for
// Embedding Learning" (2020).
//
// Enqueue the keys of a batch after the loss has been evaluated on it: before, each
// query would meet its own key again. While the queue is empty it has no negatives,
// and a first step of MoCo with nothing else has a loss, gradients and an accuracy
// of 0: it does no more than fill the queue. To begin with negatives, enqueue the
// keys of a few batches before the first step, or random vectors, as the authors'
// code does.
//
// A Queue may be read concurrently, also by losses, but not while it is written.
type Queue struct {
	capacity, dim int
	next          int       // where the next key goes
	keys          []float32 // as many as there are
	labels        []int     // one for each key, or nil if none has one

	packed engine.Packed // the keys, so that a loss need not lay them out at every step
}

// maxElements is more than the memory of any machine that this runs on: a
// greater queue is a mistake, found before it is allocated.
const maxElements = min(1<<36, math.MaxInt/8)

// NewQueue returns an empty queue for capacity keys of dim dimensions. It returns an
// error that wraps [ErrParameter] unless both are positive and of reasonable size.
//
// Memory is allocated as the queue is filled. In all a key takes 4·dim bytes, and in
// two layouts for the kernels 8·d, where d is dim rounded up to a multiple of the width
// of their tiles, of 4 to 32: 12·dim if dim is one. Where kernels read bfloat16 pieces
// (see [Precision]) the layouts take 12·d, 8·d or 4·d for Highest, High and Medium: a
// queue follows the precision of the last loss that was evaluated with it. Some 10
// bytes more go with each key, and as many with each label.
func NewQueue(capacity, dim int) (*Queue, error) {
	if capacity <= 0 || dim <= 0 || capacity > maxElements/dim {
		return nil, wrap("NewQueue", fmt.Errorf("capacity %d and dim %d must be positive and their product at most %d: %w", capacity, dim, maxElements, ErrParameter))
	}
	return &Queue{capacity: capacity, dim: dim}, nil
}

// Len returns the number of keys in q.
func (q *Queue) Len() int {
	if q.dim == 0 {
		return 0
	}
	return len(q.keys) / q.dim
}

// Cap returns the number of keys that q can hold.
func (q *Queue) Cap() int { return q.capacity }

// Dim returns the number of dimensions of a key.
func (q *Queue) Dim() int { return q.dim }

// Reset empties q. It keeps its memory.
func (q *Queue) Reset() {
	q.keys, q.labels, q.next = q.keys[:0], nil, 0
	q.packed.Reset(q.dim)
}

// Keys returns a view of the keys in q, each of norm 1, or 0 if it counted as a row of
// zeros (see [Batch]). It must not be written to, and is valid until q is. The order is not
// that of their age.
func (q *Queue) Keys() Matrix {
	return Matrix{Rows: q.Len(), Cols: q.dim, Stride: q.dim, Data: slices.Clip(q.keys)}
}

// Labels returns a view of the labels of the keys, in the order of [Queue.Keys],
// or nil if they have none.
func (q *Queue) Labels() []int { return slices.Clip(q.labels) }

// Enqueue normalises the rows of keys and adds them to q, where they replace the
// oldest keys if it is full. Of more than Cap rows the last are kept. There is one
// label for each row, or none for any: not, either, for some of the keys in q.
// Labels may be those of q, but keys must not share memory with it.
//
// It returns an error that wraps [ErrShape], [ErrEmpty] or [ErrNotFinite], and
// then q has not changed.
func (q *Queue) Enqueue(keys Matrix, labels ...int) error {
	return wrap("Queue.Enqueue", q.enqueue(keys, labels))
}

func (q *Queue) enqueue(keys Matrix, labels []int) error {
	defer fpmode.Enter().Leave()
	if err := q.checkEnqueue(keys, labels); err != nil {
		return err
	}
	if spanOf(labels, 0).overlaps(spanOf(q.labels, 0)) {
		labels = slices.Clone(labels)
	}
	labelled := len(labels) > 0
	first, n := q.next, min(keys.Rows, q.capacity)
	for i := keys.Rows - n; i < keys.Rows; i++ {
		if q.Len() < q.capacity {
			q.grow()
			if labelled {
				q.labels = append(q.labels, 0)
			}
		}
		engine.Normalize(q.keys[q.next*q.dim:(q.next+1)*q.dim], keys.Row(i))
		if labelled {
			q.labels[q.next] = labels[i]
		}
		q.next = (q.next + 1) % q.capacity
	}
	q.pack(first, min(first+n, q.capacity))
	q.pack(0, max(0, first+n-q.capacity))
	return nil
}

// pack updates what is laid out of the keys from first up to end.
func (q *Queue) pack(first, end int) {
	if first < end {
		q.packed.Fill(engine.Matrix(q.Keys()), q.capacity, first, end)
	}
}

func (q *Queue) checkEnqueue(keys Matrix, labels []int) error {
	if err := checkMatrix("keys", keys); err != nil {
		return err
	}
	if keys.Cols != q.dim {
		return fmt.Errorf("keys is %d×%d, the queue holds %d dimensions: %w", keys.Rows, keys.Cols, q.dim, ErrShape)
	}
	if len(labels) > 0 && len(labels) != keys.Rows {
		return fmt.Errorf("%d labels for %d keys: %w", len(labels), keys.Rows, ErrShape)
	}
	if q.Len() > 0 && (len(labels) > 0) != (q.labels != nil) {
		return fmt.Errorf("%d labels for %d keys, but %d of the %d keys in the queue have one: %w", len(labels), keys.Rows, len(q.labels), q.Len(), ErrShape)
	}
	if q.Len() > 0 && overlaps(keys, q.Keys()) {
		return fmt.Errorf("keys overlaps the queue: %w", ErrShape)
	}
	for i := range keys.Rows {
		if j := indexNotFinite(keys.Row(i)); j >= 0 {
			return &NotFiniteError{Argument: "keys", Row: i, Col: j, Value: keys.Row(i)[j]}
		}
	}
	return nil
}

// grow makes room for one more key. It doubles the memory, up to what the
// capacity needs.
func (q *Queue) grow() {
	n := len(q.keys) + q.dim
	if n > cap(q.keys) {
		keys := make([]float32, len(q.keys), min(max(2*cap(q.keys), 64*q.dim), q.capacity*q.dim))
		copy(keys, q.keys)
		q.keys = keys
	}
	q.keys = q.keys[:n]
}
