package ref

import "slices"

// Hold returns a loss whose constants, which are functions of the batch that carry no
// gradient, are those of b for other batches, too: the weights of DCLW, and the
// similarities that InfoNCE takes for hardness and for its own filter. Its difference
// quotients around b are the gradients of the loss there.
func Hold(l Loss, b Batch) Loss {
	switch l := l.(type) {
	case InfoNCE:
		b.Query, b.Key, b.Negatives, b.Hard = clone(b.Query), clone(b.Key), clone(b.Negatives), clone(b.Hard)
		l.constants = &b
		return l
	case DCL:
		l.Weights = l.BatchWeights(b)
		return l
	case Matryoshka:
		l.held = nil
		for _, d := range l.Dims {
			l.held = append(l.held, Hold(l.Loss, b.prefix(d)))
		}
		return l
	case Sum:
		l.Losses = slices.Clone(l.Losses)
		for k, loss := range l.Losses {
			l.Losses[k] = Hold(loss, b)
		}
		return l
	}
	return l
}

func clone(m [][]float64) [][]float64 {
	if m == nil {
		return nil
	}
	c := make([][]float64, len(m))
	for i, row := range m {
		c[i] = slices.Clone(row)
	}
	return c
}
