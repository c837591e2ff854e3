package contrastive

// storeGradients adds the pull of pairs to the gradients of this rank's rows, but for
// that of listed positives, which is in them already, and takes them back through the
// normalisation.
func (a *shard) storeGradients() {
	if a.oneList() {
		a.store(a.grads.Query, 0, a.rowGrad, 0)
		a.store(a.grads.Key, a.n, a.rowGrad, a.n)
		return
	}
	a.store(a.grads.Query, 0, a.rowGrad, 0)
	keys := a.keyCount(a.rank)
	switch {
	case a.stopKey:
		a.grads.stopKey()
	case keys > 0:
		a.store(a.grads.Key, a.n, a.in, 0)
	default:
		a.store(a.grads.Key, a.n, nil, 0)
	}
	a.store(a.grads.Negatives, a.n+a.batch.Key.Rows, a.in, keys)
	a.storeHard()
}

// store stores the gradients of the rows from slot first on of the local list.
// Those with respect to their vectors are in the rows of grad from row on; a nil
// grad is 0.
func (a *shard) store(dst Matrix, first int, grad []float32, row int) {
	local, d := &a.local, a.dim
	a.vector = resize(a.vector, d)
	for i := range dst.Rows {
		clear(a.vector)
		if grad != nil {
			copy(a.vector, grad[(row+i)*d:(row+i+1)*d])
		}
		slot := first + i
		switch {
		case a.layout == byClass:
			a.classes.addPull(local, slot, a.problem.Scale*a.weight*a.factor, a.rowWeight(slot%a.n), a.vector)
		case !a.lists && slot < 2*a.n: // no negatives
			local.AddScaled(a.problem.Scale*a.positives.Pull[slot%a.n], (slot+a.n)%(2*a.n), a.vector)
		}
		if slot < a.n {
			a.addHardPulls(slot)
		}
		local.Store(slot, a.vector, 1)
	}
}

// addHardPulls adds to a.vector what the hard negatives of query i pull it by.
func (a *shard) addHardPulls(i int) {
	if a.batch.Hard.isZero() {
		return
	}
	for k, end := a.hard.Of(i); k < end; k++ {
		a.hardRows.AddScaled(a.problem.Scale*a.hard.Pull[k], k, a.vector)
	}
}

// storeHard stores the gradients of the hard negatives, each of which has one query.
func (a *shard) storeHard() {
	if a.grads.Hard.isZero() {
		return
	}
	for i := range a.n {
		for k, end := a.hard.Of(i); k < end; k++ {
			clear(a.vector)
			a.local.AddScaled(a.problem.Scale*a.hard.Pull[k], i, a.vector)
			a.hardRows.Store(k, a.vector, 1)
		}
	}
}
