package blas

import "github.com/contrastive-go/contrastive/simd"

// dotProducts are a product of which every element is a dot product of rows in memory:
// of a few vectors with each of many.
type dotProducts struct {
	many, few       matrix // by rows
	count, fewCount int
	manyC, fewC     int // the distances in C of a vector's product to that of the next
}

// dotProductsOf returns those of p if either many vectors lie by rows: those of the right
// operand for few rows, or those of the left one for few columns. The few vectors may lie
// by columns.
func dotProductsOf(p *problem) (d dotProducts, ok bool) {
	switch {
	case p.k < minDot:
	case p.m <= skinny && p.right.trans:
		return dotProducts{p.right, p.left, p.n, p.m, 1, p.stride}, true
	case p.n <= skinny && !p.left.trans:
		few := p.right
		few.trans = !few.trans
		return dotProducts{p.left, few, p.m, p.n, p.stride, 1}, true
	}
	return dotProducts{}, false
}

// fewByRows makes the few vectors rows, in memory that it returns, if they are columns.
func (d *dotProducts) fewByRows(k int, memory []float32) []float32 {
	if !d.few.trans {
		return memory
	}
	memory = grow(memory, d.fewCount*k)
	for t := range k {
		for j, v := range d.few.data[t*d.few.stride:][:d.fewCount] {
			memory[j*k+t] = v
		}
	}
	d.few = matrix{memory, k, false}
	return memory
}

// dot computes the elements of C of n of the many vectors from first on.
func (m *multiplication) dot(first, n int) {
	d := &m.dots
	for i := first; i < first+n; i++ {
		x := d.many.data[i*d.many.stride:][:m.k]
		for j := range d.fewCount {
			v := float32(m.alpha * simd.Dot(x, d.few.data[j*d.few.stride:][:m.k]))
			at := i*d.manyC + j*d.fewC
			if m.beta != 0 {
				v = v + float32(m.beta*m.c[at])
			}
			m.c[at] = v
		}
	}
}
