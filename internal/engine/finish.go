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
	if l.symmetric {
		e.transposeGrads(w.vectors, group.first/l.k.Cols)
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
		grads := all[(here.first-group.first)*l.padded:]
		for r := range here.rows {
			slot, g := here.first+r, grads[r*l.padded:][:l.dim]
			gain := 1.0
			if l.chunks == 0 { // no pairs but Positives and Hard
				clear(g)
			} else {
				if l.symmetric {
					simd.Axpy(1, w.vectors[(slot-group.first)*l.padded:][:l.dim], g)
				}
				gain = usable(g, e.rowGain(s, slot))
			}
			e.addPairs(e.p.Positives, slot, g, 1/gain)
			e.addPairs(e.p.Hard, slot, g, 1/gain)
			if e.adder != nil {
				e.adder.Add(slot, g, 1/gain)
			}
			w.factors[r] = e.p.Scale * gain
		}
		list.storeRows(in, here, grads, l.padded, w.factors[:here.rows])
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
	base, end := l.firstChunk(s.stripe), l.chunks
	if l.ordered {
		base, end = 0, 1
	}
	for d := 0; d < l.padded; d += c {
		sum := part(base, d)
		for chunk := base + 1; chunk < end; chunk++ {
			simd.Axpy(1, part(chunk, d), sum)
		}
	}
	for r := range n {
		l.k.GatherCols(dst[r*l.padded:][:l.padded], e.partial[base*l.stripe*l.padded+(first+r)*c:], l.stripe*c)
	}
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

// transposeGrads stores the gradients of a column panel, vector by vector.
func (e *Engine) transposeGrads(dst []float32, panel int) {
	l, c := &e.plan, e.plan.k.Cols
	grads := e.colGrads[panel*c*l.padded:]
	for d := 0; d < l.padded; d += c {
		l.k.Transpose(dst[d:], l.padded, grads[d*c:], c)
	}
}

// finishCols completes the gradients of a column panel.
func (e *Engine) finishCols(_ step, worker, panel int) {
	l, list, w := &e.plan, e.p.Cols, &e.scratch[worker]
	first, end := panel*l.k.Cols, min((panel+1)*l.k.Cols, l.cols)
	if !list.wants(first, end) {
		return
	}
	e.transposeGrads(w.vectors, panel)
	for rest := (stripe{first, end - first}); rest.rows > 0; {
		var in *segment
		var here stripe
		if in, here, rest = list.split(rest); in.grad.Rows == 0 {
			continue
		}
		grads := w.vectors[(here.first-first)*l.padded:]
		for r := range here.rows {
			slot, g := here.first+r, grads[r*l.padded:][:l.dim]
			gain := usable(g, e.gain())
			if e.p.Positives.among(list) {
				e.addOwners(e.p.Positives, slot, g, 1/gain)
			}
			w.factors[r] = e.p.Scale * gain
		}
		list.storeRows(in, here, grads, l.padded, w.factors[:here.rows])
	}
}
