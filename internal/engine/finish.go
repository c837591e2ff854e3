package engine

import (
	"math"

	"github.com/contrastive-go/contrastive/simd"
)

// gain is what accumulated gradients have to be multiplied by, but for the
// weight of a row that is still due.
func (e *Engine) gain() float64 {
	if e.p.Form == Softmax {
		return 1 / weightGain
	}
	return e.p.Gain
}

// finishRows completes the gradients of the i'th few rows of the stripe: it adds
// the parts that the chunks computed, in order. Of rows that are weighed
// afterwards it also lays out the weighed vectors.
func (e *Engine) finishRows(worker, i int) {
	p, w := e.p.Rows, &e.scratch[worker]
	padded := e.p.Cols.paddedDim()
	first, end := e.taskRange(i)
	if e.p.Symmetric && e.wantCols {
		e.transposeGrad(w.vectors, (e.row0+first)/e.k.Cols)
	}
	for r := first; r < end; r++ {
		slot := e.row0 + r
		gain := e.gain()
		if e.mode == fused {
			weight := float64(e.row.coef[0][slot])
			gain *= weight
			if e.wantCols {
				v := w.vector[:p.dim]
				if e.pieces > 0 {
					v = w.vectors[(r-first)*padded:][:p.dim]
				}
				simd.ScaleTo(v, p.row(slot), p.scale[slot]*weight)
				if e.pieces == 0 {
					e.layRow(r, v)
				}
			}
		}
		if !p.wants(slot, slot+1) {
			continue
		}
		g := w.vector[:p.dim]
		if e.chunks == 0 {
			clear(g)
			gain = 1
		} else {
			g = e.part(e.firstChunk(), r)
		}
		for c := e.firstChunk() + 1; c < e.chunks; c++ {
			simd.Axpy(1, e.part(c, r), g)
		}
		if e.p.Symmetric {
			simd.Axpy(1, w.vectors[(r-first)*padded:(r-first)*padded+p.dim], g)
		}
		gain = usable(g, gain)
		e.addPositives(slot, g, 1/gain)
		if e.adder != nil {
			e.adder.Add(slot, g, 1/gain)
		}
		p.Store(slot, g, e.p.Scale*gain)
	}
	if e.pieces > 0 && e.mode == fused && e.wantCols {
		e.pad(w, end-first)
		e.splitElements(i, w)
	}
}

// part returns what a chunk computed of the gradient of row r of the stripe.
func (e *Engine) part(chunk, r int) []float32 {
	return e.partial[(chunk*e.stripe+r)*e.p.Cols.paddedDim():][:e.p.Rows.dim]
}

// usable returns a gain whose inverse what is added to g can be multiplied by in
// float32. An anchor without pairs has none, nor one whose weight has vanished.
func usable(g []float32, gain float64) float64 {
	if gain >= 0x1p-120 && gain <= 0x1p120 {
		return gain
	}
	simd.ScaleTo(g, g, gain)
	return 1
}

// transposeGrad stores the gradients of column panel p, vector by vector.
func (e *Engine) transposeGrad(dst []float32, p int) {
	c, padded := e.k.Cols, e.p.Cols.paddedDim()
	for d := 0; d < padded; d += c {
		e.k.Transpose(dst[d:], padded, e.colGrad[(p*e.gradHeight()+d)*c:], c)
	}
}

// finishCols completes the gradients of column panel i.
func (e *Engine) finishCols(worker, i int) {
	p, c, w := e.p.Cols, e.k.Cols, &e.scratch[worker]
	padded := p.paddedDim()
	if !p.wants(i*c, i*c+c) {
		return
	}
	e.transposeGrad(w.vectors, i)
	for slot := i * c; slot < min(i*c+c, p.n); slot++ {
		if !p.wants(slot, slot+1) {
			continue
		}
		g := w.vectors[(slot-i*c)*padded:][:p.dim]
		gain := usable(g, e.gain())
		if e.p.Positives.among(p) {
			e.addOwners(slot, g, 1/gain)
		}
		p.Store(slot, g, e.p.Scale*gain)
	}
}

// Store writes the gradient with respect to the row of slot, given the gradient
// g with respect to its vector divided by scale:
//
//	∂L/∂x = (g − (g·x̂)x̂)·scale/‖x‖
//
// or scale·g for vectors that are not normalised. Elements saturate. If p accumulates,
// g is overwritten, and the gradient is added to what was there.
func (p *Panels) Store(slot int, g []float32, scale float64) {
	s := p.segment(slot)
	dst, row, inverse, along := s.grad.Row(slot-s.first), s.Row(slot-s.first), p.scale[slot], 0.0
	if s.unit {
		along = simd.DotFloat64(g, row) * inverse * inverse
		scale *= inverse
	}
	if p.Accumulate {
		simd.Project(g, g, row, along, scale)
		for d, v := range g {
			dst[d] = Saturate(float64(dst[d]) + float64(v))
		}
		return
	}
	simd.Project(dst, g, row, along, scale)
}

// Saturate converts v to the nearest float32 that is finite.
func Saturate(v float64) float32 {
	return float32(max(-math.MaxFloat32, min(v, math.MaxFloat32)))
}
