package contrastive_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// TestEdge has inputs at the edge of what is good, each with the value it must
// have. TestOracle has more of them.
func TestEdge(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 1))
	pair := func(n, d int) contrastive.Batch {
		return contrastive.Batch{Query: losstest.Normal(r, n, d), Key: losstest.Normal(r, n, d)}
	}
	each := func(b contrastive.Batch, f func(m contrastive.Matrix)) contrastive.Batch {
		f(b.Query)
		f(b.Key)
		return b
	}
	zeros := each(pair(8, 5), func(m contrastive.Matrix) { losstest.ScaleRows(m, func(int) float64 { return 0 }) })
	subnormal := each(pair(8, 5), func(m contrastive.Matrix) { losstest.ScaleRows(m, func(int) float64 { return 1e-40 }) })
	// In one dimension cosines are 1 and −1. Queries and keys agree in sign
	// with their own, and with half of the others.
	signs := each(contrastive.Batch{Query: contrastive.NewMatrix(8, 1), Key: contrastive.NewMatrix(8, 1)}, func(m contrastive.Matrix) {
		for i := range 8 {
			m.Row(i)[0] = float32(1+i) * float32(1-i%2*2)
		}
	})
	twin := pair(1, 3)
	twin.Key = losstest.Clone(twin.Query)
	negated := twin
	negated.Negatives = losstest.Clone(twin.Query)
	losstest.ScaleRows(negated.Negatives, func(int) float64 { return -3 })
	equal := twin
	equal.Negatives = losstest.Clone(twin.Query)

	// Two equal columns, whose covariance is 4/3, beside a great one that has none
	// with them.
	beside := func(great ...float32) contrastive.Batch {
		b := contrastive.Batch{Query: contrastive.NewMatrix(4, 3), Key: contrastive.NewMatrix(4, 3)}
		for i, x := range [...]float32{1, 1, -1, -1} {
			copy(b.Query.Row(i), []float32{x, x, great[i]})
		}
		return b
	}

	logN := math.Log(8)
	signed := func(tau float64) float64 { return math.Log(4 + 4*math.Exp(-2/tau)) }
	for _, c := range [...]struct {
		name  string
		loss  contrastive.Loss
		batch contrastive.Batch
		want  float64
		flat  bool // the gradient is 0, without rounding
	}{
		{"one row", contrastive.InfoNCE{}, pair(1, 5), 0, true},
		{"one row", contrastive.CLIP{}, pair(1, 5), 0, true},
		{"one row", contrastive.NTXent{}, pair(1, 5), 0, true},
		{"one row", contrastive.SupCon{}, pair(1, 5), 0, false},
		{"one row", contrastive.HardNegative{}, pair(1, 5), 0, true},
		{"one row", contrastive.NegativeCosine{}, twin, -1, false},
		{"one row, one column", contrastive.InfoNCE{}, pair(1, 1), 0, true},
		{"one negative, opposite", contrastive.InfoNCE{Temperature: 0.5}, negated, math.Log1p(math.Exp(-4)), false},
		{"one negative, the same", contrastive.InfoNCE{Temperature: 0.5}, equal, math.Ln2, false},
		{"rows of zeros", contrastive.InfoNCE{}, zeros, logN, true},
		{"rows of zeros", contrastive.CLIP{}, zeros, logN, true},
		{"rows of zeros", contrastive.NTXent{}, zeros, math.Log(15), true},
		{"rows of zeros", contrastive.SupCon{}, zeros, math.Log(15), true},
		{"rows of zeros", contrastive.DCL{}, zeros, math.Log(14), true},
		{"rows of zeros", contrastive.SigLIP{}, zeros, 8 * math.Ln2, true},
		{"rows of zeros", contrastive.NegativeCosine{}, zeros, 0, true},
		{"rows of zeros", contrastive.BarlowTwins{}, zeros, 5, true},
		{"rows of zeros", contrastive.VICReg{}, zeros, 25 * (1 - 0.01), true},
		{"great constant column", contrastive.VICReg{Covariance: 1}, beside(1e12, 1e12, 1e12, 1e12), 32.0 / 27, false},
		{"great column", contrastive.VICReg{Covariance: 1}, beside(1e30, -1e30, 1e30, -1e30), 32.0 / 27, false},
		{"rows below 2^-126", contrastive.InfoNCE{}, subnormal, logN, true},
		{"rows below 2^-126", contrastive.NTXent{Temperature: 0.001}, subnormal, math.Log(15), true},
		{"rows below 2^-126", contrastive.NegativeCosine{}, subnormal, 0, true},
		{"one column", contrastive.InfoNCE{Temperature: 1}, signs, signed(1), false},
		{"one column", contrastive.InfoNCE{Temperature: 0.001}, signs, signed(0.001), false},
		{"one column", contrastive.InfoNCE{Temperature: 1000}, signs, signed(1000), false},
		{"one column", contrastive.CLIP{Temperature: 0.001}, signs, signed(0.001), false},
		{"one column", contrastive.NTXent{Temperature: 1000}, signs, math.Log(7 + 8*math.Exp(-0.002)), false},
	} {
		isatest.Each(t, func(t *testing.T) {
			name := fmt.Sprintf("%s %+v", c.name, c.loss)
			g := losstest.Destinations(c.batch)
			got := losstest.Eval(t, name, c.loss, c.batch, g)
			// Cosines are 0, 1 and −1 exactly, or but for the roundings of
			// three elements. What is left is that of τ in the exponents,
			// the exponential, 4 ulp, and the sum.
			losstest.Within(t, name, got.Loss, c.want, 40*u*(1+math.Abs(c.want)))
			losstest.CheckGaps(t, name+" Query", g.Query)
			losstest.CheckGaps(t, name+" Key", g.Key)
			for i, m := range [...]contrastive.Matrix{g.Query, g.Key} {
				for row := range m.Rows {
					for d, x := range m.Row(row) {
						if x != 0 && c.flat {
							t.Errorf("%s: gradient %d row %d column %d is %v, want 0", name, i, row, d, x)
						}
					}
				}
			}
		})
	}
}

// TestDefaults compares the zero value of each loss with its documented
// defaults, bit for bit.
func TestDefaults(t *testing.T) {
	r := rand.New(rand.NewPCG(42, 1))
	b := contrastive.Batch{Query: losstest.Normal(r, 9, 4), Key: losstest.Normal(r, 9, 4)}
	for _, c := range [...]struct{ zero, full contrastive.Loss }{
		{contrastive.InfoNCE{}, contrastive.InfoNCE{Temperature: 0.07}},
		{contrastive.NTXent{}, contrastive.NTXent{Temperature: 0.5}},
		{contrastive.CLIP{}, contrastive.CLIP{Temperature: 0.07}},
		{contrastive.SigLIP{}, contrastive.SigLIP{Temperature: 0.1, Bias: 0}},
		{contrastive.SupCon{}, contrastive.SupCon{Temperature: 0.07, BaseTemperature: 0.07}},
		{contrastive.DCL{}, contrastive.DCL{Temperature: 0.1}},
		{contrastive.HardNegative{}, contrastive.HardNegative{Temperature: 0.5}},
		{contrastive.BarlowTwins{}, contrastive.BarlowTwins{Lambda: 0.005}},
		{contrastive.VICReg{}, contrastive.VICReg{Similarity: 25, Variance: 25, Covariance: 1}},
		{contrastive.CLIP{}, contrastive.InfoNCE{Symmetric: true}},
		{contrastive.CLIP{}, contrastive.InfoNCE{Symmetric: true, InBatch: true}},
		{contrastive.InfoNCE{}, contrastive.InfoNCE{InBatch: true}},
		{contrastive.CoSENT{}, contrastive.CoSENT{Scale: 20}},
		{contrastive.AnglE{}, contrastive.AnglE{Scale: 20}},
		{contrastive.MarginMSE{}, contrastive.MarginMSE{Similarity: contrastive.Dot}},
		{contrastive.DistillKL{}, contrastive.DistillKL{Temperature: 1, Similarity: contrastive.Dot}},
		{contrastive.Triplet{}, contrastive.Triplet{Margin: 5, Distance: contrastive.Euclidean}},
	} {
		name := fmt.Sprintf("%T%+v", c.zero, c.zero)
		b, v := b, losstest.Variant{}
		for _, other := range losstest.Variants {
			if other.Given && reflect.TypeOf(other.Make(0.1, 0, options{})) == reflect.TypeOf(c.zero) {
				v = other
			}
		}
		v.Complete(rand.New(rand.NewPCG(42, 2)), &b)
		g, want := losstest.Destinations(b), losstest.Destinations(b)
		got, wantRes := losstest.Eval(t, name, c.zero, b, g), losstest.Eval(t, name, c.full, b, want)
		if got != wantRes || !losstest.SameGradients(g, want) {
			t.Errorf("%s: %+v, want that of %+v, %+v", name, got, c.full, wantRes)
		}
	}
	// Weights that are not all 0 are taken as they are.
	without := losstest.Eval(t, "VICReg", contrastive.VICReg{Variance: 25}, b, contrastive.Gradients{})
	all := losstest.Eval(t, "VICReg", contrastive.VICReg{}, b, contrastive.Gradients{})
	if !(without.Loss < all.Loss) {
		t.Errorf("VICReg with Variance alone is %v, with all terms %v", without.Loss, all.Loss)
	}
}

// TestLargest has elements and gradients at the end of float32: they saturate,
// and nothing is NaN.
func TestLargest(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for k, v := range losstest.Variants {
			for _, size := range [...]float64{1e-37, 1e-30, 1e30, math.MaxFloat32 / 8} {
				r := rand.New(rand.NewPCG(43, uint64(k)))
				b := v.Batch(r, 12, 7)
				losstest.ScaleRows(b.Query, func(int) float64 { return size })
				losstest.ScaleRows(b.Key, func(int) float64 { return size })
				name := fmt.Sprintf("%s with elements of %v", v.Name, size)
				g := v.Destinations(b)
				res, err := v.Make(0.001, -10, options{}).Eval(b, g)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				for _, x := range [...]float64{res.Loss, res.TemperatureGrad, res.BiasGrad, res.Accuracy, res.PositiveCosine, res.NegativeCosine} {
					if math.IsNaN(x) || math.IsInf(x, 0) {
						t.Errorf("%s: %+v", name, res)
						break
					}
				}
				for i, m := range losstest.Outputs(g) {
					losstest.CheckGaps(t, name, m)
					for row := range m.Rows {
						for _, x := range m.Row(row) {
							if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
								t.Fatalf("%s: gradient %d row %d: %v", name, i, row, m.Row(row))
							}
						}
					}
				}
			}
		}
	})
}

// TestAnchorsWithoutNegatives tests that they have no loss, no gradient and no part
// in Accuracy, alone and sharded: the first step with an empty queue is not a
// perfect one.
func TestAnchorsWithoutNegatives(t *testing.T) {
	axes := func(axes ...int) contrastive.Matrix {
		m := contrastive.NewMatrix(len(axes), 3)
		for i, d := range axes {
			m.Row(i)[d] = 2
		}
		return m
	}
	pairs := contrastive.Batch{Query: axes(0, 1), Key: axes(0, 1)}
	oneLabel, empty, labelled, lost := pairs, pairs, pairs, pairs
	oneLabel.Labels = []int{7, 7}
	var err error
	if empty.Queue, err = contrastive.NewQueue(4, 3); err != nil {
		t.Fatal(err)
	}
	// The key of the queue is a negative of query 1 alone.
	labelled.Labels, labelled.Queue = []int{7, 8}, losstest.NewQueue(t, 4, axes(2), 7)
	lost.Labels, lost.Queue = []int{7, 8}, losstest.NewQueue(t, 4, axes(1), 7)
	one := contrastive.Batch{Query: axes(0), Key: axes(0)}

	isatest.Each(t, func(t *testing.T) {
		for _, c := range [...]struct {
			name               string
			loss               contrastive.Loss
			batch              contrastive.Batch
			accuracy, negative float64
			flat               bool
		}{
			{"empty queue", contrastive.InfoNCE{}, empty, 0, 0, true},
			{"empty queue and the batch", contrastive.InfoNCE{InBatch: true}, empty, 1, 0, false},
			{"one label", contrastive.InfoNCE{}, oneLabel, 0, 0, true},
			{"one label", contrastive.CLIP{}, oneLabel, 0, 0, true},
			{"one label", contrastive.NTXent{}, oneLabel, 0, 0, true},
			{"one pair", contrastive.InfoNCE{}, one, 0, 0, true},
			{"one pair", contrastive.CLIP{}, one, 0, 0, true},
			{"one pair", contrastive.NTXent{}, one, 0, 0, true},
			{"one pair", contrastive.HardNegative{Beta: 1, TauPlus: 0.1}, one, 0, 0, true},
			{"one pair", contrastive.SigLIP{}, one, 0, 0, false},
			{"a negative of one query", contrastive.InfoNCE{}, labelled, 1, 0, false},
			{"the key of one query as its negative", contrastive.InfoNCE{}, lost, 0, 1, false},
		} {
			name := fmt.Sprintf("%s %T%+v", c.name, c.loss, c.loss)
			check := func(name string, got contrastive.Result, g contrastive.Gradients) {
				if got.Accuracy != c.accuracy || got.NegativeCosine != c.negative || c.flat && got.Loss != 0 {
					t.Errorf("%s: %+v, want an Accuracy of %v and a NegativeCosine of %v", name, got, c.accuracy, c.negative)
				}
				for _, m := range [...]contrastive.Matrix{g.Query, g.Key} {
					losstest.CheckGaps(t, name, m)
					for i := range m.Rows {
						for d, x := range m.Row(i) {
							if c.flat && x != 0 {
								t.Errorf("%s: a gradient in row %d column %d is %v, want 0", name, i, d, x)
							}
						}
					}
				}
			}
			g := losstest.Destinations(c.batch)
			check(name, losstest.Eval(t, name, c.loss, c.batch, g), g)
			rows := []int{1, 1}[:c.batch.Query.Rows]
			if v := (losstest.Variant{Make: func(_, _ float32, _ options) contrastive.Loss { return c.loss }}); v.Sharded() {
				for _, way := range shardWays {
					x := shardTrial{Trial: losstest.Trial{Name: name + " " + way.name, Variant: v, Batch: c.batch}, rows: rows}
					g := losstest.Destinations(c.batch)
					check(x.Name, x.evalSharded(t, c.loss, way.ring, g), g)
				}
			}
		}
	})
}

// TestCosineRange tests that no mean of cosines is beyond 1 by rounding, for batches
// of one direction and its opposite.
func TestCosineRange(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(44, 1))
		for d := 1; d < 60; d++ {
			row := losstest.Normal(r, 1, d).Row(0)
			b := contrastive.Batch{Query: contrastive.NewMatrix(3, d), Key: contrastive.NewMatrix(3, d)}
			losstest.MapRows(b, func(q, k []float32) { copy(q, row); copy(k, row) })
			for _, sign := range [...]float64{1, -1} {
				losstest.ScaleRows(b.Key, func(int) float64 { return sign })
				check := func(name string, cosines ...float64) {
					for _, s := range cosines {
						if !(s >= -1 && s <= 1) {
							t.Errorf("%s: D=%d: a mean cosine of %v", name, d, s)
						}
					}
				}
				for _, v := range losstest.Variants {
					if v.Even && d%2 > 0 {
						continue
					}
					b := b
					if v.Labels {
						b.Labels = []int{0, 1, 2}
					}
					v.Complete(rand.New(rand.NewPCG(44, 2)), &b)
					got := losstest.Eval(t, v.Name, v.Make(0.1, 0, options{}), b, contrastive.Gradients{})
					check(v.Name, got.PositiveCosine, got.NegativeCosine)
					if v.Sharded() {
						x := shardTrial{Trial: losstest.Trial{Name: v.Name, Variant: v, Batch: b}, rows: []int{2, 1}}
						got := x.evalSharded(t, v.Make(0.1, 0, options{}), false, contrastive.Gradients{})
						check(v.Name+" sharded", got.PositiveCosine, got.NegativeCosine)
					}
				}
			}
			got, err := contrastive.Collapse(b.Query)
			if err != nil {
				t.Fatal(err)
			}
			if !(got.MeanCosine <= 1) {
				t.Errorf("Collapse: D=%d: a mean cosine of %v", d, got.MeanCosine)
			}
		}
	})
}

// TestTinyRowsEverywhere tests the one rule for rows that are too short for a direction: a norm
// below 2⁻¹²⁶ counts as 0, and one of 2⁻¹²⁶ as any other. Each place that takes rows is
// given both, beside a row of zeros and one of norm 1.
func TestTinyRowsEverywhere(t *testing.T) {
	// row returns a copy of m with an element of size along an axis for a row.
	row := func(m contrastive.Matrix, i int, size float32) contrastive.Matrix {
		m = losstest.Clone(m)
		clear(m.Row(i))
		m.Row(i)[1] = size
		return m
	}
	below := math.Nextafter32(0x1p-126, 0)
	sizes := [...]struct{ size, like float32 }{{below, 0}, {1e-40, 0}, {-math.SmallestNonzeroFloat32, 0}, {0x1p-126, 1}, {-0x1p-126, -1}}

	places := map[string]func(size float32) string{}
	for k, v := range losstest.Variants {
		if v.Columns || v.Raw {
			continue
		}
		r := rand.New(rand.NewPCG(45, uint64(k)))
		b := full(t, v, r, 9, 4)
		keys, keyLabels := losstest.Normal(r, 6, 4), losstest.Labels(r, 6)
		evaluate := func(change func(b *contrastive.Batch, size float32)) func(size float32) string {
			return func(size float32) string {
				b := b
				change(&b, size)
				s := fmt.Sprint(losstest.Eval(t, v.Name, v.Make(0.1, -1, options{}), b, contrastive.Gradients{}))
				if v.Sharded() {
					x := shardTrial{Trial: losstest.Trial{Name: v.Name, Variant: v, Batch: b}, rows: []int{4, 5}}
					if b.Negatives.Data != nil {
						x.negatives = []int{2, 3}
					}
					s += fmt.Sprint(x.evalSharded(t, v.Make(0.1, -1, options{}), false, contrastive.Gradients{}))
				}
				return s
			}
		}
		places[v.Name+" Query"] = evaluate(func(b *contrastive.Batch, size float32) { b.Query = row(b.Query, 2, size) })
		places[v.Name+" Key"] = evaluate(func(b *contrastive.Batch, size float32) { b.Key = row(b.Key, 5, size) })
		if v.Hard && v.Scores {
			places[v.Name+" Hard"] = evaluate(func(b *contrastive.Batch, size float32) { b.Hard, b.Weights = row(b.Hard, 7, size), nil })
		}
		if v.Negatives {
			places[v.Name+" Negatives"] = evaluate(func(b *contrastive.Batch, size float32) { b.Negatives = row(b.Negatives, 1, size) })
		}
		if v.Queue {
			places[v.Name+" Queue"] = evaluate(func(b *contrastive.Batch, size float32) {
				b.Queue = losstest.NewQueue(t, 9, row(keys, 3, size), keyLabels...)
			})
		}
	}
	r := rand.New(rand.NewPCG(46, 1))
	x, y, ids := losstest.Normal(r, 7, 4), losstest.Normal(r, 7, 4), losstest.Labels(r, 7)
	metric := func(values ...any) string {
		if err, _ := values[len(values)-1].(error); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(values...)
	}
	for side, change := range map[string]func(size float32) (x, y contrastive.Matrix){
		"first":  func(size float32) (_, _ contrastive.Matrix) { return row(x, 4, size), y },
		"second": func(size float32) (_, _ contrastive.Matrix) { return x, row(y, 2, size) },
	} {
		for name, f := range map[string]func(x, y contrastive.Matrix) string{
			"Alignment": func(x, y contrastive.Matrix) string { v, err := contrastive.Alignment(x, y, 2); return metric(v, err) },
			"TopK":      func(x, y contrastive.Matrix) string { i, c, err := contrastive.TopK(x, y, 7); return metric(i, c, err) },
			"KNN": func(x, y contrastive.Matrix) string {
				l, err := contrastive.KNN(x, ids, y, 3, 0.07)
				return metric(l, err)
			},
			"RecallAt": func(x, y contrastive.Matrix) string {
				v, err := contrastive.RecallAt(x, y, 1, 3)
				return metric(v, err)
			},
			"MRR": func(x, y contrastive.Matrix) string { v, err := contrastive.MRR(x, y); return metric(v, err) },
		} {
			places[name+" "+side] = func(size float32) string { return f(change(size)) }
		}
	}
	places["Uniformity"] = func(size float32) string { v, err := contrastive.Uniformity(row(x, 4, size), 2); return metric(v, err) }
	places["Collapse"] = func(size float32) string { v, err := contrastive.Collapse(row(x, 4, size)); return metric(v, err) }

	isatest.Each(t, func(t *testing.T) {
		for name, f := range places {
			for _, c := range sizes {
				if got, want := f(c.size), f(c.like); got != want {
					t.Errorf("%s: with a row of %v: %s, want that with %v: %s", name, c.size, got, c.like, want)
				}
			}
			if f(0) == f(1) && !strings.HasPrefix(name, "RecallAt") && !strings.HasPrefix(name, "KNN") {
				t.Errorf("%s: a row of zeros changes nothing", name)
			}
		}
		// The gradients of the rows are 0.
		for k, v := range losstest.Variants {
			if v.Columns || v.Raw {
				continue
			}
			b := full(t, v, rand.New(rand.NewPCG(45, uint64(k))), 9, 4)
			b.Query, b.Key = row(b.Query, 2, below), row(b.Key, 5, below)
			g := v.Destinations(b)
			losstest.Eval(t, v.Name, v.Make(0.1, -1, options{}), b, g)
			for d := range 4 {
				if g.Query.Row(2)[d] != 0 || g.Key.Row(5)[d] != 0 {
					t.Errorf("%s: gradients %v and %v of tiny rows, want 0", v.Name, g.Query.Row(2), g.Key.Row(5))
				}
			}
		}
	})
}

// TestLeastTemperature evaluates every loss at the least temperature, 2⁻¹⁰⁰, on rows
// whose cosines are exactly 0 and 1: logits are exact but for the rounding of their
// scale, and exponentials are 0 or 1.
func TestLeastTemperature(t *testing.T) {
	const tau = 0x1p-100
	for _, v := range losstest.Variants {
		if v.NoTemperature {
			continue
		}
		b := contrastive.Batch{Query: contrastive.NewMatrix(6, 4), Key: contrastive.NewMatrix(6, 4)}
		for i := range 6 {
			b.Query.Row(i)[i%4], b.Key.Row(i)[(i+i%3)%4] = 2, 4
		}
		v.Complete(rand.New(rand.NewPCG(47, 1)), &b)
		query, key := b.Query, b.Key
		if v.Raw {
			query, key = contrastive.Matrix{}, contrastive.Matrix{}
		}
		want := v.Ref(tau, -3).Eval(losstest.Reference(b))
		isatest.Each(t, func(t *testing.T) {
			g := v.Destinations(b)
			got := losstest.Eval(t, v.Name, v.Make(tau, -3, options{}), b, g)
			losstest.Within(t, v.Name+": Loss", got.Loss, want.Loss, 16*u*math.Abs(want.Loss))
			losstest.Within(t, v.Name+": TemperatureGrad", got.TemperatureGrad, want.TemperatureGrad, 16*u*math.Abs(want.Loss)/tau)
			losstest.Within(t, v.Name+": BiasGrad", got.BiasGrad, want.BiasGrad, 16*u)
			losstest.CheckRows(t, v.Name+": gradient of Query", query, g.Query, want.Query, func(i int) float64 { return 16 * u * want.QueryMass[i] })
			losstest.CheckRows(t, v.Name+": gradient of Key", key, g.Key, want.Key, func(i int) float64 { return 16 * u * want.KeyMass[i] })
		})
	}
}

// TestSharpWeights evaluates DCLW where σ is so small that the weights of pairs are
// those of a maximum.
func TestSharpWeights(t *testing.T) {
	r := rand.New(rand.NewPCG(48, 1))
	for _, sigma := range [...]float64{1e-4, 1e-30} {
		v := variantNamed("DCLW")
		v.Make = func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.DCL{Temperature: tau, Sigma: float32(sigma), Options: o}
		}
		v.Ref = func(tau, _ float64) ref.Loss { return ref.DCL{Temperature: tau, Sigma: float64(float32(sigma))} }
		c := shardTrial{Trial: losstest.NewTrial(v, fmt.Sprintf("σ=%v", sigma), 0.25, 0, contrastive.Batch{Query: losstest.Normal(r, 9, 7), Key: losstest.Normal(r, 9, 7)}), rows: []int{3, 4, 2}}
		isatest.Each(t, func(t *testing.T) { c.runSharded(t) })
	}
}

// TestFactors evaluates SupCon at the greatest ratios of temperatures and just beyond.
// They are powers of two, and multiply every bit of what the ratio 1 gives.
func TestFactors(t *testing.T) {
	r := rand.New(rand.NewPCG(49, 1))
	b := contrastive.Batch{Query: losstest.Normal(r, 9, 5), Key: losstest.Normal(r, 9, 5), Labels: []int{0, 0, 1, 1, 1, 2, 2, 3, 4}}
	isatest.Each(t, func(t *testing.T) {
		for _, c := range [...]struct {
			tau, base float32
			good      bool
		}{
			{0.5, 0x1p-15, true}, {0.5, 0x1p-16, false}, {0x1p-6, 0x1p-20, true}, {0x1p-6, 0x1p-21, false},
			{1, 0x1p-80, true}, {1, 0x1p-81, false}, {8, 0x1p-77, true}, {8, 0x1p-78, false}, {0.5, 0x1p100, true},
		} {
			name := fmt.Sprintf("SupCon τ=%v τ₀=%v", c.tau, c.base)
			loss := contrastive.SupCon{Temperature: c.tau, BaseTemperature: c.base}
			g := losstest.Destinations(b)
			if !c.good {
				checkError(t, name, loss, b, g, contrastive.ErrParameter, "BaseTemperature")
				continue
			}
			factor := float64(c.tau) / float64(c.base)
			one := losstest.Destinations(b)
			got, want := losstest.Eval(t, name, loss, b, g), losstest.Eval(t, name, contrastive.SupCon{Temperature: c.tau, BaseTemperature: c.tau}, b, one)
			if got.Loss != factor*want.Loss || got.TemperatureGrad != factor*want.TemperatureGrad {
				t.Errorf("%s: %+v, want %v times %+v", name, got, factor, want)
			}
			for _, m := range [...][2]contrastive.Matrix{{g.Query, one.Query}, {g.Key, one.Key}} {
				losstest.ScaleRows(m[1], func(int) float64 { return factor })
				for i := range m[0].Rows {
					for d, x := range m[0].Row(i) {
						if w := m[1].Row(i)[d]; x != w {
							t.Fatalf("%s: a gradient in row %d column %d is %v, want %v", name, i, d, x, w)
						}
					}
				}
			}
		}
	})
}

// TestHardness evaluates HardNegative with β from next to nothing to much. Below β/τ =
// 2⁻³⁰ the weights of negatives are 1 to within float32.
func TestHardness(t *testing.T) {
	for k, beta := range [...]float64{0x1p-40, 0x1p-31, 0x1p-29, 0x1p-20, 0x1p-8, 0.1, 30, 100} {
		v := variantNamed("HardNegative")
		v.Gain = 1 + 2*beta
		v.Make = func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.HardNegative{Temperature: tau, Beta: float32(beta), Options: o}
		}
		v.Ref = func(tau, _ float64) ref.Loss { return ref.HardNegative{Temperature: tau, Beta: float64(float32(beta))} }
		tau := float32(max(1, beta/16))
		r := rand.New(rand.NewPCG(50, uint64(k)))
		c := losstest.NewTrial(v, fmt.Sprintf("β=%v", beta), tau, 0, contrastive.Batch{Query: losstest.Normal(r, 19, 7), Key: losstest.Normal(r, 19, 7)})
		isatest.Each(t, func(t *testing.T) {
			if !c.Run(t) {
				t.Errorf("%s: cannot be compared", c.Name)
			}
		})
	}
}

// TestTinyDots asks for the loss and the gradients of logits that are all but equal, where
// dot products are far below the least float32, or the scale of logits is.
func TestTinyDots(t *testing.T) {
	const n, d = 8, 5
	r := rand.New(rand.NewPCG(42, 1))
	query, key := losstest.Normal(r, n, d), losstest.Normal(r, n, d)
	shrink := func(m contrastive.Matrix, f float64) contrastive.Matrix {
		m = losstest.Clone(m)
		losstest.ScaleRows(m, func(int) float64 { return f })
		return m
	}
	for _, c := range [...]struct{ query, key float64 }{
		{0x1p-60, 0x1p-60}, {0x1p-100, 0x1p-20}, {0x1p-20, 0x1p-120}, {0x1p-145, 0x1p-145}, {0x1p-145, 0x1p20},
	} {
		b := contrastive.Batch{Query: shrink(query, c.query), Key: shrink(key, c.key)}
		mean, greatest := make([]float64, d), 0.0
		for i := range n {
			for j, x := range b.Key.Row(i) {
				mean[j] += float64(x) / n
				greatest = max(greatest, math.Abs(float64(x)))
			}
		}
		for _, loss := range [...]contrastive.InfoNCE{
			{Similarity: contrastive.Dot, Temperature: 1}, {Similarity: contrastive.Dot, Temperature: 1, Symmetric: true},
			{Similarity: contrastive.Dot, Temperature: math.MaxFloat32},
		} {
			isatest.Each(t, func(t *testing.T) {
				name := fmt.Sprintf("%+v %v", loss, c)
				g := losstest.Destinations(b)
				losstest.Within(t, name, losstest.Eval(t, name, loss, b, g).Loss, math.Log(n), 40*u)
				for i := range n {
					for j, got := range g.Query.Row(i) {
						scale := 1 / (n * float64(loss.Temperature))
						want := scale * (mean[j] - float64(b.Key.Row(i)[j]))
						losstest.Within(t, name+" gradient", float64(got), want, 40*u*scale*greatest+0x1p-149)
					}
				}
				if loss.Temperature != 1 {
					return
				}
				b := b
				b.KeyLogQ = []float32{0, -3, 0, 0, 0, 0, 0, 0} // so that logits are 0, but for one of 3
				want := math.Log(7+math.Exp(3)) - 3.0/n
				if loss.Symmetric {
					want = (want + math.Log(n)) / 2
				}
				losstest.Within(t, name+" KeyLogQ", losstest.Eval(t, name, loss, b, g).Loss, want, 80*u)
			})
		}
	}
}
