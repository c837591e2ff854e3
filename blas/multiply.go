package blas

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/internal/spin"
)

// A multiplication is a product that is being computed, and its memory.
//
// Its tasks are, in this order: those that pack slice 0; those that multiply by slice s,
// and those that pack slice s+1, for each s. What is done before the next s begins is a
// stage. Workers take the next task, and wait only for the stage before.
type multiplication struct {
	plan
	workers                 []worker
	packedLeft, packedRight [2][]float32 // for all, of the slices in turn
	few                     []float32    // those of a vectorProduct
	product                 []float32    // transposed

	next atomic.Int64                  // first task that no worker has taken
	done atomic.Int64                  // number of tasks that have ended
	help func(crew *spin.Crew, id int) // what helpers do
}

// A worker is the memory of one.
type worker struct {
	left, right []float32 // packed rows of the left operand, a column panel,
	tile        []float32 // and what is not stored whole
	slot        int       // 1 + the number of a block of the left operand in a slice,
	rows, rest  lines     // its rows, and those of them beyond a multiple of RowStep
	_           [64]byte  // no cache line belongs to two workers
}

var pool = sync.Pool{New: func() any { return newMultiplication() }}

func newMultiplication() *multiplication {
	m := new(multiplication)
	m.help = m.work
	return m
}

// minParallel is the number of multiplications below which the start of a goroutine
// costs more than it saves.
const minParallel = 1 << 19

func multiply(p *problem, workers int) {
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	if float64(p.m)*float64(p.n)*float64(p.k) < minParallel {
		workers = 1
	}
	m := pool.Get().(*multiplication)
	m.solve(p, kernel.Active(), workers)
	pool.Put(m)
}

// solve computes a product.
func (m *multiplication) solve(p *problem, k *kernel.Kernels, workers int) {
	if p.isSmall() {
		m.small(p, k)
	} else if p.n <= skinny && p.a.trans && p.m > skinny {
		m.byColumns(*p, k, workers)
	} else {
		m.run(planOf(*p, k, workers), workers)
	}
}

// byColumns computes a product of few columns as its transpose, of few rows.
func (m *multiplication) byColumns(p problem, k *kernel.Kernels, workers int) {
	m.product = grow(m.product, p.m*p.n)
	t := p.transposed()
	t.c, t.stride = m.product, t.n
	m.run(planOf(t, k, workers), workers)
	mode := fpmode.Enter()
	defer mode.Leave()
	for i := range p.m {
		for j := range p.n {
			v, at := m.product[j*p.m+i], i*p.stride+j
			if p.beta != 0 {
				v += float32(p.beta * p.c[at])
			}
			p.c[at] = v
		}
	}
}

// run does the tasks of a plan.
func (m *multiplication) run(l plan, workers int) {
	m.plan = l
	workers = min(workers, max(m.packTasks(0), m.mulTasks()))
	for len(m.workers) < workers {
		m.workers = append(m.workers, worker{})
	}
	if m.byVectors {
		m.few = m.vectors.fewByRows(m.k, m.few)
	} else {
		m.size(workers)
	}
	m.next.Store(0)
	m.done.Store(0)
	crew := spin.Call(workers-1, m.help)
	m.work(crew, 0)
	crew.Dismiss()
	m.forget()
}

// size makes room for what the plan packs.
func (m *multiplication) size(workers int) {
	l := &m.plan
	k := l.kernels
	for i := range min(2, l.slices()) {
		if l.left == forAll {
			m.packedLeft[i] = grow(m.packedLeft[i], l.leftSize(l.m, l.depth.size))
		}
		if l.right == forAll {
			m.packedRight[i] = grow(m.packedRight[i], l.depth.size*roundUp(l.cols.size, k.Cols))
		}
	}
	rows, panels := k.Rows, 1 // what is not whole
	if l.left == byEach {
		rows = l.rows.size
	}
	if l.right == byEach {
		panels = packPanels
	}
	for i := range m.workers[:workers] {
		w := &m.workers[i]
		w.left = grow(w.left, l.leftSize(rows, l.depth.size))
		w.right = grow(w.right, l.depth.size*panels*k.Cols)
		w.tile = grow(w.tile, roundUp(l.rows.size, k.RowStep)*k.Cols)
		w.slot = 0
	}
}

// forget keeps no reference to the operands.
func (m *multiplication) forget() {
	m.plan = plan{}
	for i := range m.workers {
		m.workers[i].rows, m.workers[i].rest = lines{}, lines{}
	}
}

// grow returns a slice of n elements, reusing s if it is long enough.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// work takes tasks until there are none.
func (m *multiplication) work(crew *spin.Crew, id int) {
	mode := fpmode.Enter()
	defer func() { mode.Leave() }()
	stages := m.slices() + 1
	begin, end := 0, m.stageTasks(0)
	for stage := 0; ; {
		t := int(m.next.Add(1)) - 1
		for t >= end {
			if stage++; stage == stages {
				return
			}
			begin, end = end, end+m.stageTasks(stage)
		}
		if m.done.Load() < int64(begin) {
			mode.Leave()
			crew.Await(func() bool { return m.done.Load() >= int64(begin) })
			mode = fpmode.Enter()
		}
		m.task(&m.workers[id], stage, t-begin)
		if m.done.Add(1) == int64(end) {
			crew.Wake()
		}
	}
}

// stageTasks returns the number of tasks of a stage: to multiply by one slice and to pack
// the next.
func (m *multiplication) stageTasks(stage int) int {
	n := 0
	if stage > 0 {
		n = m.mulTasks()
	}
	if stage < m.slices() {
		n += m.packTasks(stage)
	}
	return n
}

func (m *multiplication) task(w *worker, stage, i int) {
	if stage > 0 {
		n := m.mulTasks()
		switch {
		case m.byVectors && m.vectors.dots:
			m.dot(m.rows.part(i))
			return
		case m.byVectors:
			m.sum(m.rows.part(i))
			return
		case i < n:
			m.multiply(w, stage-1, i/m.shares, i%m.shares)
			return
		}
		i -= n
	}
	m.pack(stage, i)
}

// pack packs a part of slice s of the right operand, or of all rows of the left one.
func (m *multiplication) pack(s, i int) {
	k := m.kernels
	cols, depth := m.slice(s)
	first, deep := m.depth.part(depth)
	if n := m.packRightTasks(s); i >= n {
		row := (i - n) * packPanels * k.Rows
		rows := min(packPanels*k.Rows, m.m-row)
		m.packLeft(m.packedLeft[s%2][row*deep:][:m.leftSize(rows, deep)], row, rows, first, deep)
		return
	}
	col, n := m.cols.part(cols)
	j := i * packPanels * k.Cols
	m.packRight(m.packedRight[s%2][j*deep:], col+j, min(packPanels*k.Cols, n-j), first, deep)
}

// multiply adds the product of a block of rows and a share of slice s to C.
func (m *multiplication) multiply(w *worker, s, block, share int) {
	k := m.kernels
	cols, depth := m.slice(s)
	col0, n := m.cols.part(cols)
	first, deep := m.depth.part(depth)
	row0, rows := m.rows.part(block)
	whole := rows - rows%k.RowStep
	if slot := 1 + s*m.rows.parts() + block; w.slot != slot {
		w.slot = slot
		m.takeRows(w, s, row0, rows, first, deep)
	}
	beta := float32(1)
	if depth == 0 {
		beta = m.beta
	}
	panels := ceilDiv(n, k.Cols)
	begin, end := share*panels/m.shares, (share+1)*panels/m.shares
	for p := begin; p < end; p++ {
		col := p * k.Cols
		if m.right == byEach && (p-begin)%packPanels == 0 {
			m.packRight(w.right, col0+col, min(min(packPanels, end-p)*k.Cols, n-col), first, deep)
		}
		width := min(k.Cols, n-col)
		right, step := m.panel(w, s, p, (p-begin)%packPanels)
		c := m.c[row0*m.stride+col0+col:]
		w.addColumns(k, c, m.stride, right, step, whole, rows-whole, width, deep, m.alpha, beta)
	}
}

// addColumns adds the product of the rows of w, whole and rest of them, and some columns of
// a column panel to beta times C.
func (w *worker) addColumns(k *kernel.Kernels, c []float32, stride int, right []float32, step, whole, rest, cols, depth int, alpha, beta float32) {
	if cols == k.Cols && whole > 0 {
		w.rows.multiply(k, c, stride, right, step, whole, depth, alpha, beta)
	} else if whole > 0 {
		w.rows.multiply(k, w.tile, k.Cols, right, step, whole, depth, alpha, 0)
		update(c, stride, w.tile, k.Cols, whole, cols, beta)
	}
	if rest > 0 {
		w.rest.multiply(k, w.tile, k.Cols, right, step, rest, depth, alpha, 0)
		update(c[whole*stride:], stride, w.tile, k.Cols, rest, cols, beta)
	}
}

// takeRows makes a block of rows of the left operand, as deep as slice s, those of w.
func (m *multiplication) takeRows(w *worker, s, row, rows, first, deep int) {
	k := m.kernels
	whole := rows - rows%k.RowStep
	switch m.left {
	case inPlace:
		w.rows = m.leftInPlace(row, first)
		w.rest = m.packLeft(w.left, row+whole, rows-whole, first, deep)
		return
	case byEach:
		w.rows = m.packLeft(w.left, row, rows, first, deep)
	case forAll:
		w.rows = m.rowPanels(m.packedLeft[s%2][row*deep:], deep)
	}
	w.rest = w.rows.from(k, whole)
}

// panel returns column panel p of slice s, which is the i'th of those that w has packed if
// it does, and the distance of its rows.
func (m *multiplication) panel(w *worker, s, p, i int) (panel []float32, step int) {
	k := m.kernels
	cols, depth := m.slice(s)
	first, deep := m.depth.part(depth)
	switch m.right {
	case byEach:
		return w.right[i*deep*k.Cols:][:deep*k.Cols], k.Cols
	case forAll:
		return m.packedRight[s%2][p*deep*k.Cols:][:deep*k.Cols], k.Cols
	}
	col0, n := m.cols.part(cols)
	col := p * k.Cols
	if width := n - col; width < k.Cols {
		m.packRight(w.right, col0+col, width, first, deep)
		return w.right, k.Cols
	}
	return m.b.data[first*m.b.stride+col0+col:], m.b.stride
}

// update computes C = add + beta·C for a part of a tile.
func update(c []float32, stride int, add []float32, addStride, rows, cols int, beta float32) {
	for r := range rows {
		row, add := c[r*stride:][:cols], add[r*addStride:][:cols]
		if beta == 0 {
			copy(row, add)
			continue
		}
		for j, v := range add {
			row[j] = v + float32(beta*row[j])
		}
	}
}
