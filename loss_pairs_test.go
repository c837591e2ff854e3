package contrastive_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// column returns a matrix of one column.
func column(values ...float32) contrastive.Matrix {
	return contrastive.Matrix{Rows: len(values), Cols: 1, Stride: 1, Data: values}
}

// rows returns a matrix of the given rows.
func matrixOf(t *testing.T, rows ...[]float32) contrastive.Matrix {
	t.Helper()
	m, err := contrastive.FromRows(rows)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestWeightsRepeat tests that a query of weight 3 is worth three of weight 1, with all
// that belongs to it, and one of weight 0 none, in losses and gradients; that Loss is the
// weighted mean of Losses; and that these are those of the repeated batch, but for
// triplets, whose mean number may differ.
func TestWeightsRepeat(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for k, v := range losstest.Variants {
			if !v.Given || !v.Weights {
				continue
			}
			r := rand.New(rand.NewPCG(61, uint64(k)))
			b := full(t, v, r, 9, 6)
			b.Weights = []float32{1, 3, 0, 2, 1, 0, 1, 2, 1}
			var repeated []int
			for i, w := range b.Weights {
				for range int(w) {
					repeated = append(repeated, i)
				}
			}
			c := contrastive.Batch{
				Query: take(b.Query, repeated), Key: take(b.Key, repeated), Scores: take(b.Scores, repeated),
			}
			var hard []int
			for _, i := range repeated {
				hard = append(hard, hardRows(b, i)...)
				if b.HardCounts != nil {
					c.HardCounts = append(c.HardCounts, b.HardCounts[i])
				}
			}
			c.Hard = take(b.Hard, hard)
			g, gc := v.Destinations(b), v.Destinations(c)
			loss := v.Make(0.5, 0, options{})
			got, want := losstest.Eval(t, v.Name, loss, b, g), losstest.Eval(t, v.Name, loss, c, gc)
			losstest.Within(t, v.Name+": Loss", got.Loss, want.Loss, 1e-14*math.Abs(want.Loss))

			sum, total := 0.0, 0.0
			for i, l := range g.Losses {
				if !v.Hard || losstest.HardCount(b, i) > 0 {
					sum, total = sum+float64(b.Weights[i])*l, total+float64(b.Weights[i])
				} else if l != 0 {
					t.Errorf("%s: query %d does not count, and its loss is %v", v.Name, i, l)
				}
			}
			losstest.Within(t, v.Name+": the mean of Losses", sum/total, got.Loss, 1e-14*math.Abs(got.Loss))
			for at, i := range repeated {
				losstest.Within(t, fmt.Sprintf("%s: loss of query %d", v.Name, i), g.Losses[i], gc.Losses[at], 1e-14*math.Abs(g.Losses[i]))
			}
			// The gradient of a row is the sum of those of its copies, each of which
			// has two or three roundings for each of its pairs.
			for _, m := range [...]struct {
				name       string
				grad, each contrastive.Matrix
				rows       []int
			}{{"Query", g.Query, gc.Query, repeated}, {"Key", g.Key, gc.Key, repeated}, {"Hard", g.Hard, gc.Hard, hard}} {
				for i := range m.grad.Rows {
					for d, x := range m.grad.Row(i) {
						want, size := 0.0, 0.0
						for at, row := range m.rows {
							if row == i {
								want += float64(m.each.Row(at)[d])
							}
						}
						for _, x := range m.grad.Row(i) {
							size = math.Hypot(size, float64(x))
						}
						losstest.Within(t, fmt.Sprintf("%s: gradient of %s row %d column %d", v.Name, m.name, i, d), float64(x), want, 200*u*size)
					}
				}
			}
		}
	})
}

// take returns the given rows of m.
func take(m contrastive.Matrix, rows []int) contrastive.Matrix {
	if m.Data == nil || len(rows) == 0 {
		return contrastive.Matrix{}
	}
	taken := contrastive.NewMatrix(len(rows), m.Cols)
	for at, i := range rows {
		copy(taken.Row(at), m.Row(i))
	}
	return taken
}

// TestGivenEdge has values that can be told without a computer, also beyond float32.
func TestGivenEdge(t *testing.T) {
	east, north, west := []float32{2, 0}, []float32{0, 3}, []float32{-5, 0}
	graded := func(scores ...float32) contrastive.Batch { // cosines 1, 0, −1
		return contrastive.Batch{Query: matrixOf(t, east, east, east), Key: matrixOf(t, east, north, west), Scores: column(scores...)}
	}
	list := func(query, key, hard []float32, scores ...float32) contrastive.Batch {
		return contrastive.Batch{Query: matrixOf(t, query), Key: matrixOf(t, key), Hard: matrixOf(t, hard), Scores: matrixOf(t, scores)}
	}
	triplet := func(query, key, hard []float32) contrastive.Batch {
		return contrastive.Batch{Query: matrixOf(t, query), Key: matrixOf(t, key), Hard: matrixOf(t, hard)}
	}
	const huge, tiny = 0x1p100, 0x1p-100
	e := math.Exp
	for _, c := range [...]struct {
		name  string
		loss  contrastive.Loss
		batch contrastive.Batch
		want  float64
		query []float32 // gradient of row 0
	}{
		{"equal scores", contrastive.CoSENT{}, graded(1, 1, 1), 0, []float32{0, 0}},
		{"one pair", contrastive.CoSENT{}, contrastive.Batch{Query: matrixOf(t, east), Key: matrixOf(t, north), Scores: column(1)}, 0, []float32{0, 0}},
		{"the right order", contrastive.CoSENT{Scale: 100}, graded(2, 1, 0), 2*e(-100) + e(-200), nil},
		{"the wrong order", contrastive.CoSENT{Scale: 1}, graded(0, 1, 2), math.Log(1 + 2*e(1) + e(2)), nil},
		{"ties", contrastive.CoSENT{Scale: 1}, graded(0, 2, 0), math.Log(1 + e(1) + e(-1)), nil},
		{"a great scale", contrastive.CoSENT{Scale: 1e30}, graded(0, 1, 2), 2 * float64(float32(1e30)), nil},
		{"the greatest scale, right", contrastive.CoSENT{Scale: math.MaxFloat32}, graded(2, 1, 0), 0, []float32{0, 0}},
		{"zeros of both signs", contrastive.CoSENT{}, graded(0, float32(math.Copysign(0, -1)), 0), 0, []float32{0, 0}},
		{"halves", contrastive.AnglE{Scale: 1}, graded(0, 1, 1), math.Log(1 + 2*e(0)), nil}, // |1|, |−1|, |−1|
		{"angles of 45°", contrastive.AnglE{Scale: 1}, contrastive.Batch{
			Query: matrixOf(t, []float32{1, 0}, []float32{1, 0}), Key: matrixOf(t, []float32{1, 1}, []float32{1, -1}), Scores: column(1, 2),
		}, math.Log(1 + e(-math.Sqrt2)), []float32{0, 0}}, // 0 and √2: no slope at 0
		{"regression", contrastive.CosineMSE{}, graded(0.5, 0, -1), 0.25 / 3, []float32{0, 0}},
		{"great scores", contrastive.CosineMSE{}, graded(huge, huge, huge), huge * huge, nil},
		{"margins of dot products", contrastive.MarginMSE{}, list(east, east, north, 1, 0), 9, []float32{12, -18}},
		{"margins of cosines", contrastive.MarginMSE{Similarity: contrastive.Cosine}, list(east, east, north, 3, 0), 4, []float32{0, 2}},
		{"margins beyond float32", contrastive.MarginMSE{}, list([]float32{huge, 0}, []float32{huge, 0}, []float32{-huge, tiny}, 0, 0), 4 * huge * huge * huge * huge, []float32{math.MaxFloat32, -4 * huge}},
		{"margins of tiny rows", contrastive.MarginMSE{}, list([]float32{tiny, 0}, []float32{tiny, 0}, []float32{0, tiny}, 0, 0), tiny * tiny * tiny * tiny, []float32{0, 0}},
		{"a student that agrees", contrastive.DistillKL{}, list(east, east, north, 4, 0), 0, []float32{0, 0}},
		{"a student that nearly agrees", contrastive.DistillKL{}, list([]float32{1, 0}, []float32{0x1p-30, 0}, []float32{0, 1}, 0, 0), 0x1p-63, nil},
		{"two that are sure, and disagree", contrastive.DistillKL{}, list([]float32{huge, 0}, []float32{1, 0}, []float32{-1, 0}, -1000, 1000), 2 * huge, []float32{2, 0}},
		{"great and equal similarities", contrastive.DistillKL{}, list([]float32{huge, 0}, []float32{huge, 0}, []float32{huge, 0}, 1, 0), math.Ln2 + e(0)/(1+e(-1)) - math.Log(1+e(1)), []float32{0, 0}},
		{"a great temperature", contrastive.DistillKL{Temperature: huge}, list(east, east, north, 0, 0), 2, nil}, // half the variance of {4, 0}
		{"no difference", contrastive.EmbeddingMSE{}, contrastive.Batch{Query: matrixOf(t, east, north), Key: matrixOf(t, east, north)}, 0, []float32{0, 0}},
		{"differences", contrastive.EmbeddingMSE{}, contrastive.Batch{Query: matrixOf(t, east, north), Key: matrixOf(t, west, north)}, 49. / 4, []float32{3.5, 0}},
		{"differences beyond float32", contrastive.EmbeddingMSE{}, contrastive.Batch{Query: matrixOf(t, []float32{-0x1p127, 1}), Key: matrixOf(t, []float32{0x1p127, 1 + 0x1p-20})}, 0x1p255 + 0x1p-41, []float32{-math.MaxFloat32, -0x1p-20}},
		{"tiny differences", contrastive.EmbeddingMSE{}, contrastive.Batch{Query: matrixOf(t, []float32{3 * math.SmallestNonzeroFloat32}), Key: matrixOf(t, []float32{math.SmallestNonzeroFloat32})}, 4 * 0x1p-298, []float32{4 * math.SmallestNonzeroFloat32}},
		{"the distance 0", contrastive.Triplet{}, triplet(east, east, west), 0, []float32{0, 0}},
		{"the distance 0, and a negative at 3", contrastive.Triplet{}, triplet(east, east, []float32{2, 3}), 2, []float32{0, 1}},
		{"a hinge", contrastive.Triplet{Margin: 3}, triplet(east, east, []float32{2, 3}), 0, []float32{0, 0}},
		{"nearby rows", contrastive.Triplet{Margin: 1}, triplet([]float32{1, 1}, []float32{1, 1 + 0x1p-20}, []float32{1, 1.25}), 0.75 + 0x1p-20, []float32{0, 0}},
		{"rows on either side", contrastive.Triplet{Margin: 1}, triplet([]float32{1, 1}, []float32{1, 1 + 0x1p-20}, []float32{1, 0.75}), 0.75 + 0x1p-20, []float32{0, -2}},
		{"distances beyond float32", contrastive.Triplet{}, triplet([]float32{0x1p127, 0}, []float32{-0x1p127, 0}, []float32{0x1p127, 0}), 0x1p128 + 5, []float32{1, 0}},
		{"distances of cosines", contrastive.Triplet{Margin: 0.5, Distance: contrastive.CosineDistance}, triplet(east, north, east), 1.5, []float32{0, -0.5}},
	} {
		isatest.Each(t, func(t *testing.T) {
			name := fmt.Sprintf("%T %s", c.loss, c.name)
			g := contrastive.Gradients{Query: losstest.Destination(c.batch.Query)}
			if _, ok := c.loss.(contrastive.Triplet); ok {
				g.Hard, g.Key = losstest.Destination(c.batch.Hard), losstest.Destination(c.batch.Key)
			}
			if _, ok := c.loss.(contrastive.EmbeddingMSE); ok {
				g.Losses = make([]float64, c.batch.Query.Rows)
			}
			switch c.loss.(type) {
			case contrastive.Triplet, contrastive.EmbeddingMSE:
				c.batch.Scores = contrastive.Matrix{}
			}
			got := losstest.Eval(t, name, c.loss, c.batch, g)
			bound := 0.0 // the loss may be an exponential of its logarithm
			if c.want != 0 {
				bound = 1e-15 * math.Abs(c.want) * (1 + math.Abs(math.Log(c.want)))
			}
			losstest.Within(t, name+": Loss", got.Loss, c.want, bound)
			if c.query != nil && !slices.Equal(g.Query.Row(0), c.query) {
				t.Errorf("%s: gradient %v, want %v", name, g.Query.Row(0), c.query)
			}
		})
	}
}

// TestDistillNearTeacher compares the loss of a student whose logits are off by ε with
// the series, which begins with ½·Var(ε): to its last digits, where the difference of the
// logarithms has none.
func TestDistillNearTeacher(t *testing.T) {
	const h = 5
	for _, c := range [...]struct{ score, step float64 }{
		{0.25, 0x1p-6}, {0.25, 0x1p-12}, {0.25, 0x1p-20}, {0.25, 0x1p-24}, {0, 0x1p-6}, {0, 0x1p-24}, {0, 0x1p-60},
	} {
		step := c.step
		b := contrastive.Batch{Query: contrastive.NewMatrix(1, h+1), Key: contrastive.NewMatrix(1, h+1), Hard: contrastive.NewMatrix(h, h+1), Scores: contrastive.NewMatrix(1, h+1)}
		var p, off []float64
		total, mean := 0.0, 0.0
		for m := range h + 1 {
			b.Query.Data[m] = 1
			row := b.Key.Row(0)
			if m > 0 {
				row = b.Hard.Row(m - 1)
			}
			off = append(off, step*float64([...]int{3, -1, 0, 2, -2, 1}[m]))
			b.Scores.Data[m] = float32(c.score * float64(m))
			row[m] = b.Scores.Data[m]
			row[(m+1)%(h+1)] = float32(off[m])
			p = append(p, math.Exp(c.score*float64(m)))
			total += p[m]
		}
		for m := range p {
			p[m] /= total
			mean += p[m] * off[m]
		}
		want, shift := 0.0, 0.0 // Σ p·(e^x − 1 − x) with x = off − log Σ p·e^off
		var slopes []float64    // and its derivatives, p·(e^x − 1)
		for m := range p {
			shift += p[m] * math.Expm1(off[m]-mean)
		}
		for m := range p {
			x := off[m] - mean - math.Log1p(shift)
			sum, power := 0.0, x*x/2
			for k := 3.0; k < 20; k++ {
				sum, power = sum+power, power*x/k
			}
			want += p[m] * sum
			slopes = append(slopes, p[m]*math.Expm1(x))
		}
		isatest.Each(t, func(t *testing.T) {
			g := contrastive.Gradients{Key: losstest.Destination(b.Key), Hard: losstest.Destination(b.Hard)}
			got := losstest.Eval(t, "DistillKL", contrastive.DistillKL{}, b, g)
			// The logits, of up to 2, have the rounding of float64, and so an error of
			// 2⁻⁵² of a step, unless they are steps themselves.
			relative := 1e-14
			if c.score > 0 {
				relative += 0x1p-49 / step
			}
			losstest.Within(t, fmt.Sprintf("logits off by %v: Loss", step), got.Loss, want, want*relative)
			for m, want := range slopes { // times the query, of ones
				got := g.Key.Row(0)[0]
				if m > 0 {
					got = g.Hard.Row(m - 1)[0]
				}
				losstest.Within(t, fmt.Sprintf("logits off by %v: gradient of candidate %d", step, m), float64(got), want, (u+relative)*math.Abs(want)+relative*step)
			}
		})
	}
}

// TestGreatScale has a scale that is great enough to tell cosines apart by the last bits
// of float64. The first pair is of the cosine 1, and the others of −1 + 2⁻⁵¹ and of −1 +
// 2⁻⁴⁹: both are in the wrong order with it, and their shares differ by a factor of
// e^(3λ·2⁻⁵¹) = e¹⁵.
func TestGreatScale(t *testing.T) {
	b := contrastive.Batch{
		Query:  matrixOf(t, []float32{1, 0}, []float32{1, 0}, []float32{1, 0}),
		Key:    matrixOf(t, []float32{1, 0}, []float32{-1, 0x1p-25}, []float32{-1, 0x1p-24}),
		Scores: column(0, 1, 1),
	}
	scale := float32(0x1.4p53)
	isatest.Each(t, func(t *testing.T) {
		dq := contrastive.NewMatrix(3, 2)
		losstest.Eval(t, "CoSENT", contrastive.CoSENT{Scale: scale}, b, contrastive.Gradients{Query: dq})
		less, more := float64(dq.Row(2)[1])*0x1p24, float64(dq.Row(1)[1])*0x1p25
		losstest.Within(t, "the quotient of the gradients", more/less, math.Exp(15), 4*u*math.Exp(15))
	})
}

// TestLongOrder has more pairs than could be compared one by one in any time.
func TestLongOrder(t *testing.T) {
	const n = 1 << 20
	b := contrastive.Batch{Query: contrastive.NewMatrix(n, 2), Key: contrastive.NewMatrix(n, 2), Scores: contrastive.NewMatrix(n, 1)}
	for i := range n { // of each score, half of the pairs have the cosine 1, and half 0
		b.Query.Row(i)[0], b.Key.Row(i)[i/2%2], b.Scores.Data[i] = 1, 1, float32(i%2)
	}
	got := losstest.Eval(t, "CoSENT", contrastive.CoSENT{Scale: 1}, b, contrastive.Gradients{})
	// Of n²/4 differences of cosines, half are 0 and a quarter is 1, and a quarter −1.
	losstest.Within(t, "Loss", got.Loss, math.Log1p(n/4*n*(0.5+0.25*math.E+0.25/math.E)), 1e-9)
}

// TestSumShows adds up losses of which each takes what the others do not, and gives what
// they do not give, and compares the sum with the losses alone.
func TestSumShows(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(93, 1))
		const n, d = 5, 4
		q, k, hard := losstest.Normal(r, n, d), losstest.Normal(r, n, d), losstest.Normal(r, n, d)
		pairs := contrastive.Batch{Query: q, Key: k}
		guided, graded, taught := pairs, pairs, pairs
		guided.GuideQuery, guided.GuideKey = losstest.Normal(r, n, 3), losstest.Normal(r, n, 3)
		guided.KeyLogQ, guided.Hard = []float32{-1, -2, -3, -4, -5}, hard
		guided.Positives = [][]int{{0, 1}, {1}, {2}, {3}, {4, 0}}
		anyOf, listed := guided, pairs
		anyOf.GuideQuery, anyOf.GuideKey = contrastive.Matrix{}, contrastive.Matrix{}
		listed.Positives = guided.Positives
		guided.PositiveWeights = [][]float32{{1, 2}, {1}, {3}, {1}, {1, 0.5}}
		weighed := listed
		weighed.PositiveWeights = guided.PositiveWeights
		graded.Scores = losstest.Normal(r, n, 2)
		graded.Hard = hard
		all := guided
		all.Scores = graded.Scores
		parts := []struct {
			loss  contrastive.Loss
			batch contrastive.Batch
		}{
			{contrastive.InfoNCE{InBatch: true, Filter: contrastive.AbsoluteMargin}, guided},
			{contrastive.CLIP{}, weighed},
			{contrastive.SigLIP{}, listed},
			{contrastive.InfoNCE{InBatch: true, Form: contrastive.Any}, anyOf},
			{contrastive.MarginMSE{}, graded},
			{contrastive.EmbeddingMSE{}, taught},
			{contrastive.VICReg{}, pairs}, // which gives no losses of queries
		}
		sum, want := contrastive.Sum{}, contrastive.Result{}
		wantGrads := losstest.Destinations(all)
		losses := make([]float64, n)
		for i, p := range parts {
			g := losstest.Destinations(p.batch)
			if _, ok := p.loss.(contrastive.EmbeddingMSE); ok {
				g.Key = contrastive.Matrix{}
			}
			if _, ok := p.loss.(contrastive.VICReg); !ok {
				g.Losses = make([]float64, n)
			}
			res := losstest.Eval(t, "a part", p.loss, p.batch, g)
			sum.Losses = append(sum.Losses, p.loss)
			want.Loss += res.Loss
			for j, l := range g.Losses {
				losses[j] += l
			}
			for j, m := range losstest.Outputs(wantGrads) {
				grad := losstest.Outputs(g)[j]
				losstest.MapMatrix(m, func(row, col int, x float32) float32 {
					if i == 0 {
						x = 0
					}
					if grad.Data != nil {
						x += grad.Row(row)[col]
					}
					return x
				})
			}
		}
		g := losstest.Destinations(all)
		g.Losses = make([]float64, n)
		got := losstest.Eval(t, "the sum", sum, all, g)
		losstest.Within(t, "Loss", got.Loss, want.Loss, 1e-12*math.Abs(want.Loss))
		for i, l := range g.Losses {
			losstest.Within(t, "loss of a query", l, losses[i], 1e-12*math.Abs(losses[i]))
		}
		for i, m := range losstest.Outputs(g) {
			if m.Data != nil && !losstest.SameBits(m, losstest.Outputs(wantGrads)[i]) {
				t.Errorf("gradient %d is not the sum of those of the parts", i)
			}
		}
	})
}

// TestGreatProducts has a gradient whose terms exceed the greatest float32 and cancel: the
// key and its hard negative coincide, and the teacher tells them apart.
func TestGreatProducts(t *testing.T) {
	one := func(x float32) contrastive.Matrix {
		return contrastive.Matrix{Rows: 1, Cols: 1, Stride: 1, Data: []float32{x}}
	}
	b := contrastive.Batch{
		Query: one(1e-38), Key: one(2e38), Hard: one(2e38),
		Scores: contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{10, 0}},
	}
	isatest.Each(t, func(t *testing.T) {
		g := losstest.Destinations(b)
		res := losstest.Eval(t, "MarginMSE", contrastive.MarginMSE{}, b, g)
		if res.Loss != 100 || g.Query.Row(0)[0] != 0 {
			t.Errorf("loss %v and gradient %v, want 100 and 0", res.Loss, g.Query.Row(0)[0])
		}
	})
}
