package ref

// SigLIP is equation 1 of Zhai, Mustafa, Kolesnikov and Beyer (2023):
//
//	−1/N · Σᵢⱼ log σ( yᵢⱼ·(sᵢⱼ/τ + b) ), yᵢⱼ = 1 if i = j and −1 otherwise
type SigLIP struct{ Temperature, Bias float64 }

// Eval implements [Loss].
func (l SigLIP) Eval(b Batch) Result {
	var r Result
	var st statistics
	query, key := normalize(b.Query), normalize(b.Key)
	weight := 1 / float64(len(query))
	for i := range query {
		var list []*vector
		for j := range key {
			if j != i {
				list = append(list, key[j])
			}
		}
		p := newPairs(query[i], key[i], list)

		z := p.s/l.Temperature + l.Bias
		r.Loss += weight * softplus(-z)
		w := -weight * sigmoid(-z)
		r.BiasGrad += w
		r.pullPositive(p, w, l.Temperature)
		for j, s := range p.sn {
			z := s/l.Temperature + l.Bias
			r.Loss += weight * softplus(z)
			w := weight * sigmoid(z)
			r.BiasGrad += w
			r.pullNegative(p, j, w, l.Temperature)
		}
		st.addPositive(p.s)
		st.addNegatives(p)
	}
	st.store(&r, len(query)*len(key))
	r.store(query, key, nil)
	return r
}

// NegativeCosine is equation 1 of Chen and He (2021), −mean cosine, in which no
// gradient flows to the keys.
type NegativeCosine struct{}

// Eval implements [Loss].
func (NegativeCosine) Eval(b Batch) Result {
	var r Result
	query, key := normalize(b.Query), normalize(b.Key)
	weight := 1 / float64(len(query))
	for i := range query {
		r.PositiveCosine += weight * cosine(query[i], key[i])
		r.join(query[i], key[i], -weight)
	}
	r.Loss = -r.PositiveCosine
	for _, k := range key {
		clear(k.grad)
		k.mass = 0
	}
	r.store(query, key, nil)
	return r
}
