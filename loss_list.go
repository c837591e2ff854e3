package contrastive

import (
	"fmt"
	"math"
	"slices"

	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/simd"
)

// addRows appends the rows of m to a list of vectors, normalised or as they are.
func addRows(list *engine.List, m, grad Matrix, name string, unit bool) error {
	return addRowsTimes(list, m, grad, name, unit, 1)
}

// addRowsTimes is addRows, times a power of 2 for rows that are not normalised.
func addRowsTimes(list *engine.List, m, grad Matrix, name string, unit bool, factor float64) error {
	if bad, ok := list.AddTimes(engine.Matrix(m), engine.Matrix(grad), unit, factor); !ok {
		return &NotFiniteError{Argument: name, Row: bad.Row, Col: bad.Col, Value: bad.Value}
	}
	return nil
}

// makeLists makes the lists of rows and columns, masks the pairs that do not count, and
// pairs the positives.
func (e *evaluation) makeLists() error {
	e.labels = e.labels[:0]
	dim := e.batch.Query.Cols
	for _, l := range [...]*engine.List{&e.rows, &e.cols, &e.keys, &e.hardRows} {
		l.Reset(dim)
		l.Accumulate, l.Workers = e.grads.Accumulate, e.engine
	}
	e.shares, e.keyShares, e.pairLogQ, e.limits = e.shares[:0], e.keyShares[:0], e.pairLogQ[:0], e.limits[:0]
	if e.layout == queriesAmongKeys {
		return e.makeQueryKeyLists()
	}
	if err := addRows(&e.rows, e.batch.Query, e.grads.Query, "Query", true); err != nil {
		return err
	}
	if !e.batch.Key.isZero() {
		if err := addRows(&e.rows, e.batch.Key, e.grads.Key, "Key", true); err != nil {
			return err
		}
	}
	p := &e.problem
	p.Rows, p.Cols, p.Symmetric, p.RowSlots = &e.rows, &e.rows, true, e.rows.Len()
	p.Mask.Exclude(0)
	if e.layout == byClass {
		e.makeClassLists()
	} else {
		e.makeViewLists()
	}
	return nil
}

func (e *evaluation) makeQueryKeyLists() error {
	b, p := &e.batch, &e.problem
	p.Rows, p.Cols = &e.rows, &e.cols
	keys, gradient := &e.keys, e.grads.Key
	if e.inBatch {
		keys = &e.cols
	}
	if e.stopKey {
		gradient = Matrix{}
	}
	query, key := 1.0, 1.0 // what rows that are not normalised are multiplied by
	if e.dot {
		var err error
		if query, key, err = e.scaleDots(e.greatestNorms()); err != nil {
			return err
		}
	}
	if err := addRowsTimes(&e.rows, b.Query, e.grads.Query, "Query", !e.dot, query); err != nil {
		return err
	}
	if err := addRowsTimes(keys, b.Key, gradient, "Key", !e.dot, key); err != nil {
		return err
	}
	// A guide's columns are the first. Otherwise the order of old, which determines bits:
	// labelled columns before the others.
	queue, guided := b.Queue, !b.GuideKey.isZero()
	queueAt := e.cols.Len()
	if queue != nil && queue.Labels() != nil && !guided {
		e.addQueue(&e.cols, key)
		queue = nil
	}
	negativesAt := e.cols.Len()
	if !b.Negatives.isZero() {
		if err := addRowsTimes(&e.cols, b.Negatives, e.grads.Negatives, "Negatives", !e.dot, key); err != nil {
			return err
		}
	}
	if queue != nil {
		queueAt = e.cols.Len()
		e.addQueue(&e.cols, key)
	}
	if !b.Hard.isZero() {
		if err := addRowsTimes(&e.hardRows, b.Hard, e.grads.Hard, "Hard", !e.dot, key); err != nil {
			return err
		}
	}
	if packed := e.packedQueue(); packed != nil {
		p.Cols = packed
	}
	if e.symmetric {
		p.ColAnchors = b.Key.Rows
	}
	e.maskLabels(negativesAt, queueAt)
	e.maskKeys()
	e.pairKeys(keys)
	e.pairHard()
	if err := e.checkAnchors(); err != nil {
		return err
	}
	e.addLogQ(negativesAt)
	e.weighRows()
	return e.setFilter(negativesAt)
}

// greatestNorms returns those of queries and of all other rows.
func (e *evaluation) greatestNorms() (query, other float64) {
	b := &e.batch
	greatest := func(matrices ...Matrix) float64 {
		norm := 0.0
		for _, m := range matrices {
			for i := range m.Rows {
				norm = max(norm, math.Sqrt(simd.DotFloat64(m.Row(i), m.Row(i))))
			}
		}
		return norm
	}
	other = greatest(b.Key, b.Negatives, b.Hard)
	if b.Queue != nil && b.Queue.Len() > 0 {
		other = max(other, 1)
	}
	return greatest(b.Query), other
}

// scaleDots chooses the powers of 2 by which queries and all others are multiplied, given
// their greatest norms, so that dot products are at most 1: then they neither overflow nor
// underflow, whatever the norms. What products are in units of, the scale of logits makes
// up for.
func (e *evaluation) scaleDots(queryNorm, otherNorm float64) (query, other float64, err error) {
	inverse := func(norm float64) float64 {
		if norm == 0 || math.IsNaN(norm) || math.IsInf(norm, 0) { // which is found later
			return 1
		}
		_, exponent := math.Frexp(norm)
		return math.Ldexp(1, -exponent)
	}
	query, other = inverse(queryNorm), inverse(otherNorm)
	for query*other > 1 && query*other*e.tau > 1/minScale {
		if query > other {
			query /= 2
		} else {
			other /= 2
		}
	}
	e.unit = 1 / query / other
	e.problem.Scale = e.unit / e.tau
	if exponent := e.problem.Scale * e.problem.Exponents[0]; exponent > maxLogit {
		return 0, 0, fmt.Errorf("dot products of up to %.3g over the Temperature %v are logits of up to %.3g, and must be at most 2^100: %w", e.unit, float32(e.tau), exponent, ErrParameter)
	}
	return query, other, nil
}

// minScale keeps what is divided by the scale of logits, such as KeyLogQ, within float32.
const minScale = 1 / maxLogitTerm

// maxLogit is the greatest magnitude of a logit: that of a cosine of 1 at the least
// temperature.
const maxLogit = 1 / minTemperature

// maskLabels leaves out columns of a query's label, given where the negatives and the
// queue are.
func (e *evaluation) maskLabels(negativesAt, queueAt int) {
	b, m := &e.batch, &e.problem.Mask
	if b.Labels == nil || !e.excludesLabels {
		return
	}
	m.RowLabels = b.Labels
	if e.inBatch {
		switch {
		case b.KeyLabels != nil:
			m.ColLabels[0] = engine.Labels{Labels: b.KeyLabels}
		case b.Key.Rows == e.n:
			m.ColLabels[0] = engine.Labels{Labels: b.Labels}
		}
	}
	if b.Queue != nil {
		m.ColLabels[1] = engine.Labels{First: queueAt, Labels: b.Queue.Labels()}
	}
	m.ColLabels[2] = engine.Labels{First: negativesAt, Labels: b.NegativeLabels}
}

// maskKeys leaves out of the sums the keys that are positives or excluded.
func (e *evaluation) maskKeys() {
	b, m := &e.batch, &e.problem.Mask
	if !e.inBatch {
		return
	}
	if b.Positives == nil && b.Exclude == nil {
		m.Exclude(0)
		return
	}
	e.excluded, e.excludedAt = e.excluded[:0], append(e.excludedAt[:0], 0)
	for i := range e.n {
		at := len(e.excluded)
		if b.Positives == nil {
			e.excluded = append(e.excluded, int32(i))
		} else {
			e.excluded = appendSlots(e.excluded, b.Positives[i])
		}
		if b.Exclude != nil {
			e.excluded = appendSlots(e.excluded, b.Exclude[i])
		}
		slices.Sort(e.excluded[at:])
		e.excludedAt = append(e.excludedAt, int32(len(e.excluded)))
	}
	m.Excluded, m.ExcludedFirst = e.excluded, e.excludedAt
}

func appendSlots(slots []int32, list []int) []int32 {
	for _, j := range list {
		slots = append(slots, int32(j))
	}
	return slots
}

// pairKeys pairs queries with their positives, and sets the shares of these.
func (e *evaluation) pairKeys(keys *engine.List) {
	b, p := &e.batch, &e.positives
	p.Reset(keys)
	e.problem.Positives = p
	if b.Positives == nil {
		p.AddEach(&e.rows, e.n, 0)
		e.weighPairs()
	} else {
		for i, list := range b.Positives {
			for _, j := range list {
				p.Add(j, engine.Cosine(&e.rows, i, keys, j))
			}
			p.Close()
		}
	}
	if e.symmetric || b.PositiveWeights != nil { // otherwise nobody asks whose positive a key is
		p.Transpose()
	}
	if b.KeyLogQ != nil {
		for _, j := range p.Slots {
			e.pairLogQ = append(e.pairLogQ, float64(b.KeyLogQ[j]))
		}
	}
	if b.PositiveWeights == nil {
		return
	}
	e.sharePositives()
	for j := range b.Key.Rows {
		sum := 0.0
		for _, k := range p.Owners(j) {
			sum += e.keyShares[k]
		}
		for _, k := range p.Owners(j) {
			if sum > 0 {
				e.keyShares[k] /= sum
			}
		}
	}
}

// sharePositives sets the shares of positives among those of their queries, and their
// weights as those among those of their keys.
func (e *evaluation) sharePositives() {
	for _, list := range e.batch.PositiveWeights {
		sum := 0.0
		for _, w := range list {
			sum += float64(w)
		}
		for _, w := range list {
			e.shares = append(e.shares, float64(w)/sum)
			e.keyShares = append(e.keyShares, float64(w))
		}
	}
}

// pairHard pairs queries with their hard negatives.
func (e *evaluation) pairHard() {
	b, p := &e.batch, &e.hard
	if b.Hard.isZero() {
		return
	}
	p.Reset(&e.hardRows)
	slot := 0
	for i := range e.n {
		for range b.hardCount(i) {
			p.Add(slot, engine.Cosine(&e.rows, i, &e.hardRows, slot))
			slot++
		}
		p.Close()
	}
	e.problem.Hard = p
}

// checkAnchors returns an error unless there is an anchor, and one with a weight.
func (e *evaluation) checkAnchors() error {
	anchors, sum := 0, 0.0
	for i := range e.n {
		if e.isAnchor(i) {
			anchors++
			sum += e.batch.weight(i)
		}
	}
	if anchors == 0 {
		return fmt.Errorf("Positives has no positive for any of the %d rows of Query: %w", e.n, ErrEmpty)
	}
	if sum == 0 {
		return fmt.Errorf("Weights are 0 for all queries that have positives: %w", ErrParameter)
	}
	return nil
}

// addLogQ sets the bias of the columns.
func (e *evaluation) addLogQ(negativesAt int) {
	b := &e.batch
	if b.KeyLogQ == nil && b.NegativeLogQ == nil {
		return
	}
	e.colBias = zeros(e.colBias, e.cols.Len())
	scale, greatest := e.problem.Scale*e.problem.Exponents[0], 0.0
	put := func(at int, logQ []float32) {
		for j, q := range logQ {
			bias := float32(-float64(q) / scale)
			e.colBias[at+j] = bias
			greatest = max(greatest, math.Abs(float64(bias)))
		}
	}
	if e.inBatch {
		put(0, b.KeyLogQ)
	}
	put(negativesAt, b.NegativeLogQ)
	e.problem.ColBias, e.problem.Bound = e.colBias, 1+greatest
}

// weighRows sets the weights of rows that the engine is to know.
func (e *evaluation) weighRows() {
	if e.form == engine.Sigmoid && e.batch.Weights != nil {
		e.problem.RowGains = e.batch.Weights
	}
}

// setFilter sets the limits of the filter, and the lists of a guide.
func (e *evaluation) setFilter(negativesAt int) error {
	b := &e.batch
	if e.filter == NoFilter {
		return nil
	}
	f := &e.engineFilter
	*f = engine.Filter{}
	e.positives.Transpose()
	similarity := func(k int) float64 { return e.positives.Cosine[k] * e.unit }
	unit := e.unit
	e.filtersHard = b.GuideQuery.isZero()
	if !e.filtersHard {
		unit = 1
		for i := range e.guides {
			e.guides[i].Reset(b.GuideQuery.Cols)
		}
		queries, keys := &e.guides[0], &e.guides[1]
		if err := addRows(queries, b.GuideQuery, Matrix{}, "GuideQuery", true); err != nil {
			return err
		}
		if err := addRows(keys, b.GuideKey, Matrix{}, "GuideKey", true); err != nil {
			return err
		}
		similarity = func(k int) float64 {
			return engine.Cosine(queries, e.positives.Row(int32(k)), keys, int(e.positives.Slots[k]))
		}
	}
	e.limits = e.limits[:0]
	e.rowLimits, e.colLimits = e.rowLimits[:0], e.colLimits[:0]
	for i := range e.n {
		least := math.Inf(1)
		for k, end := e.positives.Of(i); k < end; k++ {
			least = min(least, similarity(k))
		}
		e.limits = append(e.limits, e.limit(least))
		e.rowLimits = append(e.rowLimits, float32(e.limit(least)/unit))
	}
	f.RowLimits = e.rowLimits
	if e.symmetric {
		for j := range b.Key.Rows {
			least := math.Inf(1)
			for _, k := range e.positives.Owners(j) {
				least = min(least, similarity(int(k)))
			}
			e.colLimits = append(e.colLimits, float32(e.limit(least)/unit))
		}
		f.ColLimits = e.colLimits
	}
	if !e.filtersHard {
		if !e.inBatch {
			e.guides[1].Reset(b.GuideQuery.Cols)
		}
		if !b.GuideNegatives.isZero() {
			if err := addRows(&e.guides[1], b.GuideNegatives, Matrix{}, "GuideNegatives", true); err != nil {
				return err
			}
		}
		f.GuideRows, f.GuideCols = &e.guides[0], &e.guides[1]
	}
	e.problem.Filter = f
	return nil
}

// limit returns the greatest guide that the filter keeps, given the least of a positive.
func (e *evaluation) limit(least float64) float64 {
	if e.filter == RelativeMargin {
		return least + e.filterMargin*math.Abs(least)
	}
	return least + e.filterMargin
}

func (e *evaluation) makeViewLists() {
	p, n := &e.problem, e.n
	p.Mask.Exclude(n)
	p.Mask.Exclude(-n)
	if e.batch.Labels != nil && e.excludesLabels {
		e.labels = append(append(e.labels, e.batch.Labels...), e.batch.Labels...)
		p.Mask.RowLabels, p.Mask.ColLabels[0] = e.labels, engine.Labels{Labels: e.labels}
	}
	pairs := &e.positives
	pairs.Reset(&e.rows)
	pairs.AddEach(&e.rows, n, n)
	pairs.AddReverse(n, 0)
	e.problem.Positives = pairs
	e.weighPairs()
}

// weighPairs sets what the weights of pairs depend on, if they are a softmax.
func (e *evaluation) weighPairs() {
	e.pairTop, e.pairTotal = softmaxTotal(e.positives.Cosine[:e.n], e.sigma)
}

func (e *evaluation) makeClassLists() {
	b, list := &e.batch, &e.rows
	anchors := list.Len()
	for i := range anchors {
		label := i % e.n // of an example
		if b.Labels != nil {
			label = b.Labels[label]
		}
		e.labels = append(e.labels, label)
	}
	if b.Queue != nil {
		e.addQueue(list, 1)
		if b.Labels != nil {
			e.labels = append(e.labels, b.Queue.Labels()...)
		}
	}
	e.vector = resize(e.vector, list.Dim())
	e.classes.reset(e.labels[:anchors], list.Dim())
	for i, label := range e.labels {
		list.Vector(i, e.vector)
		weight := 0.0 // of what is no anchor
		if i < anchors {
			weight = e.batch.weight(i % e.n)
		}
		e.classes.add(label, e.vector, weight)
	}
	e.classes.close()
}

// softmaxTotal returns the greatest of x, and the sum of exp((x − it)/sigma), if sigma
// is positive.
func softmaxTotal(x []float64, sigma float64) (top, total float64) {
	if sigma == 0 {
		return 0, 0
	}
	top = math.Inf(-1)
	for _, v := range x {
		top = max(top, v)
	}
	for _, v := range x {
		total += math.Exp((v - top) / sigma)
	}
	return top, total
}

// addQueue appends the keys of the queue, which are finite and of unit norm, times a
// power of 2.
func (e *evaluation) addQueue(list *engine.List, factor float64) {
	if q := e.batch.Queue; q.Len() > 0 {
		list.AddTimes(engine.Matrix(q.Keys()), engine.Matrix{}, false, factor)
	}
}

// packedQueue returns the keys of the queue as it keeps them for the kernels, if they
// are all columns, as they are, and it does.
func (e *evaluation) packedQueue() *engine.List {
	if q := e.batch.Queue; q != nil && e.cols.Len() == q.Len() && !e.dot {
		return q.packed.List(e.problem.Pieces)
	}
	return nil
}
