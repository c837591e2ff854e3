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
	left []float32 // a block of the left operand,
	slot int       // which is number slot−1 of all
	tile []float32 // of what is not stored whole
	_    [64]byte  // no cache line belongs to two workers
}

var pool = sync.Pool{New: func() any {
	m := new(multiplication)
	m.more.L = &m.wait
	m.help = func() {
		defer m.helpers.Done()
		m.work(int(m.started.Add(1)))
	}
	return m
}}

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
	m.plan = planOf(p, kernel.Active(), workers)
	workers = min(workers, max(m.packTasks(0), m.mulTasks()))
	m.size(workers)
	m.next.Store(0)
	m.done.Store(0)
	m.started.Store(0)
	m.helpers.Add(workers - 1)
	for range workers - 1 {
		go m.help()
	}
	m.work(0)
	m.helpers.Wait()
	m.plan = plan{}
	pool.Put(m)
}

func (m *multiplication) size(workers int) {
	l := &m.plan
	slice := l.padded(l.depth.size) * roundUp(l.cols.size, l.kernels.Cols)
	for i := range min(2, l.slices()) {
		m.packed[i] = grow(m.packed[i], slice)
	}
	for len(m.workers) < workers {
		m.workers = append(m.workers, worker{})
	}
	for i := range m.workers[:workers] {
		w := &m.workers[i]
		w.left = grow(w.left, l.leftSize(l.rows.size, l.depth.size))
		w.tile = grow(w.tile, l.rows.size*l.kernels.Cols+l.kernels.Rows*l.kernels.Cols)
		w.slot = 0
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
		if n := m.mulTasks(); i < n {
			m.multiply(w, stage-1, i/m.shares, i%m.shares)
			return
		} else {
			i -= n
		}
	}
	m.pack(stage, i)
}

// pack packs a part of slice s.
func (m *multiplication) pack(s, i int) {
	cols, depth := m.slice(s)
	col, n := m.cols.part(cols)
	first, deep := m.depth.part(depth)
	j := i * packCols * m.kernels.Cols
	m.packRight(m.packed[s%2][j*m.padded(deep):], col+j, min(packCols*m.kernels.Cols, n-j), first, deep)
}

// multiply adds the product of a block of rows and a share of slice s to C.
func (m *multiplication) multiply(w *worker, s, block, share int) {
	k := m.kernels
	cols, depth := m.slice(s)
	col0, n := m.cols.part(cols)
	first, deep := m.depth.part(depth)
	row0, rows := m.rows.part(block)
	if slot := 1 + s*m.rows.parts() + block; w.slot != slot {
		w.slot = slot
		m.packLeft(w.left[:m.leftSize(rows, deep)], row0, rows, first, deep)
	}
	height := roundUp(rows, k.RowStep)
	whole := rows
	if rows%k.RowStep != 0 {
		whole -= rows % k.Rows
	}
	panels := ceilDiv(n, k.Cols)
	padded := m.padded(deep)
	for p := share * panels / m.shares; p < (share+1)*panels/m.shares; p++ {
		col := p * k.Cols
		width := min(k.Cols, n-col)
		right := m.packed[s%2][col*padded:][:padded*k.Cols]
		c := m.c[row0*m.stride+col0+col:]
		add := depth > 0 || m.beta != 0
		if depth == 0 && m.beta != 0 {
			scale(rows, width, m.beta, c, m.stride)
		}
		direct := 0
		if width == k.Cols {
			direct = whole
			if direct > 0 {
				m.product(c, m.stride, w.left, right, 0, direct, height, deep, add)
			}
		}
		if direct < rows {
			m.product(w.tile, k.Cols, w.left, right, direct, rows-direct, height, deep, false)
			for r := range rows - direct {
				row := c[(direct+r)*m.stride:][:width]
				for j, v := range w.tile[r*k.Cols:][:width] {
					if add {
						v += row[j]
					}
					row[j] = v
				}
			}
		}
	}
}
