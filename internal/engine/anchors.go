package engine

import "math"

// setShifts makes the greatest exponent of each of the first n anchors 0.
func (e *Engine) setShifts(d *side, n int) {
	for i := range n {
		top := d.top[i]
		if e.p.Symmetric {
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
		if e.p.Symmetric {
			for t := range e.p.Terms {
				e.row.total[t].sum[i] += e.col.total[t].sum[i]
				e.row.total[t].moment[i] += e.col.total[t].moment[i]
			}
			e.row.top[i] = max(e.row.top[i], e.col.top[i])
		}
		e.askRow(i)
	}
	if e.p.Symmetric {
		return
	}
	for j := range e.p.ColAnchors {
		s := e.stat(&e.col, j)
		e.setCoef(&e.col, j, e.anchors.(ColAnchors).Col(j, s))
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

// A Weight is what the weights of an anchor's pairs depend on besides their
// similarities: what is subtracted from these, and, for each term, what the
// exponentials are multiplied by.
type Weight struct {
	Shift float32
	Coef  [2]float32
}

// Weight returns that of an anchor whose sums over all its pairs, in any number of
// problems that differ in nothing but their lists, are s, and for which ∂Loss/∂LSE
// is g.
func (p *Problem) Weight(s Stat, g [2]float64) Weight {
	var w Weight
	if math.IsInf(s.LSE[0], -1) {
		return w
	}
	if p.wide() {
		w.Shift = float32(s.Top)
	}
	for t := range p.Terms {
		// The inverse of stat: the sum that the kernels find, with their scale.
		shift, err := p.Exponents[t]*p.Scale*float64(w.Shift), p.scaleError(t)
		log := s.LSE[t] - shift - (s.Mean[t]-shift)/(1+err)*err
		w.Coef[t] = float32(weightGain * p.Exponents[t] * g[t] * math.Exp(-log))
	}
	return w
}

func (d *side) setWeights(weights []Weight, terms int) {
	for i, w := range weights {
		d.shift[i] = w.Shift
		for t := range terms {
			d.coef[t][i] = w.Coef[t]
		}
	}
	fill(d.shift[len(weights):], math.MaxFloat32) // as setShifts does
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
