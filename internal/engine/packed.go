package engine

import (
	"sync/atomic"

	"github.com/contrastive-go/contrastive/internal/kernel"
)

// columns are the operands of column panels, which the products of a run read.
type columns struct {
	layout
	byVector, byElement operand
}

// pack stores the operands of a column panel of list, that by element if it is wanted.
// Slots and elements past the end are zero. The scratch memory has room for
// packScratch elements.
func (c *columns) pack(list *List, panel int, byElement bool, scratch []float32) {
	c.packAt(panel, list, panel, byElement, scratch)
}

// packAt is pack at the place of another panel.
func (c *columns) packAt(place int, list *List, panel int, byElement bool, scratch []float32) {
	first := panel * c.k.Cols
	n := c.panelWords()
	var elements operand
	if byElement {
		elements = c.byElement[place*n:]
	}
	c.format.packCols(&c.layout, c.byVector[place*n:], elements, list.vectors(stripe{first, min(c.k.Cols, list.n-first)}), scratch)
}

// packScratch is the number of elements of the vectors of a column panel and of a
// square of its width, and scratch divides memory into these.
func (l *layout) packScratch() int { return l.k.Cols * (l.padded + l.k.Cols) }

func (l *layout) scratch(s []float32) (vectors, square []float32) {
	return s[:l.k.Cols*l.padded], s[l.k.Cols*l.padded:]
}

// Packed is a list of vectors with the operands of its column panels, which are
// computed anew only where vectors change. Any number of problems can have its List
// for their Cols at a time.
type Packed struct {
	list    List
	columns columns
	pieces  atomic.Int32 // of the last problem that asked for the list, or 0
	scratch []float32
}

// Fill makes p the list of the rows of m, as they are, of which only those from first
// up to end have changed since the last call. There will be capacity rows at most.
func (p *Packed) Fill(m Matrix, capacity, first, end int) {
	pieces := int(p.pieces.Load())
	if pieces == 0 {
		pieces = MaxPieces
	}
	c, l := &p.columns, layoutOf(kernel.Active(), pieces, m.Cols)
	if c.layout != l { // the memory of another layout is not needed any more
		*c = columns{layout: l}
		first, end = 0, m.Rows
	}
	p.list.segments = append(p.list.segments[:0], segment{Matrix: m})
	p.list.n, p.list.dim, p.list.packed = m.Rows, m.Cols, c
	for len(p.list.scale) < m.Rows {
		p.list.scale = append(p.list.scale, 1)
	}
	panels := func(rows int) int { return (rows + l.k.Cols - 1) / l.k.Cols * l.panelWords() }
	c.byVector = extend(c.byVector, panels(m.Rows), panels(capacity))
	c.byElement = extend(c.byElement, panels(m.Rows), panels(capacity))
	p.scratch = grow(p.scratch, l.packScratch())
	for i := first / l.k.Cols; i*l.k.Cols < end; i++ {
		c.pack(&p.list, i, true, p.scratch)
	}
}

// Reset empties p.
func (p *Packed) Reset(dim int) { p.list.Reset(dim) }

// List returns the list for a problem of as many Pieces, or nil if its operands are not
// those of the problem and the level in use: they are after the next Fill.
func (p *Packed) List(pieces int) *List {
	if p.pieces.Load() != int32(pieces) { // no write where nothing changes: others may read
		p.pieces.Store(int32(pieces))
	}
	if p.columns.k != nil && p.columns.layout == layoutOf(kernel.Active(), pieces, p.columns.dim) {
		return &p.list
	}
	return nil
}

// extend returns a slice of n elements that begins with those of s, growing it by
// half, up to all elements, if it is too short.
func extend(s []float32, n, all int) []float32 {
	if n <= cap(s) {
		return s[:n]
	}
	longer := grow(nil, max(n, min(n+n/2, all)))
	copy(longer, s)
	return longer[:n]
}
