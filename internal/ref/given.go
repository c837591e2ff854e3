package ref

import (
	"math"
	"slices"
)

// A list is a query with its key and its rows of Hard.
type list struct {
	query  *vector
	others []*vector // the key, and the rows of Hard
	weight float64   // of the query, all of which add up to 1
}

// given are the lists of a batch, for losses that compare no other pairs.
type given struct {
	query, key, hard []*vector
	lists            []list
}

// newGiven returns the lists of b. Queries without rows of Hard do not count if those are
// needed.
func newGiven(b Batch, vectors func([][]float64) []*vector, needsHard bool) given {
	g := given{query: vectors(b.Query), key: vectors(b.Key), hard: vectors(b.Hard)}
	total := 0.0
	for i, q := range g.query {
		first, end := b.hardOf(i)
		l := list{query: q, others: append([]*vector{g.key[i]}, g.hard[first:end]...), weight: b.weight(i)}
		if needsHard && first == end {
			l.weight = 0
		}
		total += l.weight
		g.lists = append(g.lists, l)
	}
	for i := range g.lists {
		g.lists[i].weight /= total
	}
	return g
}

// result sets the gradients, and the mean cosine of queries and keys.
func (g given) result(r *Result) Result {
	r.store(g.query, g.key, nil, g.hard)
	bends := func(vs []*vector) (bends []float64) {
		for _, v := range vs {
			bends = append(bends, v.bend)
		}
		return bends
	}
	r.QueryBend, r.KeyBend, r.HardBend = bends(g.query), bends(g.key), bends(g.hard)
	r.RawMass = g.query[0].raw
	for i, q := range g.query {
		if !q.raw {
			r.PositiveCosine += similarity(q, g.key[i]) / float64(len(g.query))
		}
	}
	return *r
}

// similarities returns those of a query with its key and its rows of Hard, and their
// sizes: what the errors of similarities and scores are relative to.
func (l list) similarities(scores []float64) (s, sizes []float64) {
	for k, v := range l.others {
		s = append(s, similarity(l.query, v))
		sizes = append(sizes, l.query.size*v.size+math.Abs(scores[k]))
	}
	return s, sizes
}

// A slope is the derivative of the loss of a query with respect to a similarity.
type slope struct {
	value float64
	bend  float64 // its change by errors of ε in all similarities and scores, over ε
}

// add adds the loss of list i, and its derivatives with respect to the similarities.
func (g given) add(r *Result, i int, loss float64, slopes []slope, sizes []float64) {
	l, mass, bend := g.lists[i], 0.0, 0.0
	for k, p := range slopes {
		v, w := l.others[k], l.weight*p.value
		axpy(w, v.x, l.query.grad)
		axpy(w, l.query.x, v.grad)
		l.query.mass += math.Abs(w) * v.size
		v.mass += math.Abs(w) * l.query.size
		l.query.bend += l.weight * p.bend * v.size
		v.bend += l.weight * p.bend * l.query.size
		mass += math.Abs(p.value) * sizes[k]
		bend += p.bend * sizes[k]
	}
	g.count(r, i, loss, mass, bend)
}

// count adds the loss of list i.
func (g given) count(r *Result, i int, loss, mass, bend float64) {
	w := g.lists[i].weight
	r.Loss += w * loss
	r.Mass += w * mass
	r.Bend += w * bend
	r.Losses, r.LossesMass, r.LossesBend = append(r.Losses, loss), append(r.LossesMass, mass), append(r.LossesBend, bend)
}

// ordered is log(1 + Σ e^(λ·(s_k − s_l))) over the pairs with y_k < y_l. It returns the
// derivatives with respect to s, and the sums of the magnitudes of those of the terms.
func (r *Result) ordered(s []float64, scores [][]float64, scale float64) (slopes, mass []float64) {
	type pair struct{ k, l int }
	var pairs []pair
	var logits []float64
	for k, y := range scores {
		for l, z := range scores {
			if y[0] < z[0] {
				pairs, logits = append(pairs, pair{k, l}), append(logits, scale*(s[k]-s[l]))
			}
		}
	}
	lse, shares := softmax(logits)
	r.Loss = softplus(lse)
	slopes, mass = make([]float64, len(s)), make([]float64, len(s))
	for i, p := range pairs {
		w := scale * shares[i] * sigmoid(lse)
		slopes[p.k] += w
		slopes[p.l] -= w
		mass[p.k] += w
		mass[p.l] += w
		r.Mass += 2 * w
	}
	return slopes, mass
}

// CoSENT is log(1 + Σ e^(λ·(s_k − s_l))) over the pairs with y_k < y_l (Su 2022).
type CoSENT struct{ Scale float64 }

// Eval implements [Loss].
func (l CoSENT) Eval(b Batch) Result {
	var r Result
	g := newGiven(b, normalize, false)
	var s []float64
	for i, q := range g.query {
		s = append(s, similarity(q, g.key[i]))
	}
	slopes, mass := r.ordered(s, b.Scores, l.Scale)
	for i, w := range slopes {
		q, k := g.query[i], g.key[i]
		axpy(w, k.x, q.grad)
		axpy(w, q.x, k.grad)
		q.mass, k.mass = mass[i], mass[i]
	}
	return g.result(&r)
}

// AnglE is [CoSENT] with s = |Re z + Im z|, z = Σ q̂·conj(k̂), of vectors whose real parts
// come first (Li and Li 2023).
type AnglE struct{ Scale float64 }

// Eval implements [Loss].
func (l AnglE) Eval(b Batch) Result {
	var r Result
	g := newGiven(b, normalize, false)
	half := len(b.Query[0]) / 2
	var s, signs []float64
	kink := math.Inf(1)
	for i, q := range g.query {
		sum := 0.0
		for d := range half {
			a, b, x, z := q.x[d], q.x[half+d], g.key[i].x[d], g.key[i].x[half+d]
			sum += a*x + b*z + b*x - a*z
		}
		sign := 0.0
		if sum != 0 {
			sign = math.Copysign(1, sum)
		}
		s, signs = append(s, sign*sum), append(signs, sign)
		if q.norm > 0 && g.key[i].norm > 0 {
			kink = min(kink, math.Abs(sum))
		}
	}
	slopes, mass := r.ordered(s, b.Scores, l.Scale)
	for i, w := range slopes {
		q, k := g.query[i], g.key[i]
		w *= signs[i]
		for d := range half {
			a, b, x, z := q.x[d], q.x[half+d], k.x[d], k.x[half+d]
			q.grad[d] += w * (x - z)
			q.grad[half+d] += w * (z + x)
			k.grad[d] += w * (a + b)
			k.grad[half+d] += w * (b - a)
		}
		q.mass, k.mass = math.Sqrt2*mass[i], math.Sqrt2*mass[i]
	}
	g.result(&r)
	r.Kink = kink
	return r
}

// CosineMSE is the mean of (s − y)², with s the cosine (Reimers and Gurevych 2019).
type CosineMSE struct{}

// Eval implements [Loss].
func (CosineMSE) Eval(b Batch) Result {
	var r Result
	g := newGiven(b, normalize, false)
	for i, l := range g.lists {
		s, sizes := l.similarities(b.Scores[i])
		off := s[0] - b.Scores[i][0]
		g.add(&r, i, off*off, []slope{{2 * off, 2 * sizes[0]}}, sizes)
	}
	return g.result(&r)
}

// vectors returns the rows for dot products or for cosines.
func vectors(dot bool) func([][]float64) []*vector {
	if dot {
		return raw
	}
	return normalize
}

// MarginMSE is equation 5 of Hofstätter et al. (2020): the mean over the rows of Hard, and
// over queries, of ((s₀ − sₘ) − (t₀ − tₘ))².
type MarginMSE struct{ Dot bool }

// Eval implements [Loss].
func (m MarginMSE) Eval(b Batch) Result {
	var r Result
	g := newGiven(b, vectors(m.Dot), true)
	for i, l := range g.lists {
		s, sizes := l.similarities(b.Scores[i])
		t, h := b.Scores[i], float64(len(s)-1)
		loss, mass, slopes := 0.0, 0.0, make([]slope, len(s))
		for k := 1; k < len(s); k++ {
			off := (s[0] - s[k]) - (t[0] - t[k])
			loss += off * off / h
			slopes[k] = slope{-2 * off / h, 2 * (sizes[0] + sizes[k]) / h}
			slopes[0].value -= slopes[k].value
			slopes[0].bend += slopes[k].bend
			mass += 2 * math.Abs(off) / h * sizes[0] // the derivatives may cancel, their errors do not
		}
		g.add(&r, i, loss, slopes, sizes)
		r.Mass += l.weight * mass
		r.LossesMass[i] += mass
	}
	return g.result(&r)
}

// DistillKL is T²·KL(softmax(t/T) ‖ softmax(s/T)), the mean over queries, of lists of the
// key and the rows of Hard (Hinton, Vinyals and Dean 2015).
type DistillKL struct {
	Temperature float64
	Dot         bool
}

// Eval implements [Loss].
func (d DistillKL) Eval(b Batch) Result {
	var r Result
	g := newGiven(b, vectors(d.Dot), true)
	for i, l := range g.lists {
		s, sizes := l.similarities(b.Scores[i])
		p, x := logSoftmax(b.Scores[i], d.Temperature), logQuotients(s, b.Scores[i], d.Temperature)
		mean, loss, slopes := 0.0, 0.0, make([]slope, len(s))
		for k := range s {
			mean += (math.Exp(p[k]+x[k]) + math.Exp(p[k])) * sizes[k]
		}
		for k := range s {
			term, difference := divergence(p[k], x[k])
			loss += term
			slopes[k] = slope{d.Temperature * difference, (math.Exp(p[k]+x[k]) + math.Exp(p[k])) * (sizes[k] + mean)}
		}
		logit := slices.Max(sizes) / d.Temperature
		r.Logit = max(r.Logit, logit)
		loss *= d.Temperature * d.Temperature
		g.add(&r, i, loss, slopes, sizes)
		mass := 4 * loss * logit // of the logarithms of p, which are logits too
		r.Mass += l.weight * mass
		r.LossesMass[i] += mass
	}
	return g.result(&r)
}

// logSoftmax returns the logarithms of the softmax of x/t.
func logSoftmax(x []float64, t float64) []float64 {
	var y []float64
	for _, v := range x {
		y = append(y, (v-slices.Max(x))/t)
	}
	lse := logSumExp(y)
	for i := range y {
		y[i] -= lse
	}
	return y
}

// logQuotients returns log(q/p), with q the softmax of s/τ and p that of t/τ: (s − t)/τ
// less log Σ p·e^((s − t)/τ).
func logQuotients(s, t []float64, tau float64) []float64 {
	p := logSoftmax(t, tau)
	x, y := make([]float64, len(s)), make([]float64, len(s))
	small, sum := true, 0.0
	for k := range s {
		x[k] = ((s[k] - s[0]) - (t[k] - t[0])) / tau
		y[k] = p[k] + x[k]
		small = small && math.Abs(x[k]) < 1
		sum += math.Exp(p[k]) * math.Expm1(x[k])
	}
	lse := math.Log1p(sum)
	if !small {
		lse = logSumExp(y)
	}
	for k := range x {
		x[k] -= lse
	}
	return x
}

// divergence returns p·(e^x − 1 − x), the sum of which is KL(p ‖ q), with x = log(q/p),
// and q − p.
func divergence(logP, x float64) (term, difference float64) {
	p, q := math.Exp(logP), math.Exp(logP+x)
	if math.Abs(x) > 1 {
		return q - p - p*x, q - p
	}
	sum, power := 0.0, x*x/2
	for k := 3.0; k < 30; k++ {
		sum += power
		power *= x / k
	}
	return p * sum, p * math.Expm1(x)
}

// EmbeddingMSE is the mean of the squares of the elements of q − k, rows as they are, with
// no gradient for k (Reimers and Gurevych 2020).
type EmbeddingMSE struct{}

// Eval implements [Loss].
func (EmbeddingMSE) Eval(b Batch) Result {
	var r Result
	g := newGiven(b, raw, false)
	dim := float64(len(b.Query[0]))
	for i, l := range g.lists {
		loss := 0.0
		for d, x := range l.query.x {
			diff := x - l.others[0].x[d]
			loss += diff * diff / dim
			l.query.grad[d] = 2 * l.weight * diff / dim
			l.query.mass = math.Hypot(l.query.mass, l.query.grad[d])
		}
		g.count(&r, i, loss, loss, 0)
	}
	return g.result(&r)
}

// Triplet is the mean over all triplets, of which each has the weight of its query, of
// max(0, d(q,k) − d(q,n) + m), with Euclidean distances of rows as they are or 1 − cosine
// (Reimers and Gurevych 2019).
type Triplet struct {
	Margin float64
	Cosine bool
}

// Eval implements [Loss].
func (t Triplet) Eval(b Batch) Result {
	var r Result
	g := newGiven(b, vectors(!t.Cosine), true)
	triplets, kink := 0.0, math.Inf(1) // triplets: of a query, on average
	for _, l := range g.lists {
		triplets += l.weight * float64(len(l.others)-1)
	}
	for i, l := range g.lists {
		var d []float64
		for _, v := range l.others {
			d = append(d, t.distance(l.query, v))
		}
		loss, mass := 0.0, 0.0
		for k := 1; k < len(d); k++ {
			x, size := d[0]-d[k]+t.Margin, 2+t.Margin
			if !t.Cosine {
				size = d[0] + d[k] + t.Margin
				for _, k := range []int{0, k} {
					kink = min(kink, d[k]/max(l.query.norm, l.others[k].norm))
				}
			}
			kink = min(kink, math.Abs(x)/size)
			if x > 0 {
				loss += x / triplets
				mass += size / triplets
				t.push(l.query, l.others[0], l.weight/triplets, d[0])
				t.push(l.query, l.others[k], -l.weight/triplets, d[k])
			}
		}
		g.count(&r, i, loss, mass, 0)
	}
	g.result(&r)
	r.Kink = kink
	return r
}

func (t Triplet) distance(a, b *vector) float64 {
	if t.Cosine {
		return 1 - similarity(a, b)
	}
	sum := 0.0
	for d, x := range a.x {
		sum += (x - b.x[d]) * (x - b.x[d])
	}
	return math.Sqrt(sum)
}

// push adds w times the derivatives of a distance, which is d.
func (t Triplet) push(a, b *vector, w, d float64) {
	for i := range a.x {
		switch {
		case t.Cosine:
			a.grad[i] -= w * b.x[i]
			b.grad[i] -= w * a.x[i]
		case d > 0:
			a.grad[i] += w * (a.x[i] - b.x[i]) / d
			b.grad[i] -= w * (a.x[i] - b.x[i]) / d
		}
	}
	a.mass += math.Abs(w)
	b.mass += math.Abs(w)
}
