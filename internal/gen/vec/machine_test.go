package vec

import (
	"math"
	"testing"
)

// A machine runs kernels instead of writing them: an Asm whose instructions are executed as
// they come, on vectors of any number of lanes. What it does is what the comments of Asm
// say. Memory is slices, so that what is beyond an argument cannot be touched.
type machine struct {
	t      *testing.T
	lanes  int // of float32
	double bool
	*call
}

// A call is the arguments of a kernel, by name, and its results.
type call struct {
	kernel  string
	memory  map[string][]float64
	scalars map[string]float64
	ints    map[string]int
	results []float64

	begin func(kernel string)
	end   func()
}

type (
	register  struct{ lane []float64 }
	place     struct{ memory []float64 }
	number    struct{ n int }
	partMask  int // the first lanes
	exponents []float64
)

func (m *machine) round(x float64) float64 {
	if m.double {
		return x
	}
	return float64(float32(x))
}

// width is the number of lanes of a register.
func (m *machine) width() int {
	if m.double {
		return m.lanes / 2
	}
	return m.lanes
}

func (m *machine) splat(x float64) *register {
	r := &register{make([]float64, m.width())}
	for i := range r.lane {
		r.lane[i] = x
	}
	return r
}

func (m *machine) lanesOf(x Operand) []float64 {
	if p, ok := x.(*place); ok {
		return p.memory[:m.width()]
	}
	return x.(*register).lane
}

// set makes d what f makes of the lanes of operands.
func (m *machine) set(d Vector, f func(x []float64) float64, operands ...Operand) {
	for i := range d.(*register).lane {
		x := make([]float64, len(operands))
		for k, o := range operands {
			x[k] = m.lanesOf(o)[i]
		}
		d.(*register).lane[i] = m.round(f(x))
	}
}

func (m *machine) Begin(kernel, _, _ string) { m.begin(kernel) }

func (m *machine) End(results ...Vector) {
	for _, r := range results {
		m.results = append(m.results, r.(*register).lane[0])
	}
	m.end()
}

func (m *machine) Comment(string, ...any) {}

func (m *machine) Slice(name string) Pointer {
	s, ok := m.memory[name]
	if !ok {
		m.t.Fatalf("%s has no argument %s", m.kernel, name)
	}
	return &place{s}
}

func (m *machine) Pointer(name string) Pointer { return m.Slice(name) }
func (m *machine) Len(name string) Count       { return &number{len(m.memory[name])} }

func (m *machine) Int(name string) Count {
	n, ok := m.ints[name]
	if !ok {
		m.t.Fatalf("%s has no argument %s", m.kernel, name)
	}
	return &number{n}
}

func (m *machine) Broadcast(name string) Vector {
	x, ok := m.scalars[name]
	if !ok {
		m.t.Fatalf("%s has no argument %s", m.kernel, name)
	}
	return m.splat(x)
}

func (m *machine) Const(x float32) Operand   { return m.splat(float64(x)) }
func (m *machine) Const64(x float64) Operand { return m.splat(x) }
func (m *machine) Splat(x float64) Vector    { return m.splat(m.round(x)) }

// Vec returns a register of NaN, which what reads it before it is written to shows.
func (m *machine) Vec() Vector { return m.splat(math.NaN()) }

func (m *machine) Zeroed(n int) []Vector {
	v := make([]Vector, n)
	for i := range v {
		v[i] = m.splat(0)
	}
	return v
}

func (m *machine) Move(x Operand, d Vector) {
	m.set(d, func(x []float64) float64 { return x[0] }, x)
}
func (m *machine) Store(x Vector, p Pointer) {
	copy(p.(*place).memory[:m.width()], x.(*register).lane)
}

func (m *machine) Add(y, x Operand, d Vector) {
	m.set(d, func(v []float64) float64 { return v[0] + v[1] }, x, y)
}
func (m *machine) Sub(y, x Operand, d Vector) {
	m.set(d, func(v []float64) float64 { return v[0] - v[1] }, x, y)
}
func (m *machine) Mul(y, x Operand, d Vector) {
	m.set(d, func(v []float64) float64 { return v[0] * v[1] }, x, y)
}
func (m *machine) Div(y, x Operand, d Vector) {
	m.set(d, func(v []float64) float64 { return v[0] / v[1] }, x, y)
}
func (m *machine) Sqrt(x Operand, d Vector) {
	m.set(d, func(v []float64) float64 { return math.Sqrt(v[0]) }, x)
}
func (m *machine) FMA(y, x Operand, d Vector) {
	m.set(d, func(v []float64) float64 { return math.FMA(v[0], v[1], v[2]) }, x, y, d)
}
func (m *machine) FNMA(y, x Operand, d Vector) {
	m.set(d, func(v []float64) float64 { return math.FMA(-v[0], v[1], v[2]) }, x, y, d)
}

func (m *machine) Min(x, y Operand, d Vector) {
	m.set(d, func(v []float64) float64 {
		if v[1] < v[0] {
			return v[1]
		}
		return v[0]
	}, x, y)
}
func (m *machine) Max(x, y Operand, d Vector) {
	m.set(d, func(v []float64) float64 {
		if v[1] > v[0] {
			return v[1]
		}
		return v[0]
	}, x, y)
}

func (m *machine) NegAbs(x, d Vector) {
	m.set(d, func(v []float64) float64 { return -math.Abs(v[0]) }, x)
}
func (m *machine) IfNegative(x, y, d Vector) {
	m.set(d, func(v []float64) float64 {
		if math.Signbit(v[0]) {
			return v[1]
		}
		return v[2]
	}, x, y, d)
}

func (m *machine) Greater(x Vector, y Operand) Mask {
	mask := make([]bool, m.width())
	for i := range mask {
		mask[i] = m.lanesOf(x)[i] > m.lanesOf(y)[i]
	}
	return mask
}
func (m *machine) Select(mask Mask, y Operand, d Vector) {
	for i, set := range mask.([]bool) {
		if set {
			d.(*register).lane[i] = m.lanesOf(y)[i]
		}
	}
}

func (m *machine) Horner(x Vector, c []float32) Vector {
	p := m.splat(float64(c[len(c)-1]))
	for k := len(c) - 2; k >= 0; k-- {
		m.set(p, func(v []float64) float64 { return math.FMA(v[0], v[1], float64(c[k])) }, p, x)
	}
	return p
}

func (m *machine) Floor(y Vector) (any, Vector) {
	n, r := make(exponents, m.width()), m.splat(0)
	for i, v := range y.(*register).lane {
		n[i] = math.Floor(v)
	}
	m.set(r, func(v []float64) float64 { return v[0] - math.Floor(v[0]) }, y)
	return n, r
}
func (m *machine) TimesPower(n any, p Vector) {
	for i, k := range n.(exponents) {
		if k < -126 {
			p.(*register).lane[i] = 0
			continue
		}
		p.(*register).lane[i] = m.round(math.Ldexp(p.(*register).lane[i], int(k)))
	}
}

func (m *machine) Round(n Vector) {
	m.set(n, func(v []float64) float64 { return math.RoundToEven(v[0]) }, n)
}
func (m *machine) TimesPowers(n, p Vector) {
	m.set(p, func(v []float64) float64 { return math.Ldexp(v[0], int(v[1])) }, p, n)
	m.Move(m.Vec(), n)
}

func (m *machine) Split(x Vector) (n, fraction Vector) {
	n, fraction = m.splat(0), m.splat(0)
	for i, v := range x.(*register).lane {
		f, e := math.Frexp(v)
		if f < math.Sqrt2/2 {
			f, e = 2*f, e-1
		}
		n.(*register).lane[i], fraction.(*register).lane[i] = float64(e), f
	}
	return n, fraction
}
func (m *machine) AddExponent(t, p Vector) {
	m.set(p, func(v []float64) float64 { return math.Ldexp(v[0], int(v[1]-toInteger)) }, p, t)
	m.Move(m.Vec(), t)
}

// first returns a register of x in lane 0, and NaN in the others.
func (m *machine) first(x float64) Vector {
	r := m.splat(math.NaN())
	r.lane[0] = x
	return r
}

func (m *machine) Sum(x []Vector) Vector {
	sum := 0.0
	for _, v := range x {
		for _, y := range v.(*register).lane {
			sum = m.round(sum + y)
		}
		m.Move(m.Vec(), v)
	}
	return m.first(sum)
}
func (m *machine) Least(x Vector) Vector {
	least := math.Inf(1)
	for _, v := range x.(*register).lane {
		least = min(least, v)
	}
	return m.first(least)
}
func (m *machine) Greatest(x Vector) Vector {
	greatest := math.Inf(-1)
	for _, v := range x.(*register).lane {
		greatest = max(greatest, v)
	}
	return m.first(greatest)
}
func (m *machine) FillLanes(x Vector) { copy(x.(*register).lane, m.splat(x.(*register).lane[0]).lane) }

func (m *machine) Loop(n Count, unroll int, sources []Pointer, dst Pointer, body func(i int, p Part, v []Vector) Vector) {
	step := func(i, lanes int) {
		v := make([]Vector, len(sources))
		for k, s := range sources {
			r := m.splat(0)
			copy(r.lane, s.(*place).memory[:lanes])
			v[k] = r
		}
		r := body(i, partMask(lanes), v)
		if dst != nil {
			for j, x := range r.(*register).lane[:lanes] {
				dst.(*place).memory[j] = float64(float32(x))
			}
		}
		for _, s := range sources {
			s.(*place).memory = s.(*place).memory[lanes:]
		}
		if dst != nil && dst != sources[len(sources)-1] {
			dst.(*place).memory = dst.(*place).memory[lanes:]
		}
	}
	left, i := n.(*number), 0
	for ; left.n >= m.width(); left.n -= m.width() {
		step(i%unroll, m.width())
		i++
	}
	for m.double && left.n > 0 {
		step(0, 1)
		left.n--
	}
	if left.n > 0 {
		step(0, left.n)
	}
	left.n = -1
}

func (m *machine) Fill(p Part, x float32, d Vector) {
	for i := int(p.(partMask)); i < m.width(); i++ {
		d.(*register).lane[i] = float64(x)
	}
}

func (m *machine) Float64() Asm {
	d := *m
	d.double = true
	return &d
}

func (m *machine) EachRow(r Rows, body func()) {
	advance := func(p Pointer, by int) {
		s := p.(*place)
		s.memory = s.memory[min(by, len(s.memory)):]
	}
	for n := r.N.(*number).n; n > 0; n-- {
		body()
		for _, p := range append([]Pointer{r.Block}, r.Blocks...) {
			if p != nil {
				advance(p, 2*m.lanes)
			}
		}
		for _, p := range r.Vectors {
			advance(p, m.width())
		}
		for _, p := range r.Elements {
			advance(p, 1)
		}
		for _, s := range r.Strided {
			advance(s.Pointer, m.ints[s.By])
		}
	}
}

func (m *machine) Fork(p Pointer) Pointer { return &place{p.(*place).memory} }
func (m *machine) At(p Pointer, i int) Pointer {
	return &place{p.(*place).memory[i*m.lanes:]}
}

func (m *machine) LoadRow(p Pointer) [2]Vector {
	row := [2]Vector{m.Vec(), m.Vec()}
	for i, v := range row {
		m.Move(m.At(p, i), v)
	}
	return row
}
func (m *machine) StoreRow(x [2]Vector, p Pointer) {
	for i, v := range x {
		m.Store(v, m.At(p, i))
	}
}
func (m *machine) LoadCols(p Pointer) [2]Operand {
	row := m.LoadRow(p)
	return [2]Operand{row[0], row[1]}
}
func (m *machine) LoadElement(p Pointer) Vector     { return m.splat(p.(*place).memory[0]) }
func (m *machine) StoreElement(x Vector, p Pointer) { p.(*place).memory[0] = x.(*register).lane[0] }

func (m *machine) Widen(p Pointer) [2]Vector {
	v := [2]Vector{m.Vec(), m.Vec()}
	for i, r := range v {
		copy(r.(*register).lane, p.(*place).memory[i*m.width():])
	}
	return v
}
func (m *machine) Halves(x Vector) (high, low Vector) {
	narrow := *m
	narrow.double = false
	v := x.(*register).lane[0]
	return narrow.splat(float64(float32(v))), narrow.splat(float64(float32(v - float64(float32(v)))))
}

func (m *machine) Running(p Pointer) RunningSum {
	s := &runningSum{m: m, to: m.Fork(p), sum: m.Vec()}
	m.Move(p, s.sum)
	return s
}

type runningSum struct {
	m   *machine
	to  Pointer
	sum Vector
}

func (s *runningSum) AddRow(x [2]Vector) {
	s.m.Add(x[0], s.sum, s.sum)
	s.m.Add(x[1], s.sum, s.sum)
}
func (s *runningSum) AddProduct(y, x Vector) { s.m.FMA(y, x, s.sum) }
func (s *runningSum) Store()                 { s.m.Store(s.sum, s.to) }
