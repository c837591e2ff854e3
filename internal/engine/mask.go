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

	// RowLabels and ColLabels exclude the pairs whose labels are equal. They hold one
	// label for each row slot, and those of some column slots; the others have none.
	RowLabels []int
	ColLabels [3]Labels

	// Excluded excludes pairs one by one: if it is not nil, the column slots of row slot
	// i are those from ExcludedFirst[i] up to ExcludedFirst[i+1] of it, ascending.
	Excluded, ExcludedFirst []int32
}

// Labels are those of successive slots, from First on.
type Labels struct {
	First  int
	Labels []int
}

// Exclude adds a diagonal.
func (m *Mask) Exclude(d int) {
	m.Diagonals[m.Count] = d
	m.Count++
}

// exclusions list the columns that each row excludes, besides those of diagonals, so
// that they are found in time proportional to their number.
type exclusions struct {
	cols        []int32 // slots, ascending for each row
	first, last []int32 // for each row slot, its range in cols
}

// byLabel lists the columns of each row's label.
func (x *exclusions) byLabel(m *Mask) {
	x.cols, x.first, x.last = x.cols[:0], x.first[:0], x.last[:0]
	if m.RowLabels == nil {
		return
	}
	for _, l := range m.ColLabels {
		for j := range l.Labels {
			x.cols = append(x.cols, int32(l.First+j))
		}
	}
	slices.SortFunc(x.cols, func(a, b int32) int {
		return cmp.Or(cmp.Compare(m.colLabel(a), m.colLabel(b)), cmp.Compare(a, b))
	})
	for _, l := range m.RowLabels {
		first := sort.Search(len(x.cols), func(i int) bool { return m.colLabel(x.cols[i]) >= l })
		last := first + sort.Search(len(x.cols)-first, func(i int) bool { return m.colLabel(x.cols[first+i]) > l })
		x.first, x.last = append(x.first, int32(first)), append(x.last, int32(last))
	}
}

// oneByOne lists the columns that the mask does.
func (x *exclusions) oneByOne(m *Mask) {
	x.cols, x.first, x.last = m.Excluded, nil, nil
	if n := len(m.ExcludedFirst); m.Excluded != nil && n > 0 {
		x.first, x.last = m.ExcludedFirst[:n-1], m.ExcludedFirst[1:]
	}
}

// of returns the columns that a row excludes.
func (x *exclusions) of(row int) []int32 {
	if len(x.first) == 0 {
		return nil
	}
	return x.cols[x.first[row]:x.last[row]]
}

// seek sets cursor[r] to the first of the columns that row row0+r excludes
// which is not before col.
func (x *exclusions) seek(cursor []int32, row0, rows, col int) {
	if len(x.first) == 0 {
		return
	}
	for r := range rows {
		k, _ := slices.BinarySearch(x.of(row0+r), int32(col))
		cursor[r] = x.first[row0+r] + int32(k)
	}
}

// fill sets the elements of excluded pairs to v in a block of width columns
// that begins at row0 and col0, and moves the cursors past it.
func (x *exclusions) fill(cursor []int32, block []float32, row0, rows, col0, width int, v float32) {
	if len(x.first) == 0 {
		return
	}
	for r := range rows {
		k, last := cursor[r], x.last[row0+r]
		for k < last && int(x.cols[k]) < col0 { // of panels that the row has not met
			k++
		}
		for ; k < last && int(x.cols[k]) < col0+width; k++ {
			block[r*width+int(x.cols[k])-col0] = v
		}
		cursor[r] = k
	}
}

// fillDiagonals sets the elements of diagonals to v.
func (m *Mask) fillDiagonals(block []float32, row0, rows, col0, width int, v float32) {
	for _, d := range m.Diagonals[:m.Count] {
		for r := max(0, col0-d-row0); r < min(rows, col0+width-d-row0); r++ {
			block[r*width+row0+r+d-col0] = v
		}
	}
}

// colLabel returns the label of a column that has one.
func (m *Mask) colLabel(col int32) int {
	for _, l := range m.ColLabels {
		if j := int(col) - l.First; j >= 0 && j < len(l.Labels) {
			return l.Labels[j]
		}
	}
	panic("engine: a column without a label")
}

// sameLabel reports whether a pair is excluded by its labels.
func (m *Mask) sameLabel(row, col int) bool {
	if m.RowLabels == nil {
		return false
	}
	for _, l := range m.ColLabels {
		if j := col - l.First; j >= 0 && j < len(l.Labels) {
			return l.Labels[j] == m.RowLabels[row]
		}
	}
	return false
}

// onDiagonal reports whether a pair is excluded by a diagonal.
func (m *Mask) onDiagonal(row, col int) bool {
	return slices.Contains(m.Diagonals[:m.Count], col-row)
}
