package contrastive

import (
	"context"
	"sync"

	"github.com/contrastive-go/contrastive/internal/fpmode"
)

// enqueueing is the pooled memory of one call of EnqueueAll.
type enqueueing struct {
	peers
	sentKeys, keys []float32
	sentIDs, ids   []uint64 // labels, as they travel
	labels         []int
}

var enqueueingPool = sync.Pool{New: func() any { return new(enqueueing) }}

// The words of a status that describe keys and the queue they are for. Those
// before wordEnqueueKeys are the same on all ranks.
const (
	wordEnqueueDim = firstWord + iota
	wordEnqueueLabels
	wordEnqueueLen
	wordEnqueueCap
	wordEnqueueNext
	wordEnqueueKeys
	enqueueEnd
)

const _ = uint(statusWords - enqueueEnd)

// EnqueueAll adds the keys of all ranks to the queue of each, in the order of the
// ranks, as [Queue.Enqueue] does. All ranks call it at the same time, each with one
// key at least; the numbers of their keys may differ. Queues that were equal stay
// so, bit for bit, if the ranks use one instruction set (see package simd), and to
// rounding otherwise.
//
// If the keys of any rank are bad, or the queues have come to differ in size, in the
// place of the next key, or in having labels, all return an error that names the
// rank and wraps [ErrShape], [ErrEmpty] or [ErrNotFinite]; if some of the ranks have
// called another function, all return one that names both and wraps [ErrParameter].
// When the Collective fails, or ctx ends, the error wraps that of the Collective. A
// ctx or Collective that is nil is [ErrParameter] on this rank, of which the others
// do not hear. After an error q has not changed.
func (q *Queue) EnqueueAll(ctx context.Context, c Collective, keys Matrix, labels ...int) error {
	e := enqueueingPool.Get().(*enqueueing)
	defer e.release()
	return named(e.enqueue(ctx, c, q, keys, labels))
}

func (e *enqueueing) enqueue(ctx context.Context, c Collective, q *Queue, keys Matrix, labels []int) error {
	if err := e.join(ctx, c, jointEnqueueAll); err != nil {
		return err
	}
	var words [enqueueEnd]uint64
	words[wordEnqueueDim], words[wordEnqueueKeys] = uint64(q.dim), uint64(keys.Rows)
	words[wordEnqueueLen], words[wordEnqueueCap], words[wordEnqueueNext] = uint64(q.Len()), uint64(q.capacity), uint64(q.next)
	if len(labels) > 0 {
		words[wordEnqueueLabels] = 1
	}
	if err := e.meet(q.checkAll(keys, labels), words[firstWord:]); err != nil {
		return err
	}
	for i, what := range [...]string{"the number of dimensions", "the presence of labels", "Len", "Cap", "the place of the next key"} {
		if err := e.same(firstWord+i, what, ErrShape, showInt); err != nil {
			return err
		}
	}
	if err := e.gather(keys, labels); err != nil {
		return err
	}
	all := Matrix{Rows: len(e.keys) / q.dim, Cols: q.dim, Stride: q.dim, Data: e.keys}
	if len(labels) == 0 {
		return q.enqueue(all, nil)
	}
	return q.enqueue(all, e.labels)
}

// checkAll returns the error that Enqueue would.
func (q *Queue) checkAll(keys Matrix, labels []int) error {
	defer fpmode.Enter().Leave()
	return q.checkEnqueue(keys, labels)
}

// gather gathers the keys and labels of all ranks.
func (e *enqueueing) gather(keys Matrix, labels []int) (err error) {
	total := 0
	for r := range e.size {
		n, err := e.count(r, wordEnqueueKeys, "the number of keys", 1, maxElements/keys.Cols-total)
		if err != nil {
			return err
		}
		total += n
	}
	rows := func(r int) int { return int(e.word(r, wordEnqueueKeys)) }
	e.sentKeys, e.keys = e.sentKeys[:0], resize(e.keys, total*keys.Cols)
	for i := range keys.Rows {
		e.sentKeys = append(e.sentKeys, keys.Row(i)...)
	}
	if err := e.allGather(e.keys, e.sentKeys, func(r int) int { return rows(r) * keys.Cols }); err != nil {
		return err
	}
	if len(labels) == 0 {
		return nil
	}
	e.sentIDs, e.labels = e.sentIDs[:0], e.labels[:0]
	for _, l := range labels {
		e.sentIDs = append(e.sentIDs, uint64(l))
	}
	if e.ids, err = e.gatherWords(e.ids, e.sentIDs, rows); err != nil {
		return err
	}
	for _, l := range e.ids {
		e.labels = append(e.labels, int(l))
	}
	return nil
}

// release keeps the memory, unless a failed call may still read it.
func (e *enqueueing) release() {
	e.leave()
	if !e.lost {
		enqueueingPool.Put(e)
	}
}
