package main

import (
	"errors"
	"github.com/contrastive-go/contrastive"
)

// LargeBatch is SimCLR with batches whose activations do not fit in memory: a
// gradient cache encodes the views in chunks, and draws and encodes them again
// for the backward pass. A step holds the embeddings of the batch, their gradients
// and the activations of a chunk; the views of 65536 pairs would take 411 MB and
// the activations three times that.
//
// Its encoder has no batch normalisation, whose statistics would be those of the
// chunk; so the gradients are those of a batch in one piece, but for the order of
// sums.
type LargeBatch struct {
	*SimCLR
	chunk     int
	embedding int
	inputs    int
}

func newLargeBatch(m *SimCLR, s *Settings, inputs int) *LargeBatch {
	return &LargeBatch{SimCLR: m, chunk: s.Chunk, embedding: s.Embedding, inputs: inputs}
}

// Step implements Method.
func (m *LargeBatch) Step(b *Batch) (Stats, error) {
	views := contrastive.NewMatrix(min(m.chunk, b.Pairs), m.inputs)
	encode := func(view, lo, hi int) contrastive.Matrix {
		x := views.Slice(0, hi-lo)
		b.Load(x, view, lo)
		return m.g.Forward(m.f.Forward(x, true), true)
	}
	// What a step tells of the embeddings is about the first of them.
	shown := [2]contrastive.Matrix{}
	tower := func(view int) contrastive.Tower {
		shown[view] = contrastive.NewMatrix(min(512, b.Pairs), m.embedding)
		return contrastive.Tower{
			Rows: b.Pairs, Dim: m.embedding,
			Encode: func(lo, hi int, z contrastive.Matrix) error {
				encoded := encode(view, lo, hi)
				for i := range z.Rows {
					copy(z.Row(i), encoded.Row(i))
					if lo+i < shown[view].Rows {
						copy(shown[view].Row(lo+i), encoded.Row(i))
					}
				}
				return nil
			},
			Backward: func(lo, hi int, dz contrastive.Matrix) error {
				encode(view, lo, hi)
				m.f.Backward(m.g.Backward(dz, true), false)
				return nil
			},
		}
	}

	tau := m.temperature.value()
	cache := contrastive.GradientCache{Loss: m.loss(tau), Chunk: m.chunk}
	r, err := cache.Step(contrastive.Towers{Query: tower(0), Key: tower(1)}, contrastive.Batch{Labels: m.labels(b)})
	if err != nil {
		return Stats{}, err
	}
	if err := errors.Join(m.optimizer.Step(b.Rate), m.temperature.update(r, b.Rate)); err != nil {
		return Stats{}, err
	}
	return Stats{Result: r, Temperature: float64(tau), Z1: shown[0], Z2: shown[1]}, nil
}
