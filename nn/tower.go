package nn

import (
	"github.com/contrastive-go/contrastive"
)

// Tower returns the rows of x as one side of a [contrastive.GradientCache], encoded chunk
// by chunk by l:
//
//	cache := contrastive.GradientCache{Loss: contrastive.CLIP{}, Chunk: 64}
//	result, err := cache.Step(contrastive.Towers{Query: nn.Tower(encoder, x), Key: nn.Tower(encoder, y)}, contrastive.Batch{})
//
// Both may be of one encoder. [Dropout] drops the same whenever a chunk is encoded, and
// something else in every tower and step. Tower panics if there is a [BatchNorm]: it
// would normalise chunks.
func Tower(l Layer, x contrastive.Matrix) contrastive.Tower {
	var draws []uint64 // of each dropout, before the first row
	dropouts := dropoutsOf(l, nil)
	for _, d := range dropouts {
		draws = append(draws, d.Draws())
		d.Seek(d.Draws() + uint64(x.Rows))
	}
	forward := func(lo, hi int) contrastive.Matrix {
		for i, d := range dropouts {
			d.Seek(draws[i] + uint64(lo))
		}
		y := l.Forward(x.Slice(lo, hi), true)
		for i, d := range dropouts {
			d.Seek(draws[i] + uint64(x.Rows))
		}
		return y
	}
	return contrastive.Tower{
		Rows: x.Rows,
		Dim:  l.Forward(x.Slice(0, 0), false).Cols,
		Encode: func(lo, hi int, z contrastive.Matrix) error {
			y := forward(lo, hi)
			for i := range z.Rows {
				copy(z.Row(i), y.Row(i))
			}
			return nil
		},
		Backward: func(lo, hi int, dz contrastive.Matrix) error {
			forward(lo, hi)
			l.Backward(dz, false)
			return nil
		},
	}
}

// dropoutsOf appends the dropouts in l to d.
func dropoutsOf(l Layer, d []*Dropout) []*Dropout {
	switch l := l.(type) {
	case Sequential:
		for _, l := range l {
			d = dropoutsOf(l, d)
		}
	case *Dropout:
		d = append(d, l)
	case *BatchNorm:
		panic("nn: Tower: BatchNorm would normalise chunks; LayerNorm does not")
	}
	return d
}
