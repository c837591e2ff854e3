package engine

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"github.com/contrastive-go/contrastive/internal/cache"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/internal/race"
)

const u = 0x1p-24 // unit roundoff of float32

// A model is a problem with the answers of its anchors, evaluated pair by pair in
// float64, with bounds of the errors of the same in float32.
type model struct {
	*Problem
	rowGrad, colGrad [2]Matrix // of the two segments of each list
	lse              [2][][2]float64
	pull, hardPull   []float64 // of Positives and of Hard
	part             float64   // what the Adder adds to each element, unless it is 0
	apart            bool      // whether anchors learn in any order, unless there is an Adder

	s, count [][]float64 // similarities, and 1 for pairs that count
	colCount [][]float64 // the same for the sums of columns
	simErr   float64     // of similarities,
	split    float64     // and relative, of what the pieces of weights lack

	gotRows, gotCols []Stat
}

// LearnRows, LearnCols and Add are the anchors', who note their sums.
func (m *model) LearnRows(first int, sums []Stat, slopes [][2]float64) {
	m.gotRows = append(m.gotRows, sums...)
	copy(slopes, m.lse[0][first:])
	for _, p := range m.pairs() {
		if p.Pairs != nil {
			first, _ := p.Of(first)
			_, end := p.Of(len(m.gotRows) - 1)
			copy(p.Pull[first:end], p.pull[first:end])
		}
	}
}

func (m *model) LearnCols(first int, sums []Stat, slopes [][2]float64) {
	m.gotCols = append(m.gotCols, sums...)
	copy(slopes, m.lse[1][first:])
}

// A pulled is pairs, nil for none, and what each is to pull.
type pulled struct {
	*Pairs
	pull []float64
}

func (m *model) pairs() [2]pulled { return [...]pulled{{m.Positives, m.pull}, {m.Hard, m.hardPull}} }

type adder struct{ *model }

func (a adder) Add(_ int, g []float32, factor float64) {
	for d := range g {
		g[d] += float32(a.part * factor)
	}
}

// newModel returns a problem of vectors of norm 1 at most. The first segments of its
// lists are normalised, the others as they are; all have gradients.
func newModel(r *rand.Rand, k *kernel.Kernels, rows, cols, dim, pieces int) *model {
	m := &model{Problem: &Problem{
		Rows: new(List), Cols: new(List),
		Terms: 1, Exponents: [2]float64{1}, Scale: 5, Pieces: pieces, Workers: 1,
	}}
	list := func(l *List, n int, grads *[2]Matrix) {
		l.Reset(dim)
		for i, part := range [2]int{n/2 + n%2, n / 2} {
			v, stride := NewMatrix(part, dim), dim+i
			for j := range part {
				row, norm := v.Row(j), 0.0
				for d := range row {
					row[d] = float32(r.NormFloat64())
					norm += float64(row[d]) * float64(row[d])
				}
				for d := range row {
					if i == 1 {
						row[d] *= float32(0.99 / math.Sqrt(norm))
					}
				}
			}
			grads[i] = Matrix{part, dim, stride, slices.Repeat([]float32{7}, part*stride)}
			if bad, ok := l.Add(v, grads[i], i == 0); !ok {
				panic(bad)
			}
		}
	}
	list(m.Rows, rows, &m.rowGrad)
	list(m.Cols, cols, &m.colGrad)
	for side, n := range [2]int{rows, cols} {
		for range n {
			m.lse[side] = append(m.lse[side], [2]float64{r.Float64() - 0.3, r.Float64() - 0.3})
		}
	}
	// A rounding of each element, and the sum. A vector and its product with another
	// have a norm of 1 at most.
	m.simErr = float64(dim+4) * u
	if n := k.Pieces(pieces); n > 0 {
		products := float64(n * (n + 1) / 2)
		m.split = 3 * math.Exp2(float64(-8*n))
		m.simErr = m.split + float64(roundUp(dim, 32)+2)*products*u
		m.split += float64(max(rows, cols)+32) * products * u
	}
	return m
}

// NewMatrix returns a Matrix of zeros.
func NewMatrix(rows, cols int) Matrix { return Matrix{rows, cols, cols, make([]float32, rows*cols)} }

// vector returns a vector of a list.
func vector(l *List, slot int) []float64 {
	var v []float64
	for _, x := range l.row(slot) {
		v = append(v, float64(x)*l.scale[slot])
	}
	return v
}

func vectorsOf(l *List) (v [][]float64) {
	for i := range l.n {
		v = append(v, vector(l, i))
	}
	return v
}

func table(rows, cols int) [][]float64 {
	t := make([][]float64, rows)
	for i := range t {
		t[i] = make([]float64, cols)
	}
	return t
}

// measure computes the similarities, and which pairs count.
func (m *model) measure() {
	m.measureAll()
	if m.Filter != nil {
		m.filter()
	}
}

// measureAll is measure without the filter.
func (m *model) measureAll() {
	x, y := vectorsOf(m.Rows), vectorsOf(m.Cols)
	m.s, m.count = table(m.rows(), m.Cols.n), table(m.rows(), m.Cols.n)
	for i := range m.s {
		for j := range y {
			for d, v := range x[i] {
				m.s[i][j] += v * y[j][d]
			}
			m.count[i][j] = 1
			for _, l := range m.Mask.ColLabels {
				if k := j - l.First; m.Mask.RowLabels != nil && k >= 0 && k < len(l.Labels) && m.Mask.RowLabels[i] == l.Labels[k] {
					m.count[i][j] = 0
				}
			}
			if slices.Contains(m.Mask.Diagonals[:m.Mask.Count], j-i) {
				m.count[i][j] = 0
			}
			if m.Mask.Excluded != nil && slices.Contains(m.Mask.Excluded[m.Mask.ExcludedFirst[i]:m.Mask.ExcludedFirst[i+1]], int32(j)) {
				m.count[i][j] = 0
			}
		}
	}
	m.colCount = m.count
}

// filter leaves out the pairs that the filter does, of the sums of rows and of columns.
func (m *model) filter() {
	f, all := m.Filter, m.count
	m.count, m.colCount = table(len(m.s), m.Cols.n), table(len(m.s), m.Cols.n)
	guide := m.guide()
	for i := range m.s {
		for j, counts := range all[i] {
			m.count[i][j], m.colCount[i][j] = counts, counts
			if j >= len(guide[i]) {
				continue
			}
			leaves := guide[i][j] > float64(f.RowLimits[i])
			if leaves {
				m.count[i][j] = 0
			}
			if f.ColLimits != nil && j < len(f.ColLimits) {
				leaves = guide[i][j] > float64(f.ColLimits[j])
			}
			if leaves {
				m.colCount[i][j] = 0
			}
		}
	}
}

// guide returns the similarities that a filter looks at.
func (m *model) guide() [][]float64 {
	if m.Filter.GuideRows == nil {
		return m.s
	}
	x, y := vectorsOf(m.Filter.GuideRows), vectorsOf(m.Filter.GuideCols)
	g := table(len(x), len(y))
	for i := range g {
		for j := range g[i] {
			g[i][j] = dot64(x[i], y[j])
		}
	}
	return g
}

// bias returns what is added to the similarities of a column.
func (m *model) bias(j int) float64 {
	if m.ColBias == nil {
		return 0
	}
	return float64(m.ColBias[j])
}

// ofRow and ofCol return the similarities of an anchor, which of its pairs count, and the
// bias of their columns.
func (m *model) ofRow(i int) (s, count, bias []float64) {
	for j := range m.s[i] {
		bias = append(bias, m.bias(j))
	}
	return m.s[i], m.count[i], bias
}

func (m *model) ofCol(j int) (s, count, bias []float64) {
	for i := range m.s {
		s, count, bias = append(s, m.s[i][j]), append(count, m.colCount[i][j]), append(bias, m.bias(j))
	}
	return s, count, bias
}

// expErr bounds the relative error of an exponential, or of a sigmoid: those of its
// similarity, the rounding of the exponent, and its own.
func (m *model) expErr() float64 {
	scale := m.Scale * max(1, m.Exponents[0], m.Exponents[1]) * max(1, m.Bound)
	return math.Expm1(2*scale*m.simErr + (8+4*(2*scale+math.Abs(m.Bias)))*u)
}

// stat returns the sums of an anchor over the similarities s of pairs that count, with
// bounds of their errors. Sums of float32 have at most 128 terms in 4 lanes or more.
func (m *model) stat(s, count, bias []float64) (want, err Stat) {
	e, lanes := m.expErr(), 34*u
	if !slices.Contains(count, 1) {
		want.Top = math.Inf(-1)
		for t := range m.Terms {
			want.LSE[t] = want.Top
		}
		return want, err
	}
	want.Top, err.Top = math.Inf(-1), m.simErr
	for j, v := range s {
		if count[j] == 0 {
			continue
		}
		want.Top = max(want.Top, v)
		switch m.Form {
		case Sigmoid:
			y := m.Scale * v
			z := y + m.Bias
			w, off := sigmoid(z), m.Scale*m.simErr+4*(math.Abs(y)+math.Abs(m.Bias))*u
			want.Sum += max(z, 0) + math.Log1p(math.Exp(-math.Abs(z)))
			err.Sum += off + (20*u+lanes)*(max(z, 0)+math.Log1p(math.Exp(-math.Abs(z))))
			want.Weight += w
			err.Weight += w*e + (20*u+lanes)*w
			want.Moment += w * y
			err.Moment += w*(math.Abs(y)*(e+20*u+lanes)+off) + 1e-30
		case Squares:
			want.Sum += v * v
			err.Sum += 2*math.Abs(v)*m.simErr + m.simErr*m.simErr + lanes*v*v
		}
	}
	if m.Form != Softmax {
		if m.Form == Squares {
			want.Top = math.Inf(-1) // is not asked for
		}
		return want, err
	}
	top := math.Inf(-1)
	for j, v := range s {
		if count[j] > 0 {
			top = max(top, v+bias[j])
		}
	}
	for t := range m.Terms {
		sum, moment, biases := 0.0, 0.0, 0.0
		scale := m.Exponents[t] * m.Scale
		for j, v := range s {
			v += bias[j]
			w := count[j] * math.Exp(scale*(v-top))
			sum += w
			moment += w * scale * v
			biases += w * bias[j]
		}
		want.LSE[t] = math.Log(sum) + scale*top
		want.Mean[t] = moment / sum
		err.LSE[t] = e + lanes
		err.Mean[t] = 2*(e+lanes)*2*scale*max(1, m.Bound) + scale*(m.simErr+4*u)
		if t == 0 {
			want.Bias, err.Bias = biases/sum, 2*(e+lanes)*m.Bound
		}
	}
	return want, err
}

func sigmoid(z float64) float64 {
	if z < 0 {
		return math.Exp(z) / (1 + math.Exp(z))
	}
	return 1 / (1 + math.Exp(-z))
}

// weight returns ∂Loss/∂logit of a pair, over both of its orders if rows are columns,
// and a bound of its error.
func (m *model) weights(rowStat, colStat []Stat) (w, err [][]float64) {
	w, err = table(m.rows(), m.Cols.n), table(m.rows(), m.Cols.n)
	for i := range w {
		for j, s := range m.s[i] {
			if m.count[i][j]+m.colCount[i][j] == 0 {
				continue
			}
			s += m.bias(j)
			add := func(v, e float64) { w[i][j], err[i][j] = w[i][j]+v, err[i][j]+e }
			switch m.Form {
			case Sigmoid:
				v := m.Gain * sigmoid(m.Scale*s+m.Bias)
				if m.RowGains != nil {
					v *= float64(m.RowGains[i])
				}
				add(v, v*(m.expErr()+20*u))
			case Squares:
				add(m.Gain*s, m.Gain*m.simErr)
			default:
				for t := range m.Terms {
					x, slope := m.Exponents[t], m.Exponents[t]
					if m.Detached {
						slope = 1
					}
					if m.count[i][j] > 0 {
						v := slope * m.lse[0][i][t] * math.Exp(x*m.Scale*s-rowStat[i].LSE[t])
						add(v, math.Abs(v)*(2*m.expErr()+150*u))
					}
					if j < len(colStat) && m.colCount[i][j] > 0 {
						v := slope * m.lse[1][j][t] * math.Exp(x*m.Scale*s-colStat[j].LSE[t])
						add(v, math.Abs(v)*(2*m.expErr()+150*u))
					}
				}
			}
		}
	}
	return w, err
}

// A gradient is that of a vector times Scale, and bounds of its errors.
type gradient struct{ want, err []float64 }

func (g *gradient) add(w, err float64, v []float64) {
	for d, x := range v {
		g.want[d] += w * x
		g.err[d] += err * math.Abs(x)
	}
}

// gradients returns those of the slots of a list.
func (m *model) gradients(list *List, w, err [][]float64) []gradient {
	grads := make([]gradient, list.n)
	for i := range grads {
		grads[i] = gradient{make([]float64, list.dim), make([]float64, list.dim)}
	}
	x, y := vectorsOf(m.Rows), vectorsOf(m.Cols)
	sums := float64(max(len(w), m.Cols.n)+80)*u + m.split
	for i := range w {
		for j := range w[i] {
			e := err[i][j] + sums*math.Abs(w[i][j])
			if list == m.Rows {
				grads[i].add(w[i][j], e, y[j])
			}
			if list == m.Cols {
				grads[j].add(w[i][j], e, x[i])
			}
		}
	}
	for _, p := range m.pairs() {
		for i := range w {
			if p.Pairs == nil {
				break
			}
			first, end := p.Of(i)
			for k := first; k < end; k++ {
				slot, pull := int(p.Slots[k]), p.pull[k]
				if list == m.Rows {
					grads[i].add(pull, 8*u*math.Abs(pull), vector(p.List, slot))
				}
				if list == p.List {
					grads[slot].add(pull, 8*u*math.Abs(pull), x[i])
				}
			}
		}
	}
	if list == m.Rows && m.part != 0 {
		for i := range w {
			grads[i].add(m.part, 4*u*math.Abs(m.part), slices.Repeat([]float64{1}, list.dim))
		}
	}
	return grads
}

// row turns the gradient of a slot's vector into that of its row.
func (m *model) row(list *List, slot int, g gradient) gradient {
	v, along, alongErr := vector(list, slot), 0.0, 0.0
	s := list.segment(slot)
	for d, x := range v {
		along += g.want[d] * x
		alongErr += (g.err[d] + 4*u*math.Abs(g.want[d])) * math.Abs(x)
	}
	scale := m.Scale
	if s.unit {
		scale *= list.scale[slot]
	}
	for d, x := range v {
		g.err[d] += 4 * u * math.Abs(g.want[d])
		if s.unit {
			g.want[d] -= along * x
			g.err[d] += alongErr * math.Abs(x)
		}
		g.want[d] *= scale
		g.err[d] *= scale
	}
	return g
}

// poison fills the scratch memory of an engine with NaN: nothing may depend on what was
// in it.
func poison(v reflect.Value) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			poison(v.Field(i))
		}
	case v.Kind() == reflect.Array, v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			poison(v.Index(i))
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Float32:
		s := unsafe.Slice((*float32)(v.UnsafePointer()), v.Cap())
		for i := range s {
			s[i] = float32(math.NaN())
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Float64:
		s := unsafe.Slice((*float64)(v.UnsafePointer()), v.Cap())
		for i := range s {
			s[i] = math.NaN()
		}
	}
}

// check runs the problem by a plan and compares everything with the model.
func (m *model) check(t *testing.T, l plan, e *Engine) {
	t.Helper()
	poison(reflect.ValueOf(e).Elem())
	m.measure()
	var a Anchors = m
	if m.part != 0 {
		a = adder{m}
	}
	m.gotRows, m.gotCols = nil, nil
	if m.apart && m.part == 0 {
		a = newApartModel(t, m)
	}
	e.walk(m.Problem, l, a)
	if a, ok := a.(*apartModel); ok {
		m.gotRows, m.gotCols = a.stats[0][:a.totalled[0]], a.stats[1][:a.totalled[1]]
	}

	rowStat, colStat := make([]Stat, m.rows()), make([]Stat, m.ColAnchors)
	for i := range rowStat {
		var err Stat
		rowStat[i], err = m.stat(m.ofRow(i))
		if m.RowWeights == nil {
			checkStat(t, fmt.Sprintf("row %d", i), m.gotRows[i], rowStat[i], err)
		}
	}
	for j := range colStat {
		var err Stat
		colStat[j], err = m.stat(m.ofCol(j))
		if m.RowWeights == nil {
			checkStat(t, fmt.Sprintf("column %d", j), m.gotCols[j], colStat[j], err)
		}
	}
	if m.RowWeights != nil && len(m.gotRows)+len(m.gotCols) > 0 {
		t.Error("anchors are told sums that are known")
	}
	w, err := m.weights(rowStat, colStat)
	lists := []*List{m.Rows, m.Cols}
	if m.Symmetric {
		lists = lists[:1]
	}
	for _, p := range m.pairs() {
		if p.Pairs != nil && p.List != m.Cols {
			lists = append(lists, p.List)
		}
	}
	for _, list := range lists {
		for slot, g := range m.gradients(list, w, err) {
			s := list.segment(slot)
			if s.grad.Rows == 0 {
				continue
			}
			g = m.row(list, slot, g)
			if list.Accumulate {
				for d := range g.want {
					g.err[d] += 2 * u * (math.Abs(g.want[d]) + 7)
					g.want[d] += 7 // what newModel leaves there
				}
			}
			for d, got := range s.grad.Row(slot - s.first) {
				if !(math.Abs(float64(got)-g.want[d]) <= g.err[d]+1e-30) {
					t.Fatalf("%s: gradient of slot %d: element %d is %v, want %v ± %.2g", listName(m, list), slot, d, got, g.want[d], g.err[d])
				}
			}
		}
	}
}

func listName(m *model, l *List) string {
	switch l {
	case m.Rows:
		return "rows"
	case m.Cols:
		return "columns"
	}
	return "positives"
}

func checkStat(t *testing.T, what string, got, want, err Stat) {
	t.Helper()
	for _, c := range [...]struct {
		name           string
		got, want, err float64
	}{
		{"LSE", got.LSE[0], want.LSE[0], err.LSE[0]},
		{"second LSE", got.LSE[1], want.LSE[1], err.LSE[1]},
		{"mean", got.Mean[0], want.Mean[0], err.Mean[0]},
		{"second mean", got.Mean[1], want.Mean[1], err.Mean[1]},
		{"top", got.Top, want.Top, err.Top},
		{"sum", got.Sum, want.Sum, err.Sum},
		{"weight", got.Weight, want.Weight, err.Weight},
		{"moment", got.Moment, want.Moment, err.Moment},
		{"bias", got.Bias, want.Bias, err.Bias},
	} {
		if c.got != c.want && !(math.Abs(c.got-c.want) <= c.err) {
			t.Fatalf("%s: %s is %v, want %v ± %.2g", what, c.name, c.got, c.want, c.err)
		}
	}
}

// eachKernels calls f with the kernels of every level, and with portable ones in the
// shapes of levels that may not be at hand.
func eachKernels(t *testing.T, f func(t *testing.T, k *kernel.Kernels, pieces int)) {
	isatest.Each(t, func(t *testing.T) {
		for pieces := 1; pieces <= MaxPieces; pieces++ {
			if k := kernel.Active(); pieces == MaxPieces || k.Pieces(pieces) > 0 {
				f(t, k, pieces)
			}
		}
	})
	for _, name := range []string{"avx512", "amx", "neon", "odd"} {
		k := shapes()[name]
		t.Run("portable/"+name, func(t *testing.T) {
			for pieces := 1; pieces <= MaxPieces; pieces++ {
				if pieces == MaxPieces || k.Pieces(pieces) > 0 {
					f(t, k, pieces)
				}
			}
		})
	}
}

// sizes cross the boundaries of tiles, stripes and chunks.
func sizes(k *kernel.Kernels) [][3]int {
	return [][3]int{
		{1, 1, 1}, {3, 5, 4}, {5, 3, k.Cols + 1}, {3, 5, k.Depth + k.Cols + 3},
		{k.Rows + 1, k.Cols + 1, 5}, {2*k.Cols + 1, 2*k.Cols + 1, 3},
		{stripeRows + k.Rows + 1, k.Cols + 3, 3}, {2*stripeRows + 1, 9, 2},
		{7, 2*partCols/4 + k.Cols + 1, 3}, {stripeRows + 40, partCols + 5, 2},
	}
}

// modes are changes to a problem that lead to all modes of sweeps.
var modes = map[string]func(m *model, r *rand.Rand){
	"fused":          func(m *model, r *rand.Rand) {},
	"fused, wide":    func(m *model, r *rand.Rand) { m.Scale = 77.7 },
	"columns":        func(m *model, r *rand.Rand) { m.ColAnchors = m.Cols.n },
	"columns, wide":  func(m *model, r *rand.Rand) { m.ColAnchors, m.Scale = (m.Cols.n+1)/2, 77.7 },
	"columns, wider": func(m *model, r *rand.Rand) { m.ColAnchors, m.Scale = (m.Cols.n+1)/2, 300 },
	"two terms":      func(m *model, r *rand.Rand) { m.Terms, m.Exponents = 2, [2]float64{1, 2.5} },
	"two terms, wide": func(m *model, r *rand.Rand) {
		m.Terms, m.Exponents, m.Scale = 2, [2]float64{1, 1.5}, 77.7
	},
	"two terms, columns": func(m *model, r *rand.Rand) {
		m.Terms, m.Exponents, m.ColAnchors = 2, [2]float64{0.5, 1}, min(3, m.Cols.n)
	},
	"symmetric":            symmetric,
	"symmetric, wide":      func(m *model, r *rand.Rand) { symmetric(m, r); m.Scale = 77.7 },
	"symmetric, two terms": func(m *model, r *rand.Rand) { symmetric(m, r); m.Terms, m.Exponents = 2, [2]float64{1, 2.5} },
	"symmetric, a queue": func(m *model, r *rand.Rand) {
		symmetric(m, r)
		m.RowSlots = m.Rows.segments[0].Rows
		m.Rows.segments[1].grad, m.lse[1] = Matrix{}, nil
	},
	"sigmoid": func(m *model, r *rand.Rand) { m.Form, m.Bias, m.Gain = Sigmoid, -3, 0.3 },
	"squares": func(m *model, r *rand.Rand) { m.Form, m.Scale, m.Gain = Squares, 1, 0.3 },
	"known weights": func(m *model, r *rand.Rand) {
		m.ColAnchors = m.Cols.n
		know(m)
	},
	"known weights of rows": func(m *model, r *rand.Rand) { know(m) },
	"known weights, wide":   func(m *model, r *rand.Rand) { m.Scale = 77.7; know(m) },
	"labels":                labels,
	"positives among columns": func(m *model, r *rand.Rand) {
		m.Mask.Exclude(0)
		m.Positives = pair(m, m.Cols, &m.pull, func(i int) []int { return []int{i}[:min(1, max(0, m.Cols.n-i))] }, r)
	},
	"runs of positives":       pairEach,
	"runs of positives, wide": func(m *model, r *rand.Rand) { pairEach(m, r); m.Scale = 77.7 },
	"runs of positives, columns": func(m *model, r *rand.Rand) {
		pairEach(m, r)
		m.ColAnchors = m.Cols.n
	},
	"runs of positives, sigmoid": func(m *model, r *rand.Rand) {
		pairEach(m, r)
		m.Form, m.Bias, m.Gain = Sigmoid, -3, 0.3
		if m.Cols.n == 1 { // which some rows are to be compared with
			m.Mask = Mask{}
		}
	},
	"symmetric, runs":       pairViews,
	"symmetric, runs, wide": func(m *model, r *rand.Rand) { pairViews(m, r); m.Scale = 77.7 },
	"lists of positives": func(m *model, r *rand.Rand) {
		m.part = 0.25
		m.Positives = pair(m, m.Cols, &m.pull, func(i int) []int { return r.Perm(m.Cols.n)[:i%min(4, m.Cols.n)] }, r)
	},
	"lists of positives, labels": func(m *model, r *rand.Rand) {
		labels(m, r)
		m.Positives = pair(m, m.Cols, &m.pull, func(i int) []int { return r.Perm(m.Cols.n)[:i%2] }, r)
	},
	"positives of their own": func(m *model, r *rand.Rand) {
		other := newModel(r, kernel.Active(), m.Rows.n, 3, m.Rows.dim, MaxPieces)
		m.Positives = pair(m, other.Rows, &m.pull, func(i int) []int { return []int{(i + 1) % m.Rows.n} }, r)
	},
	"no columns": func(m *model, r *rand.Rand) {
		m.Cols.Reset(m.Cols.dim)
		m.part = 0.25
	},
	"accumulated": func(m *model, r *rand.Rand) { m.Rows.Accumulate, m.Cols.Accumulate = true, true },
	"detached":    func(m *model, r *rand.Rand) { m.Exponents[0], m.Detached = 2.5, true },
	"detached, columns": func(m *model, r *rand.Rand) {
		m.Exponents[0], m.Detached, m.ColAnchors = 2.5, true, m.Cols.n
	},
	"bias":          bias,
	"bias, wide":    func(m *model, r *rand.Rand) { bias(m, r); m.Scale = 77.7 },
	"bias, columns": func(m *model, r *rand.Rand) { bias(m, r); m.ColAnchors = (m.Cols.n + 1) / 2 },
	"gains of rows": func(m *model, r *rand.Rand) {
		m.Form, m.Bias, m.Gain = Sigmoid, -3, 0.3
		for i := range m.Rows.n {
			m.RowGains = append(m.RowGains, float32(i%3)/2)
		}
	},
	"gains next to nothing": func(m *model, r *rand.Rand) {
		m.Form, m.Bias, m.Gain, m.ColAnchors = Sigmoid, -3, 0.3, 0
		for range m.Rows.n {
			m.RowGains = append(m.RowGains, 1e-40)
		}
		m.Positives = pair(m, m.Cols, &m.pull, func(i int) []int { return []int{i % m.Cols.n} }, r)
	},
	"filter":                func(m *model, r *rand.Rand) { limits(m, &Filter{}) },
	"filter, wide":          func(m *model, r *rand.Rand) { m.Scale = 77.7; limits(m, &Filter{}) },
	"filter, columns":       func(m *model, r *rand.Rand) { m.ColAnchors = (m.Cols.n + 1) / 2; limits(m, &Filter{}) },
	"filter, columns, bias": func(m *model, r *rand.Rand) { m.ColAnchors = m.Cols.n; bias(m, r); limits(m, &Filter{}) },
	"filter, labels":        func(m *model, r *rand.Rand) { labels(m, r); limits(m, &Filter{}) },
	"guide":                 func(m *model, r *rand.Rand) { limits(m, guideOf(m, r)) },
	"guide, columns":        func(m *model, r *rand.Rand) { m.ColAnchors = m.Cols.n; limits(m, guideOf(m, r)) },
	"hard": func(m *model, r *rand.Rand) {
		other := newModel(r, kernel.Active(), 2*m.Rows.n, 3, m.Rows.dim, MaxPieces)
		m.Hard = pair(m, other.Rows, &m.hardPull, func(i int) []int { return []int{2 * i, 2*i + 1}[:i%3%2+i%2] }, r)
		m.Positives = pair(m, m.Cols, &m.pull, func(i int) []int { return []int{i % m.Cols.n} }, r)
	},
	"symmetric, labels": func(m *model, r *rand.Rand) {
		symmetric(m, r)
		for range m.Rows.n {
			m.Mask.RowLabels = append(m.Mask.RowLabels, r.IntN(4))
		}
		m.Mask.ColLabels[0].Labels = m.Mask.RowLabels
	},
	"symmetric, paired":       pairOff,
	"symmetric, paired, wide": func(m *model, r *rand.Rand) { pairOff(m, r); m.Scale = 77.7 },
	"rows alone":              func(m *model, r *rand.Rand) { m.Cols.segments[0].grad, m.Cols.segments[1].grad = Matrix{}, Matrix{} },
	"columns alone":           func(m *model, r *rand.Rand) { m.Rows.segments[0].grad, m.Rows.segments[1].grad = Matrix{}, Matrix{} },
	"some": func(m *model, r *rand.Rand) {
		m.Rows.segments[0].grad, m.Cols.segments[1].grad = Matrix{}, Matrix{}
		m.ColAnchors = m.Cols.n / 2
	},
}

func labels(m *model, r *rand.Rand) {
	for range m.Rows.n {
		m.Mask.RowLabels = append(m.Mask.RowLabels, r.IntN(4))
	}
	third := m.Cols.n / 3
	for k, first := range [...]int{0, 2 * third} { // and none between
		l := Labels{First: first}
		for range third {
			l.Labels = append(l.Labels, r.IntN(5))
		}
		m.Mask.ColLabels[k] = l
	}
	m.Mask.Exclude(1)
	m.Mask.Excluded, m.Mask.ExcludedFirst = []int32{}, []int32{0}
	for range m.rows() {
		for j := range m.Cols.n {
			if r.IntN(7) == 0 {
				m.Mask.Excluded = append(m.Mask.Excluded, int32(j))
			}
		}
		m.Mask.ExcludedFirst = append(m.Mask.ExcludedFirst, int32(len(m.Mask.Excluded)))
	}
}

func symmetric(m *model, r *rand.Rand) {
	m.Cols, m.lse[1] = m.Rows, m.lse[0]
	m.Symmetric, m.RowSlots = true, m.Rows.n
	m.Mask.Exclude(0)
}

// know makes the sums of a problem known.
func know(m *model) {
	m.measure()
	m.RowWeights, m.ColWeights = []Weight{}, nil
	for i := range m.s {
		s, _ := m.stat(m.ofRow(i))
		m.RowWeights = append(m.RowWeights, m.Weight(s, m.lse[0][i]))
	}
	for j := range m.ColAnchors {
		stat, _ := m.stat(m.ofCol(j))
		m.ColWeights = append(m.ColWeights, m.Weight(stat, m.lse[1][j]))
	}
}

// pair returns pairs of the rows with slots of list, and what they pull.
func pair(m *model, list *List, pull *[]float64, slots func(i int) []int, r *rand.Rand) *Pairs {
	p := new(Pairs)
	p.Reset(list)
	for i := range m.rows() {
		for _, j := range slots(i) {
			p.Add(j, Cosine(m.Rows, i, list, j))
			*pull = append(*pull, r.NormFloat64())
		}
		p.Close()
	}
	return p
}

// pairEach makes the first slots the positives of the rows of their numbers.
func pairEach(m *model, r *rand.Rand) {
	m.Mask.Exclude(0)
	m.Positives = new(Pairs)
	m.Positives.Reset(m.Cols)
	m.Positives.AddEach(m.Rows, min(m.Rows.n, m.Cols.n), 0)
	m.pullRuns(r)
}

// pairViews makes the rows of the second half the positives of those of the first, and these
// theirs.
func pairViews(m *model, r *rand.Rand) {
	symmetric(m, r)
	half := m.Rows.n / 2
	m.Mask.Exclude(half)
	m.Mask.Exclude(-half)
	m.Positives = new(Pairs)
	m.Positives.Reset(m.Rows)
	m.Positives.AddEach(m.Rows, half, half)
	m.Positives.AddReverse(half, 0)
	m.pullRuns(r)
}

// pullRuns sets what Positives pull, of which further rows have none.
func (m *model) pullRuns(r *rand.Rand) {
	for range m.Positives.Slots {
		m.pull = append(m.pull, r.NormFloat64())
	}
	for len(m.Positives.First) <= m.rows() {
		m.Positives.Close()
	}
}

// pairOff makes each row the positive of another.
func pairOff(m *model, r *rand.Rand) {
	symmetric(m, r)
	m.Positives = pair(m, m.Cols, &m.pull, func(i int) []int { return []int{i ^ 1}[:min(1, max(0, m.Rows.n-(i^1)))] }, r)
	m.Mask.Excluded, m.Mask.ExcludedFirst = m.Positives.Slots, m.Positives.First
}

// bias adds a bias to the similarities of columns.
func bias(m *model, r *rand.Rand) {
	for range m.Cols.n {
		m.ColBias = append(m.ColBias, float32(0.5-2*r.Float64()))
	}
	m.Bound = 2.5
	m.simErr += 2 * u * m.Bound
}

// limits filters by the similarities of the problem or, if there is one, of a guide, in
// the widest gap among those of each anchor, if it is wider than their errors.
func limits(m *model, f *Filter) {
	m.Filter = f
	m.measureAll()
	guide := m.guide()
	limit := func(g []float64) float32 {
		g = slices.Sorted(slices.Values(g))
		widest, at := 4*m.simErr, 2.0 // above all
		for k := len(g)/3 + 1; k < len(g); k++ {
			if gap := g[k] - g[k-1]; gap > widest {
				widest, at = gap, (g[k]+g[k-1])/2
			}
		}
		return float32(at)
	}
	for i := range guide {
		f.RowLimits = append(f.RowLimits, limit(guide[i]))
	}
	for j := range m.ColAnchors {
		var g []float64
		for i := range guide {
			if j < len(guide[i]) {
				g = append(g, guide[i][j])
			}
		}
		f.ColLimits = append(f.ColLimits, limit(g))
	}
}

// guideOf returns a filter with a guide, of all but the last columns.
func guideOf(m *model, r *rand.Rand) *Filter {
	g := newModel(r, kernel.Active(), m.Rows.n, max(1, m.Cols.n-2), m.Rows.dim, m.Pieces)
	return &Filter{GuideRows: g.Rows, GuideCols: g.Cols}
}

// TestModes compares every mode with plain loops in float64, on shapes that cross all
// boundaries of its walk.
func TestModes(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *kernel.Kernels, pieces int) {
		r, e := rand.New(rand.NewPCG(1, 2)), New()
		for _, name := range slices.Sorted(maps.Keys(modes)) {
			for i, size := range sizes(k) {
				slow := pieces > 1 && k.Pieces(pieces) > 0 && k != kernel.Active()
				if i > 3 && (slow && i > 5 || testing.Short() && (i+len(name))%3 > 0 || race.Enabled) {
					continue
				}
				m := newModel(r, k, size[0], size[1], size[2], pieces)
				modes[name](m, r)
				m.KeepBytes = []int{0, keptStripe(planOf(m.Problem, k)), 1 << 30}[i%3]
				t.Run(fmt.Sprintf("%s/%dx%dx%d in %d", name, size[0], size[1], size[2], pieces), func(t *testing.T) { m.check(t, planOf(m.Problem, k), e) })
			}
		}
	})
}

// TestOwnPanels is TestModes for one list against itself, of so many elements that workers
// share the panels of a stripe's own rows: in one stripe, and in two.
func TestOwnPanels(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *kernel.Kernels, pieces int) {
		if k != kernel.Active() && (pieces < MaxPieces || testing.Short() || race.Enabled) {
			return
		}
		r, e := rand.New(rand.NewPCG(1, 2)), New()
		for i, name := range []string{"symmetric", "symmetric, wide", "symmetric, two terms", "symmetric, a queue", "symmetric, runs", "symmetric, paired"} {
			n := []int{loneStripeRows - 3, loneStripeRows + 40}[i%2]
			dim := minParallel*k.Rows*k.Cols/(2*n*n) + 1
			if name == "symmetric, a queue" {
				dim *= 2 // there are fewer rows
			}
			m := newModel(r, k, n, 3, dim, pieces)
			modes[name](m, r)
			m.Workers, m.KeepBytes = 1+i/2, []int{1 << 30, 0, keptStripe(planOf(m.Problem, k))}[i/2]
			if l := planOf(m.Problem, k); l.ownChunks(l.stripeAt(0)) != 2 {
				t.Fatalf("%s: the panels of a stripe of %d rows are %d chunks", name, l.stripe, l.ownChunks(l.stripeAt(0)))
			}
			t.Run(fmt.Sprintf("%s/%dx%d in %d", name, n, dim, pieces), func(t *testing.T) { m.check(t, planOf(m.Problem, k), e) })
		}
	})
}

// TestOpposite holds that the weights of one list against itself which are laid out for the
// opposite order are those that the same task has made: in no other are they sure to be there.
func TestOpposite(t *testing.T) {
	k := kernel.Active()
	for _, name := range []string{"symmetric", "symmetric, wide", "symmetric, two terms", "symmetric, labels", "symmetric, runs", "symmetric, paired"} {
		m, e := newModel(rand.New(rand.NewPCG(1, 2)), k, 2*loneStripeRows, 3, 40, MaxPieces), New()
		modes[name](m, rand.New(rand.NewPCG(1, 2)))
		e.Enter()
		e.Start(4, m.Rows.n, m.Rows.n, 1<<10)
		for _, m.KeepBytes = range []int{0, keptStripe(planOf(m.Problem, k)), 1 << 30} {
			l := planOf(m.Problem, k)
			e.begin(m.Problem, l)
			for i := range l.stripes() {
				s := step{mode: &weights, stripe: l.stripeAt(i), rowGrads: true, colGrads: true, recalls: l.isKept(l.stripeAt(i))}
				if bands := l.bands(s.stripe, l.bandOf(s.stripe, e.bandsOf(s.mode))); bands > 1 && !e.weighsPanels(s) {
					t.Errorf("%s, %d bytes: stripe %d is walked in %d bands", name, m.KeepBytes, i, bands)
				}
			}
			e.end()
		}
		e.Leave()
	}
}

// TestFewColumns is TestModes for problems that defer the weights of fewer columns than
// vectors have elements, and keep the first of two stripes, if they keep any.
func TestFewColumns(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r, e, k := rand.New(rand.NewPCG(1, 2)), New(), kernel.Active()
		for _, name := range []string{"fused", "fused, wide", "filter, wide"} {
			m := newModel(r, k, stripeRows+k.Rows+1, partCols+5, partCols+k.Cols+9, MaxPieces)
			modes[name](m, r)
			m.KeepBytes = keptStripe(planOf(m.Problem, k))
			t.Run(name, func(t *testing.T) { m.check(t, planOf(m.Problem, k), e) })
		}
	})
}

// TestCuts is TestModes for stripes, parts and chunks of few rows and columns, so that small
// problems have many of each, with any number of workers and any part of what is kept.
func TestCuts(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *kernel.Kernels, pieces int) {
		if k != kernel.Active() {
			return // takes too long
		}
		trials := 12
		if testing.Short() || race.Enabled {
			trials = 4
		}
		r, e := rand.New(rand.NewPCG(1, 2)), New()
		pick := func(from ...int) int { return from[r.IntN(len(from))] }
		for _, name := range slices.Sorted(maps.Keys(modes)) {
			for trial := range trials {
				c := cuts{
					stripeRows: pick(1, 30, 60), loneStripeRows: pick(0, 1000), deferredFloats: pick(1<<10, 1<<20),
					partCols: pick(1, 16, 40), maxChunks: pick(2, 3, 32), leastShared: pick(1, 1000),
				}
				rows, cols := 1+r.IntN(3*lcm(k.Rows, k.Cols)), 1+r.IntN(6*k.Cols)
				m := newModel(r, k, rows, cols, pick(1+r.IntN(9), cols+r.IntN(k.Cols)), pieces)
				modes[name](m, r)
				m.apart = trial%2 == 0
				m.KeepBytes = pick(0, keptStripe(c.plan(m.Problem, k)), 1<<30)
				workers := 1 + r.IntN(4)
				t.Run(fmt.Sprintf("%s/%dx%dx%d in %d by %d, cuts %+v, keeps %d", name, rows, cols, m.Rows.dim, pieces, workers, c, m.KeepBytes), func(t *testing.T) {
					e.Enter()
					defer e.Leave()
					e.Start(workers, 1<<20, 1<<20, 1<<10)
					m.check(t, c.plan(m.Problem, k), e)
				})
			}
		}
	})
}

// shows notes similarities, and that those of a row come in order.
type shows struct {
	t   *testing.T
	got [][]float32
}

func (v *shows) Visit(row0, rows, col0, cols int, block []float32, stride int, top []float32) {
	for r := range rows {
		row, got := block[r*stride:r*stride+cols], &v.got[row0+r]
		if len(*got) != col0 {
			v.t.Errorf("row %d: columns from %d on after %d", row0+r, col0, len(*got))
		}
		if slices.Max(row) > top[r] {
			v.t.Errorf("row %d, columns from %d on: none is greater than %v, but %v is", row0+r, col0, top[r], slices.Max(row))
		}
		*got = append(*got, row...)
	}
}

// equals notes the similarities of equal slots.
type equals struct{ got []float32 }

func (v *equals) Visit(row0, rows, col0, cols int, block []float32, stride int, _ []float32) {
	for i := max(row0, col0); i < min(row0+rows, col0+cols); i++ {
		v.got[i] = block[(i-row0)*stride+i-col0]
	}
}

func TestShow(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *kernel.Kernels, pieces int) {
		r, e := rand.New(rand.NewPCG(1, 2)), New()
		for _, size := range sizes(k) {
			m := newModel(r, k, size[0], size[1], size[2], pieces)
			m.measure()
			for m.Workers = 1; m.Workers < 6; m.Workers++ {
				v, w := shows{t, make([][]float32, m.Rows.n)}, equals{make([]float32, m.Rows.n)}
				all, own := planToShow(m.Problem, k, false), planToShow(m.Problem, k, true)
				if m.Workers == 3 {
					all.shownPanels, own.shownPanels = all.shownWithin(1<<20), own.shownWithin(16<<10)
				}
				if m.Workers%2 == 0 { // a few operands at a time
					all.shownRows, all.shownPanels = all.stripe*(m.Workers/2), m.Workers-1
					own.shownRows, own.shownPanels = own.stripe*(m.Workers/2), m.Workers-1
				}
				e.show(m.Problem, all, &v)
				e.show(m.Problem, own, &w)
				for i, got := range v.got {
					if len(got) != m.Cols.n {
						t.Fatalf("row %d has %d similarities, want %d", i, len(got), m.Cols.n)
					}
					for j, s := range got {
						if want := m.s[i][j]; !(math.Abs(float64(s)-want) <= m.simErr) {
							t.Fatalf("similarity %d, %d is %v, want %v ± %.2g", i, j, s, want, m.simErr)
						}
					}
					if i < m.Cols.n && w.got[i] != got[i] {
						t.Fatalf("similarity %d, %d is %v among all and %v alone", i, i, got[i], w.got[i])
					}
				}
			}
		}
	})
}

// TestShowMemory shows many vectors to an engine, which is to hold the operands of few.
func TestShowMemory(t *testing.T) {
	const dim = 32
	many, few := NewMatrix(160_000, dim), NewMatrix(16, dim)
	for name, size := range map[string][2]Matrix{"rows": {many, few}, "columns": {few, many}} {
		var p Problem
		p.Rows, p.Cols, p.Pieces, p.Workers = new(List), new(List), MaxPieces, 1
		for i, l := range []*List{p.Rows, p.Cols} {
			l.Reset(dim)
			l.Add(size[i], Matrix{}, true)
		}
		e := New()
		e.Show(&p, false, blind{})
		words := cap(e.rows) + cap(e.packed.byVector) + cap(e.packed.byElement)
		if limit := (shownRowBytes + 2*cache.L2 + 64<<10) / 4; words > limit {
			t.Errorf("many %s: operands of %d elements, at most %d are wanted", name, words, limit)
		}
	}
}

// blind looks at nothing.
type blind struct{}

func (blind) Visit(int, int, int, int, []float32, int, []float32) {}

// TestEngineWorkers compares the bits of one worker with those of several.
func TestEngineWorkers(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		k := kernel.Active()
		n := int(math.Sqrt(1.1*minParallel*float64(k.Rows*k.Cols)/2/32)) + 1
		for _, name := range slices.Sorted(maps.Keys(modes)) {
			var want []float32
			for workers := 1; workers <= 4; workers += 3 {
				r := rand.New(rand.NewPCG(1, 2))
				m := newModel(r, k, n, n, 32, MaxPieces)
				modes[name](m, r)
				m.Workers = workers
				New().Run(m.Problem, m)
				var got []float32
				for i := range 2 {
					got = append(append(got, m.rowGrad[i].Data...), m.colGrad[i].Data...)
				}
				if workers == 1 {
					want = got
				} else if !slices.Equal(got, want) {
					t.Errorf("%s: %d workers and one differ", name, workers)
				}
			}
		}
	})
}

// TestCaches compares the bits of plans for second-level caches of several sizes, of which one
// makes bands as small as can be.
func TestCaches(t *testing.T) {
	const dim = 40
	isatest.Each(t, func(t *testing.T) {
		k := kernel.Active()
		n := int(math.Sqrt(1.1*minParallel*float64(k.Rows*k.Cols)/2/dim)) + 1
		for _, name := range []string{"fused", "columns", "symmetric", "sigmoid"} {
			var want []float32
			bands := map[int]bool{}
			for _, bytes := range []int{1 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20} {
				r := rand.New(rand.NewPCG(1, 2))
				m := newModel(r, k, n, n, dim, MaxPieces)
				modes[name](m, r)
				m.Workers = 2
				l, e := planOf(m.Problem, k), New()
				l.mostBand = l.bandWithin(bytes)
				bands[l.bandOf(l.stripeAt(0), bandsPerWorker*m.Workers)] = true
				e.Enter()
				e.walk(m.Problem, l, m)
				e.Leave()
				var got []float32
				for i := range 2 {
					got = append(append(got, m.rowGrad[i].Data...), m.colGrad[i].Data...)
				}
				if want == nil {
					want = got
				} else if !slices.Equal(got, want) {
					t.Errorf("%s: gradients differ by what is for %d bytes", name, bytes)
				}
			}
			if len(bands) < 2 {
				t.Errorf("%s: bands of all caches are the same", name)
			}
		}
	})
}

// An apartModel learns groups in any order.
type apartModel struct {
	*model
	t        *testing.T
	stats    [2][]Stat
	learnt   [2][]bool
	totalled [2]int
}

func newApartModel(t *testing.T, m *model) *apartModel {
	a := &apartModel{model: m, t: t}
	for side, n := range [2]int{m.Rows.n, m.Cols.n} {
		a.stats[side], a.learnt[side] = make([]Stat, n), make([]bool, n)
	}
	return a
}

func (m *apartModel) Apart() bool { return true }

func (m *apartModel) learn(side, first int, sums []Stat, slopes [][2]float64) {
	copy(m.stats[side][first:], sums)
	copy(slopes, m.lse[side][first:])
	for i := range sums {
		if m.learnt[side][first+i] {
			m.t.Errorf("anchor %d of side %d learns twice", first+i, side)
		}
		m.learnt[side][first+i] = true
	}
}

func (m *apartModel) LearnRows(first int, sums []Stat, slopes [][2]float64) {
	m.learn(0, first, sums, slopes)
	for _, p := range m.pairs() {
		if p.Pairs != nil {
			begin, _ := p.Of(first)
			_, end := p.Of(first + len(sums) - 1)
			copy(p.Pull[begin:end], p.pull[begin:end])
		}
	}
}

func (m *apartModel) LearnCols(first int, sums []Stat, slopes [][2]float64) {
	m.learn(1, first, sums, slopes)
}

func (m *apartModel) total(side, first, n int) {
	if first != m.totalled[side] {
		m.t.Errorf("anchors of side %d from %d on are added after %d", side, first, m.totalled[side])
	}
	if slices.Contains(m.learnt[side][first:first+n], false) {
		m.t.Errorf("some of %d anchors of side %d from %d on are added before they have learnt", n, side, first)
	}
	m.totalled[side] = first + n
}

func (m *apartModel) TotalRows(first, n int) { m.total(0, first, n) }
func (m *apartModel) TotalCols(first, n int) { m.total(1, first, n) }

// TestApart compares anchors that learn apart, with one worker and with several, with those
// that learn in order.
func TestApart(t *testing.T) {
	k := kernel.Active()
	n := int(math.Sqrt(1.1*minParallel*float64(k.Rows*k.Cols)/2/32)) + 1
	for _, name := range []string{"fused", "columns, wide", "two terms, columns", "symmetric", "sigmoid", "filter, columns, bias", "positives of their own"} {
		run := func(workers int, apart bool) (m *model, a *apartModel, grads []float32) {
			r := rand.New(rand.NewPCG(1, 2))
			m = newModel(r, k, n, n, 32, MaxPieces)
			modes[name](m, r)
			m.Workers = workers
			if a = newApartModel(t, m); apart {
				New().Run(m.Problem, a)
			} else {
				New().Run(m.Problem, m)
			}
			for i := range 2 {
				grads = append(append(grads, m.rowGrad[i].Data...), m.colGrad[i].Data...)
			}
			return m, a, grads
		}
		want, _, wantGrads := run(1, false)
		for _, workers := range []int{1, 4} {
			_, got, grads := run(workers, true)
			for side, stats := range [2][]Stat{want.gotRows, want.gotCols} {
				if got.totalled[side] != len(stats) || !slices.Equal(got.stats[side][:len(stats)], stats) {
					t.Errorf("%s: %d workers tell %d anchors of side %d, want the sums of %d", name, workers, got.totalled[side], side, len(stats))
				}
			}
			if !slices.Equal(grads, wantGrads) {
				t.Errorf("%s: the gradients of anchors that learn apart, with %d workers, differ", name, workers)
			}
		}
	}
}

// keptStripe returns how many bytes it takes to keep the first stripe of a plan.
func keptStripe(l plan) int {
	stripes := 1
	if l.defers {
		stripes++ // whose weights are held
	}
	return 4 * l.blockSize * l.panels * stripes
}

// TestKeepBytes compares the bits of problems that keep nothing, some of their stripes, and
// all of them.
func TestKeepBytes(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *kernel.Kernels, pieces int) {
		if k != kernel.Active() && (race.Enabled || pieces > 1 && k.Pieces(pieces) > 0) {
			return // takes too long
		}
		e := New()
		for _, name := range slices.Sorted(maps.Keys(modes)) {
			var want []float32
			var wantStats []Stat
			for i := range 3 {
				r := rand.New(rand.NewPCG(1, 2))
				m := newModel(r, k, 2*stripeRows+9, 2*k.Cols+3, 5, pieces)
				modes[name](m, r)
				m.KeepBytes = []int{0, keptStripe(planOf(m.Problem, k)), 1 << 30}[i]
				if l := planOf(m.Problem, k); l.keeps != nothing && l.keptRows != []int{0, l.stripe, roundUp(l.rows, l.stripe)}[i] {
					t.Errorf("%s: %d bytes keep %d of %d rows, in stripes of %d", name, m.KeepBytes, l.keptRows, l.rows, l.stripe)
				}
				poison(reflect.ValueOf(e).Elem())
				e.run(m.Problem, k, m)
				var got []float32
				for i := range 2 {
					got = append(append(got, m.rowGrad[i].Data...), m.colGrad[i].Data...)
				}
				stats := append(m.gotRows, m.gotCols...)
				if i == 0 {
					want, wantStats = got, stats
				} else if !slices.Equal(got, want) || !slices.Equal(stats, wantStats) {
					t.Errorf("%s: %d bytes change results", name, m.KeepBytes)
				}
			}
		}
	})
}

func TestPairSum(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		r, e := rand.New(rand.NewPCG(1, 2)), New()
		m := newModel(r, kernel.Active(), 70, 130, 9, MaxPieces)
		modes[name](m, r)
		m.measure()
		e.Run(m.Problem, m)
		sum, pairs := 0.0, 0.0
		for i := range m.s {
			if p := m.Positives; p != nil && m.Form == Softmax && p.First[i] == p.First[i+1] {
				continue // a row that is no anchor
			}
			for j, s := range m.s[i] {
				sum += m.count[i][j] * s
				pairs += m.count[i][j]
			}
		}
		// A sum of 64 vectors has a norm of 64 at most, of float32 rounded as often.
		bound := 2 * sumBlock * u * float64(max(1, m.rows())*max(1, m.Cols.n))
		if got, n := e.PairSum(m.Problem); n != pairs || !(math.Abs(got-sum) <= bound) {
			t.Errorf("%s: PairSum is %v of %v pairs, want %v ± %.2g of %v", name, got, n, sum, bound, pairs)
		}
	}
}

func TestEngineAllocations(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(modes)) {
		for _, k := range shapes() {
			r, e := rand.New(rand.NewPCG(1, 2)), New()
			m := newModel(r, k, 40, 50, 9, MaxPieces)
			modes[name](m, r)
			m.gotRows, m.gotCols = make([]Stat, 0, 1000), make([]Stat, 0, 1000)
			if n := testing.AllocsPerRun(2, func() {
				m.gotRows, m.gotCols = m.gotRows[:0], m.gotCols[:0]
				e.run(m.Problem, k, m)
			}); n > 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
}

// equalRows returns a problem of rows and columns of the one element 1.
func equalRows(rows, cols int) (*model, *Engine) {
	m := newModel(rand.New(rand.NewPCG(1, 2)), kernel.Active(), rows, cols, 1, MaxPieces)
	for _, l := range []*List{m.Rows, m.Cols} {
		for i := range l.n {
			l.row(i)[0], l.scale[i] = 1, 1
		}
	}
	return m, New()
}

// TestScaleRounding takes similarities of 1, so that the float32 by which they are
// multiplied is what the log-sum-exp is off by, if it is not corrected: up to scale·u. What
// may remain is an exponential within 4·u, and the roundings of 4 sums.
func TestScaleRounding(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		m, e := equalRows(1, 4)
		for m.Scale = 40; m.Scale < 49; m.Scale += 0.01 {
			m.gotRows = nil
			e.Run(m.Problem, m)
			if got, want := m.gotRows[0].LSE[0], math.Log(4)+m.Scale; !(math.Abs(got-want) <= 8*u) {
				t.Fatalf("scale %v: LSE is %v, want %v ± %.2g: off by %.1f·u", m.Scale, got, want, 8*u, (got-want)/u)
			}
		}
	})
}

// TestManyColumns adds up 10⁵ equal exponentials, whose roundings in float32 may all go
// the same way: of 128 in 4 lanes these are 33·u, and an exponential is within 5·u.
func TestManyColumns(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		m, e := equalRows(1, 100_000)
		modes["rows alone"](m, nil)
		for step := range 40 {
			s := -0.01 * float32(step)
			for j := 1; j < m.Cols.n; j++ {
				m.Cols.row(j)[0] = s
			}
			m.gotRows = nil
			e.Run(m.Problem, m)
			want := m.Scale + math.Log1p(99_999*math.Exp(m.Scale*(float64(s)-1)))
			if got := m.gotRows[0].LSE[0]; !(math.Abs(got-want) <= 38*u) {
				t.Fatalf("LSE is %v, want %v: off by %.1f·u", got, want, (got-want)/u)
			}
		}
	})
}

// TestGreatExponents has 600 pairs of the greatest exponent, below and above those that
// are computed as they are: neither their sum nor that of their moments overflows.
func TestGreatExponents(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for _, name := range []string{"fused", "columns", "two terms", "symmetric"} {
			for _, scale := range []float64{49, 50, 70, 80, 83, 100, 1e4, 1e30} {
				rows := 20
				if name == "symmetric" {
					rows = 600
				}
				m, e := equalRows(rows, 600)
				modes[name](m, nil)
				m.Scale, m.Exponents = scale, [2]float64{1, 1}
				e.Run(m.Problem, m)
				pairs := 600.0
				if m.Symmetric {
					pairs-- // but for itself
				}
				for i, s := range append(m.gotRows, m.gotCols...) {
					if i == rows {
						pairs = float64(rows) // of a column
					}
					want := math.Log(pairs) + scale
					if bound := 134*u + 0x1p-50*scale; !(math.Abs(s.LSE[0]-want) <= bound) || !(math.Abs(s.Mean[0]-scale) <= bound*scale) {
						t.Fatalf("%s, scale %v: LSE is %v and mean %v, want %v and %v", name, scale, s.LSE[0], s.Mean[0], want, scale)
					}
				}
				for i, v := range m.rowGrad[0].Data {
					if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
						t.Fatalf("%s, scale %v: element %d of the gradients is %v", name, scale, i, v)
					}
				}
			}
		}
	})
}
