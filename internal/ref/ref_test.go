package ref_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/ref"
)

// A family is a loss as a function of its scalars, and what it takes.
type family struct {
	name string

	// at returns the loss at a temperature and a bias.
	at func(tau, bias float64) ref.Loss

	labels, negatives, queue bool
	noKey                    bool // Key may be absent
	constantKey              bool
	needsTwo                 bool // rows
	columns                  bool // works on columns, which are not normalised

	hard, scores, weights bool
	raw                   bool // takes rows as they are
	even                  bool // takes an even number of columns
	constantTemperature   bool // has none, or does not learn it
}

var families = []family{
	{name: "InfoNCE", at: func(tau, _ float64) ref.Loss { return ref.InfoNCE{Temperature: tau} },
		labels: true, negatives: true, queue: true},
	{name: "InfoNCE/InBatch", at: func(tau, _ float64) ref.Loss { return ref.InfoNCE{Temperature: tau, InBatch: true} },
		labels: true, negatives: true, queue: true},
	{name: "InfoNCE/Symmetric", at: func(tau, _ float64) ref.Loss {
		return ref.InfoNCE{Temperature: tau, InBatch: true, Symmetric: true}
	}, labels: true, negatives: true, queue: true},
	{name: "CLIP", at: func(tau, _ float64) ref.Loss { return ref.CLIP{Temperature: tau} }, labels: true},
	{name: "NTXent", at: func(tau, _ float64) ref.Loss { return ref.NTXent{Temperature: tau} }, labels: true},
	{name: "SigLIP", at: func(tau, bias float64) ref.Loss { return ref.SigLIP{Temperature: tau, Bias: bias} }},
	{name: "SupCon", at: func(tau, _ float64) ref.Loss { return ref.SupCon{Temperature: tau, BaseTemperature: 0.07} },
		labels: true, queue: true, noKey: true},
	{name: "DCL", at: func(tau, _ float64) ref.Loss { return ref.DCL{Temperature: tau} }, needsTwo: true},
	{name: "DCLW", at: func(tau, _ float64) ref.Loss { return ref.DCL{Temperature: tau, Sigma: 0.5} }, needsTwo: true},
	{name: "HardNegative", at: func(tau, _ float64) ref.Loss {
		return ref.HardNegative{Temperature: tau, Beta: 0.5, TauPlus: 0.1}
	}},
	{name: "HardNegative/debiased", at: func(tau, _ float64) ref.Loss {
		return ref.HardNegative{Temperature: tau, TauPlus: 0.05}
	}},
	{name: "HardNegative/hard", at: func(tau, _ float64) ref.Loss {
		return ref.HardNegative{Temperature: tau, Beta: 1}
	}},
	{name: "NegativeCosine", at: func(_, _ float64) ref.Loss { return ref.NegativeCosine{} }, constantKey: true},
	{name: "BarlowTwins", at: func(_, _ float64) ref.Loss { return ref.BarlowTwins{Lambda: 0.05} }, columns: true},
	{name: "VICReg", at: func(_, _ float64) ref.Loss { return ref.VICReg{Similarity: 25, Variance: 25, Covariance: 1} },
		columns: true, needsTwo: true},
	{name: "CoSENT", at: func(tau, _ float64) ref.Loss { return ref.CoSENT{Scale: 1 / tau} },
		scores: true, constantTemperature: true},
	{name: "AnglE", at: func(tau, _ float64) ref.Loss { return ref.AnglE{Scale: 1 / tau} },
		scores: true, constantTemperature: true, even: true},
	{name: "CosineMSE", at: func(_, _ float64) ref.Loss { return ref.CosineMSE{} },
		scores: true, weights: true, constantTemperature: true},
	{name: "MarginMSE", at: func(_, _ float64) ref.Loss { return ref.MarginMSE{Dot: true} },
		hard: true, scores: true, weights: true, raw: true, constantTemperature: true},
	{name: "MarginMSE/cosine", at: func(_, _ float64) ref.Loss { return ref.MarginMSE{} },
		hard: true, scores: true, weights: true, constantTemperature: true},
	{name: "DistillKL", at: func(tau, _ float64) ref.Loss { return ref.DistillKL{Temperature: tau, Dot: true} },
		hard: true, scores: true, weights: true, raw: true, constantTemperature: true},
	{name: "DistillKL/cosine", at: func(tau, _ float64) ref.Loss { return ref.DistillKL{Temperature: tau} },
		hard: true, scores: true, weights: true, constantTemperature: true},
	{name: "EmbeddingMSE", at: func(_, _ float64) ref.Loss { return ref.EmbeddingMSE{} },
		weights: true, raw: true, constantKey: true, constantTemperature: true},
	{name: "Triplet", at: func(_, _ float64) ref.Loss { return ref.Triplet{Margin: 1} },
		hard: true, weights: true, raw: true, constantTemperature: true},
	{name: "Triplet/wide", at: func(_, _ float64) ref.Loss { return ref.Triplet{Margin: 40} },
		hard: true, weights: true, raw: true, constantTemperature: true},
	{name: "Triplet/cosine", at: func(_, _ float64) ref.Loss { return ref.Triplet{Margin: 0.5, Cosine: true} },
		hard: true, weights: true, constantTemperature: true},
}

func normal(r *rand.Rand, rows, cols int) [][]float64 {
	m := make([][]float64, rows)
	for i := range m {
		m[i] = make([]float64, cols)
		for d := range m[i] {
			m[i][d] = r.NormFloat64()
		}
	}
	return m
}

func scale(m [][]float64, f func(i int) float64) [][]float64 {
	for i := range m {
		for d := range m[i] {
			m[i][d] *= f(i)
		}
	}
	return m
}

func unit(m [][]float64) [][]float64 {
	for i := range m {
		n := norm(m[i])
		for d := range m[i] {
			m[i][d] /= n
		}
	}
	return m
}

func norm(x []float64) float64 {
	n := 0.0
	for _, v := range x {
		n = math.Hypot(n, v)
	}
	return n
}

// batches are inputs on which losses go wrong.
func batches(r *rand.Rand, f family) map[string]ref.Batch {
	pair := func(n, d int) ref.Batch {
		if f.even {
			d += d % 2
		}
		return ref.Batch{Query: normal(r, n, d), Key: normal(r, n, d)}
	}
	bs := map[string]ref.Batch{
		"random":        pair(5, 4),
		"one dimension": pair(4, 1),
	}
	if !f.needsTwo && !f.columns {
		bs["one row"] = pair(1, 3)
	}
	b := pair(4, 3)
	for i := range b.Query {
		b.Query[i], b.Key[i] = append([]float64(nil), b.Query[0]...), append([]float64(nil), b.Query[0]...)
	}
	if !f.columns {
		bs["identical rows"] = b
	}
	b = pair(4, 3)
	for i := range b.Query {
		for d, x := range b.Query[i] {
			b.Key[i][d] = -x
		}
	}
	bs["opposite rows"] = b
	b = ref.Batch{}
	for i := range 4 {
		q, k := make([]float64, 4), make([]float64, 4)
		q[i], k[(i+1)%4] = 2, 3
		b.Query, b.Key = append(b.Query, q), append(b.Key, k)
	}
	bs["one-hot"] = b
	b = pair(5, 4)
	for i := range b.Query {
		for d := range b.Query[i] {
			b.Key[i][d] = b.Query[i][d] + 1e-3*b.Key[i][d]
		}
	}
	bs["near duplicates"] = b
	if !f.columns {
		b = pair(4, 3)
		scale(b.Query, func(i int) float64 { return math.Pow(10, float64(20*i-30)) })
		scale(b.Key, func(i int) float64 { return math.Pow(10, float64(30-20*i)) })
		bs["tiny and huge norms"] = b
		b = pair(4, 3)
		clear(b.Query[1])
		clear(b.Key[2])
		bs["rows of zeros"] = b
	}
	if f.labels {
		b = pair(6, 4)
		b.Labels = []int{0, 1, 0, 2, -7, 1}
		bs["labels"] = b
		b = pair(3, 4)
		b.Labels = []int{5, 5, 5}
		bs["one label"] = b
	}
	if f.noKey {
		b = ref.Batch{Query: normal(r, 6, 4), Labels: []int{0, 1, 0, 2, 0, 1}}
		bs["one view"] = b
	}
	if f.negatives {
		b = pair(4, 3)
		b.Negatives = normal(r, 7, 3)
		bs["negatives"] = b
	}
	if f.queue {
		b = pair(4, 3)
		b.Queue = unit(normal(r, 6, 3))
		bs["queue"] = b
		b = pair(4, 3)
		b.Labels = []int{0, 1, 1, 2}
		b.Queue, b.QueueLabels = unit(normal(r, 6, 3)), []int{1, 2, 0, 0, 3, 1}
		bs["labelled queue"] = b
	}
	if f.queue && f.negatives {
		b = pair(4, 3)
		b.Labels = []int{0, 1, 1, 2}
		b.Negatives = normal(r, 2, 3)
		b.Queue, b.QueueLabels = unit(normal(r, 5, 3)), []int{1, 2, 0, 0, 3}
		bs["everything"] = b
	}
	if f.weights {
		b = pair(4, 3)
		b.Weights = []float64{0.5, 0, 3, 1}
		bs["weights"] = b
	}
	for _, name := range slices.Sorted(maps.Keys(bs)) {
		b := bs[name]
		n := len(b.Query)
		if f.hard {
			b.Hard = normal(r, 2*n, len(b.Query[0]))
		}
		for range n {
			if f.scores {
				b.Scores = append(b.Scores, scores(r, 1+len(b.Hard)/n))
			}
		}
		bs[name] = b
		if f.hard && !f.scores && n == 4 {
			b.HardCounts = []int{3, 0, 1, 4}
			bs[name+", and hard negatives of some"] = b
		}
	}
	return bs
}

// scores returns scores of which many are equal.
func scores(r *rand.Rand, n int) []float64 {
	var s []float64
	for range n {
		s = append(s, 0.5*float64(r.IntN(5)-1))
	}
	return s
}

// difference returns the derivative of f at 0 from four values, for a function
// that varies on a scale of 1: with h = 2⁻¹⁰ the truncation error is h⁴/30 ≈
// 3e-14 times its fifth derivative.
func difference(f func(h float64) float64) float64 {
	const h = 0x1p-10
	return (8*(f(h)-f(-h)) - (f(2*h) - f(-2*h))) / (12 * h)
}

// TestGradient compares all derivatives with difference quotients. A step moves
// a row by h·min(τ,1) of its norm, or τ by as much of itself, so that logits move
// by h. The fifth derivative of a log-sum-exp with respect to its logits is less
// than 50 times its share of Mass, as is what the normalisation adds: an error
// below 2e-12·Mass·τ. The values of the loss are rounded to 2⁻⁵² times their
// logits, at most 1/τ: an error of 2⁻⁴²/τ, below 3e-11 for the least τ. The bound
// of 1e-9 leaves room for the losses that square or divide.
func TestGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	smooth := 0
	for _, f := range families {
		for _, tau := range []float64{0.01, 0.07, 0.5, 1, 10} {
			for name, b := range batches(r, f) {
				t.Run(fmt.Sprintf("%s/τ=%v/%s", f.name, tau, name), func(t *testing.T) {
					const bias = -1.5
					at := f.at
					if l, ok := at(tau, bias).(ref.DCL); ok { // its weights are constants
						w := l.BatchWeights(b)
						at = func(tau, _ float64) ref.Loss { return ref.DCL{Temperature: tau, Sigma: l.Sigma, Weights: w} }
					}
					loss := at(tau, bias)
					res := loss.Eval(b)
					want := f.at(tau, bias).Eval(b)
					within(t, "with constants held: loss", res.Loss, want.Loss, 0)
					step := min(tau, 1)
					if f.columns {
						step = 1
					}
					if res.Kink < 0.2 {
						t.Skip("the loss is not smooth here")
					}
					smooth++
					eps := 1e-9 * (res.Mass*step + math.Abs(res.Loss) + 1)

					within(t, "∂L/∂τ", res.TemperatureGrad*step, difference(func(h float64) float64 {
						if _, ok := loss.(ref.NegativeCosine); ok || f.columns || f.constantTemperature {
							return 0
						}
						return at(tau+h*step*tau, bias).Eval(b).Loss / tau
					}), eps/tau)
					within(t, "∂L/∂b", res.BiasGrad, difference(func(h float64) float64 {
						return at(tau, bias+h).Eval(b).Loss
					}), eps)
					check := func(name string, x, grad [][]float64) {
						if len(grad) != len(x) {
							t.Fatalf("%s: gradient of %d rows for %d", name, len(grad), len(x))
						}
						for i, row := range x {
							n := norm(row)
							if n == 0 && f.raw {
								n = 1
							}
							if n == 0 {
								for d, g := range grad[i] {
									within(t, fmt.Sprintf("%s row %d column %d", name, i, d), g, 0, 0)
								}
								continue
							}
							if f.columns {
								n = 1
							}
							for d, v := range row {
								want := difference(func(h float64) float64 {
									row[d] = v + h*step*n
									defer func() { row[d] = v }()
									return loss.Eval(b).Loss
								})
								within(t, fmt.Sprintf("%s row %d column %d", name, i, d), grad[i][d]*step*n, want, eps)
							}
						}
					}
					check("Query", b.Query, res.Query)
					check("Negatives", b.Negatives, res.Negatives)
					check("Hard", b.Hard, res.Hard)
					if !f.constantKey {
						check("Key", b.Key, res.Key)
					}
				})
			}
		}
	}
	if smooth < 300 {
		t.Errorf("only %d cases are smooth", smooth)
	}
}
