package nn

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gonum.org/v1/gonum/blas/blas32"

	"github.com/contrastive-go/contrastive"
)

func randomMatrix(rng *rand.Rand, rows, cols int) contrastive.Matrix {
	m := contrastive.NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	return m
}

// testNet has every kind of layer, with and without what is optional.
func testNet(rng *rand.Rand, shards int) Net {
	n := Net{
		NewLinear(7, 6, false, rng), NewBatchNorm(6, true), &ReLU{},
		NewLinear(6, 5, true, rng), &ReLU{},
		NewLinear(5, 4, true, rng), NewBatchNorm(4, false),
	}
	SetShards(shards, n)
	for _, p := range n.Params() {
		for i := range p.Value {
			p.Value[i] += float32(rng.NormFloat64() * 0.3)
		}
	}
	return n
}

// reference is the forward pass of a net in float64, and parameters in the order
// of Params.
func reference(n Net, params [][]float64, x [][]float64, shards int) [][]float64 {
	next := func() []float64 { p := params[0]; params = params[1:]; return p }
	for _, l := range n {
		y := make([][]float64, len(x))
		switch l := l.(type) {
		case *Linear:
			w := next()
			bias := make([]float64, l.Out)
			if l.bias != nil {
				bias = next()
			}
			for i := range x {
				y[i] = slices.Clone(bias)
				for k, v := range x[i] {
					for j := range y[i] {
						y[i][j] += v * w[k*l.Out+j]
					}
				}
			}
		case *ReLU:
			for i := range x {
				y[i] = slices.Clone(x[i])
				for j := range y[i] {
					y[i][j] = max(y[i][j], 0)
				}
			}
		case *BatchNorm:
			gamma, beta := slices.Repeat([]float64{1}, l.dim), make([]float64, l.dim)
			if l.gamma != nil {
				gamma, beta = next(), next()
			}
			for i := range y {
				y[i] = make([]float64, l.dim)
			}
			size := len(x) / shards
			for s := range shards {
				for j := range l.dim {
					var mean, variance float64
					for _, row := range x[s*size : (s+1)*size] {
						mean += row[j] / float64(size)
					}
					for _, row := range x[s*size : (s+1)*size] {
						variance += (row[j] - mean) * (row[j] - mean) / float64(size)
					}
					for i := s * size; i < (s+1)*size; i++ {
						y[i][j] = gamma[j]*(x[i][j]-mean)/math.Sqrt(variance+batchNormEpsilon) + beta[j]
					}
				}
			}
		}
		x = y
	}
	return x
}

func rows64(m contrastive.Matrix) [][]float64 {
	rows := make([][]float64, m.Rows)
	for i := range rows {
		for _, v := range m.Row(i) {
			rows[i] = append(rows[i], float64(v))
		}
	}
	return rows
}

func clone64(x [][]float32) [][]float64 {
	c := make([][]float64, len(x))
	for i, s := range x {
		for _, v := range s {
			c[i] = append(c[i], float64(v))
		}
	}
	return c
}

// TestGradients compares outputs and gradients with central differences of a
// forward pass in float64. Step 10⁻⁶ leaves differences an error of about 10⁻⁹,
// so what is compared is the rounding of float32.
func TestGradients(t *testing.T) {
	for _, shards := range []int{1, 3} {
		rng := rand.New(rand.NewPCG(1, uint64(shards)))
		n := testNet(rng, shards)
		x, dy := randomMatrix(rng, 12, 7), randomMatrix(rng, 12, 4)
		y := n.Forward(x, true)

		params, x64, weights := clone64(Values(n)), rows64(x), rows64(dy)
		for i, row := range reference(n, params, x64, shards) {
			for j, want := range row {
				if got := float64(y.Row(i)[j]); math.Abs(got-want) > 1e-5 {
					t.Fatalf("shards %d: output %d,%d is %g, want %g", shards, i, j, got, want)
				}
			}
		}
		value := func() (sum float64) {
			for i, row := range reference(n, params, x64, shards) {
				for j, v := range row {
					sum += weights[i][j] * v
				}
			}
			return sum
		}
		check := func(name string, p *float64, got float32) {
			t.Helper()
			const h = 1e-6
			old := *p
			*p = old + h
			up := value()
			*p = old - h
			down := value()
			*p = old
			if want := (up - down) / (2 * h); math.Abs(want-float64(got)) > 2e-5*(1+math.Abs(want)) {
				t.Errorf("shards %d: gradient of %s is %g, want %g", shards, name, got, want)
			}
		}
		dx := n.Backward(dy, true)
		for k, p := range n.Params() {
			for i := range p.Value {
				check("a parameter", &params[k][i], p.Grad[i])
			}
		}
		for i := range x64 {
			for j := range x64[i] {
				check("the input", &x64[i][j], dx.Row(i)[j])
			}
		}

		// A second pass adds, and the gradient of the input is not computed unless
		// it is wanted.
		before := slices.Clone(n.Params()[0].Grad)
		n.Forward(x, true)
		if dx := n.Backward(dy, false); dx.Data != nil {
			t.Error("a gradient that was not wanted was returned")
		}
		for i, g := range n.Params()[0].Grad {
			if want := 2 * before[i]; math.Abs(float64(g-want)) > 1e-5*(1+math.Abs(float64(want))) {
				t.Fatalf("gradient %d after two passes is %g, want twice %g", i, g, before[i])
			}
		}
	}
}

func TestShardsAreSeparateBatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	x := randomMatrix(rng, 16, 5)
	together, apart := NewBatchNorm(5, true), NewBatchNorm(5, true)
	together.Shards = 2
	y := together.Forward(x, true)
	for s := range 2 {
		half := contrastive.Matrix{Rows: 8, Cols: 5, Stride: 5, Data: x.Data[s*40 : (s+1)*40]}
		if got := apart.Forward(half, true); !slices.Equal(got.Data, y.Data[s*40:(s+1)*40]) {
			t.Errorf("shard %d differs from a batch of its own", s)
		}
	}
}

// TestRunningStatistics: after many batches from one distribution the output is
// standardised without looking at the batch.
func TestRunningStatistics(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	b := NewBatchNorm(2, true)
	draw := func(rows int) contrastive.Matrix {
		x := randomMatrix(rng, rows, 2)
		for i := range rows {
			x.Row(i)[0] = 5 + 3*x.Row(i)[0]
		}
		return x
	}
	for range 200 {
		b.Forward(draw(400), true)
	}
	y := b.Forward(draw(20000), false)
	for j := range 2 {
		var mean, square float64
		for i := range y.Rows {
			v := float64(y.Row(i)[j])
			mean += v / float64(y.Rows)
			square += v * v / float64(y.Rows)
		}
		// Ten batches of 400 weigh in the averages and 20000 rows are measured: a
		// standard deviation of 0.02 at most for both.
		if math.Abs(mean) > 0.1 || math.Abs(square-1) > 0.1 {
			t.Errorf("column %d has mean %g and mean square %g, want 0 and 1", j, mean, square)
		}
	}
}

func init() { blas32.Use(BLAS{}) }

func TestOptimisers(t *testing.T) {
	// One parameter with decay, one without, gradients 1 and -2.
	fresh := func() (Net, []*Param) {
		l := &Linear{In: 1, Out: 1, weight: newParam(1, false), bias: newParam(1, true)}
		l.weight.Value[0], l.bias.Value[0] = 3, 4
		return Net{l}, l.Params()
	}
	setGrad := func(p []*Param) { p[0].Grad[0], p[1].Grad[0] = 1, -2 }
	near := func(name string, got float32, want float64) {
		t.Helper()
		if math.Abs(float64(got)-want) > 1e-6 {
			t.Errorf("%s is %.8g, want %.8g", name, got, want)
		}
	}

	// With a constant gradient each step of Adam is rate·sign(gradient).
	n, p := fresh()
	adam := NewAdam(0.5, n)
	for range 3 {
		setGrad(p)
		adam.Step(0.1)
	}
	want := 3.0
	for range 3 {
		want = want*(1-0.1*0.5) - 0.1
	}
	near("Adam's weight", p[0].Value[0], want)
	near("Adam's bias", p[1].Value[0], 4.3)
	if p[0].Grad[0] != 0 || p[1].Grad[0] != 0 {
		t.Error("gradients remain after a step")
	}

	n, p = fresh()
	sgd := NewSGD(0.9, 0.5, n)
	weight, bias, vw, vb := 3.0, 4.0, 0.0, 0.0
	for range 3 {
		setGrad(p)
		sgd.Step(0.1)
		vw, vb = 0.9*vw+1+0.5*weight, 0.9*vb-2
		weight, bias = weight-0.1*vw, bias-0.1*vb
	}
	near("SGD's weight", p[0].Value[0], weight)
	near("SGD's bias", p[1].Value[0], bias)
}

// TestWorkers: training is the same, bit for bit, on one processor and on four.
func TestWorkers(t *testing.T) {
	train := func(procs int) []float32 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		rng := rand.New(rand.NewPCG(5, 5))
		n := Net{NewLinear(200, 150, false, rng), NewBatchNorm(150, true), &ReLU{}, NewLinear(150, 100, true, rng)}
		o := NewAdam(1e-4, n)
		x, dy := randomMatrix(rng, 96, 200), randomMatrix(rng, 96, 100)
		for range 3 {
			n.Forward(x, true)
			n.Backward(dy, false)
			o.Step(1e-3)
		}
		return slices.Concat(State(n)...)
	}
	if !slices.Equal(train(1), train(4)) {
		t.Error("parameters depend on GOMAXPROCS")
	}
}
