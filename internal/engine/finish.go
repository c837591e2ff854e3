package engine

import "github.com/contrastive-go/contrastive/simd"

// gain is what accumulated gradients have to be multiplied by, but for the
// weight of a row that is still due.
func (e *Engine) gain() float64 {
	if e.plan.form == Softmax {
		return 1 / weightGain
	}
	return e.p.Gain
}

// finishRows completes the gradients of a group of the stripe's rows: it adds the parts
// that the chunks computed, in order.
func (e *Engine) finishRows(s step, worker, i int) {
	if !s.rowGrads {
		return
	}
	l, list, w := &e.plan, e.p.Rows, &e.scratch[worker]
	group := l.group(s.stripe, i)
	var others []float32 // what the rows have as columns
	if l.symmetric && s.first > 0 {
		others = e.columnGrads(w.vectors, group.first/l.k.Cols)
	}
	all := w.grads
	switch {
	case l.single:
		all = e.partial[(group.first-s.first)*l.padded:]
	case l.chunks > 0:
		e.addChunks(s, all, group.first-s.first, group.rows)
	}
	for rest := group; rest.rows > 0; {
		var in *segment
		var here stripe
		if in, here, rest = list.split(rest); in.grad.Rows == 0 {
			continue
		}
		first := (here.first - group.first) * l.padded
		grads := all[first:][:here.rows*l.padded]
		switch {
		case l.chunks == 0: // no pairs but Positives and Hard
			clear(grads)
		case others != nil:
			simd.Axpy(1, others[first:][:len(grads)], grads)
		}
		switch {
		case l.chunks == 0:
			e.setGains(w, grads, here.rows, 1)
		case s.mode.final && e.p.RowGains == nil:
			e.setGains(w, grads, here.rows, e.gain())
		default:
			for r := range here.rows {
				w.setGain(r, e.p.Scale, usable(grads[r*l.padded:][:l.dim], e.rowGain(s, here.first+r)))
			}
		}
		if p := e.p.Positives; p != nil && !l.pulls {
			e.addPulls(p, p.ofRows(), w, here, grads, w.inverse)
		}
		if p := e.p.Hard; p != nil {
			e.addPulls(p, p.ofRows(), w, here, grads, w.inverse)
		}
		for r := 0; e.adder != nil && r < here.rows; r++ {
			e.adder.Add(here.first+r, grads[r*l.padded:][:l.dim], w.inverse[r])
		}
		e.storeRows(w, list, in, here, grads)
	}
}

// setGain sets what gradient r of a group is still to be multiplied by, and setGains that of
// several gradients that is the same.
func (w *scratch) setGain(r int, scale, gain float64) {
	w.inverse[r], w.factors[r] = 1/gain, scale*gain
}

func (e *Engine) setGains(w *scratch, grads []float32, n int, gain float64) {
	if !isUsable(gain) {
		simd.ScaleTo(grads, grads, gain)
		gain = 1
	}
	w.setGain(0, e.p.Scale, gain)
	for r := range n {
		w.inverse[r], w.factors[r] = w.inverse[0], w.factors[0]
	}
}

// rowGain is gain with the weight of a row that is still due.
func (e *Engine) rowGain(s step, slot int) float64 {
	gain := e.gain()
	switch {
	case !s.mode.final:
		gain *= float64(e.row.coef[0][slot])
	case e.p.RowGains != nil:
		gain *= float64(e.p.RowGains[slot])
	}
	return gain
}

// addChunks stores the sums of what the chunks have for n rows of the stripe, from first
// on, vector by vector.
func (e *Engine) addChunks(s step, dst []float32, first, n int) {
	l, c := &e.plan, e.plan.k.Cols
	part := func(chunk, d int) []float32 {
		return e.partial[chunk*l.stripe*l.padded+d*l.stripe+first*c:][:n*c]
	}
	chunks := l.chunksOf(s.stripe)
	if l.ordered {
		chunks = 1
	}
	for d := 0; d < l.padded; d += c {
		sum := part(0, d)
		for chunk := max(1, l.ownChunks(s.stripe)); chunk < chunks; chunk++ {
			simd.Axpy(1, part(chunk, d), sum)
		}
	}
	for r := range n {
		l.k.GatherCols(dst[r*l.padded:][:l.padded], e.partial[(first+r)*c:], l.stripe*c)
	}
}

// usable returns a gain whose inverse what is added to g can be multiplied by in
// float32. An anchor without pairs has none, nor one whose weight has vanished.
func usable(g []float32, gain float64) float64 {
	if isUsable(gain) {
		return gain
	}
	simd.ScaleTo(g, g, gain)
	return 1
}

func isUsable(gain float64) bool { return gain >= 0x1p-120 && gain <= 0x1p120 }

// columnGrads returns the gradients of a column panel, vector by vector: where they are, or
// in dst.
func (e *Engine) columnGrads(dst []float32, panel int) []float32 {
	l, c := &e.plan, e.plan.k.Cols
	grads := e.colGrads[panel*c*l.padded:][:c*l.padded]
	if l.singleCols {
		return grads
	}
	for d := 0; d < l.padded; d += c {
		l.k.Transpose(dst[d:], l.padded, grads[d*c:], c)
	}
	return dst
}

// finishCols completes the gradients of a column panel.
func (e *Engine) finishCols(_ step, worker, panel int) {
	l, list, w := &e.plan, e.p.Cols, &e.scratch[worker]
	first, end := panel*l.k.Cols, min((panel+1)*l.k.Cols, l.cols)
	if !list.wants(first, end) {
		return
	}
	all := e.columnGrads(w.vectors, panel)
	for rest := (stripe{first, end - first}); rest.rows > 0; {
		var in *segment
		var here stripe
		if in, here, rest = list.split(rest); in.grad.Rows == 0 {
			continue
		}
		grads := all[(here.first-first)*l.padded:][:here.rows*l.padded]
		e.setGains(w, grads, here.rows, e.gain())
		if e.p.Positives.among(list) && !l.pulls {
			e.addPulls(e.p.Positives, e.p.Positives.ofSlots(e.p.Rows), w, here, grads, w.inverse)
		}
		e.storeRows(w, list, in, here, grads)
	}
}

// storeRows is List.Store for some slots of s, given w.factors, computed in float32, with the
// bound of docs/numerics.md. Rows whose factors are not precise as float32 go the way of one.
func (e *Engine) storeRows(w *scratch, list *List, s *segment, slots stripe, grads []float32) {
	stride, dim := e.plan.padded, list.dim
	for r := 0; r < slots.rows; {
		slot, n := slots.first+r, 0
		for s.unit && r+n < slots.rows {
			inverse := list.scale[slot+n]
			unit, precise := factor(inverse)
			f, ok := factor(inverse * w.factors[r+n])
			if !(ok && precise) {
				break
			}
			w.units[n], w.pulls[n] = unit, f
			n++
		}
		g := grads[r*stride:]
		if n == 0 {
			list.Store(slot, g[:dim], w.factors[r])
			r++
			continue
		}
		dst, dstRow := s.grad.Data[(slot-s.first)*s.grad.Stride:], s.grad.Stride
		if list.Accumulate {
			dst, dstRow = g, stride
		}
		e.plan.k.ProjectRows(dst, dstRow, g, stride, s.from(slot), s.Stride, w.units[:n], w.pulls[:n], dim)
		for i := 0; list.Accumulate && i < n; i++ {
			addSaturated(s.grad.Row(slot+i-s.first), g[i*stride:][:dim])
		}
		r += n
	}
}
