package contrastive

import (
	"fmt"
	"sync"
)

// A Tower is one encoder, and the inputs of one side of a batch, as a
// [GradientCache] sees them.
type Tower struct {
	// Rows is the number of inputs, Dim the dimension of an embedding.
	Rows, Dim int

	// Encode writes the embeddings of the inputs lo to hi-1 to the rows of z, which
	// are zeros. It need not keep anything for Backward, and must not keep z.
	Encode func(lo, hi int, z Matrix) error

	// Backward encodes the same inputs again and adds to the gradients of the
	// encoder's parameters, given those of its embeddings, dz, which it must not keep.
	// Nil means that the tower takes no gradient, as MoCo's momentum encoder.
	//
	// An encoder that draws random numbers, for dropout say, must draw the same
	// ones again. One whose embeddings depend on the rest of the chunk, by batch
	// normalisation with the statistics of the batch, is another function of its
	// inputs for every size of chunk.
	Backward func(lo, hi int, dz Matrix) error
}

// A GradientCache evaluates a loss over a batch whose activations are too large
// to keep: the encoders see it chunk by chunk, the loss sees all of it. Memory
// beyond that of the encoders is for the embeddings and their gradients,
// 2·(rows of both towers)·Dim float32, and the time is that of one more forward
// pass.
//
// The gradients of the parameters are those of the whole batch at once, but
// for the order in which the encoder adds them up. The method is that of Gao,
// Zhang, Han and Callan, "Scaling Deep Contrastive Learning Batch Size under
// Memory Limited Setup" (2021), section 3.2.
type GradientCache struct {
	Loss  Loss
	Chunk int // inputs that are encoded at a time; 0 means 256
}

// Towers are the encoders of the sides of a batch. The zero Tower stands for a side
// that the batch lacks, or has for itself, as Negatives that take no gradient.
type Towers struct {
	Query, Key, Negatives, Hard Tower
}

// A towerCall is the pooled memory of one call of Step.
type towerCall struct {
	embeddings, gradients [len(towerNames)][]float32
}

// towerNames are the sides, in the order of Towers.
var towerNames = [...]string{"Query", "Key", "Negatives", "Hard"}

var towerCalls = sync.Pool{New: func() any { return new(towerCall) }}

// Step encodes all inputs, evaluates the loss, and calls Backward of the towers with the
// gradients of their embeddings. The fields of b that no tower encodes are passed on; its
// Query, its Key, and what a tower encodes must be zero.
//
// It returns the loss's error, or an error that wraps that of Encode or Backward
// and names the tower and the rows, or [ErrParameter]. Backward has not been
// called unless everything before it has succeeded.
func (c GradientCache) Step(t Towers, b Batch) (Result, error) {
	r, err := c.step(t, b)
	return r, wrap("GradientCache", err)
}

func (c GradientCache) step(t Towers, b Batch) (Result, error) {
	chunk := c.Chunk
	switch {
	case c.Loss == nil:
		return Result{}, fmt.Errorf("Loss is nil: %w", ErrParameter)
	case chunk < 0:
		return Result{}, fmt.Errorf("Chunk is %d and must not be negative: %w", chunk, ErrParameter)
	case chunk == 0:
		chunk = 256
	}
	call := towerCalls.Get().(*towerCall)
	defer towerCalls.Put(call)
	var g Gradients
	towers := [...]Tower{t.Query, t.Key, t.Negatives, t.Hard}
	embeddings := [...]*Matrix{&b.Query, &b.Key, &b.Negatives, &b.Hard}
	gradients := [...]*Matrix{&g.Query, &g.Key, &g.Negatives, &g.Hard}
	for i, tower := range towers {
		name := towerNames[i]
		if !embeddings[i].isZero() && (i < 2 || !tower.isZero()) {
			return Result{}, fmt.Errorf("the batch has a %s, which a tower encodes: %w", name, ErrParameter)
		}
		if tower.isZero() && i > 0 {
			continue
		}
		if err := tower.check(name); err != nil {
			return Result{}, err
		}
	}
	for i, tower := range towers {
		if !tower.isZero() {
			*embeddings[i], *gradients[i] = tower.matrices(&call.embeddings[i], &call.gradients[i])
			if err := inChunks(towerNames[i], "encoded", chunk, *embeddings[i], tower.Encode); err != nil {
				return Result{}, err
			}
		}
	}
	r, err := c.Loss.Eval(b, g)
	if err != nil {
		return Result{}, err
	}
	for i, tower := range towers {
		if err := inChunks(towerNames[i], "differentiated", chunk, *gradients[i], tower.Backward); err != nil {
			return Result{}, err
		}
	}
	return r, nil
}

// isZero reports whether t stands for no encoder.
func (t Tower) isZero() bool {
	return t.Rows == 0 && t.Dim == 0 && t.Encode == nil && t.Backward == nil
}

func (t Tower) check(name string) error {
	if t.Encode == nil {
		return fmt.Errorf("the tower %s has no Encode: %w", name, ErrParameter)
	}
	if t.Rows < 0 || t.Dim < 0 {
		return fmt.Errorf("the tower %s has %d rows of %d dimensions: %w", name, t.Rows, t.Dim, ErrShape)
	}
	if t.Rows == 0 || t.Dim == 0 {
		return fmt.Errorf("the tower %s has %d rows of %d dimensions: %w", name, t.Rows, t.Dim, ErrEmpty)
	}
	if t.Rows > maxElements/t.Dim {
		return fmt.Errorf("the tower %s has %d rows of %d dimensions, which no memory can hold: %w", name, t.Rows, t.Dim, ErrShape)
	}
	return nil
}

// matrices returns a matrix for the embeddings of t and, if it takes a gradient,
// one for that.
func (t Tower) matrices(z, dz *[]float32) (embeddings, grad Matrix) {
	matrix := func(v *[]float32) Matrix {
		*v = resize(*v, t.Rows*t.Dim)
		clear(*v)
		return Matrix{Rows: t.Rows, Cols: t.Dim, Stride: t.Dim, Data: *v}
	}
	embeddings = matrix(z)
	if t.Backward != nil {
		grad = matrix(dz)
	}
	return embeddings, grad
}

// inChunks calls f for the rows of m, some at a time. A zero m has none.
func inChunks(tower, verb string, chunk int, m Matrix, f func(lo, hi int, z Matrix) error) error {
	for lo := 0; lo < m.Rows; lo += chunk {
		hi := min(lo+chunk, m.Rows)
		if err := f(lo, hi, m.Slice(lo, hi)); err != nil {
			return fmt.Errorf("%s rows %d to %d not %s: %w", tower, lo, hi-1, verb, err)
		}
	}
	return nil
}
