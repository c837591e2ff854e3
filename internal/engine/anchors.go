package engine

import "math"

// setShifts makes the greatest exponent of each of the first n anchors 0.
func (e *Engine) setShifts(d *side, n int) {
	for i := range n {
		top := d.top[i]
		if e.symmetric {
			top = max(top, e.col.top[i])
		}
		if math.IsInf(float64(top), -1) {
			top = 0
		}
		d.shift[i] = top
	}
	// What is no anchor has weight 0, and must have exponentials that 0 can be
	// multiplied by.
	fill(d.shift[n:], math.MaxFloat32)
}

// askAnchors tells the anchors their sums and learns their weights.
func (e *Engine) askAnchors() {
	for i := range e.n {
		if e.symmetric {
			for t := range e.p.Terms {
				e.row.total[t].sum[i] += e.col.total[t].sum[i]
				e.row.total[t].moment[i] += e.col.total[t].moment[i]
			}
			e.row.top[i] = max(e.row.top[i], e.col.top[i])
		}
		e.askRow(i)
	}
	if e.symmetric {
		return
	}
	for j := range e.p.ColAnchors {
		s := e.stat(&e.col, j)
		e.setCoef(&e.col, j, e.anchors.Col(j, s))
	}
}

func (e *Engine) askRow(i int) {
	s := e.stat(&e.row, i)
	e.setCoef(&e.row, i, e.anchors.Row(i, s))
}

func (e *Engine) stat(d *side, i int) Stat {
	s := Stat{Top: float64(d.top[i])}
	for t := range e.p.Terms {
		s.LSE[t] = math.Inf(-1)
		if sum := d.total[t].sum[i]; sum > 0 {
			scale := e.p.Exponents[t] * e.p.Scale
			shift, mean := scale*float64(d.shift[i]), d.total[t].moment[i]/sum*math.Ln2
			// The exponents were scaled by a float32, with an error of up to
			// u = 2⁻²⁴ relative to scale. Their mean is the derivative of the
			// log-sum-exp with respect to the logarithm of the scale, so that
			// this leaves an error of the order of u².
			err := scale*math.Log2E/float64(e.exponentScale(t)) - 1
			s.LSE[t] = math.Log(sum) + mean*err + shift
			s.Mean[t] = mean + mean*err + shift
		}
	}
	return s
}

// setCoef sets what the exponentials of anchor i are multiplied by, so that
// they become ∂Loss/∂logit times weightGain.
func (e *Engine) setCoef(d *side, i int, g [2]float64) {
	for t := range e.p.Terms {
		d.coef[t][i] = 0
		if sum := d.total[t].sum[i]; sum > 0 {
			d.coef[t][i] = float32(weightGain * e.p.Exponents[t] * g[t] / sum)
		}
	}
}
