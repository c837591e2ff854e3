package contrastive

import (
	"fmt"
	"math"
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/simd"
)

// A pairLoss is a loss of given pairs as data: those of each query with its key and
// with its rows of Hard, of which no other pair is compared.
type pairLoss struct {
	name       string
	takes      inputs
	options    Options
	parameter  parameter
	similarity Similarity // Cosine, unless it is given
	bad        error      // of a parameter that is none of its values
	measure    measure

	// learn makes a loss of what the pairs measure, and stores its derivatives with
	// respect to them in pull.
	learn func(a *pairs)

	scale float64 // what learn of most losses depends on: λ, T or a margin
}

// A measure is what is computed of a pair.
type measure uint8

const (
	products  measure = iota // dot products of vectors, which are the rows normalised unless the similarity is Dot
	angles                   // the real and the imaginary part of the product of complex vectors, added
	distances                // Euclidean distances of rows
)

// pairs are the state of one evaluation of a pairLoss. Pair p < n is that of query p and
// its key, pair n+h that of row h of Hard and its query.
type pairs struct {
	pairLoss
	batch Batch
	grads Gradients
	n     int

	list      engine.List // queries, keys and rows of Hard: the second of pair p is in slot n+p
	queries   []int32     // of the rows of Hard
	firstHard []int32     // of each query, and their number
	weights   []float64   // of the queries, which add up to 1
	measured  []float64   // of each pair
	pull      []float64   // ∂Loss/∂measured
	cosines   []float64   // of queries and keys, unless the rows are taken as they are

	ranking ranking
	logs    [2][]float64 // DistillKL: of probabilities and their quotients
	workers int
	scratch []pairScratch
	done    sync.WaitGroup
	mode    fpmode.Mode // of the caller's thread
	result  Result
}

// A pairScratch is the memory of one worker.
type pairScratch struct {
	vector []float32
	sum    []float64
}

var pairsPool = sync.Pool{New: func() any { return new(pairs) }}

// evaluatePairs evaluates the loss of one batch.
func evaluatePairs(l pairLoss, b Batch, g Gradients) (Result, error) {
	a := pairsPool.Get().(*pairs)
	a.mode = fpmode.Enter()
	defer a.release()
	if err := a.begin(l, b, g); err != nil {
		return Result{}, wrap(l.name, err)
	}
	a.each(len(a.measured), (*pairs).measurePair)
	a.result.PositiveCosine = a.positiveCosine()
	l.learn(a)
	a.each(a.list.Len(), (*pairs).storeSlot)
	return a.result, nil
}

// begin checks everything about a call, and lists the rows.
func (a *pairs) begin(l pairLoss, b Batch, g Gradients) error {
	a.pairLoss, a.batch, a.grads, a.n, a.result = l, b, g, b.Query.Rows, Result{}
	if err := l.parameter.check(); err != nil {
		return err
	}
	if l.bad != nil {
		return l.bad
	}
	if err := l.similarity.check(); err != nil {
		return err
	}
	if err := l.options.check(); err != nil {
		return err
	}
	if err := checkBatch(l.takes, &b, &g); err != nil {
		return err
	}
	if l.measure == angles && b.Query.Cols%2 != 0 {
		return fmt.Errorf("Query is %d×%d, and a complex vector needs an even number of columns: %w", b.Query.Rows, b.Query.Cols, ErrShape)
	}
	a.list.Reset(b.Query.Cols)
	a.list.Accumulate = g.Accumulate
	for _, m := range [...]struct {
		name       string
		rows, grad Matrix
	}{{"Query", b.Query, g.Query}, {"Key", b.Key, g.Key}, {"Hard", b.Hard, g.Hard}} {
		if err := addRows(&a.list, m.rows, m.grad, m.name, a.unit()); err != nil {
			return err
		}
	}
	return a.size()
}

// unit reports whether the rows are normalised.
func (l *pairLoss) unit() bool { return l.measure != distances && l.similarity != Dot }

// size makes room for what is known of queries and pairs, and decides how many workers
// share them. It returns an error if no query that counts has a weight.
func (a *pairs) size() error {
	n, hard := a.n, a.batch.Hard.Rows
	a.queries, a.firstHard = a.queries[:0], append(a.firstHard[:0], 0)
	a.weights = a.weights[:0]
	total := 0.0
	for i := range n {
		for range a.batch.hardCount(i) {
			a.queries = append(a.queries, int32(i))
		}
		a.firstHard = append(a.firstHard, int32(len(a.queries)))
		weight := a.batch.weight(i)
		if a.takes&needsHard != 0 && a.batch.hardCount(i) == 0 {
			weight = 0
		}
		a.weights = append(a.weights, weight)
		total += weight
	}
	if total == 0 {
		return fmt.Errorf("Weights of all queries that have rows of Hard are 0: %w", ErrParameter)
	}
	for i := range n {
		a.weights[i] /= total
	}
	a.measured, a.pull, a.cosines = resize(a.measured, n+hard), zeros(a.pull, n+hard), resize(a.cosines, n)

	// So many elements of rows take a few hundred microseconds, many times what it takes
	// to start a goroutine.
	const minElements = 1 << 17
	a.workers = min(a.options.workers(), 1+(n+hard)*a.batch.Query.Cols/minElements)
	if len(a.scratch) < a.workers {
		a.scratch = append(a.scratch, make([]pairScratch, a.workers-len(a.scratch))...)
	}
	for w := range a.workers {
		s := &a.scratch[w]
		s.vector, s.sum = resize(s.vector, a.batch.Query.Cols), resize(s.sum, a.batch.Query.Cols)
	}
	return nil
}

// release forgets the caller's data.
func (a *pairs) release() {
	a.pairLoss, a.batch, a.grads = pairLoss{}, Batch{}, Gradients{}
	a.list.Reset(0)
	a.mode.Leave()
	pairsPool.Put(a)
}

// each calls task for every i below n, on all workers. A task must write only what no
// other task reads or writes.
func (a *pairs) each(n int, task func(a *pairs, worker, i int)) {
	a.done.Add(a.workers - 1)
	for w := 1; w < a.workers; w++ {
		go a.help(n, w, task)
	}
	a.work(n, 0, task)
	if a.workers > 1 {
		a.mode.Leave() // no goroutine should wait in it
		a.done.Wait()
		a.mode = fpmode.Enter()
	}
}

func (a *pairs) help(n, worker int, task func(a *pairs, worker, i int)) {
	mode := fpmode.Enter()
	a.work(n, worker, task)
	mode.Leave()
	a.done.Done()
}

func (a *pairs) work(n, worker int, task func(a *pairs, worker, i int)) {
	for i := worker * n / a.workers; i < (worker+1)*n/a.workers; i++ {
		task(a, worker, i)
	}
}

// query returns the query of a pair.
func (a *pairs) query(p int) int {
	if p < a.n {
		return p
	}
	return int(a.queries[p-a.n])
}

// candidate returns the pair of a query with its key, for m = 0, or with row m−1 of those
// of Hard that it has.
func (a *pairs) candidate(i, m int) int {
	if m == 0 {
		return i
	}
	first, _ := a.hard(i)
	return first + m - 1
}

// hard returns the pairs of a query with its rows of Hard: those from first up to end.
func (a *pairs) hard(i int) (first, end int) {
	return a.n + int(a.firstHard[i]), a.n + int(a.firstHard[i+1])
}

func (a *pairs) measurePair(_, p int) {
	list, i, slot := &a.list, a.query(p), a.n+p
	if a.measure == distances {
		a.measured[p] = engine.Distance(list, i, list, slot)
		return
	}
	a.measured[p] = engine.Cosine(list, i, list, slot)
	if p < a.n {
		a.cosines[p] = a.measured[p]
	}
	if a.measure == angles {
		x, y := a.row(i), a.row(slot)
		half := len(x) / 2
		imaginary := simd.DotFloat64(x[half:], y[:half]) - simd.DotFloat64(x[:half], y[half:])
		a.measured[p] += imaginary * list.Scale(i) * list.Scale(slot)
	}
}

// row returns the row that a slot's vector is made of.
func (a *pairs) row(slot int) []float32 {
	switch {
	case slot < a.n:
		return a.batch.Query.Row(slot)
	case slot < 2*a.n:
		return a.batch.Key.Row(slot - a.n)
	}
	return a.batch.Hard.Row(slot - 2*a.n)
}

// positiveCosine returns the mean cosine of queries and their keys, or 0 if it is not
// known.
func (a *pairs) positiveCosine() float64 {
	if !a.unit() {
		return 0
	}
	sum := 0.0
	for _, s := range a.cosines {
		sum += s
	}
	return clampCosine(sum / float64(a.n))
}

// addLoss counts the loss of a query.
func (a *pairs) addLoss(i int, loss float64) {
	a.result.Loss += a.weights[i] * loss
	if a.grads.Losses != nil {
		a.grads.Losses[i] = loss
	}
}

// storeSlot writes the gradient of the row of a slot, if it is wanted: the pulls of its
// pairs times the derivatives of what they measure.
func (a *pairs) storeSlot(worker, slot int) {
	switch {
	case slot < a.n && !a.grads.Query.isZero():
	case slot >= a.n && slot < 2*a.n && !a.grads.Key.isZero():
	case slot >= 2*a.n && !a.grads.Hard.isZero():
	default:
		return
	}
	w := &a.scratch[worker]
	switch {
	case a.measure == angles:
		a.storeAngle(w.vector, slot)
	case a.measure == distances:
		a.storeDistances(w, slot)
	case a.unit():
		a.storeCosines(w.vector, slot)
	default:
		a.storeProducts(w, slot)
	}
}

// visit calls f with the pairs of a slot, and with the slots of the others in them.
func (a *pairs) visit(slot int, f func(p, other int)) {
	if slot >= a.n {
		f(slot-a.n, a.query(slot-a.n))
		return
	}
	f(slot, a.n+slot)
	first, end := a.hard(slot)
	for p := first; p < end; p++ {
		f(p, a.n+p)
	}
}

// storeCosines adds up the other vectors of the pairs, in units of the greatest.
func (a *pairs) storeCosines(g []float32, slot int) {
	unit := 0.0
	a.visit(slot, func(p, _ int) { unit = max(unit, math.Abs(a.pull[p])) })
	clear(g)
	if unit > 0 {
		a.visit(slot, func(p, other int) { a.list.AddScaled(a.pull[p]/unit, other, g) })
	}
	a.list.Store(slot, g, unit)
}

// storeProducts adds up the other rows of the pairs: in float64 if that may overflow in
// float32.
func (a *pairs) storeProducts(w *pairScratch, slot int) {
	size := 0.0
	a.visit(slot, func(p, other int) {
		size += math.Abs(a.pull[p]) * math.Sqrt(engine.Cosine(&a.list, other, &a.list, other))
	})
	if size < math.MaxFloat32/2 {
		clear(w.vector)
		a.visit(slot, func(p, other int) { a.list.AddScaled(a.pull[p], other, w.vector) })
		a.list.Store(slot, w.vector, 1)
		return
	}
	clear(w.sum)
	a.visit(slot, func(p, other int) {
		for d, v := range a.row(other) {
			w.sum[d] += a.pull[p] * float64(v)
		}
	})
	a.storeSum(w, slot)
}

// storeAngle turns the other vector of the only pair by 45°, one way for a query and the
// other for a key.
func (a *pairs) storeAngle(g []float32, slot int) {
	half, sign := len(g)/2, float32(1)
	a.visit(slot, func(p, other int) {
		if other < a.n {
			sign = -1
		}
		a.list.Vector(other, g)
		for d, x := range g[:half] {
			z := g[half+d]
			g[d], g[half+d] = x-sign*z, z+sign*x
		}
		a.list.Store(slot, g, a.pull[p])
	})
}

// storeDistances adds up the differences of the rows of the pairs, each divided by its
// length: in float64, in which those of nearby rows keep their digits. One of length 0
// has a gradient of 0.
func (a *pairs) storeDistances(w *pairScratch, slot int) {
	clear(w.sum)
	x := a.row(slot)
	a.visit(slot, func(p, other int) {
		if a.pull[p] == 0 || a.measured[p] == 0 {
			return
		}
		f, y := a.pull[p]/a.measured[p], a.row(other)
		for d, v := range x {
			w.sum[d] += f * (float64(v) - float64(y[d]))
		}
	})
	a.storeSum(w, slot)
}

// storeSum writes the sum in w, which is the gradient of a row as it is.
func (a *pairs) storeSum(w *pairScratch, slot int) {
	for d, v := range w.sum {
		w.vector[d] = engine.Saturate(v)
	}
	a.list.Store(slot, w.vector, 1)
}
