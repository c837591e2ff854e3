package engine

import (
	"cmp"
	"slices"

	"github.com/contrastive-go/contrastive/simd"
)

// PairSum returns the sum of the similarities of the pairs of p that count, and
// their number. It must follow Run. It takes O((N+K)·D) time: the similarities of
// all pairs of two lists add up to the product of the sums of the lists, and the pairs
// that do not count are diagonals, listed, classes of labels, or what the filter has noted.
// Rows that are no anchors have no pairs that count.
func (e *Engine) PairSum(p *Problem) (sum, pairs float64) {
	rows, cols := p.rows(), p.Cols.n
	if cols == 0 {
		return 0, 0
	}
	dim := p.Rows.dim
	e.vectorSums[0], e.vectorSums[1] = resize(e.vectorSums[0], dim), resize(e.vectorSums[1], dim)
	clear(e.vectorSums[0])
	clear(e.vectorSums[1])
	anchors := p // whose rows may be idle
	if !p.someIdle() {
		anchors = nil
	}
	active := 0
	if e.shares(rows + cols) {
		e.p = p
		n := e.sumElements(dim)
		e.each(2*((dim+n-1)/n), (*Engine).sumVectors, step{})
		e.p = nil
		for i := range rows {
			if anchors == nil || !p.idle(i) {
				active++
			}
		}
	} else {
		active = e.addVectors(p.Rows, e.vectorSums[0], elements{0, dim}, 0, rows, anchors, 0)
		if p.Symmetric && rows == cols && anchors == nil { // the same vectors
			copy(e.vectorSums[1], e.vectorSums[0])
		} else {
			e.addVectors(p.Cols, e.vectorSums[1], elements{0, dim}, 0, cols, nil, 0)
		}
	}
	sum, pairs = dot64(e.vectorSums[0], e.vectorSums[1]), float64(active)*float64(cols)

	for _, d := range p.Mask.Diagonals[:p.Mask.Count] {
		for i := max(0, -d); i < min(rows, cols-d); i++ {
			if anchors != nil && p.idle(i) || p.Mask.sameLabel(i, i+d) {
				continue
			}
			if k := p.Positives.find(p.Cols, i, i+d); k >= 0 {
				sum -= p.Positives.Cosine[k]
			} else {
				sum -= p.cosine(i, i+d)
			}
			pairs--
		}
	}
	for i := range rows {
		for _, j := range e.excluded[1].of(i) {
			if p.idle(i) || p.Mask.sameLabel(i, int(j)) || p.Mask.onDiagonal(i, int(j)) {
				continue
			}
			if k := p.Positives.find(p.Cols, i, int(j)); k >= 0 {
				sum -= p.Positives.Cosine[k]
			} else {
				sum -= p.cosine(i, int(j))
			}
			pairs--
		}
	}
	if p.Mask.RowLabels != nil {
		s, n := e.classSums(p)
		sum, pairs = sum-s, pairs-n
	}
	return sum - e.leftSum, pairs - e.leftPairs
}

// cosine returns the similarity of a row and a column. That of a normalised vector with
// itself is 1, but for the roundings of its norm.
func (p *Problem) cosine(row, col int) float64 {
	if p.Symmetric && row == col && p.Rows.segment(row).unit && p.Rows.scale[row] > 0 {
		return 1
	}
	return Cosine(p.Rows, row, p.Cols, col)
}

// idle reports whether a row is no anchor.
func (p *Problem) idle(row int) bool {
	if p.Idle != nil {
		return p.Idle[row]
	}
	if p.Form != Softmax || p.Positives == nil {
		return false
	}
	first, end := p.Positives.Of(row)
	return first == end
}

// someIdle reports whether there may be such rows.
func (p *Problem) someIdle() bool {
	return p.Idle != nil || p.Form == Softmax && p.Positives != nil && p.Positives.gaps
}

// sumBlock is the number of vectors whose sum is formed in float32, with an
// error of at most sumBlock·u times the sum of their magnitudes.
const sumBlock = 64

// sumElements is how many elements of all vectors are added up in a task: as many as there
// are for each worker, since a few of each row come from memory slowly.
func (e *Engine) sumElements(dim int) int { return roundUp((dim+e.team.workers-1)/e.team.workers, 16) }

// sumVectors adds up some elements of the vectors of the rows, or of the columns.
func (e *Engine) sumVectors(_ step, worker, i int) {
	list, rowsOf, n := e.p.Rows, e.p, e.p.rows()
	if !e.p.someIdle() {
		rowsOf = nil
	}
	if i%2 == 1 {
		list, rowsOf, n = e.p.Cols, nil, e.p.Cols.n
	}
	size := e.sumElements(list.dim)
	at := elements{i / 2 * size, min((i/2+1)*size, list.dim)}
	e.addVectors(list, e.vectorSums[i%2], at, 0, n, rowsOf, worker)
}

// addVectors adds some elements of the slots from first up to end to sum, but for the rows
// of a problem that are idle. It returns the number of the others.
func (e *Engine) addVectors(l *List, sum []float64, at elements, first, end int, rowsOf *Problem, worker int) (n int) {
	for ; first < end; first += sumBlock {
		n += e.addBlock(l, sum, at, first, min(first+sumBlock, end), rowsOf, worker)
	}
	return n
}

// addBlock is addVectors for sumBlock slots at most.
func (e *Engine) addBlock(l *List, sum []float64, at elements, first, end int, rowsOf *Problem, worker int) (n int) {
	v := e.scratch[worker].vector[:at.end-at.first]
	clear(v)
	for first < end {
		s := l.segment(first)
		last := min(end, s.first+s.Rows)
		var scale [sumBlock]float32
		i := first
		for ; i < last; i++ {
			if rowsOf != nil && rowsOf.idle(i) {
				continue
			}
			f, ok := factor(l.scale[i])
			if !ok {
				break
			}
			scale[i-first] = f
			n++
		}
		if i > first {
			simd.AxpyRows(scale[:i-first], s.from(first)[at.first:], s.Stride, v)
		}
		if i < last { // after those before it, so that the sum does not depend on the size of a row
			for d, x := range l.row(i)[at.first:at.end] {
				v[d] += float32(float64(x) * l.scale[i])
			}
			n++
			i++
		}
		first = i
	}
	sum = sum[at.first:][:len(v)]
	for d, x := range v {
		sum[d] += float64(x)
	}
	return n
}

// classSums returns the sum of the similarities of pairs of equal labels, and
// their number.
func (e *Engine) classSums(p *Problem) (sum, pairs float64) {
	c, all := &e.excluded[0], elements{0, p.Rows.dim}
	e.order = e.order[:0]
	for i := range c.first {
		if c.first[i] < c.last[i] && !p.idle(i) {
			e.order = append(e.order, int32(i))
		}
	}
	slices.SortFunc(e.order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(c.first[a], c.first[b]), cmp.Compare(a, b))
	})
	for k := 0; k < len(e.order); {
		clear(e.vectorSums[0])
		clear(e.vectorSums[1])
		first, last := c.first[e.order[k]], c.last[e.order[k]]
		members := 0
		for ; k < len(e.order) && c.first[e.order[k]] == first; k++ {
			e.addVectors(p.Rows, e.vectorSums[0], all, int(e.order[k]), int(e.order[k])+1, nil, 0)
			members++
		}
		for _, j := range c.cols[first:last] {
			e.addVectors(p.Cols, e.vectorSums[1], all, int(j), int(j)+1, nil, 0)
		}
		sum += dot64(e.vectorSums[0], e.vectorSums[1])
		pairs += float64(members) * float64(last-first)
	}
	return sum, pairs
}

// dot64 has four sums, which do not wait for each other.
func dot64(x, y []float64) float64 {
	y = y[:len(x)]
	var a, b, c, d float64
	for ; len(x) >= 4; x, y = x[4:], y[4:] {
		a, b, c, d = a+x[0]*y[0], b+x[1]*y[1], c+x[2]*y[2], d+x[3]*y[3]
	}
	for i, v := range x {
		a += v * y[i]
	}
	return (a + b) + (c + d)
}
