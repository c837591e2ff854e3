package vec

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive/internal/poly"
)

const u = 0x1p-24

// sizes are the lengths of a kernel's slices, by name, and scalar for other arguments.
type sizes map[string]int

const scalar = -1

// A test of a kernel is its arguments, and what must hold after: got are the arguments as
// the kernel leaves them, and was as it has got them.
type kernelTest struct {
	sizes sizes
	ints  map[string]int
	check func(t *testing.T, was, got *call)
}

// run writes kernels by a machine that runs them, and checks each against its test.
func run(t *testing.T, lanes int, write func(Asm), tests map[string]kernelTest, r *rand.Rand) {
	m := &machine{t: t, lanes: lanes, call: new(call)}
	var was *call
	seen := 0
	m.begin = func(kernel string) {
		test, ok := tests[kernel]
		if !ok {
			t.Fatalf("%s has no test", kernel)
		}
		seen++
		m.kernel, m.results = kernel, nil
		m.memory, m.scalars, m.ints = map[string][]float64{}, map[string]float64{}, test.ints
		for _, name := range slices.Sorted(maps.Keys(test.sizes)) {
			n := test.sizes[name]
			if n < 0 {
				m.scalars[name] = float64(float32(r.Float64()*2 - 1))
				continue
			}
			v := make([]float64, n)
			for i := range v {
				v[i] = float64(float32(r.NormFloat64()))
			}
			m.memory[name] = v
		}
		if f := prepare[kernel]; f != nil {
			f(m.call, r)
		}
		was = &call{memory: map[string][]float64{}, scalars: m.scalars}
		for name, v := range m.memory {
			was.memory[name] = slices.Clone(v)
		}
	}
	m.end = func() {
		t.Run(m.kernel, func(t *testing.T) { tests[m.kernel].check(t, was, m.call) })
	}
	write(m)
	if seen != len(tests) {
		t.Errorf("%d kernels have been written, and there are tests of %d", seen, len(tests))
	}
}

// prepare sets values on which a kernel depends in another way than on most.
var prepare = map[string]func(c *call, r *rand.Rand){
	"ExpSum":      someExponents,
	"ExpSumStore": func(c *call, r *rand.Rand) { someExponents(c, r); put(c.memory["x"], -300, 10, math.NaN()) },
	"ReLU":        func(c *call, _ *rand.Rand) { put(c.memory["src"], math.NaN(), 0) },
	"GELU":        func(c *call, _ *rand.Rand) { put(c.memory["src"], math.NaN(), 50, -50, 12, -12, 0) },
	"GELUGrad":    func(c *call, _ *rand.Rand) { put(c.memory["x"], math.NaN(), 50, -50, 12, -12, 0) },
	"AddSquare":   func(c *call, _ *rand.Rand) { put(c.memory["src"], 0x1p100, 0) },
	"Project":     func(c *call, _ *rand.Rand) { put(c.memory["g"], 0x1.8p127, -0x1.8p127); c.scalars["f"] = 3 },
	"AdamStep": func(c *call, _ *rand.Rand) {
		for i, v := range c.memory["v"] {
			c.memory["v"][i] = math.Abs(v)
		}
		c.scalars["epsilon"] = 0x1p-10
	},
	"Exp64": func(c *call, r *rand.Rand) {
		for i := range c.memory["x"] {
			c.memory["x"][i] = 1417*r.Float64() - 708
		}
		put(c.memory["x"], -708, 709, 0)
	},
	"Log64": func(c *call, r *rand.Rand) {
		for i := range c.memory["x"] {
			c.memory["x"][i] = math.Exp2(20 * r.NormFloat64())
		}
		put(c.memory["x"], 1, 0x1p-1022, math.MaxFloat64, 1+0x1p-52)
	},
	"Log1p64": func(c *call, r *rand.Rand) {
		for i := range c.memory["x"] {
			c.memory["x"][i] = r.Float64()
		}
		put(c.memory["x"], 0, 1, 0x1p-70)
	},
	"TallySigmoid": func(c *call, _ *rand.Rand) { c.scalars["scale"] = 30; leaveSomeOut(c) },
	"LeaveOut":     func(c *call, _ *rand.Rand) { leaveSomeOut(c) },
	"LeaveOutCols": func(c *call, _ *rand.Rand) { leaveSomeOut(c) },
}

func init() {
	for _, name := range []string{"TallyRows", "TallyRowsStore", "TallyCols", "TallyBoth", "TallyBothStore", "WeighBoth", "WeighRows", "WeighCols"} {
		prepare[name] = func(c *call, _ *rand.Rand) { c.scalars["scale"] = 10; leaveSomeOut(c) }
	}
}

func someExponents(c *call, _ *rand.Rand) {
	put(c.memory["x"], -300, 10)
	c.scalars["scale"] = 1.5
}

// leaveSomeOut makes some pairs of a block such that do not count.
func leaveSomeOut(c *call) {
	for i := 0; i < len(c.memory["block"]); i += 5 {
		c.memory["block"][i] = math.Inf(-1)
	}
}

// put puts values in the first, the last and every other place between.
func put(v []float64, values ...float64) {
	for i := range v {
		if k := len(v) - 1 - i; i%2 == 0 || k == 0 {
			v[k] = values[i/2%len(values)]
		}
	}
}

// near fails unless got is within bound of want, or NaN where that is.
func near(t *testing.T, what string, i int, got, want, bound float64) {
	t.Helper()
	if got == want || got != got && want != want {
		return
	}
	if !(math.Abs(got-want) <= bound) {
		t.Errorf("%s, element %d: %v, want %v within %v", what, i, got, want, bound)
	}
}

// elementwise is the test of a kernel whose destination is a function of the arguments'
// elements of the same index, within a bound.
func elementwise(n int, dst string, arguments string, want func(v func(name string) float64) (value, bound float64)) kernelTest {
	s := sizes{}
	for name := range strings.FieldsSeq(arguments) {
		if name, ok := strings.CutPrefix(name, "*"); ok {
			s[name] = scalar
			continue
		}
		s[name] = n
	}
	return kernelTest{sizes: s, check: func(t *testing.T, was, got *call) {
		for i := range n {
			value, bound := want(func(name string) float64 {
				if v, ok := was.memory[name]; ok {
					return v[i]
				}
				return was.scalars[name]
			})
			near(t, dst, i, got.memory[dst][i], value, bound+0x1p-149)
		}
		for name, v := range was.memory {
			if name != dst && !same(v, got.memory[name]) {
				t.Errorf("%s has changed", name)
			}
		}
	}}
}

func same(x, y []float64) bool {
	return slices.EqualFunc(x, y, func(a, b float64) bool { return a == b || a != a && b != b })
}

func saturate(x float64) float64 { return max(-math.MaxFloat32, min(x, math.MaxFloat32)) }

// gelu is the exponent of the formula, the sigmoid and the slope of the exponent.
func geluOf(x float64) (a, sigma, slope float64) {
	a = math.Sqrt(8/math.Pi) * (x + 0.044715*x*x*x)
	return a, 1 / (1 + math.Exp(-a)), math.Sqrt(8/math.Pi) * (1 + 3*0.044715*x*x)
}

// vectorTests has the bounds of the documentation of package simd.
func vectorTests(n int) map[string]kernelTest {
	expSum := func(store bool) kernelTest {
		s := sizes{"x": n, "scale": scalar, "shift": scalar}
		if store {
			s["dst"] = n
		}
		return kernelTest{sizes: s, check: func(t *testing.T, was, got *call) {
			sum, bound := 0.0, 0x1p-120
			for i, x := range was.memory["x"] {
				p, shift := was.scalars["scale"]*x, was.scalars["shift"]
				e := math.Exp(p - shift)
				b := e*(2*math.Abs(p)+math.Abs(shift)+4)*u + 0x1p-148
				if store {
					near(t, "dst", i, got.memory["dst"][i], e, b)
				}
				sum, bound = sum+e, bound+b
			}
			near(t, "sum", 0, got.results[0], sum, bound+float64(n+12)*u*sum)
		}}
	}
	dot := func(v float64) kernelTest {
		return kernelTest{sizes: sizes{"x": n, "y": n}, check: func(t *testing.T, was, got *call) {
			sum, size := 0.0, 0.0
			for i, x := range was.memory["x"] {
				sum, size = sum+x*was.memory["y"][i], size+math.Abs(x*was.memory["y"][i])
			}
			near(t, "sum", 0, got.results[0], sum, float64(n+24)*v*size)
		}}
	}
	return map[string]kernelTest{
		"Dot":        dot(u),
		"DotFloat64": dot(0x1p-53),
		"Axpy": elementwise(n, "y", "x y *a", func(v func(string) float64) (float64, float64) {
			p := v("a") * v("x")
			return p + v("y"), 2 * u * (math.Abs(p) + math.Abs(v("y")))
		}),
		"AxpyRows": elementwise(n, "y", "x0 x1 x2 x3 y *a0 *a1 *a2 *a3", func(v func(string) float64) (sum, bound float64) {
			sum, bound = v("y"), math.Abs(v("y"))
			for i := range 4 {
				p := v(fmt.Sprint("a", i)) * v(fmt.Sprint("x", i))
				sum, bound = sum+p, bound+math.Abs(p)
			}
			return sum, 5 * u * bound
		}),
		"Lerp": elementwise(n, "dst", "dst src *t", func(v func(string) float64) (float64, float64) {
			return v("dst") + v("t")*(v("src")-v("dst")), 3 * u * (math.Abs(v("dst")) + math.Abs(v("src")))
		}),
		"ExpSum":      expSum(false),
		"ExpSumStore": expSum(true),
		"Extremes": {sizes: sizes{"x": n}, check: func(t *testing.T, was, got *call) {
			least, greatest := math.Inf(1), math.Inf(-1)
			for _, x := range was.memory["x"] {
				least, greatest = min(least, x), max(greatest, x)
			}
			near(t, "least", 0, got.results[0], least, 0)
			near(t, "greatest", 0, got.results[1], greatest, 0)
		}},
		"ScaleTo": elementwise(n, "dst", "dst src *f", func(v func(string) float64) (float64, float64) {
			return float64(float32(v("f") * v("src"))), 0
		}),
		"Project": elementwise(n, "dst", "dst g x *along *f", func(v func(string) float64) (float64, float64) {
			want := saturate((v("g") - v("along")*v("x")) * v("f"))
			return want, u*math.Abs(want) + 0x1p-51*(math.Abs(v("g"))+math.Abs(v("along")*v("x")))*math.Abs(v("f"))
		}),
		"ReLU": elementwise(n, "dst", "dst src", func(v func(string) float64) (float64, float64) { return max(v("src"), 0), 0 }),
		"ReLUGrad": elementwise(n, "dst", "dst grad y", func(v func(string) float64) (float64, float64) {
			if v("y") > 0 {
				return v("grad"), 0
			}
			return 0, 0
		}),
		"GELU": elementwise(n, "dst", "dst src", func(v func(string) float64) (float64, float64) {
			a, sigma, _ := geluOf(v("src"))
			return v("src") * sigma, max((8*math.Abs(a)+8)*u*math.Abs(v("src")*sigma), 0x1p-120)
		}),
		"GELUGrad": elementwise(n, "dst", "dst grad x", func(v func(string) float64) (float64, float64) {
			a, sigma, slope := geluOf(v("x"))
			term := v("x") * sigma * (1 - sigma) * slope
			bound := max((24*math.Abs(a)+34)*u*(sigma+math.Abs(term)), 0x1p-120) * math.Abs(v("grad"))
			return v("grad") * (sigma + term), bound
		}),
		"LerpSquare": elementwise(n, "dst", "dst src *t", func(v func(string) float64) (float64, float64) {
			square := v("src") * v("src")
			return v("dst") + v("t")*(square-v("dst")), 3 * u * (math.Abs(v("dst")) + square)
		}),
		"AddSquare": elementwise(n, "dst", "dst src", func(v func(string) float64) (float64, float64) {
			square := v("src") * v("src")
			return saturate(v("dst") + square), 2 * u * min(math.Abs(v("dst"))+square, math.MaxFloat32)
		}),
		"AdamStep": elementwise(n, "w", "w m v *keep *rate *correction *epsilon", func(v func(string) float64) (float64, float64) {
			below := v("correction")*math.Sqrt(v("v")) + v("epsilon")
			step := v("rate") * v("m") / below
			// A correction of the other sign than epsilon cancels.
			cancels := (math.Abs(v("correction"))*math.Sqrt(v("v")) + math.Abs(v("epsilon"))) / math.Abs(below)
			return v("keep")*v("w") - step, 2*u*math.Abs(v("keep")*v("w")) + 5*u*math.Abs(step)*cancels*(1+8*u*cancels)
		}),
	}
}

// TestVectors runs the vector kernels on machines with as many lanes as the levels have, on
// every length that a loop takes in another way.
func TestVectors(t *testing.T) {
	for _, lanes := range []int{4, 8, 16} {
		for _, n := range []int{0, 1, 3, lanes - 1, lanes, lanes + 1, 2*lanes + 3, 4 * lanes, 9*lanes + 5} {
			t.Run(fmt.Sprintf("%d lanes, %d elements", lanes, n), func(t *testing.T) {
				run(t, lanes, Vectors, vectorTests(n), rand.New(rand.NewPCG(uint64(lanes), uint64(n))))
			})
		}
	}
}

// A tally is what the exponentials of a row or of a column add up to.
type tally struct{ sum, moment, top, size, sumBound, momentBound float64 }

// add adds 2^y, for the exponent y = scale·(s − shift) as the kernels bound it. The two
// roundings of y move 2^y by 2·u·|y|·log 2 of itself.
func (a *tally) add(s, shift, scale float64) {
	y := max(scale*(s-shift), poly.MinExponent)
	e := math.Exp2(y)
	if y <= -126 {
		e = 0
	}
	err := e*(2*math.Abs(y)+4)*u + 0x1p-125
	a.top = max(a.top, s)
	a.sum, a.sumBound = a.sum+e, a.sumBound+err
	a.moment, a.size = a.moment+e*y, a.size+e*math.Abs(y)
	a.momentBound += err*(1+math.Abs(y)) + 3*u*e*math.Abs(y)
}

// holds checks that the lanes from at on add up to a tally, besides what they were.
func (a *tally) holds(t *testing.T, was, got *call, prefix string, at, lanes int) {
	t.Helper()
	name := func(s string) string {
		if prefix == "" {
			return s
		}
		return prefix + strings.ToUpper(s[:1]) + s[1:]
	}
	total := func(c *call, s string) (sum, size float64) {
		for _, v := range c.memory[name(s)][at : at+lanes] {
			sum, size = sum+v, size+math.Abs(v)
		}
		return sum, size
	}
	const terms = 64 // more than there are
	before, size := total(was, "sum")
	after, _ := total(got, "sum")
	near(t, name("sum"), at, after, before+a.sum, a.sumBound+terms*u*(size+a.sum))
	before, size = total(was, "moment")
	after, _ = total(got, "moment")
	near(t, name("moment"), at, after, before+a.moment, a.momentBound+terms*u*(size+a.size))
	top := a.top
	for _, v := range was.memory[name("top")][at : at+lanes] {
		top = max(top, v)
	}
	near(t, name("top"), at, slices.Max(got.memory[name("top")][at:at+lanes]), top, 0)
}

// blockTests are those of the kernels of blocks of some rows.
func blockTests(rows, lanes int) map[string]kernelTest {
	cols := 2 * lanes
	block, vectors := rows*cols, rows*lanes
	emptyTally := tally{top: math.Inf(-1)}
	// exponentials checks the block that a kernel stores, or that it has stored none.
	exponentials := func(t *testing.T, was, got *call, store bool, shift func(i, j int) float64) {
		for k, s := range was.memory["block"] {
			want, bound := s, 0.0
			if store {
				one := emptyTally
				one.add(s, shift(k/cols, k%cols), was.scalars["scale"])
				want, bound = one.sum, one.sumBound
			}
			near(t, "block", k, got.memory["block"][k], want, bound)
		}
	}
	ofRows := func(t *testing.T, was, got *call, shift func(i, j int) float64) {
		for i := range rows {
			a := emptyTally
			for j := range cols {
				a.add(was.memory["block"][i*cols+j], shift(i, j), was.scalars["scale"])
			}
			a.holds(t, was, got, "", i*lanes, lanes)
		}
	}
	ofCols := func(t *testing.T, was, got *call, prefix string, shift func(i, j int) float64) {
		for j := range cols {
			a := emptyTally
			for i := range rows {
				a.add(was.memory["block"][i*cols+j], shift(i, j), was.scalars["scale"])
			}
			a.holds(t, was, got, prefix, j, 1)
		}
	}
	tallyRows := func(store bool) kernelTest {
		return kernelTest{
			sizes{"block": block, "scale": scalar, "shift": rows, "sum": vectors, "moment": vectors, "top": vectors}, map[string]int{"rows": rows},
			func(t *testing.T, was, got *call) {
				shift := func(i, _ int) float64 { return was.memory["shift"][i] }
				ofRows(t, was, got, shift)
				exponentials(t, was, got, store, shift)
			},
		}
	}
	none := func(_, _ int) float64 { return 0 }
	tallyBoth := func(store bool) kernelTest {
		return kernelTest{
			sizes{"block": block, "scale": scalar, "sum": vectors, "moment": vectors, "top": vectors, "colSum": cols, "colMoment": cols, "colTop": cols}, map[string]int{"rows": rows},
			func(t *testing.T, was, got *call) {
				ofRows(t, was, got, none)
				ofCols(t, was, got, "col", none)
				exponentials(t, was, got, store, none)
			},
		}
	}
	// weighed checks that dst is what weight makes of the exponentials, besides what it was.
	weighed := func(dst string, adds bool, shift, weight func(c *call, i, j int) float64) func(t *testing.T, was, got *call) {
		return func(t *testing.T, was, got *call) {
			for k, s := range was.memory["block"] {
				one, w, before := emptyTally, weight(was, k/cols, k%cols), 0.0
				one.add(s, shift(was, k/cols, k%cols), was.scalars["scale"])
				if adds {
					before = was.memory[dst][k]
				}
				bound := one.sumBound*math.Abs(w) + 4*u*(one.sum*(math.Abs(w)+2)+math.Abs(before)) + 0x1p-120
				near(t, dst, k, got.memory[dst][k], before+one.sum*w, bound)
			}
		}
	}
	both := func(c *call, i, j int) float64 { return c.memory["row"][i] + c.memory["col"][j] }
	byRow := func(name string) func(c *call, i, j int) float64 {
		return func(c *call, i, _ int) float64 { return c.memory[name][i] }
	}
	byCol := func(name string) func(c *call, i, j int) float64 {
		return func(c *call, _, j int) float64 { return c.memory[name][j] }
	}
	inf := math.Inf(-1)
	ints := map[string]int{"rows": rows}
	return map[string]kernelTest{
		"TallyRows":      tallyRows(false),
		"TallyRowsStore": tallyRows(true),
		"TallyCols": {sizes{"block": block, "scale": scalar, "shift": cols, "sum": cols, "moment": cols, "top": cols}, ints, func(t *testing.T, was, got *call) {
			shift := func(_, j int) float64 { return was.memory["shift"][j] }
			ofCols(t, was, got, "", shift)
			exponentials(t, was, got, false, shift)
		}},
		"TallyBoth":      tallyBoth(false),
		"TallyBothStore": tallyBoth(true),
		"TopBoth": {sizes{"block": block, "top": vectors, "colTop": cols}, ints, func(t *testing.T, was, got *call) {
			for i := range rows {
				want := max(slices.Max(was.memory["block"][i*cols:(i+1)*cols]), slices.Max(was.memory["top"][i*lanes:(i+1)*lanes]))
				near(t, "top", i, slices.Max(got.memory["top"][i*lanes:(i+1)*lanes]), want, 0)
			}
			for j := range cols {
				want := was.memory["colTop"][j]
				for i := range rows {
					want = max(want, was.memory["block"][i*cols+j])
				}
				near(t, "colTop", j, got.memory["colTop"][j], want, 0)
			}
		}},
		"Greatest": {sizes{"block": block, "top": rows}, ints, func(t *testing.T, was, got *call) {
			for i := range rows {
				near(t, "top", i, got.memory["top"][i], slices.Max(was.memory["block"][i*cols:(i+1)*cols]), 0)
			}
		}},
		"WeighBoth": {sizes{"block": block, "scale": scalar, "row": rows, "col": cols}, ints,
			weighed("block", false, func(*call, int, int) float64 { return 0 }, both)},
		"WeighExponentials": {sizes{"block": block, "row": rows, "col": cols}, ints, func(t *testing.T, was, got *call) {
			for k, e := range was.memory["block"] {
				w := both(was, k/cols, k%cols)
				near(t, "block", k, got.memory["block"][k], e*w, 2*u*math.Abs(e*w)+0x1p-149)
			}
		}},
		"WeighRows": {sizes{"dst": block, "block": block, "scale": scalar, "shift": rows, "weight": rows}, ints,
			weighed("dst", true, byRow("shift"), byRow("weight"))},
		"WeighCols": {sizes{"dst": block, "block": block, "scale": scalar, "shift": cols, "weight": cols}, ints,
			weighed("dst", true, byCol("shift"), byCol("weight"))},
		"TallySigmoid": {sizes{"block": block, "scale": scalar, "bias": scalar, "sum": vectors, "moment": vectors, "top": vectors, "weight": vectors}, ints,
			func(t *testing.T, was, got *call) {
				for i := range rows {
					var want, bound [3]float64
					for j := range cols {
						k := i*cols + j
						y := was.scalars["scale"] * was.memory["block"][k]
						z := y + was.scalars["bias"]
						w, loss, moment := 1/(1+math.Exp(-z)), max(z, 0)+math.Log1p(math.Exp(-math.Abs(z))), 0.0
						if w > 0 {
							moment = w * y
						}
						// Roundings of y and z move σ and the loss, whose derivatives are at most σ.
						move := w*(3*math.Abs(y)+math.Abs(z)+20)*u + 0x1p-120
						if math.IsInf(y, -1) {
							move = 0
						}
						near(t, "σ", k, got.memory["block"][k], w, move)
						for n, x := range [3]float64{loss, moment, w} {
							want[n] += x
							bound[n] += 20*u*math.Abs(x) + move
						}
						if !math.IsInf(y, -1) {
							bound[1] += move * math.Abs(y)
						}
					}
					for n, name := range []string{"sum", "moment", "weight"} {
						size := 0.0
						for l := range lanes {
							want[n] += was.memory[name][i*lanes+l]
							size += math.Abs(was.memory[name][i*lanes+l])
							want[n] -= got.memory[name][i*lanes+l]
						}
						near(t, name, i, want[n], 0, 4*bound[n]+4*u*size)
					}
					top := max(slices.Max(was.memory["block"][i*cols:(i+1)*cols]), slices.Max(was.memory["top"][i*lanes:(i+1)*lanes]))
					near(t, "top", i, slices.Max(got.memory["top"][i*lanes:(i+1)*lanes]), top, 0)
				}
			}},
		"TallySquares": {sizes{"block": block, "sum": vectors}, ints, func(t *testing.T, was, got *call) {
			for i := range rows {
				want, size := 0.0, 0.0
				for l := range lanes {
					want, size = want+was.memory["sum"][i*lanes+l], size+math.Abs(was.memory["sum"][i*lanes+l])
				}
				for _, s := range was.memory["block"][i*cols : (i+1)*cols] {
					want, size = want+s*s, size+s*s
				}
				sum := 0.0
				for l := range lanes {
					sum += got.memory["sum"][i*lanes+l]
				}
				near(t, "sum", i, sum, want, 3*u*size)
			}
		}},
		"LeaveOut": {sizes{"block": block, "guide": block, "limit": rows, "sum": vectors, "pairs": vectors}, ints, func(t *testing.T, was, got *call) {
			for i := range rows {
				var sum, size, pairs float64
				for j := range cols {
					k := i*cols + j
					s, want := was.memory["block"][k], was.memory["block"][k]
					if was.memory["guide"][k] > was.memory["limit"][i] {
						want = inf
						if s > inf {
							sum, size, pairs = sum+s, size+math.Abs(s), pairs+1
						}
					}
					near(t, "block", k, got.memory["block"][k], want, 0)
				}
				for l := range lanes {
					k := i*lanes + l
					sum += was.memory["sum"][k] - got.memory["sum"][k]
					size += math.Abs(was.memory["sum"][k])
					pairs += was.memory["pairs"][k] - got.memory["pairs"][k]
				}
				near(t, "sum", i, sum, 0, 3*u*size)
				near(t, "pairs", i, pairs, 0, 0x1p-20)
			}
		}},
		"LeaveOutCols": {sizes{"dst": block, "block": block, "guide": block, "limit": cols}, ints, func(t *testing.T, was, got *call) {
			for k, s := range was.memory["block"] {
				if was.memory["guide"][k] > was.memory["limit"][k%cols] {
					s = inf
				}
				near(t, "dst", k, got.memory["dst"][k], s, 0)
			}
		}},
	}
}

// TestBlocks runs the kernels of blocks.
func TestBlocks(t *testing.T) {
	for _, lanes := range []int{4, 8, 16} {
		for _, rows := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("%d lanes, %d rows", lanes, rows), func(t *testing.T) {
				run(t, lanes, Blocks, blockTests(rows, lanes), rand.New(rand.NewPCG(uint64(lanes), uint64(rows))))
			})
		}
	}
}

// rowTests are those of the kernels of rows of matrices, of dim elements or of runs of two
// vectors, and further apart than they are long.
func rowTests(rows, dim, lanes int) map[string]kernelTest {
	const apart = 3
	runs := dim/(2*lanes) + 1
	long := runs * 2 * lanes
	stride := max(dim, long) + apart
	ints := map[string]int{"rows": rows, "dim": dim, "runs": runs, "xRow": stride, "yRow": stride + 1, "dstRow": stride + 2, "gradRow": stride + 3, "srcRow": stride, "step": (rows + 1) * 2 * lanes}
	size := func(row string) int { return rows * ints[row] }
	dot := func(x, y []float64) (sum, abs float64) {
		for i := range dim {
			sum, abs = sum+x[i]*y[i], abs+math.Abs(x[i]*y[i])
		}
		return sum, abs
	}
	dots := func(y, yRow string) func(t *testing.T, was, got *call) {
		return func(t *testing.T, was, got *call) {
			for r := range rows {
				want, abs := dot(was.memory["x"][r*ints["xRow"]:], was.memory[y][r*ints[yRow]:])
				near(t, "dst", r, got.memory["dst"][r], want, float64(dim+1)*0x1p-53*abs)
			}
		}
	}
	return map[string]kernelTest{
		"Dots":    {sizes{"dst": rows, "x": size("xRow"), "y": size("yRow")}, ints, dots("y", "yRow")},
		"Squares": {sizes{"dst": rows, "x": size("xRow")}, ints, dots("x", "xRow")},
		"SpreadRows": {sizes{"dst": runs * ints["step"], "src": size("srcRow"), "f": rows}, ints, func(t *testing.T, was, got *call) {
			want := was.memory["dst"]
			for r := range rows {
				for i := range long {
					want[i/(2*lanes)*ints["step"]+r*2*lanes+i%(2*lanes)] = was.memory["f"][r] * was.memory["src"][r*ints["srcRow"]+i]
				}
			}
			for i, v := range got.memory["dst"] {
				bound := 0.0
				if r := i % ints["step"] / (2 * lanes); r < rows {
					bound = u*(1+0x1p-22)*math.Abs(want[i]) + 0x1p-149
				}
				near(t, "dst", i, v, want[i], bound)
			}
		}},
		"SumLanes": {sizes{"dst": rows, "src": rows * ints["step"]}, ints, func(t *testing.T, was, got *call) {
			for r := range rows {
				sum, size := was.memory["dst"][r], math.Abs(was.memory["dst"][r])
				for _, v := range was.memory["src"][r*ints["step"]:][:lanes] {
					sum, size = sum+v, size+math.Abs(v)
				}
				near(t, "dst", r, got.memory["dst"][r], sum, float64(lanes)*0x1p-53*size)
			}
		}},
		"GreatestLanes": {sizes{"dst": rows, "src": rows * lanes}, ints, func(t *testing.T, was, got *call) {
			for r := range rows {
				near(t, "dst", r, got.memory["dst"][r], slices.Max(was.memory["src"][r*lanes:][:lanes]), 0)
			}
		}},
		"AddRows": {sizes{"dst": size("dstRow"), "src": size("srcRow"), "f": rows}, ints, func(t *testing.T, was, got *call) {
			for r := range rows {
				for i := range ints["dstRow"] {
					want, bound := was.memory["dst"][r*ints["dstRow"]+i], 0.0
					if i < dim {
						p := was.memory["f"][r] * was.memory["src"][r*ints["srcRow"]+i]
						want, bound = want+p, 2*u*(math.Abs(want)+math.Abs(p))
					}
					near(t, "dst", r*ints["dstRow"]+i, got.memory["dst"][r*ints["dstRow"]+i], want, bound)
				}
			}
		}},
		"ProjectRows": {sizes{"dst": size("dstRow"), "grad": size("gradRow"), "x": size("xRow"), "unit": rows, "f": rows}, ints, func(t *testing.T, was, got *call) {
			for r := range rows {
				g, x := was.memory["grad"][r*ints["gradRow"]:], was.memory["x"][r*ints["xRow"]:]
				unit, f := was.memory["unit"][r], was.memory["f"][r]
				along, size := 0.0, 0.0
				for i := range dim {
					along += g[i] * unit * x[i]
					size += math.Abs(g[i] * unit * x[i])
				}
				for i := range ints["dstRow"] {
					want, bound := was.memory["dst"][r*ints["dstRow"]+i], 0.0
					if i < dim {
						want = (g[i] - along*unit*x[i]) * f
						bound = 2.01*u*math.Abs(want) + (float64(dim/16)+10)*u*size*math.Abs(unit*x[i]*f) + 0x1p-140
					}
					near(t, "dst", r*ints["dstRow"]+i, got.memory["dst"][r*ints["dstRow"]+i], want, bound)
				}
			}
		}},
	}
}

// TestMatrixRows runs the kernels of rows of matrices.
func TestMatrixRows(t *testing.T) {
	for _, lanes := range []int{4, 8, 16} {
		for _, dim := range []int{1, lanes - 1, lanes, 5*lanes + 3} {
			for _, rows := range []int{1, 3} {
				t.Run(fmt.Sprintf("%d lanes, %d×%d", lanes, rows, dim), func(t *testing.T) {
					run(t, lanes, MatrixRows, rowTests(rows, dim, lanes), rand.New(rand.NewPCG(uint64(lanes), uint64(dim))))
				})
			}
		}
	}
}

// functionTests are those of the kernels of functions, which those of package math are
// within 2·2⁻⁵³ of.
func functionTests(vectors, lanes int) map[string]kernelTest {
	function := func(f func(float64) float64, bound float64) kernelTest {
		return kernelTest{sizes{"x": vectors * lanes / 2}, map[string]int{"vectors": vectors}, func(t *testing.T, was, got *call) {
			for i, x := range was.memory["x"] {
				want := f(x)
				near(t, "x", i, got.memory["x"][i], want, (bound+2)*0x1p-53*math.Abs(want))
			}
		}}
	}
	return map[string]kernelTest{"Exp64": function(math.Exp, 4), "Log64": function(math.Log, 6), "Log1p64": function(math.Log1p, 5)}
}

// TestFunctions runs the kernels of functions.
func TestFunctions(t *testing.T) {
	for _, lanes := range []int{4, 8, 16} {
		for _, vectors := range []int{1, 5} {
			t.Run(fmt.Sprintf("%d lanes, %d vectors", lanes, vectors), func(t *testing.T) {
				run(t, lanes, Functions, functionTests(vectors, lanes), rand.New(rand.NewPCG(uint64(lanes), uint64(vectors))))
			})
		}
	}
}
