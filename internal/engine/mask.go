package engine

import (
	"cmp"
	"slices"
	"sort"
)

// A Mask tells which pairs do not count.
type Mask struct {
	// Diagonals excludes the pairs of row slot i and column slot i+d, for each
	// d of the first Count.
	Diagonals [3]int
	Count     int

	// RowLabels and ColLabels exclude the pairs whose labels are equal. They
	// hold one label for each row slot and each of the first column slots; the
	// columns after these have none. Both are nil or neither is.
	RowLabels, ColLabels []int
}

// Exclude adds a diagonal.
func (m *Mask) Exclude(d int) {
	m.Diagonals[m.Count] = d
	m.Count++
}

// classes lists the columns of each label, so that the excluded pairs of a row
// are found in time proportional to their number.
type classes struct {
	cols  []int32 // slots by label, then by slot
	first []int32 // for each row slot, the range of its label in cols
	last  []int32
}

func (c *classes) build(m *Mask) {
	c.cols, c.first, c.last = c.cols[:0], c.first[:0], c.last[:0]
	if m.RowLabels == nil {
		return
	}
	labels := m.ColLabels
	for j := range labels {
		c.cols = append(c.cols, int32(j))
	}
	slices.SortFunc(c.cols, func(a, b int32) int {
		return cmp.Or(cmp.Compare(labels[a], labels[b]), cmp.Compare(a, b))
	})
	for _, l := range m.RowLabels {
		first := sort.Search(len(c.cols), func(i int) bool { return labels[c.cols[i]] >= l })
		last := first + sort.Search(len(c.cols)-first, func(i int) bool { return labels[c.cols[first+i]] > l })
		c.first, c.last = append(c.first, int32(first)), append(c.last, int32(last))
	}
}

// seek sets cursor[r] to the first of the columns that row row0+r excludes
// which is not before col.
func (c *classes) seek(cursor []int32, row0, rows, col int) {
	if len(c.first) == 0 {
		return
	}
	for r := range rows {
		list := c.cols[c.first[row0+r]:c.last[row0+r]]
		k, _ := slices.BinarySearch(list, int32(col))
		cursor[r] = c.first[row0+r] + int32(k)
	}
}

// fill sets the elements of excluded pairs to v in a block of width columns
// that begins at row0 and col0, and moves the cursors past it.
func (m *Mask) fill(c *classes, cursor []int32, block []float32, row0, rows, col0, width int, v float32) {
	for _, d := range m.Diagonals[:m.Count] {
		for r := max(0, col0-d-row0); r < min(rows, col0+width-d-row0); r++ {
			block[r*width+row0+r+d-col0] = v
		}
	}
	if len(c.first) == 0 {
		return
	}
	for r := range rows {
		k, last := cursor[r], c.last[row0+r]
		for ; k < last && int(c.cols[k]) < col0+width; k++ {
			block[r*width+int(c.cols[k])-col0] = v
		}
		cursor[r] = k
	}
}
