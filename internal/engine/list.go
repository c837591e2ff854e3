package engine

import (
	"math"
	"slices"

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

// A List is a list of vectors, its segments one after the other. The place of a vector
// in the list is its slot.
type List struct {
	Accumulate bool    // whether Store adds to gradients instead of overwriting them
	Workers    *Engine // computes norms and similarities, if it is not nil

	segments []segment
	n, dim   int
	scale    []float64 // what a slot's row is multiplied by to give its vector
	packed   *columns  // the operands of the list, if a Packed keeps them
}

// Reset empties l for vectors of dim elements, whose gradients do not accumulate.
func (l *List) Reset(dim int) {
	clear(l.segments) // drops the references to the caller's data
	l.segments, l.n, l.dim, l.scale = l.segments[:0], 0, dim, l.scale[:0]
	l.Accumulate, l.Workers = false, nil
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
func (l *List) Add(m, grad Matrix, unit bool) (NotFinite, bool) {
	return l.AddTimes(m, grad, unit, 1)
}

// AddTimes is Add with a factor for rows that are not normalised, a power of 2.
func (l *List) AddTimes(m, grad Matrix, unit bool, factor float64) (NotFinite, bool) {
	l.scale = slices.Grow(l.scale, m.Rows)
	s := scaling{m, l.scale[l.n : l.n+m.Rows], unit, factor}
	if e := l.Workers; e.shares(m.Rows) {
		e.scaling = s
		e.each((m.Rows+sharedRows-1)/sharedRows, (*Engine).scale, step{})
		e.scaling = scaling{}
	} else {
		s.scale(0, m.Rows)
	}
	for i, scale := range s.scales {
		if scale-scale != 0 {
			row := m.Row(i)
			j := slices.IndexFunc(row, func(v float32) bool { return v-v != 0 })
			return NotFinite{i, j, row[j]}, false
		}
	}
	l.scale = l.scale[:l.n+m.Rows]
	l.segments = append(l.segments, segment{m, grad, unit, l.n})
	l.n += m.Rows
	return NotFinite{}, true
}

// A scaling is what rows are multiplied by to give their vectors, and what it depends on.
type scaling struct {
	Matrix
	scales []float64
	unit   bool
	factor float64 // of rows that are not normalised
}

// scale sets those of the rows from first up to end: not to a finite number, if a row is
// not finite.
func (s *scaling) scale(first, end int) {
	scales := s.scales[first:end]
	kernel.Active().Squares(scales, s.Data[first*s.Stride:], s.Stride, s.Cols)
	for i, squares := range scales {
		switch {
		case squares-squares != 0: // NaN or infinite
		case s.unit:
			scales[i] = unitScale(squares)
		default:
			scales[i] = s.factor
		}
	}
}

// A measuring is the similarities of the slots of two lists from i and from j on.
type measuring struct {
	cosines []float64
	p, q    *List
	i, j    int
}

// sharedRows is the number of rows of a task of a list.
const sharedRows = 64

// shares reports whether e, which may be nil, has several workers for so many rows.
func (e *Engine) shares(rows int) bool { return e != nil && e.team.workers > 1 && rows > sharedRows }

func (e *Engine) scale(_ step, _, i int) {
	e.scaling.scale(i*sharedRows, min((i+1)*sharedRows, e.scaling.Rows))
}

func (e *Engine) measure(_ step, _, i int) {
	m, first := &e.measuring, i*sharedRows
	cosines(m.cosines[first:min(first+sharedRows, len(m.cosines))], m.p, m.i+first, m.q, m.j+first)
}

// Len returns the number of vectors, and Dim that of their elements.
func (l *List) Len() int { return l.n }
func (l *List) Dim() int { return l.dim }

// segment returns the segment of a slot.
func (l *List) segment(slot int) *segment {
	i := 0
	for slot >= l.segments[i].first+l.segments[i].Rows {
		i++
	}
	return &l.segments[i]
}

// split returns the segment of the first of some slots, those that are in it, and the
// others.
func (l *List) split(s stripe) (in *segment, here, rest stripe) {
	in = l.segment(s.first)
	n := min(s.rows, in.first+in.Rows-s.first)
	return in, stripe{s.first, n}, stripe{s.first + n, s.rows - n}
}

// from returns the data of a segment from a slot on.
func (s *segment) from(slot int) []float32 { return s.Data[(slot-s.first)*s.Stride:] }

// row returns the row that slot's vector is made of.
func (l *List) row(slot int) []float32 {
	s := l.segment(slot)
	return s.Row(slot - s.first)
}

// wants reports whether a gradient is wanted for any of the slots from first up
// to end.
func (l *List) wants(first, end int) bool {
	for _, s := range l.segments {
		if s.grad.Rows > 0 && s.first < end && first < s.first+s.Rows {
			return true
		}
	}
	return false
}

// wantsOne reports whether a gradient is wanted for a slot.
func (l *List) wantsOne(slot int) bool { return l.segment(slot).grad.Rows > 0 }

// Wants reports whether any gradient is wanted.
func (l *List) Wants() bool { return l.wants(0, l.n) }

// Scale returns what slot's row is multiplied by to give its vector.
func (l *List) Scale(slot int) float64 { return l.scale[slot] }

// Vector stores the vector of slot in dst. Each element is rounded once.
func (l *List) Vector(slot int, dst []float32) {
	simd.ScaleTo(dst[:l.dim], l.row(slot), l.scale[slot])
}

// Factors between these are precise as float32, and so are their products with
// what they scale.
const (
	minScale = 0x1p-120
	maxScale = 0x1p+120
)

// factor returns a factor as float32, and whether it is between these.
func factor(scale float64) (float32, bool) {
	size := math.Abs(scale)
	return float32(scale), size >= minScale && size <= maxScale
}

// AddScaled adds c times the vector of slot to dst.
func (l *List) AddScaled(c float64, slot int, dst []float32) {
	Axpy(c*l.scale[slot], l.row(slot), dst)
}

// Axpy adds c·x to dst, of the same length. Unlike that of package simd it takes factors
// that are not precise as float32.
func Axpy(c float64, x, dst []float32) {
	if c == 0 {
		return
	}
	if f, ok := factor(c); ok {
		simd.Axpy(f, x, dst)
		return
	}
	for d, v := range x {
		dst[d] += float32(float64(v) * c)
	}
}

// Cosine returns the dot product of two vectors. Its error is that of float64.
func Cosine(p *List, i int, q *List, j int) float64 {
	return simd.DotFloat64(p.row(i), q.row(j)) * p.scale[i] * q.scale[j]
}

// cosines sets dst to the Cosine of the slots of p and of q from i and from j on.
func cosines(dst []float64, p *List, i int, q *List, j int) {
	for len(dst) > 0 {
		s, here, _ := p.split(stripe{i, len(dst)})
		t, here, _ := q.split(stripe{j, here.rows})
		n := here.rows
		kernel.Active().Dots(dst[:n], s.from(i), s.Stride, t.from(j), t.Stride, p.dim)
		for k := range n {
			dst[k] = dst[k] * p.scale[i+k] * q.scale[j+k]
		}
		dst, i, j = dst[n:], i+n, j+n
	}
}

// Distance returns the Euclidean distance of two vectors, also of nearby ones with
// the precision of float64.
func Distance(p *List, i int, q *List, j int) float64 {
	x, y, a, b := p.row(i), q.row(j), p.scale[i], q.scale[j]
	sum := 0.0
	for d, v := range x {
		diff := float64(v)*a - float64(y[d])*b
		sum += diff * diff
	}
	return math.Sqrt(sum)
}

// Store writes the gradient with respect to the row of slot, given the gradient
// g with respect to its vector divided by scale:
//
//	∂L/∂x = (g − (g·x̂)x̂)·scale/‖x‖
//
// or g·scale times the factor of vectors that are not normalised. Elements saturate. If l
// accumulates, g is overwritten, and the gradient is added to what was there.
func (l *List) Store(slot int, g []float32, scale float64) {
	s, along := l.segment(slot), 0.0
	if s.unit {
		along = simd.DotFloat64(g, s.Row(slot-s.first)) * l.scale[slot]
	}
	l.store(s, slot, g, scale, along)
}

// store is Store for a slot of s and a known g·x̂.
func (l *List) store(s *segment, slot int, g []float32, scale, along float64) {
	dst, row, inverse := s.grad.Row(slot-s.first), s.Row(slot-s.first), l.scale[slot]
	if !s.unit {
		along = 0
	}
	along *= inverse
	scale *= inverse
	if l.Accumulate {
		simd.Project(g, g, row, along, scale)
		addSaturated(dst, g)
		return
	}
	simd.Project(dst, g, row, along, scale)
}

// addSaturated adds g to dst. Elements saturate.
func addSaturated(dst, g []float32) {
	for d, v := range g {
		dst[d] = Saturate(float64(dst[d]) + float64(v))
	}
}

// Saturate converts v to the nearest float32 that is finite.
func Saturate(v float64) float32 {
	if x := float32(v); x-x == 0 {
		return x
	}
	return float32(max(-math.MaxFloat32, min(v, math.MaxFloat32)))
}
