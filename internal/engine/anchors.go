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
			err := e.p.scaleError(t)
			s.LSE[t] = math.Log(sum) + mean*err + shift
			s.Mean[t] = mean + mean*err + shift
		}
	}
	return s
}

// scaleError is that of the float32 by which exponents are scaled, up to u = 2⁻²⁴
// relative to it. The mean of the exponents is the derivative of the log-sum-exp
// with respect to the logarithm of the scale, so that a correction by their
// product leaves an error of the order of u².
func (p *Problem) scaleError(t int) float64 {
	return p.Exponents[t]*p.Scale*math.Log2E/float64(p.exponentScale(t)) - 1
}

// A Known is what the weights of an anchor depend on besides its similarities.
type Known struct{ Shift, Coef float32 }

// Know returns that of an anchor whose sums over all its pairs, in any number of
// problems that differ in nothing but their lists, are s, and for which ∂Loss/∂LSE
// is g. There must be one term.
func (p *Problem) Know(s Stat, g float64) Known {
	if math.IsInf(s.LSE[0], -1) {
		return Known{}
	}
	var k Known
	if p.wide() {
		k.Shift = float32(s.Top)
	}
	// The inverse of stat: the sum that the kernels find, with their scale.
	shift, err := p.Exponents[0]*p.Scale*float64(k.Shift), p.scaleError(0)
	log := s.LSE[0] - shift - (s.Mean[0]-shift)/(1+err)*err
	k.Coef = float32(weightGain * p.Exponents[0] * g * math.Exp(-log))
	return k
}

func (d *side) setKnown(known []Known) {
	for i, k := range known {
		d.shift[i], d.coef[0][i] = k.Shift, k.Coef
	}
	fill(d.shift[len(known):], math.MaxFloat32) // as setShifts does
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
