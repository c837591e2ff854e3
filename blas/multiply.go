package blas

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/internal/kernel"
)

// A multiplication is a product that is being computed, and its memory.
//
// Its tasks are, in this order: those that pack slice 0; those that multiply by slice s,
// and those that pack slice s+1, for each s. What is done before the next s begins is a
// stage. Workers take the next task, and wait only for the stage before.
type multiplication struct {
	plan
	workers []worker
	packed  [2][]float32 // slices of the right operand, in turn
	product []float32    // transposed

	next atomic.Int64 // first task that no worker has taken
	done atomic.Int64 // number of tasks that have ended
	wait sync.Mutex
	more sync.Cond // done has reached the end of a stage

	helpers sync.WaitGroup
	started atomic.Int64
	help    func() // what the goroutines of helpers run
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
	m.more.L = &m.wait
	m.help = func() {
		defer m.helpers.Done()
		m.work(int(m.started.Add(1)))
	}
	return m
}

// minParallel is the number of multiplications below which the start of a goroutine
// costs more than it saves.
const minParallel = 1 << 19

func multiply(p problem, workers int) {
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
func (m *multiplication) solve(p problem, k *kernel.Kernels, workers int) {
	if p.n <= skinny && p.left.trans && p.m > skinny {
		m.byColumns(p, k, workers)
	} else {
		m.run(planOf(p, k, workers), workers)
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
		m.packed[0] = m.vectors.fewByRows(m.k, m.packed[0])
	} else {
		m.size(workers)
	}
	m.next.Store(0)
	m.done.Store(0)
	m.started.Store(0)
	m.helpers.Add(workers - 1)
	for range workers - 1 {
		go m.help()
	}
	m.work(0)
	m.helpers.Wait()
	m.forget()
}

// size makes room for what the plan packs.
func (m *multiplication) size(workers int) {
	l := &m.plan
	k := l.kernels
	if l.packsRight {
		for i := range min(2, l.slices()) {
			m.packed[i] = grow(m.packed[i], l.depth.size*roundUp(l.cols.size, k.Cols))
		}
	}
	for i := range m.workers[:workers] {
		w := &m.workers[i]
		rows := l.rows.size
		if !l.packsLeft {
			rows = k.Rows
		}
		w.left = grow(w.left, l.leftSize(rows, l.depth.size))
		w.right = grow(w.right, l.depth.size*k.Cols)
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
func (m *multiplication) work(id int) {
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
			m.await(begin)
			mode = fpmode.Enter()
		}
		m.task(&m.workers[id], stage, t-begin)
		if m.done.Add(1) == int64(end) {
			m.wait.Lock()
			m.more.Broadcast()
			m.wait.Unlock()
		}
	}
}

// await waits until as many tasks have ended.
func (m *multiplication) await(tasks int) {
	m.wait.Lock()
	for m.done.Load() < int64(tasks) {
		m.more.Wait()
	}
	m.wait.Unlock()
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

// pack packs a part of slice s.
func (m *multiplication) pack(s, i int) {
	cols, depth := m.slice(s)
	col, n := m.cols.part(cols)
	first, deep := m.depth.part(depth)
	j := i * packCols * m.kernels.Cols
	m.packRight(m.packed[s%2][j*deep:], col+j, min(packCols*m.kernels.Cols, n-j), first, deep)
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
		if m.packsLeft {
			w.rows = m.packLeft(w.left, row0, rows, first, deep)
			w.rest = w.rows.from(k, whole)
		} else {
			w.rows = m.leftInPlace(row0, first)
			w.rest = m.packLeft(w.left, row0+whole, rows-whole, first, deep)
		}
	}
	beta := float32(1)
	if depth == 0 {
		beta = m.beta
	}
	panels := ceilDiv(n, k.Cols)
	for p := share * panels / m.shares; p < (share+1)*panels/m.shares; p++ {
		col := p * k.Cols
		width := min(k.Cols, n-col)
		right, step := m.panel(w, s, col0+col, width, first, deep)
		c := m.c[row0*m.stride+col0+col:]
		if width == k.Cols && whole > 0 {
			w.rows.multiply(k, c, m.stride, right, step, whole, deep, m.alpha, beta)
		} else if whole > 0 {
			w.rows.multiply(k, w.tile, k.Cols, right, step, whole, deep, m.alpha, 0)
			update(c, m.stride, w.tile, k.Cols, whole, width, beta)
		}
		if whole < rows {
			w.rest.multiply(k, w.tile, k.Cols, right, step, rows-whole, deep, m.alpha, 0)
			update(c[whole*m.stride:], m.stride, w.tile, k.Cols, rows-whole, width, beta)
		}
	}
}

// panel returns a column panel of slice s, and the distance of its rows. In place, one
// that is not whole is packed.
func (m *multiplication) panel(w *worker, s, col, width, first, deep int) (panel []float32, step int) {
	k := m.kernels
	switch {
	case m.packsRight:
		cols, _ := m.slice(s)
		col0, _ := m.cols.part(cols)
		return m.packed[s%2][(col-col0)*deep:][:deep*k.Cols], k.Cols
	case width < k.Cols:
		m.packRight(w.right, col, width, first, deep)
		return w.right, k.Cols
	}
	return m.right.data[first*m.right.stride+col:], m.right.stride
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
