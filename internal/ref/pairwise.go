package ref

// SigLIP is equation 1 of Zhai, Mustafa, Kolesnikov and Beyer (2023):
//
//	−1/N · Σᵢⱼ log σ( yᵢⱼ·(sᵢⱼ/τ + b) ), yᵢⱼ = 1 if query i lists key j and −1 otherwise
//
// Pairs that Exclude or equal labels leave out, and that are not listed, do not count.
type SigLIP struct{ Temperature, Bias float64 }

// Eval implements [Loss].
func (l SigLIP) Eval(b Batch) Result {
	var r Result
	var st statistics
	query, key := normalize(b.Query), normalize(b.Key)
	listed := b.listed()
	for i, q := range query {
		a := &anchor{vector: q}
		for j, k := range key {
			c := candidate{vector: k, s: similarity(q, k)}
			if listed[i][j] >= 0 {
				a.positives = append(a.positives, c)
			} else if !b.leftOut(i, j) {
				a.negatives = append(a.negatives, c)
			}
		}
		loss, mass, weight := 0.0, 0.0, b.weight(i)/b.totalWeight()
		for _, p := range a.positives {
			z := p.s/l.Temperature + l.Bias
			w := -weight * sigmoid(-z)
			loss += softplus(-z)
			mass += sigmoid(-z) / l.Temperature
			r.BiasGrad += w
			r.pull(a, p, w, l.Temperature)
		}
		for _, n := range a.negatives {
			z := n.s/l.Temperature + l.Bias
			w := weight * sigmoid(z)
			loss += softplus(z)
			mass += sigmoid(z) / l.Temperature
			r.BiasGrad += w
			r.pull(a, n, w, l.Temperature)
		}
		r.Loss += weight * loss
		r.Losses, r.LossesMass = append(r.Losses, loss), append(r.LossesMass, mass)
		st.add(a)
	}
	st.store(&r, len(query)*len(key))
	r.store(query, key, nil, nil)
	return r
}

// NegativeCosine is equation 1 of Chen and He (2021), −mean cosine, in which no
// gradient flows to the keys.
type NegativeCosine struct{}

// Eval implements [Loss].
func (NegativeCosine) Eval(b Batch) Result {
	var r Result
	query, key := normalize(b.Query), normalize(b.Key)
	for i := range query {
		s, weight := similarity(query[i], key[i]), b.weight(i)/b.totalWeight()
		r.Loss -= weight * s
		r.Losses, r.LossesMass = append(r.Losses, -s), append(r.LossesMass, 1)
		r.PositiveCosine += s / float64(len(query))
		r.join(query[i], key[i], -weight)
	}
	for _, k := range key {
		clear(k.grad)
		k.mass = 0
	}
	r.store(query, key, nil, nil)
	return r
}
