package blas

import "github.com/contrastive-go/contrastive/simd"

// A vectorProduct is a product of few rows or columns, in which every element of the
// other operand is used so few times that memory is what counts. It is read in place, by
// rows, once: for dot products with each of the few vectors, or to be added to a few sums.
type vectorProduct struct {
	dots bool // else sums

	many, few       matrix // by rows
	count, fewCount int    // of the vectors of each
	manyC, fewC     int    // the distances in C of a vector's product to that of the next
}

const (
	// skinny is the greatest number of few vectors: from 5 on register tiles are faster.
	skinny = 4

	// minVector is the least length of vectors at which vectorProducts gain.
	minVector = 64

	// rowsAtOnce is how many rows are added together, so that sums are read and written
	// less often, and memory is read in several places at a time.
	rowsAtOnce = 4

	// cached is the number of elements of vectors that stay in the first-level cache.
	cached = 1 << 13
)

// vectorProductOf returns the vectorProduct that p is, if it is one.
func vectorProductOf(p *problem) (v vectorProduct, ok bool) {
	switch {
	case p.m <= skinny && p.b.trans && p.k >= minVector:
		return vectorProduct{true, p.b, p.a, p.n, p.m, 1, p.stride}, true
	case p.n <= skinny && !p.a.trans && p.k >= minVector:
		few := p.b
		few.trans = !few.trans
		return vectorProduct{true, p.a, few, p.m, p.n, p.stride, 1}, true
	case p.m <= skinny && !p.b.trans && p.n >= minVector:
		return vectorProduct{many: p.b, few: p.a, count: p.n, fewCount: p.m}, true
	}
	return vectorProduct{}, false
}

// part returns the size of the parts of the many vectors, or of the sums, that are tasks.
func (v *vectorProduct) part(workers int) int {
	if v.dots {
		return ceilDiv(v.count, tasksPerWorker*workers)
	}
	return min(roundUp(ceilDiv(v.count, workers), minVector), cached/(v.fewCount+rowsAtOnce))
}

// fewByRows makes the few vectors rows, in memory that it returns, if they are columns.
func (v *vectorProduct) fewByRows(k int, memory []float32) []float32 {
	if !v.few.trans {
		return memory
	}
	memory = grow(memory, v.fewCount*k)
	for t := range k {
		for j, x := range v.few.data[t*v.few.stride:][:v.fewCount] {
			memory[j*k+t] = x
		}
	}
	v.few = matrix{memory, k, false}
	return memory
}

// dot computes the elements of C of n of the many vectors from first on.
func (m *multiplication) dot(first, n int) {
	v := &m.vectors
	for i := first; i < first+n; i++ {
		x := v.many.data[i*v.many.stride:][:m.k]
		for j := range v.fewCount {
			sum := float32(m.alpha * simd.Dot(x, v.few.data[j*v.few.stride:][:m.k]))
			at := i*v.manyC + j*v.fewC
			if m.beta != 0 {
				sum += float32(m.beta * m.c[at])
			}
			m.c[at] = sum
		}
	}
}

// sum computes n elements of each row of C from first on.
func (m *multiplication) sum(first, n int) {
	v := &m.vectors
	for j := range v.fewCount {
		scale(1, n, m.beta, m.c[j*m.stride+first:], n)
	}
	// As many rows of the other operand as a kernel takes are in the cache for all sums.
	var weights [rowsAtOnce]float32
	for t := 0; t < m.k; t += rowsAtOnce {
		rows := min(rowsAtOnce, m.k-t)
		for j := range v.fewCount {
			for i, w := range v.few.data[j*v.few.stride+t:][:rows] {
				weights[i] = m.alpha * w
			}
			simd.AxpyRows(weights[:rows], v.many.data[t*v.many.stride+first:], v.many.stride, m.c[j*m.stride+first:][:n])
		}
	}
}
