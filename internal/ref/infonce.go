package ref

// InfoNCE is equation 4 of van den Oord, Li and Vinyals (2018) with the scaled
// cosine for a score: mean over queries of −log softmax, over the positive and
// the negatives, at the positive.
//
// The negatives of query i are the rows j ≠ i of Key, if InBatch or if there
// are neither Negatives nor a Queue; all Negatives; all of the Queue. Rows of
// Key and labelled keys of the queue that have the label of the query are none.
// Symmetric averages with the loss of keys among the rows of Query.
type InfoNCE struct {
	Temperature        float64
	Symmetric, InBatch bool
}

// Eval implements [Loss].
func (l InfoNCE) Eval(b Batch) Result {
	var r Result
	var st statistics
	query, key, negatives := normalize(b.Query), normalize(b.Key), normalize(b.Negatives)
	queue := constants(b.Queue)
	inBatch := l.InBatch || b.Negatives == nil && b.Queue == nil
	same := func(i, j int) bool { return b.Labels != nil && b.Labels[i] == b.Labels[j] }

	weight := 1 / float64(len(query))
	if l.Symmetric {
		weight /= 2
	}
	for i := range query {
		var list []*vector
		for j := range key {
			if inBatch && j != i && !same(i, j) {
				list = append(list, key[j])
			}
		}
		list = append(list, negatives...)
		for j := range queue {
			if b.Labels == nil || b.QueueLabels == nil || b.Labels[i] != b.QueueLabels[j] {
				list = append(list, queue[j])
			}
		}
		p := newPairs(query[i], key[i], list)
		r.crossEntropy(p, l.Temperature, weight)
		st.addPositive(p.s)
		st.addNegatives(p)
	}
	if l.Symmetric {
		for i := range key {
			var list []*vector
			for j := range query {
				if j != i && !same(i, j) {
					list = append(list, query[j])
				}
			}
			r.crossEntropy(newPairs(key[i], query[i], list), l.Temperature, weight)
		}
	}
	candidates := len(negatives) + len(queue)
	if inBatch {
		candidates += len(key)
	}
	st.store(&r, len(query)*candidates)
	r.store(query, key, negatives)
	return r
}

// CLIP is figure 3 of Radford et al. (2021).
type CLIP struct{ Temperature float64 }

// Eval implements [Loss].
func (l CLIP) Eval(b Batch) Result {
	return InfoNCE{Temperature: l.Temperature, Symmetric: true}.Eval(b)
}
