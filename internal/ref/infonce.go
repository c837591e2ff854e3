package ref

import (
	"math"
	"slices"
)

// A Form says what the positives of an anchor have to do with each other. With y the
// logits, P the positives, p their shares and N the negatives,
//
//	Separate  Σⱼ pⱼ·log( 1 + Σ_{n∈N} e^(yₙ−yⱼ) ), j over P
//	Shared    Σⱼ pⱼ·log( Σ_{c∈P∪N} e^(y_c−yⱼ) ), equation 2 of Khosla et al. (2020)
//	Any       −log( Σ_{j∈P} e^(yⱼ) / Σ_{c∈P∪N} e^(y_c) ), Miech et al. (2020)
type Form uint8

const (
	Separate Form = iota
	Shared
	Any
)

// A Filter leaves out the negatives that may be positives: those whose g is above a
// threshold that the least g of the positives sets,
//
//	AbsoluteMargin  g + margin
//	RelativeMargin  g + margin·|g|
type Filter uint8

const (
	NoFilter Filter = iota
	AbsoluteMargin
	RelativeMargin
)

// InfoNCE is equation 4 of van den Oord, Li and Vinyals (2018) with the scaled
// similarity for a score: the mean over queries of −log softmax, over the positive
// and the negatives, at the positive. The similarity is the cosine or, with Dot,
// the dot product of the raw rows.
//
// The positives of a query are the keys that it lists, and weigh as it says. A query
// without is no anchor. Its negatives are the other rows of Key, if InBatch or if
// there are neither Negatives nor Hard nor a Queue; all Negatives; its rows of Hard;
// all of the Queue. What has the label of the query is none, nor is what Exclude or
// Filter leaves out. Filter goes by the cosines of the guide, if there is one, which
// judges Key and perhaps Negatives, and else by the loss's own similarities.
//
// A logit is (s−Margin)/τ−logQ of a positive and s/τ−logQ+Hardness·s of a negative,
// where the last s is a constant.
//
// Symmetric averages with the loss of keys among the rows of Query, in which the
// positives of a key are the queries that list it.
type InfoNCE struct {
	Temperature        float64
	Symmetric, InBatch bool
	Form               Form
	Margin, Hardness   float64
	Filter             Filter
	FilterMargin       float64
	Dot                bool

	constants *Batch // whose similarities count as constants; nil for that which is evaluated. See [Hold]
}

// The inputs whose rows are compared.
const (
	queryRows = iota
	keyRows
	negativeRows
	hardRows
	queueRows
)

// inputs returns the rows of all inputs.
func (l InfoNCE) inputs(b Batch) [5][]*vector {
	vectors := normalize
	if l.Dot {
		vectors = raw
	}
	return [...][]*vector{vectors(b.Query), vectors(b.Key), vectors(b.Negatives), vectors(b.Hard), constants(b.Queue)}
}

// Eval implements [Loss].
func (l InfoNCE) Eval(b Batch) Result {
	r := Result{RawMass: l.Dot}
	rows := l.inputs(b)
	still := rows
	if l.constants != nil {
		still = l.inputs(*l.constants)
	}
	judge := still
	if b.GuideQuery != nil {
		judge = [...][]*vector{normalize(b.GuideQuery), normalize(b.GuideKey), normalize(b.GuideNegatives), nil, nil}
	}
	compare := func(from, i, to, j int) candidate {
		c := candidate{
			vector: rows[to][j], s: similarity(rows[from][i], rows[to][j]), constant: similarity(still[from][i], still[to][j]),
			g: math.Inf(-1),
		}
		if len(judge[to]) > 0 {
			x, y := judge[from][i], judge[to][j]
			c.g, c.gSize = similarity(x, y), x.size*y.size
		}
		return c
	}

	inBatch := l.InBatch || b.Negatives == nil && b.Hard == nil && b.Queue == nil
	listed := b.listed()
	var queries, keys []*anchor
	for i, q := range rows[queryRows] {
		a := &anchor{vector: q, weight: b.weight(i)}
		for j := range b.Key {
			c := compare(queryRows, i, keyRows, j)
			if b.KeyLogQ != nil {
				c.logQ = b.KeyLogQ[j]
			}
			if c.share = listed[i][j]; c.share >= 0 {
				a.positives = append(a.positives, c)
			} else if inBatch && !b.leftOut(i, j) {
				a.negatives = append(a.negatives, c)
			}
		}
		for j := range b.Negatives {
			if b.sameLabel(i, b.NegativeLabels, j) {
				continue
			}
			c := compare(queryRows, i, negativeRows, j)
			if b.NegativeLogQ != nil {
				c.logQ = b.NegativeLogQ[j]
			}
			a.negatives = append(a.negatives, c)
		}
		first, end := b.hardOf(i)
		for j := first; j < end; j++ {
			a.negatives = append(a.negatives, compare(queryRows, i, hardRows, j))
		}
		for j := range b.Queue {
			if !b.sameLabel(i, b.QueueLabels, j) {
				a.negatives = append(a.negatives, compare(queryRows, i, queueRows, j))
			}
		}
		queries = append(queries, a)
	}
	if l.Symmetric {
		for j, k := range rows[keyRows] {
			a := &anchor{vector: k, weight: 1}
			if b.Weights != nil {
				a.weight = b.Weights[j]
			}
			for i := range b.Query {
				c := compare(keyRows, j, queryRows, i)
				if c.share = listed[i][j]; c.share >= 0 {
					a.positives = append(a.positives, c)
				} else if !b.leftOut(i, j) {
					a.negatives = append(a.negatives, c)
				}
			}
			keys = append(keys, a)
		}
	}

	kink, half := math.Inf(1), 1.0
	if l.Symmetric {
		half = 0.5
	}
	for _, a := range slices.Concat(queries, keys) {
		kink = min(kink, l.prepare(a))
	}
	r.Losses, r.LossesMass = l.addMean(&r, queries, half)
	l.addMean(&r, keys, half)

	var st statistics
	for _, a := range queries {
		st.add(a)
	}
	candidates := len(b.Hard) + len(b.Query)*(len(b.Negatives)+len(b.Queue))
	if inBatch {
		candidates += len(b.Query) * len(b.Key)
	}
	st.store(&r, candidates)
	r.store(rows[queryRows], rows[keyRows], rows[negativeRows], rows[hardRows])
	r.Kink = kink
	return r
}

// prepare makes the shares of positives add up to 1, filters the negatives and sets all
// logits. What has no positive is no anchor, and keeps nothing. It returns the least
// error of similarities that changes a choice of the filter.
func (l InfoNCE) prepare(a *anchor) (kink float64) {
	total := 0.0
	for _, p := range a.positives {
		total += p.share
	}
	if total == 0 {
		a.positives, a.negatives = nil, nil
	}
	kink = math.Inf(1)
	if l.Filter != NoFilter {
		threshold, size := l.threshold(a.positives)
		var kept []candidate
		for _, n := range a.negatives {
			kink = min(kink, math.Abs(n.g-threshold)/(n.gSize+size))
			if n.g <= threshold {
				kept = append(kept, n)
			}
		}
		a.negatives = kept
	}
	for k := range a.positives {
		p := &a.positives[k]
		p.share /= total
		p.scaled = (p.s - l.Margin) / l.Temperature
		p.logit = p.scaled - p.logQ
	}
	for k := range a.negatives {
		n := &a.negatives[k]
		n.scaled = n.s / l.Temperature
		n.logit = n.scaled - n.logQ + l.Hardness*n.constant
	}
	return kink
}

// threshold returns that of the filter, and what its error is relative to.
func (l InfoNCE) threshold(positives []candidate) (threshold, size float64) {
	least := math.Inf(1)
	for _, p := range positives {
		least, size = min(least, p.g), max(size, p.gSize)
	}
	if l.Filter == RelativeMargin {
		return least + l.FilterMargin*math.Abs(least), (1 + math.Abs(l.FilterMargin)) * size
	}
	return least + l.FilterMargin, size
}

// addMean adds factor times the mean of the losses of anchors to a result, and returns
// the losses and their masses.
func (l InfoNCE) addMean(r *Result, anchors []*anchor, factor float64) (losses, masses []float64) {
	total := 0.0
	for _, a := range anchors {
		if len(a.positives) > 0 {
			total += a.weight
		}
	}
	for _, a := range anchors {
		weight := factor * a.weight / total
		loss, mass := l.loss(r, a, weight)
		losses, masses = append(losses, loss), append(masses, mass)
		r.Loss += weight * loss
	}
	return losses, masses
}

// loss returns the loss of an anchor and its mass, and records the derivatives of
// weight times it.
func (l InfoNCE) loss(r *Result, a *anchor, weight float64) (loss, mass float64) {
	if l.Form == Any {
		return r.contrast(a, a.positives, a.negatives, l.Temperature, weight)
	}
	for k, p := range a.positives {
		others := a.negatives
		if l.Form == Shared {
			others = slices.Concat(a.negatives, a.positives[:k], a.positives[k+1:])
		}
		part, partMass := r.contrast(a, a.positives[k:k+1], others, l.Temperature, weight*p.share)
		loss += p.share * part
		mass += p.share * partMass
	}
	return loss, mass
}

// CLIP is figure 3 of Radford et al. (2021), with the positives, weights and filter
// of InfoNCE.
type CLIP struct {
	Temperature  float64
	Form         Form
	Filter       Filter
	FilterMargin float64
}

// Eval implements [Loss].
func (l CLIP) Eval(b Batch) Result {
	b.Negatives, b.Hard, b.HardCounts, b.Queue, b.KeyLogQ = nil, nil, nil, nil, nil
	return InfoNCE{Temperature: l.Temperature, Symmetric: true, Form: l.Form, Filter: l.Filter, FilterMargin: l.FilterMargin}.Eval(b)
}
