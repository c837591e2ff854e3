package contrastive

import (
	"github.com/contrastive-go/contrastive/blas"
	"github.com/contrastive-go/contrastive/internal/engine"
)

// sharedProducts are the memory of a loss of columns whose rows are spread over ranks.
type sharedProducts struct {
	left, right []float32 // the columns, one after the other
	matrix      []float32 // of the products of each with each, summed over the ranks
	pulls       []float32 // with respect to the columns
}

// addUp replaces sums over the rows of this rank by those over all rows.
func (a *features) addUp(sums []float64) error {
	return a.overRanks(sums, func(x, y float64) float64 { return x + y })
}

// greatest replaces numbers by the greatest of all ranks.
func (a *features) greatest(numbers []float64) error {
	return a.overRanks(numbers, func(x, y float64) float64 { return max(x, y) })
}

// overRanks combines numbers with those of the other ranks, in the order of these.
func (a *features) overRanks(numbers []float64, combine func(x, y float64) float64) error {
	if a.ranks == nil {
		return nil
	}
	all, err := a.ranks.gatherSums(numbers)
	if err != nil {
		return err
	}
	n := len(numbers)
	copy(numbers, all)
	for i, v := range all[n:] {
		numbers[i%n] = combine(numbers[i%n], v)
	}
	return nil
}

// squareShared is square over the rows of all ranks: the products of the local columns are
// summed over the ranks, and every rank holds the matrix of all. They are float32, computed
// and summed, with an error of (n+2)·u for n local rows, to which come those of the sum
// over the ranks, of u each.
func (a *features) squareShared() error {
	p := &a.problem
	m, k, n := a.rows.Len(), a.cols.Len(), a.n
	if m == 0 || k == 0 {
		return nil
	}
	a.left, a.right, a.matrix = resize(a.left, m*n), resize(a.right, k*n), resize(a.matrix, m*k)
	putVectors(a.left, &a.rows, 0)
	putVectors(a.right, &a.cols, 0)
	blas.Sgemm(false, true, m, k, n, 1, a.left, n, a.right, n, 0, a.matrix, k, p.Workers)
	if err := a.ranks.allReduce(a.matrix); err != nil {
		return err
	}
	for i := range m {
		row := a.matrix[i*k : (i+1)*k]
		sum := 0.0
		for j, v := range row {
			if p.Mask.Count > 0 && i == j {
				row[j] = 0
				if p.Positives != nil {
					row[j] = float32(p.Positives.Pull[i])
				}
				continue
			}
			sum += float64(v) * float64(v)
			row[j] = float32(p.Gain * float64(v))
		}
		a.result.Loss += a.lossGain * sum
	}
	a.pull(&a.rows, false, m, k, a.right)
	a.pull(&a.cols, true, k, m, a.left)
	return nil
}

// pull stores the gradients with respect to the m columns of a list: the products of the
// weights in a.matrix, transposed for the columns of the problem, with the k others.
func (a *features) pull(list *engine.List, transposed bool, m, k int, others []float32) {
	if !list.Wants() {
		return
	}
	stride := k
	if transposed {
		stride = m
	}
	a.pulls = resize(a.pulls, m*a.n)
	blas.Sgemm(transposed, false, m, a.n, k, 1, a.matrix, stride, others, a.n, 0, a.pulls, a.n, a.problem.Workers)
	for i := range m {
		list.Store(i, a.pulls[i*a.n:(i+1)*a.n], 1)
	}
}

// evalFeatures evaluates a loss of columns, once the ranks agree.
func (a *shard) evalFeatures(l featureLoss) (Result, error) {
	f := a.features
	f.ranks, f.total = &a.peers, a.total
	f.wants = [...]bool{a.allWants&wantsRows != 0, a.allWants&wantsKeys != 0}
	o := l.features()
	if err := withFunction("Sharded: "+o.name, o.checkRows(a.total)); err != nil {
		return Result{}, err
	}
	if err := l.compute(f); err != nil {
		return Result{}, err
	}
	all, err := a.gatherSums([]float64{f.result.Loss})
	if err != nil {
		return Result{}, err
	}
	l.store(f)
	return Result{Loss: all[0]}, nil
}

// prepareFeatures is prepare for a loss of columns.
func (a *shard) prepareFeatures(l featureLoss, b Batch, g Gradients) error {
	o := l.features()
	a.features = featurePool.Get().(*features)
	a.objective = objective{name: o.name, options: o.options, parameters: o.parameters, tau: 1}
	a.batch, a.grads, a.n, a.unit = b, g, b.Query.Rows, 1
	return withFunction(o.name, a.features.begin(o, b, g))
}

// allReduce sums data over the ranks, and makes what comes finite: see mendVectors.
func (p *peers) allReduce(data []float32) error {
	p.pause()
	defer p.resume()
	if err := p.collective.AllReduce(p.ctx, data); err != nil {
		return p.failed(err)
	}
	p.mendVectors(data)
	return nil
}
