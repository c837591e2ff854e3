package engine

import (
	"math"
	"slices"
	"unsafe"

	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/simd"
)

// A Matrix is a view of row-major data, with the fields of the public type.
type Matrix struct {
	Rows, Cols int
	Stride     int
	Data       []float32
}

// Row returns row i.
func (m Matrix) Row(i int) []float32 { return m.Data[i*m.Stride : i*m.Stride+m.Cols] }

// A segment is a matrix within a list of vectors.
type segment struct {
	Matrix
	grad  Matrix // receives the gradient with respect to the matrix, if it has rows
	unit  bool   // whether the vectors are the rows normalised
	first int    // slot of row 0
}

// Panels is a list of vectors, its segments one after the other, in the layouts
// that the kernels read. The place of a vector in the list is its slot.
type Panels struct {
	Accumulate bool // whether Store adds to gradients instead of overwriting them

	segments []segment
	n, dim   int
	scale    []float64 // what a slot's row is multiplied by to give its vector
	k        *kernel.Kernels
	pieces   int       // pieces that the layouts are split into, 0 for none
	cols     []float32 // column panels: the right operand of similarities
	dims     []float32 // for each column panel, blocks of its vectors: the right operand of gradients
	colWords []uint32  // the same in pieces
	dimWords []uint32
	filled   bool // whether Fill wrote the layouts, for k: then nothing else does
}

// Reset empties p for vectors of dim elements, whose gradients do not accumulate.
func (p *Panels) Reset(dim int) {
	clear(p.segments) // drops the references to the caller's data
	p.segments, p.n, p.dim, p.scale = p.segments[:0], 0, dim, p.scale[:0]
	p.filled, p.Accumulate = false, false
}

// Fill makes p the list of the rows of m, as they are, with all layouts, of which
// only those of rows first to end-1 have changed since the last call. The list can
// then be the columns of any number of problems of as many Pieces at a time, as long
// as Ready. There will be capacity rows at most. It returns scratch memory for the
// next call.
func (p *Panels) Fill(m Matrix, capacity, first, end, pieces int, scratch []float32) []float32 {
	k := kernel.Active()
	pieces = k.Pieces(pieces)
	if !p.filled || p.k != k || p.pieces != pieces {
		first, end = 0, m.Rows
	}
	if p.pieces != pieces { // the memory of the others is not needed any more
		p.cols, p.dims, p.colWords, p.dimWords = nil, nil, nil, nil
	}
	p.segments = append(p.segments[:0], segment{Matrix: m})
	p.n, p.dim, p.k, p.pieces, p.filled = m.Rows, m.Cols, k, pieces, true
	for len(p.scale) < p.n {
		p.scale = append(p.scale, 1)
	}
	all := roundUp(capacity, k.Cols) * p.paddedDim()
	n := roundUp(p.n, k.Cols) * p.paddedDim()
	if pieces > 0 {
		n, all = words(n, pieces), words(all, pieces)
		p.colWords, p.dimWords = extend(p.colWords, n, all), extend(p.dimWords, n, all)
	} else {
		p.cols, p.dims = extend(p.cols, n, all), extend(p.dims, n, all)
	}
	scratch = grow(scratch, p.packScratch())
	for i := first / k.Cols; i*k.Cols < end; i++ {
		p.pack(i, true, scratch)
	}
	return scratch
}

// Ready reports whether Fill wrote p's layouts for the level in use and problems of
// as many Pieces.
func (p *Panels) Ready(pieces int) bool {
	return p.filled && p.k == kernel.Active() && p.pieces == p.k.Pieces(pieces)
}

// extend returns a slice of n elements that begins with those of s, growing it by
// half, up to all elements, if it is too short.
func extend[T word](s []T, n, all int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	longer := grow[T](nil, max(n, min(n+n/2, all)))
	copy(longer, s)
	return longer[:n]
}

// NotFinite tells where a NaN or an infinity is.
type NotFinite struct {
	Row, Col int
	Value    float32
}

// minNorm is the least norm that is not taken for that of a zero row: its
// inverse is a float32.
const minNorm = 0x1p-126

// unitScale returns what a row with the given sum of squares is multiplied by to be
// of norm 1, or 0 if its norm counts as that of a zero row.
func unitScale(squares float64) float64 {
	if norm := math.Sqrt(squares); norm >= minNorm {
		return 1 / norm
	}
	return 0
}

// Normalize stores row in dst as lists hold it: of norm 1, or 0. Each element is
// rounded once.
func Normalize(dst, row []float32) {
	simd.ScaleTo(dst, row, unitScale(simd.DotFloat64(row, row)))
}

// Add appends the rows of m, whose gradient goes to grad unless that is the zero
// Matrix. They are normalised if unit is set and taken as they are otherwise.
// The norm is computed in float64, in which no finite float32 row overflows or
// underflows. If a value is not finite, Add returns its place and false.
func (p *Panels) Add(m, grad Matrix, unit bool) (NotFinite, bool) {
	for i := range m.Rows {
		row := m.Row(i)
		ss := simd.DotFloat64(row, row)
		if math.IsNaN(ss) || math.IsInf(ss, 0) {
			j := slices.IndexFunc(row, func(v float32) bool { return v-v != 0 })
			return NotFinite{i, j, row[j]}, false
		}
		scale := 1.0
		if unit {
			scale = unitScale(ss)
		}
		p.scale = append(p.scale, scale)
	}
	p.segments = append(p.segments, segment{m, grad, unit, p.n})
	p.n += m.Rows
	return NotFinite{}, true
}

// Len returns the number of vectors, and Dim that of their elements.
func (p *Panels) Len() int { return p.n }
func (p *Panels) Dim() int { return p.dim }

// segment returns the segment of a slot.
func (p *Panels) segment(slot int) *segment {
	i := 0
	for slot >= p.segments[i].first+p.segments[i].Rows {
		i++
	}
	return &p.segments[i]
}

// row returns the row that slot's vector is made of.
func (p *Panels) row(slot int) []float32 {
	s := p.segment(slot)
	return s.Row(slot - s.first)
}

// wants reports whether a gradient is wanted for any of the slots from first up
// to end.
func (p *Panels) wants(first, end int) bool {
	for _, s := range p.segments {
		if s.grad.Rows > 0 && s.first < end && first < s.first+s.Rows {
			return true
		}
	}
	return false
}

// Scale returns what slot's row is multiplied by to give its vector.
func (p *Panels) Scale(slot int) float64 { return p.scale[slot] }

// Vector stores the vector of slot in dst. Each element is rounded once.
func (p *Panels) Vector(slot int, dst []float32) {
	simd.ScaleTo(dst[:p.dim], p.row(slot), p.scale[slot])
}

// Factors between these are precise as float32, and so are their products with
// what they scale.
const (
	minScale = 0x1p-120
	maxScale = 0x1p+120
)

// AddScaled adds c times the vector of slot to dst.
func (p *Panels) AddScaled(c float64, slot int, dst []float32) {
	scale := c * p.scale[slot]
	if scale == 0 {
		return
	}
	if f := float32(scale); math.Abs(float64(f)) >= minScale && math.Abs(float64(f)) <= maxScale {
		simd.Axpy(f, p.row(slot), dst)
		return
	}
	for d, v := range p.row(slot) {
		dst[d] += float32(float64(v) * scale)
	}
}

// Cosine returns the dot product of two vectors. Its error is that of float64.
func Cosine(p *Panels, i int, q *Panels, j int) float64 {
	return simd.DotFloat64(p.row(i), q.row(j)) * p.scale[i] * q.scale[j]
}

// Distance returns the Euclidean distance of two vectors, also of nearby ones with
// the precision of float64.
func Distance(p *Panels, i int, q *Panels, j int) float64 {
	x, y, a, b := p.row(i), q.row(j), p.scale[i], q.scale[j]
	sum := 0.0
	for d, v := range x {
		diff := float64(v)*a - float64(y[d])*b
		sum += diff * diff
	}
	return math.Sqrt(sum)
}

// panelCount returns the number of column panels.
func (p *Panels) panelCount() int { return (p.n + p.k.Cols - 1) / p.k.Cols }

// paddedDim is the length of a vector that is a whole number of tiles.
func (p *Panels) paddedDim() int { return roundUp(p.dim, p.k.Cols) }

// size makes room for the layouts, the second if it is wanted.
func (p *Panels) size(dims bool) {
	if p.filled {
		return
	}
	n := roundUp(p.n, p.k.Cols) * p.paddedDim()
	if p.pieces > 0 {
		p.colWords = grow(p.colWords, words(n, p.pieces))
		if dims {
			p.dimWords = grow(p.dimWords, words(n, p.pieces))
		}
		return
	}
	p.cols = grow(p.cols, n)
	if dims {
		p.dims = grow(p.dims, n)
	}
}

// packScratch is the number of elements of scratch memory that pack needs: those of
// a panel and of a square.
func (p *Panels) packScratch() int { return p.k.Cols * (p.paddedDim() + p.k.Cols) }

// pack writes the layouts of column panel i. Slots and elements past the end are
// zero. The scratch has room for packScratch elements.
func (p *Panels) pack(i int, dims bool, scratch []float32) {
	c, padded := p.k.Cols, p.paddedDim()
	vectors, lanes := scratch[:c*padded], min(c, p.n-i*c)
	for lane := range lanes {
		v := vectors[lane*padded : (lane+1)*padded]
		p.Vector(i*c+lane, v)
		clear(v[p.dim:])
	}
	clear(vectors[lanes*padded:])
	if p.pieces > 0 {
		p.splitPanel(i, dims, vectors, scratch[c*padded:])
		return
	}
	at := i * c * padded
	for d := 0; d < padded; d += c {
		p.k.Transpose(p.cols[at+d*c:], c, vectors[d:], padded)
	}
	for lane := 0; dims && lane < c; lane++ {
		p.k.SpreadCols(p.dims[at+lane*c:], c*c, vectors[lane*padded:(lane+1)*padded])
	}
}

// A word is four bytes.
type word interface{ float32 | uint32 }

// grow returns a slice of n elements whose first is at a multiple of 64 bytes,
// the size of a cache line and of the longest vector, reusing s if it is long
// enough. The elements are arbitrary.
func grow[T word](s []T, n int) []T {
	if cap(s) >= n {
		return s[:n]
	}
	const line = 16
	s = make([]T, n+line-1)
	skip := int(-uintptr(unsafe.Pointer(&s[0]))/4) & (line - 1)
	return s[skip : skip+n : skip+n]
}

func resize[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }
