package engine

import (
	"math"
	"slices"

	"github.com/contrastive-go/contrastive/internal/kernel"
)

// sums are what the pairs of anchors add up to.
type sums struct {
	total  [2]struct{ sum, moment []float64 } // of exponentials, for each term; or of the values of pairs
	weight []float64                          // Sigmoid: of σ
	top    []float32

	// Of rows, if columns have a bias.
	bias  []float64 // of exponentials times the bias of their columns
	plain []float32 // greatest similarity without bias

	// Of rows, if there is a Filter: the sum and the number of what it leaves out.
	left, leftPairs []float64
}

func (s *sums) resize(n int, l *plan) {
	for t := range l.terms {
		s.total[t].sum, s.total[t].moment = resize(s.total[t].sum, n), resize(s.total[t].moment, n)
	}
	s.weight, s.top = resize(s.weight, n), resize(s.top, n)
	if l.biased {
		s.bias, s.plain = resize(s.bias, n), resize(s.plain, n)
	}
	if l.filtered {
		s.left, s.leftPairs = resize(s.left, n), resize(s.leftPairs, n)
	}
}

// clear empties the sums of the anchors from first up to end.
func (s *sums) clear(first, end int, l *plan) {
	for t := range l.terms {
		clear(s.total[t].sum[first:end])
		clear(s.total[t].moment[first:end])
	}
	clear(s.weight[first:end])
	fill(s.top[first:end], float32(math.Inf(-1)))
	if l.biased {
		clear(s.bias[first:end])
		fill(s.plain[first:end], float32(math.Inf(-1)))
	}
	if l.filtered {
		clear(s.left[first:end])
		clear(s.leftPairs[first:end])
	}
}

// add adds the sums of n anchors of t, from at on, to those of s, from first on.
func (s *sums) add(first int, t *sums, at, n int, l *plan) {
	for i := range l.terms {
		addTo(s.total[i].sum[first:], t.total[i].sum[at:at+n])
		addTo(s.total[i].moment[first:], t.total[i].moment[at:at+n])
	}
	addTo(s.weight[first:], t.weight[at:at+n])
	raiseTo(s.top[first:], t.top[at:at+n])
	if l.biased {
		addTo(s.bias[first:], t.bias[at:at+n])
		raiseTo(s.plain[first:], t.plain[at:at+n])
	}
}

func raiseTo(dst, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = max(dst[i], v)
	}
}

func addTo(dst, src []float64) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += v
	}
}

// fold adds what a worker has tallied of n rows to the sums from at on.
func (s *sums) fold(at, n int, w *scratch, l *plan) {
	for t := range l.terms {
		l.k.SumLanes(s.total[t].sum[at:at+n], w.row[t].Sum)
		l.k.SumLanes(s.total[t].moment[at:at+n], w.row[t].Moment)
	}
	if l.form == Sigmoid {
		l.k.SumLanes(s.weight[at:at+n], w.weight)
	}
	if l.filtered {
		l.k.SumLanes(s.left[at:at+n], w.leftOut.sum)
		l.k.SumLanes(s.leftPairs[at:at+n], w.leftOut.pairs)
	}
}

func (s *sums) foldTops(at, n int, w *scratch, l *plan) {
	l.k.GreatestLanes(s.top[at:at+n], w.row[0].Top)
}

// addCols adds the tally of a block's columns, from first on.
func (s *sums) addCols(first, term int, c kernel.Tally) {
	total := &s.total[term]
	for j, v := range c.Sum {
		total.sum[first+j] += float64(v)
		total.moment[first+j] += float64(c.Moment[j])
	}
	raiseTo(s.top[first:], c.Top)
}

// A side is the anchors among the rows or columns: their sums, and what makes weights
// of their pairs.
type side struct {
	sums
	shift []float32    // subtracted from similarities
	coef  [2][]float32 // what exponentials are multiplied by, for each term
}

func (d *side) resize(n int, l *plan) {
	d.sums.resize(n, l)
	for t := range l.terms {
		d.coef[t] = grow(d.coef[t], n)
	}
	d.shift = grow(d.shift, n)
}

func (d *side) reset(l *plan) {
	for t := range l.terms {
		clear(d.coef[t])
	}
	clear(d.shift)
}

// setShifts makes the greatest exponent of each of the first n anchors 0.
func (d *side) setShifts(n int) {
	for i, top := range d.top[:n] {
		if math.IsInf(float64(top), -1) {
			top = 0
		}
		d.shift[i] = top
	}
	d.noAnchors(n)
}

// noAnchors is about what is no anchor, from the n'th on: it has weight 0, and must
// have exponentials that 0 can be multiplied by.
func (d *side) noAnchors(n int) { fill(d.shift[n:], math.MaxFloat32) }

func (d *side) setWeights(weights []Weight, terms int) {
	for i, w := range weights {
		d.shift[i] = w.Shift
		for t := range terms {
			d.coef[t][i] = w.Coef[t]
		}
	}
	d.noAnchors(len(weights))
}

// joinSides adds what was found about rows where they are columns, in a symmetric
// problem, to what was found where they are rows.
func (e *Engine) joinSides() {
	if e.plan.symmetric {
		e.row.add(0, &e.col.sums, 0, e.plan.rows, &e.plan)
	}
}

// setShifts makes the greatest exponent of each anchor 0.
func (e *Engine) setShifts() {
	e.row.setShifts(e.plan.rows)
	if e.plan.colAnchors > 0 {
		e.col.setShifts(e.plan.colAnchors)
	}
}

// A Group is numbers of as many anchors as are told their sums at once.
type Group = kernel.Group

const anchorsAtOnce = len(Group{})

// askAnchors tells all anchors their sums and learns their weights.
func (e *Engine) askAnchors() {
	e.askAll(step{stripe: stripe{0, e.plan.rows}}, (*Engine).askRows)
	if e.apart != nil {
		e.apart.TotalRows(0, e.plan.rows)
	}
	if n := e.plan.colAnchors; n > 0 {
		e.askAll(step{stripe: stripe{0, n}}, (*Engine).askCols)
		if e.apart != nil {
			e.apart.TotalCols(0, n)
		}
	}
}

// askAll asks the groups of some anchors: one after the other, unless they learn apart.
func (e *Engine) askAll(s step, ask task) {
	n := asked(s.stripe)
	if e.apart != nil {
		e.each(n, ask, s)
		return
	}
	for i := range n {
		ask(e, s, 0, i)
	}
}

// asked returns the number of groups of anchors that are told their sums at once.
func asked(s stripe) int { return (s.rows + anchorsAtOnce - 1) / anchorsAtOnce }

// askedGroup returns the i'th of them.
func askedGroup(s stripe, i int) stripe {
	return stripe{s.first + i*anchorsAtOnce, min(anchorsAtOnce, s.rows-i*anchorsAtOnce)}
}

func (e *Engine) askRows(s step, worker, i int) {
	e.ask(&e.scratch[worker], &e.row, askedGroup(s.stripe, i), e.anchors.LearnRows)
}

func (e *Engine) askCols(s step, worker, i int) {
	e.ask(&e.scratch[worker], &e.col, askedGroup(s.stripe, i), e.anchors.(ColAnchors).LearnCols)
}

// ask tells a group of anchors their sums and learns their weights.
func (e *Engine) ask(w *scratch, d *side, s stripe, learn func(first int, sums []Stat, slopes [][2]float64)) {
	stats, slopes := w.stats[:s.rows], w.slopes[:s.rows]
	clear(slopes)
	if e.plan.form != Softmax {
		total := &d.total[0]
		for i := range stats {
			a := s.first + i
			stats[i] = Stat{Top: float64(d.top[a]), Sum: total.sum[a], Moment: total.moment[a], Weight: d.weight[a]}
		}
		learn(s.first, stats, slopes)
		return
	}
	for i := range stats {
		stats[i] = Stat{Top: float64(d.top[s.first+i])}
	}
	for t := range e.plan.terms {
		e.exponentials(&w.logs, d, t, s.first, stats)
	}
	if e.plan.biased {
		for i := range stats {
			e.unbias(&stats[i], d, s.first+i)
		}
	}
	learn(s.first, stats, slopes)
	for t := range e.plan.terms {
		e.setCoef(d, t, s.first, slopes)
	}
}

// exponentials sets what the stats of anchors from first on have of a term.
func (e *Engine) exponentials(logs *Group, d *side, term, first int, stats []Stat) {
	total := &d.total[term]
	scale, err := e.p.Exponents[term]*e.p.Scale, e.p.scaleError(term)
	for i := range stats {
		logs[i] = total.sum[first+i]
		if logs[i] == 0 {
			logs[i] = 1
		}
	}
	e.plan.k.Log(logs, len(stats))
	for i := range stats {
		s := &stats[i]
		sum := total.sum[first+i]
		if sum == 0 {
			s.LSE[term] = math.Inf(-1)
			continue
		}
		shift, mean := scale*float64(d.shift[first+i]), total.moment[first+i]/sum*math.Ln2
		s.LSE[term] = logs[i] + mean*err + shift
		s.Mean[term] = mean + mean*err + shift
	}
}

// Softplus sets the first n numbers of value to log(1 + e^x), and those of slope to the
// derivative, 1/(1 + e^−x), within 10·2⁻⁵³ relative, also where they are near 0.
func Softplus(x, value, slope *Group, n int) {
	const greatest = 700 // for which e^−x is normal
	for i := range n {
		slope[i] = max(-math.Abs(x[i]), -greatest)
	}
	kernel.Active().Exp(slope, n)
	*value = *slope
	kernel.Active().Log1p(value, n)
	for i, x := range x[:n] {
		e := slope[i]
		if !(math.Abs(x) <= greatest) {
			e = math.Exp(-math.Abs(x))
			value[i] = e
		}
		value[i] += max(x, 0)
		if x < 0 {
			slope[i] = e / (1 + e)
		} else {
			slope[i] = 1 / (1 + e)
		}
	}
}

// unbias completes the sums of an anchor where columns have a bias.
func (e *Engine) unbias(s *Stat, d *side, i int) {
	sum := d.total[0].sum[i]
	switch {
	case sum == 0:
	case d == &e.col:
		s.Bias = float64(e.p.ColBias[i])
		s.Top -= s.Bias
	default:
		s.Bias = d.bias[i] / sum
	}
	if d == &e.row {
		s.Top = float64(d.plain[i])
	}
}

// setCoef sets what the exponentials of anchors from first on are multiplied by, so that
// they become ∂Loss/∂logit times weightGain.
func (e *Engine) setCoef(d *side, term, first int, slopes [][2]float64) {
	sum, coef, gain := d.total[term].sum[first:], d.coef[term][first:], weightGain*e.p.slope(term)
	for i := range slopes {
		coef[i] = 0
		if sum[i] > 0 {
			coef[i] = float32(gain * slopes[i][term] / sum[i])
		}
	}
}

// exponentScale is what similarities are multiplied by to be exponents of 2.
func (p *Problem) exponentScale(t int) float32 {
	return float32(p.Exponents[t] * p.Scale * math.Log2E)
}

// scaleError is the error of that float32, up to u = 2⁻²⁴
// relative to it. The mean of the exponents is the derivative of the log-sum-exp
// with respect to the logarithm of the scale, so that a correction by their
// product leaves an error of the order of u².
func (p *Problem) scaleError(t int) float64 {
	return p.Exponents[t]*p.Scale*math.Log2E/float64(p.exponentScale(t)) - 1
}

// slope is the derivative of an exponent with respect to its logit.
func (p *Problem) slope(t int) float64 {
	if p.Detached {
		return 1
	}
	return p.Exponents[t]
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
	switch {
	case p.wide() && p.ColBias != nil: // Top is without it; this is at most log K above the greatest
		w.Shift = float32(s.LSE[0] / (p.Exponents[0] * p.Scale))
	case p.wide():
		w.Shift = float32(s.Top)
	}
	for t := range p.Terms {
		// The inverse of stat: the sum that the kernels find, with their scale.
		shift, err := p.Exponents[t]*p.Scale*float64(w.Shift), p.scaleError(t)
		log := s.LSE[t] - shift - (s.Mean[t]-shift)/(1+err)*err
		w.Coef[t] = float32(weightGain * p.slope(t) * g[t] * math.Exp(-log))
	}
	return w
}

func fill(s []float32, v float32) {
	n := min(len(s), 16)
	for i := range s[:n] {
		s[i] = v
	}
	for ; n < len(s); n *= 2 {
		copy(s[n:], s[:n])
	}
}

func resize[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }
