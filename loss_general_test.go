package contrastive_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/internal/ref"
	"github.com/contrastive-go/contrastive/internal/ref/draw"
	"github.com/contrastive-go/contrastive/internal/ref/golden"
)

// lossOf returns the loss of the package that an oracle judges, nil for none.
func lossOf(l ref.Loss, o options) contrastive.Loss {
	similarity := map[bool]contrastive.Similarity{true: contrastive.Dot}
	switch l := l.(type) {
	case ref.InfoNCE:
		return contrastive.InfoNCE{
			Temperature: float32(l.Temperature), Symmetric: l.Symmetric, InBatch: l.InBatch, Form: contrastive.PositiveForm(l.Form),
			Margin: float32(l.Margin), Hardness: float32(l.Hardness), Filter: contrastive.Filter(l.Filter), FilterMargin: float32(l.FilterMargin),
			Similarity: similarity[l.Dot], Options: o,
		}
	case ref.CLIP:
		return contrastive.CLIP{
			Temperature: float32(l.Temperature), Form: contrastive.PositiveForm(l.Form),
			Filter: contrastive.Filter(l.Filter), FilterMargin: float32(l.FilterMargin), Options: o,
		}
	case ref.SigLIP:
		return contrastive.SigLIP{Temperature: float32(l.Temperature), Bias: float32(l.Bias), Options: o}
	case ref.NTXent:
		return contrastive.NTXent{Temperature: float32(l.Temperature), Options: o}
	case ref.DCL:
		return contrastive.DCL{Temperature: float32(l.Temperature), Sigma: float32(l.Sigma), Options: o}
	case ref.HardNegative:
		return contrastive.HardNegative{Temperature: float32(l.Temperature), Beta: float32(l.Beta), TauPlus: float32(l.TauPlus), Options: o}
	case ref.SupCon:
		return contrastive.SupCon{Temperature: float32(l.Temperature), BaseTemperature: float32(l.BaseTemperature), Options: o}
	case ref.Matryoshka:
		inner := lossOf(l.Loss, o)
		if inner == nil {
			return nil
		}
		return contrastive.Matryoshka{Loss: inner, Dims: l.Dims, Weights: float32s(l.Weights)}
	case ref.Sum:
		sum := contrastive.Sum{Weights: float32s(l.Weights)}
		for _, part := range l.Losses {
			inner := lossOf(part, o)
			if inner == nil {
				return nil
			}
			sum.Losses = append(sum.Losses, inner)
		}
		return sum
	}
	return nil
}

func float32s(x []float64) []float32 {
	if x == nil {
		return nil
	}
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

// matrixApart returns rows as a matrix, with what is not finite between them.
func matrixApart(rows [][]float64) contrastive.Matrix {
	if rows == nil {
		return contrastive.Matrix{}
	}
	m := contrastive.Matrix{Rows: len(rows), Cols: len(rows[0]), Stride: len(rows[0]), Data: make([]float32, len(rows)*len(rows[0]))}
	for i, row := range rows {
		copy(m.Row(i), float32s(row))
	}
	return losstest.Apart(m, 3)
}

// batchOf returns a batch of the oracle for the package, and that batch with the keys of
// the queue as that keeps them.
func batchOf(t testing.TB, b ref.Batch) (contrastive.Batch, ref.Batch) {
	t.Helper()
	c := contrastive.Batch{
		Query: matrixApart(b.Query), Key: matrixApart(b.Key), Negatives: matrixApart(b.Negatives), Hard: matrixApart(b.Hard), HardCounts: b.HardCounts,
		Positives: b.Positives, Exclude: b.Exclude, Labels: b.Labels, KeyLabels: b.KeyLabels, NegativeLabels: b.NegativeLabels,
		Weights: float32s(b.Weights), KeyLogQ: float32s(b.KeyLogQ), NegativeLogQ: float32s(b.NegativeLogQ),
		GuideQuery: matrixApart(b.GuideQuery), GuideKey: matrixApart(b.GuideKey), GuideNegatives: matrixApart(b.GuideNegatives),
		Scores: matrixApart(b.Scores),
	}
	for _, w := range b.PositiveWeights {
		c.PositiveWeights = append(c.PositiveWeights, float32s(w))
	}
	if b.Queue != nil {
		c.Queue = losstest.NewQueue(t, len(b.Queue), matrixApart(b.Queue), b.QueueLabels...)
		b.Queue, b.QueueLabels = losstest.RowsOf(c.Queue.Keys()), c.Queue.Labels()
	}
	return c, b
}

// A part is a loss that is made of no other, of all columns or the first few, with its
// weight in the loss that it is a part of.
type part struct {
	loss   ref.Loss
	weight float64
	dim    int
	batch  ref.Batch
	want   ref.Result
	ranks  int // among which the batch is spread, 0 for one process
}

func partsOf(l ref.Loss, b ref.Batch, weight float64) []part {
	at := func(weights []float64, k int) float64 {
		if weights == nil {
			return weight
		}
		return weight * weights[k]
	}
	var parts []part
	switch l := l.(type) {
	case ref.Matryoshka:
		for k, d := range l.Dims {
			c := b
			for _, m := range [...]*[][]float64{&c.Query, &c.Key, &c.Negatives, &c.Hard} {
				rows := *m
				*m = nil
				for _, row := range rows {
					*m = append(*m, row[:d])
				}
			}
			parts = append(parts, partsOf(l.Loss, c, at(l.Weights, k))...)
		}
		return parts
	case ref.Sum:
		for k, loss := range l.Losses {
			parts = append(parts, partsOf(loss, b, at(l.Weights, k))...)
		}
		return parts
	}
	return []part{{loss: l, weight: weight, dim: len(b.Query[0]), batch: b, want: l.Eval(b)}}
}

// accuracy returns what the errors of a part depend on, for a batch of the package's
// with all that it is a part of, and whether it can be compared.
//
// A logit (s−m)/τ−logQ+α·s is off by what 1/τ+α makes of the error of s, and by eight
// roundings of its terms. Errors of dot products are relative to the norms, as masses are;
// rest is what is not: twice the other errors of a logit, since the slopes of an anchor
// are at most 1 and add up to 0.
func (p part) accuracy(b contrastive.Batch, precision contrastive.Precision) (a losstest.Accuracy, size, rest float64, ok bool) {
	v, tau, bias := losstest.Variant{}, 0.0, 0.0
	size = 1
	gain, offset, filter := 1.0, 0.0, ref.NoFilter
	switch l := p.loss.(type) {
	case ref.InfoNCE:
		tau, filter = l.Temperature, l.Filter
		gain = 1 + l.Hardness*tau
		offset = l.Margin / tau
		for _, q := range append(p.batch.KeyLogQ, p.batch.NegativeLogQ...) {
			offset = max(offset, l.Margin/tau+math.Abs(q))
		}
		if l.Dot {
			size = greatestNorm(p.batch.Query) * max(greatestNorm(p.batch.Key), greatestNorm(p.batch.Negatives), greatestNorm(p.batch.Hard))
			if b.Queue != nil {
				size = max(size, greatestNorm(p.batch.Query))
			}
		}
	case ref.CLIP:
		tau, filter = l.Temperature, l.Filter
	case ref.SigLIP:
		v.Bias, tau, bias = true, l.Temperature, l.Bias
	case ref.NTXent:
		tau = l.Temperature
	case ref.DCL:
		tau = l.Temperature
	case ref.HardNegative:
		v.Gain, tau = 1+2*l.Beta, l.Temperature
	case ref.SupCon:
		v.OptionalKey, tau = true, l.Temperature
	}
	c := b
	c.Query.Cols = p.dim
	a = losstest.NewAccuracy(v, c, float32(tau), float32(bias), precision)
	a.Length += float64(b.Key.Rows + b.Hard.Rows)
	if p.ranks > 0 { // see shardTrial.accuracy; cosines of positives are of vectors rounded to float32
		a.Length += float64(2*p.ranks + 4)
		a.Positive += 3 * u
	}
	a.Cosine *= size
	a.Margin *= size
	a.Positive *= size
	if l, ok := p.loss.(ref.InfoNCE); ok {
		a.Logit = gain*(a.Cosine+8*u*size)/tau + 8*u*offset + 40*u
		if l.Dot {
			a.Size = size
			a.Margin *= 4 // of products of norms that are rounded up to powers of 2
			rest = 2 * (8*u*offset + 40*u)
		}
	}
	if filter != ref.NoFilter {
		judge := a.Cosine / size
		if p.batch.GuideQuery != nil {
			judge += float64(len(p.batch.GuideQuery[0])) * u
		}
		return a, size, rest, p.want.Kink > judge+4*u && a.Logit < 0.1
	}
	return a, size, rest, a.Condition(p.want) && a.Logit < 0.1
}

// filtered reports whether a filter may leave out pairs.
func (p part) filtered() bool {
	switch l := p.loss.(type) {
	case ref.InfoNCE:
		return l.Filter != ref.NoFilter
	case ref.CLIP:
		return l.Filter != ref.NoFilter
	}
	return false
}

func greatestNorm(m [][]float64) float64 {
	g := 0.0
	for _, row := range m {
		n := 0.0
		for _, x := range row {
			n = math.Hypot(n, x)
		}
		g = max(g, n)
	}
	return g
}

// bounds are those of the errors of an evaluation.
type bounds struct {
	loss, temperature, bias float64
	losses                  []float64
	rows                    [4][]float64 // in the 2-norm, but for the rounding of the result
}

// newBounds returns those of a sum of parts, and whether it can be compared. In a sum,
// gradients are rounded once for each part, and added up in float32.
func newBounds(parts []part, b contrastive.Batch, precision contrastive.Precision) (s bounds, ok bool) {
	rounding := 0.0
	if len(parts) > 1 {
		rounding = float64(len(parts)+2) * u
	}
	s.losses = make([]float64, b.Query.Rows)
	for k, m := range losstest.Inputs(b) {
		s.rows[k] = make([]float64, m.Rows)
	}
	for _, p := range parts {
		want := p.want
		a, size, rest, ok := p.accuracy(b, precision)
		if !ok {
			return s, false
		}
		s.loss += p.weight * (a.Loss(want) + rest)
		s.temperature += p.weight * (a.TemperatureGrad(want) + rest/a.Tau)
		s.bias += p.weight * a.BiasGrad(want)
		for i, mass := range want.LossesMass {
			s.losses[i] += p.weight * (mass*a.LogitError()*math.Exp(2*a.Logit) + (1e-14+a.Sum)*math.Abs(want.Losses[i]) + rest + 0x1p-120)
		}
		flush := 0x1p-60*want.Mass + a.Length*0x1p-126*size/a.Tau
		for k, m := range [...]struct {
			x    [][]float64
			mass []float64
		}{
			{p.batch.Query, want.QueryMass}, {p.batch.Key, want.KeyMass},
			{p.batch.Negatives, want.NegativesMass}, {p.batch.Hard, want.HardMass},
		} {
			for i, mass := range m.mass {
				bound := mass*(a.Weight()+rounding) + flush
				if !want.RawMass {
					bound /= greatestNorm(m.x[i : i+1])
				}
				if !math.IsInf(bound, 0) && !math.IsNaN(bound) { // rows of zeros
					s.rows[k][i] += p.weight * bound
				}
			}
		}
	}
	return s, true
}

// A generalTrial is a loss on a batch of any kind.
type generalTrial struct {
	name      string
	loss      ref.Loss
	batch     contrastive.Batch
	reference ref.Batch
	want      ref.Result
	parts     []part
	precision contrastive.Precision

	files  float64         // errors of want, if that is not package ref's
	graded map[string]bool // gradients to compare; nil for all
}

func newGeneralTrial(t testing.TB, name string, l ref.Loss, b ref.Batch) generalTrial {
	c := generalTrial{name: name, loss: l}
	c.batch, c.reference = batchOf(t, b)
	c.want, c.parts = l.Eval(c.reference), partsOf(l, c.reference, 1)
	return c
}

// run compares an evaluation with the oracle, and reports whether it could.
func (c generalTrial) run(t *testing.T) bool {
	t.Helper()
	s, ok := newBounds(c.parts, c.batch, c.precision)
	if !ok {
		return false
	}
	l, g := lossOf(c.loss, options{Precision: c.precision}), c.destinations()
	c.check(t, s, losstest.Eval(t, c.name, l, c.batch, g), g)
	return true
}

// destinations returns matrices for all gradients, and losses if the loss gives them.
func (c generalTrial) destinations() contrastive.Gradients {
	g := losstest.Destinations(c.batch)
	if c.want.Losses != nil {
		g.Losses = make([]float64, c.batch.Query.Rows)
	}
	return g
}

// check compares what an evaluation has found with the oracle.
func (c generalTrial) check(t *testing.T, s bounds, got contrastive.Result, g contrastive.Gradients) {
	t.Helper()
	losstest.Within(t, c.name+": Loss", got.Loss, c.want.Loss, s.loss+c.files)
	losstest.Within(t, c.name+": TemperatureGrad", got.TemperatureGrad, c.want.TemperatureGrad, s.temperature+10*c.files/ref.LeastTemperature(c.loss))
	losstest.Within(t, c.name+": BiasGrad", got.BiasGrad, c.want.BiasGrad, s.bias+10*c.files)
	for i, loss := range g.Losses {
		losstest.Within(t, fmt.Sprintf("%s: loss of query %d", c.name, i), loss, c.want.Losses[i], s.losses[i]+c.files)
	}
	c.checkStatistics(t, got)

	wants := [...][][]float64{c.want.Query, c.want.Key, c.want.Negatives, c.want.Hard}
	for k, grad := range losstest.Outputs(g) {
		name := [...]string{"query", "key", "negatives", "hard"}[k]
		if grad.Data == nil || c.graded != nil && !c.graded[name] {
			continue
		}
		losstest.CheckGaps(t, c.name+": gradient of "+name, grad)
		for i, want := range wants[k] {
			var size, diff float64
			for d, w := range want {
				size = math.Hypot(size, w)
				diff = math.Hypot(diff, float64(grad.Row(i)[d])-w)
			}
			limit := s.rows[k][i] + u*size + math.Sqrt(float64(grad.Cols))*0x1p-126
			if c.files > 0 {
				limit += u*size + 10*c.files/min(1, shortestPrefix(c.parts, k, i))
			}
			if !(diff <= limit) {
				t.Errorf("%s: gradient of %s row %d is off by %.3g of %.3g, want at most %.3g", c.name, name, i, diff, size, limit)
				break
			}
		}
	}
}

// checkStatistics compares what a result has of the part that it is about.
func (c generalTrial) checkStatistics(t *testing.T, got contrastive.Result) {
	t.Helper()
	p := c.parts[0]
	if _, ok := c.loss.(ref.Matryoshka); ok {
		for _, other := range c.parts {
			if other.dim > p.dim {
				p = other
			}
		}
	}
	a, size, _, _ := p.accuracy(c.batch, c.precision)
	losstest.Within(t, c.name+": PositiveCosine", got.PositiveCosine, c.want.PositiveCosine, a.Positive)
	bound := 0.0
	if c.want.NegativeShare > 0 {
		bound = 2 * (64 + 2) * u * size / c.want.NegativeShare
		if p.filtered() { // whose similarities are subtracted, as exact as the products are
			bound += a.Cosine * (1 - c.want.NegativeShare) / c.want.NegativeShare
		}
	}
	losstest.Within(t, c.name+": NegativeCosine", got.NegativeCosine, c.want.NegativeCosine, bound)
	a.CheckAccuracy(t, c.name, got.Accuracy, c.want.Margins)
}

// shortestPrefix returns the least norm of what parts see of row i of input k.
func shortestPrefix(parts []part, k, i int) float64 {
	least := math.Inf(1)
	for _, p := range parts {
		rows := [...][][]float64{p.batch.Query, p.batch.Key, p.batch.Negatives, p.batch.Hard}[k]
		least = min(least, greatestNorm(rows[i:i+1]))
	}
	return least
}

// TestGeneral compares losses with package ref on batches of all kinds, drawn at random.
func TestGeneral(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 1))
	var ts []generalTrial
	trials := 1200
	if testing.Short() || race.Enabled {
		trials = 200
	}
	for k := range trials {
		limit := [...]int{6, 20, 40, 100}[k%4]
		c := draw.New(r, limit, limit)
		ts = append(ts, newGeneralTrial(t, c.String(), c.Loss, c.Batch))
	}
	runMost(t, ts)
}

// runMost runs trials on every level, and asks that most of them can be compared.
func runMost[T interface{ run(t *testing.T) bool }](t *testing.T, trials []T) {
	isatest.Each(t, func(t *testing.T) {
		compared := 0
		for _, c := range trials {
			if c.run(t) {
				compared++
			}
		}
		if compared < len(trials)*3/4 {
			t.Errorf("only %d of %d trials can be compared", compared, len(trials))
		}
	})
}

// TestDotSizes has inputs whose sizes differ by 10³⁸: dot products are computed in units of
// the greatest.
func TestDotSizes(t *testing.T) {
	sizes := [...]float64{1e-19, 1, 1e19}
	for k := range len(sizes) * len(sizes) * len(sizes) {
		key, negatives, hard := sizes[k%3], sizes[k/3%3], sizes[k/9]
		for i, queued := range []bool{false, true, false, true} {
			r := rand.New(rand.NewPCG(18, uint64(k)))
			rows := func(n int, size float64) [][]float64 {
				m := losstest.Normal(r, n, 6)
				losstest.ScaleRows(m, func(int) float64 { return size })
				return losstest.RowsOf(m)
			}
			greatest := max(key, negatives, hard)
			b := ref.Batch{Query: rows(5, 1), Key: rows(5, key), Negatives: rows(7, negatives), Hard: rows(10, hard)}
			if queued {
				greatest = max(greatest, 1)
				b.Queue = losstest.RowsOf(losstest.NewQueue(t, 4, losstest.Normal(r, 4, 6)).Keys())
			}
			tau := greatest * [...]float64{4, 0x1p-4}[i/2] // the second with exponents in the hundreds
			l := ref.InfoNCE{Temperature: float64(float32(tau)), InBatch: true, Dot: true}
			c := newGeneralTrial(t, fmt.Sprintf("keys of %v, negatives of %v, hard of %v, queue %v, τ=%v", key, negatives, hard, queued, tau), l, b)
			isatest.Each(t, func(t *testing.T) {
				if !c.run(t) {
					t.Errorf("%s: not compared", c.name)
				}
			})
		}
	}
}

// TestHardTie has hard negatives that are as similar as the positive, with a filter that
// leaves out only those that are more so.
func TestHardTie(t *testing.T) {
	b := contrastive.Batch{Query: losstest.Normal(rand.New(rand.NewPCG(19, 1)), 5, 6)}
	b.Key = losstest.Normal(rand.New(rand.NewPCG(19, 2)), 5, 6)
	b.Hard = losstest.Clone(b.Key)
	isatest.Each(t, func(t *testing.T) {
		l := contrastive.InfoNCE{Filter: contrastive.AbsoluteMargin}
		res := losstest.Eval(t, "hard negatives that are the keys", l, b, contrastive.Gradients{})
		losstest.Within(t, "Loss", res.Loss, math.Ln2, 0x1p-50)
	})
}

// TestGoldenGeneral compares losses at all precisions with the reference implementations,
// within the same bounds, to which the errors come that the tests of package ref grant the files.
func TestGoldenGeneral(t *testing.T) {
	for _, file := range golden.GeneralFiles {
		var ts []generalTrial
		for _, g := range golden.LoadGeneral(t, file) {
			l := g.Reference()
			if lossOf(l, options{}) == nil || repeats(g.Params.Dims) {
				continue
			}
			c := newGeneralTrial(t, g.Name, l, g.Batch())
			size := 0.0
			for _, p := range c.parts {
				_, s, _, _ := p.accuracy(c.batch, contrastive.Highest)
				size = max(size, s)
			}
			c.files = 1e-14*(c.want.Mass+size/ref.LeastTemperature(c.loss)) + 1e-12*math.Abs(g.Value)
			c.want.Loss, c.graded = g.Value, map[string]bool{}
			copy(c.want.Losses, g.Losses)
			for name, v := range g.ScalarGrads {
				*map[string]*float64{"temperature": &c.want.TemperatureGrad, "bias": &c.want.BiasGrad}[name] = v
			}
			for name, grad := range g.Grads {
				*map[string]*[][]float64{"query": &c.want.Query, "key": &c.want.Key, "negatives": &c.want.Negatives, "hard": &c.want.Hard}[name] = grad.Float64()
				c.graded[name] = true
			}
			ts = append(ts, c)
		}
		if len(ts) == 0 {
			continue // losses of given pairs
		}
		isatest.Each(t, func(t *testing.T) {
			for _, precision := range [...]contrastive.Precision{contrastive.Highest, contrastive.High, contrastive.Medium} {
				compared, least := 0, len(ts)
				if precision == contrastive.Medium { // whose errors are too great for most temperatures
					least = 1
				}
				for _, c := range ts {
					c.name, c.precision = fmt.Sprintf("%s precision %v", c.name, precision), precision
					if c.run(t) {
						compared++
					}
				}
				if compared < least {
					t.Errorf("%s precision %v: only %d of %d cases can be compared", file, precision, compared, len(ts))
				}
			}
		})
	}
}

// repeats reports whether dimensions repeat, which Matryoshka refuses.
func repeats(dims []int) bool {
	for i, d := range dims {
		for _, e := range dims[:i] {
			if d == e {
				return true
			}
		}
	}
	return false
}

// FuzzGeneral is TestGeneral for any seed, at any precision, and asks for the same bits
// from any number of workers, of any of the gradients, added to what was there.
func FuzzGeneral(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed, uint8(8*seed), uint8(3*seed), uint8(seed), uint8(seed), uint8(7*seed))
	}
	f.Add(uint64(107), uint8(187), uint8(76), uint8(125), uint8(160), uint8(252)) // dot products within the margin of Accuracy
	f.Fuzz(func(t *testing.T, seed uint64, rows, cols, precision, workers, wanted uint8) {
		d := draw.New(rand.New(rand.NewPCG(seed, 52)), 1+int(rows)%100, 1+int(cols)%100)
		c := newGeneralTrial(t, d.String(), d.Loss, d.Batch)
		c.precision = contrastive.Precision(precision % 3)
		isatest.Each(t, func(t *testing.T) {
			c.run(t)
			c.runInPart(t, int(workers)%9, int(wanted)%16)
		})
	})
}

// runInPart compares an evaluation by a number of workers, which adds the wanted of the
// gradients to what is there, with one by one worker, bit by bit.
func (c generalTrial) runInPart(t *testing.T, workers, wanted int) {
	t.Helper()
	g, part := losstest.Destinations(c.batch), losstest.Destinations(c.batch)
	g.Losses, part.Losses = make([]float64, c.batch.Query.Rows), make([]float64, c.batch.Query.Rows)
	want := losstest.Eval(t, c.name, lossOf(c.loss, options{Precision: c.precision, Workers: 1}), c.batch, g)
	held := [...]float32{0, 1, -3, 1e-30, math.MaxFloat32, -7}
	part.Accumulate = true
	for k, m := range [...]*contrastive.Matrix{&part.Query, &part.Key, &part.Negatives, &part.Hard} {
		if wanted>>k&1 == 0 {
			*m = contrastive.Matrix{}
		}
		losstest.MapMatrix(*m, func(i, d int, _ float32) float32 { return held[(i+d)%len(held)] })
		losstest.MapMatrix(losstest.Outputs(g)[k], func(i, d int, x float32) float32 {
			sum := float64(held[(i+d)%len(held)]) + float64(x)
			return float32(max(-math.MaxFloat32, min(sum, math.MaxFloat32)))
		})
		if m.Data == nil {
			*[...]*contrastive.Matrix{&g.Query, &g.Key, &g.Negatives, &g.Hard}[k] = contrastive.Matrix{}
		}
	}
	got := losstest.Eval(t, c.name, lossOf(c.loss, options{Precision: c.precision, Workers: workers}), c.batch, part)
	if got != want || !losstest.SameGradients(part, g) {
		t.Errorf("%s: %d workers, gradients %04b: %+v, want %+v, or gradients or losses differ", c.name, workers, wanted, got, want)
	}
}
