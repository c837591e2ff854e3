package blas

import (
	"github.com/contrastive-go/contrastive/internal/cache"
	"github.com/contrastive-go/contrastive/internal/kernel"
)

// A problem is the arguments of Sgemm.
type problem struct {
	m, n, k int
	alpha   float32
	a, b    matrix
	beta    float32
	c       []float32
	stride  int
}

// transposed returns the problem of Cᵀ = alpha·op(B)ᵀ·op(A)ᵀ, without C.
func (p problem) transposed() problem {
	p.m, p.n = p.n, p.m
	p.a, p.b = p.b, p.a
	p.a.trans, p.b.trans = !p.a.trans, !p.b.trans
	p.beta, p.c, p.stride = 0, nil, 0
	return p
}

// A plan says how a product is cut. As in BLIS (Van Zee and van de Geijn, 2015), the
// right operand is cut in slices of depth·cols elements, which are packed in column
// panels and stay in the third-level cache. The left one is cut in blocks of rows·depth
// elements, which stay in the second. Then the first-level cache holds a column panel
// while all rows of a block pass.
//
// An element of C is the sum of one product a slice, in the order of the slices, whose
// depth depends on the shape and the level alone. Everything else may depend on the
// workers and the caches.
type plan struct {
	kernels *kernel.Kernels
	problem

	vectors     vectorProduct
	byVectors   bool // the product is vectors
	left, right packing
	depth       cut // of k
	rows        cut // of m
	cols        cut // of n
	shares      int // parts of the columns of a slice that are tasks of their own
}

// A packing says who packs an operand.
type packing int

const (
	// inPlace operands are used so little that packing does not pay.
	inPlace packing = iota

	// byEach is for what one task alone needs: a worker packs it, in its own cache.
	byEach

	// forAll is for what several tasks need: it is packed once, by tasks of their own.
	forAll
)

// A cut divides length into parts of size, the last of which may be shorter.
type cut struct{ length, size int }

// newCut returns a cut in as few parts as have at most most elements, of about the same
// size, a multiple of unit.
func newCut(length, most, unit int) cut {
	parts := ceilDiv(length, max(most, unit))
	return cut{length, roundUp(ceilDiv(length, parts), unit)}
}

func (c cut) parts() int { return ceilDiv(c.length, c.size) }

// part returns the first element of part i and the number of its elements.
func (c cut) part(i int) (first, n int) {
	first = i * c.size
	return first, min(c.size, c.length-first)
}

const (
	// packLeftFrom and packRightFrom are the columns and rows of C from which on packing
	// the left and the right operand gains more than it costs.
	packLeftFrom, packRightFrom = 256, 128

	// tasksPerWorker is how many tasks there are for each worker in a slice, if there is
	// enough to do: the last to end makes the others wait for half a task on average.
	tasksPerWorker = 8

	// sharePanels is the number of column panels of a task from which on it takes longer than
	// to take another.
	sharePanels = 2

	// packPanels is the number of panels that are packed together. If their vectors lie
	// side by side, rows of them have several cache lines each, which hardware prefetches.
	packPanels = 8
)

func planOf(p problem, k *kernel.Kernels, workers int) plan {
	l := plan{kernels: k, problem: p}
	if l.vectors, l.byVectors = vectorProductOf(&p); l.byVectors {
		l.depth, l.cols, l.shares = cut{p.k, p.k}, cut{p.n, p.n}, 1
		l.rows = cut{l.vectors.count, l.vectors.part(workers)}
		return l
	}
	// Deeper than column panels that leave room in the first-level cache, by half: they
	// still stay, and C is read and written less often.
	l.depth = newCut(p.k, k.Depth*3/2, kernel.BlockStep)
	const float = 4
	l.rows = newCut(p.m, cache.L2/2/float/l.depth.size, k.Rows)
	l.cols = newCut(p.n, cache.L3/8/float/l.depth.size, k.Cols)
	// A tile reads all columns of its rows, or some columns of all rows.
	if p.b.trans || p.m >= packRightFrom || crowded(p.b.stride) || p.k*p.b.stride > smallOperand {
		l.right = forAll
		if l.rows.parts() == 1 {
			l.right, l.cols = byEach, cut{p.n, roundUp(p.n, k.Cols)}
		}
	}
	l.shares = 1
	if workers > 1 {
		tasks := tasksPerWorker * workers
		l.shares = min(ceilDiv(tasks, l.rows.parts()), ceilDiv(l.cols.size, sharePanels*k.Cols))
	}
	if p.n >= packLeftFrom || crowded(p.a.stride) || p.a.trans && p.k*p.a.stride > smallOperand {
		l.left = byEach
		if l.shares > 1 {
			l.left = forAll
		}
	}
	return l
}

// smallOperand is the number of elements of an operand that the second-level cache holds
// at any stride.
const smallOperand = 1 << 14

// crowded reports whether elements at a stride share few sets of a cache.
func crowded(stride int) bool { return stride%512 == 0 }

// slices returns the number of slices of the right operand, those of a part of the
// columns one after the other.
func (l *plan) slices() int { return l.cols.parts() * l.depth.parts() }

// slice returns the parts of the columns and of the depth that slice s is.
func (l *plan) slice(s int) (cols, depth int) { return s / l.depth.parts(), s % l.depth.parts() }

// packTasks and mulTasks return the numbers of tasks of slice s.
func (l *plan) packTasks(s int) int { return l.packRightTasks(s) + l.packLeftTasks() }

func (l *plan) packRightTasks(s int) int {
	if l.right != forAll {
		return 0
	}
	cols, _ := l.slice(s)
	_, n := l.cols.part(cols)
	return ceilDiv(n, packPanels*l.kernels.Cols)
}

func (l *plan) packLeftTasks() int {
	if l.left != forAll {
		return 0
	}
	return ceilDiv(l.m, packPanels*l.kernels.Rows)
}

func (l *plan) mulTasks() int { return l.rows.parts() * l.shares }

func ceilDiv(n, d int) int { return (n + d - 1) / d }

func roundUp(n, unit int) int { return ceilDiv(n, unit) * unit }
