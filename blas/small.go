package blas

import (
	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/internal/kernel"
)

// smallSide is the length of the sides of a product from which on a plan takes less than a
// tenth of its time.
const smallSide = 48

// isSmall reports whether making a plan of p takes about as long as p.
func (p *problem) isSmall() bool { return max(p.m, p.n, p.k) <= smallSide }

// small computes a product by the caller alone, of operands in place as far as possible.
func (m *multiplication) small(p *problem, k *kernel.Kernels) {
	mode := fpmode.Enter()
	defer mode.Leave()
	if len(m.workers) == 0 {
		m.workers = make([]worker, 1)
	}
	m.kernels, m.problem = k, *p
	w := &m.workers[0]
	w.right = grow(w.right, p.k*k.Cols)
	w.tile = grow(w.tile, roundUp(p.m, k.RowStep)*k.Cols)
	rest := p.m % k.RowStep
	whole := p.m - rest
	w.rows = m.leftInPlace(0, 0)
	if rest > 0 {
		w.left = grow(w.left, m.leftSize(rest, p.k))
		w.rest = m.packLeft(w.left, whole, rest, 0, p.k)
	}
	for col := 0; col < p.n; col += k.Cols {
		cols := min(k.Cols, p.n-col)
		right, step := w.right, k.Cols
		if p.b.trans || cols < k.Cols {
			m.packRight(right, col, cols, 0, p.k)
		} else {
			right, step = p.b.data[col:], p.b.stride
		}
		w.addColumns(k, p.c[col:], p.stride, right, step, whole, rest, cols, p.k, p.alpha, p.beta)
	}
	m.problem, w.rows, w.rest = problem{}, lines{}, lines{}
}
