package ref

import "slices"

// SupCon is equation 2 of Khosla et al. (2020), "out", with the factor τ/τ₀ of
// its authors' code:
//
//	(τ/τ₀) · mean_i −1/|P(i)| · Σ_{p∈P(i)} log( e^(sᵢₚ/τ) / Σ_{a≠i} e^(sᵢₐ/τ) )
//
// over the rows of Query and Key as anchors, or of Query alone if Key is nil.
// Without Labels each pair is a class. The keys of the queue are compared with
// the anchors, and positives of those with their label. An anchor without
// positives contributes 0 and counts in the mean, in which both views of example i
// weigh as query i does.
type SupCon struct{ Temperature, BaseTemperature float64 }

// Eval implements [Loss].
func (l SupCon) Eval(b Batch) Result {
	var r Result
	var st statistics
	query, key := normalize(b.Query), normalize(b.Key)
	anchors := len(query) + len(key)
	z := slices.Concat(query, key, constants(b.Queue))

	// positive reports whether z[a] is of the class of anchor i.
	positive := func(i, a int) bool {
		n := len(query)
		switch {
		case b.Labels == nil:
			return a < anchors && a%n == i%n
		case a < anchors:
			return b.Labels[i%n] == b.Labels[a%n]
		default:
			return b.QueueLabels != nil && b.Labels[i%n] == b.QueueLabels[a-anchors]
		}
	}

	tau, factor := l.Temperature, l.Temperature/l.BaseTemperature
	views := float64(anchors / len(query))
	r.Losses, r.LossesMass = make([]float64, len(query)), make([]float64, len(query))
	for i := range anchors {
		var y []float64
		positives := 0.0
		for a := range z {
			if a == i {
				continue
			}
			c := similarity(z[i], z[a])
			y = append(y, c/tau)
			if positive(i, a) {
				positives++
				st.addPositive(c)
			} else {
				st.addNegative(c)
			}
		}
		if positives == 0 {
			continue
		}
		example := i % len(query)
		weight := factor * b.weight(example) / (views * b.totalWeight())
		lse, shares := softmax(y)
		r.LossesMass[example] += 2 * factor / (views * tau)
		k := 0
		for a := range z {
			if a == i {
				continue
			}
			w := weight * shares[k]
			r.join(z[i], z[a], w/tau)
			if positive(i, a) {
				r.Loss += weight / positives * (lse - y[k])
				r.Losses[example] += factor / (views * positives) * (lse - y[k])
				r.join(z[i], z[a], -weight/positives/tau)
				w -= weight / positives
			}
			r.TemperatureGrad -= w * y[k] / tau
			k++
		}
	}
	r.TemperatureGrad += r.Loss / tau
	st.store(&r, anchors*len(z))
	r.Accuracy, r.Margins = 0, nil
	r.store(query, key, nil, nil)
	return r
}
