package contrastive_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// u is the unit roundoff of float32.
const u = 0x1p-24

// A variant is one loss with its hyper-parameters, and its oracle.
type variant struct {
	name string
	make func(tau, bias float32, o contrastive.Options) contrastive.Loss
	ref  func(tau, bias float64) ref.Loss

	noTemperature bool
	bias          bool // takes a bias
	labels        bool // gives a meaning to labels
	negatives     bool
	queue         bool
	hard          bool // needs hard negatives
	scores        bool // needs scores
	weights       bool
	losses        bool    // gives those of queries
	optionalKey   bool    // Key may be absent, given labels
	columns       bool    // works on columns, which are not normalised
	needsTwo      bool    // needs two rows
	constants     bool    // depends on the batch by what carries no gradient: see ref.Hold
	gain          float64 // errors of logits are multiplied by this; 0 means 1

	given               bool // compares given pairs, in float64
	raw                 bool // takes rows as they are
	even                bool // needs an even number of columns
	inverse             bool // its scale is 1/τ
	constantTemperature bool // of which it gives no derivative
	constantKey         bool // to want whose gradient is an error
}

type (
	options = contrastive.Options
	float   = float64
)

// variants are all losses, in all their forms.
var variants = []variant{
	{
		name: "InfoNCE",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.InfoNCE{Temperature: tau, Options: o}
		},
		ref:    func(tau, _ float) ref.Loss { return ref.InfoNCE{Temperature: tau} },
		labels: true, negatives: true, queue: true,
		hard: true, weights: true, losses: true,
	},
	{
		name: "InfoNCE/InBatch",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.InfoNCE{Temperature: tau, InBatch: true, Options: o}
		},
		ref:    func(tau, _ float) ref.Loss { return ref.InfoNCE{Temperature: tau, InBatch: true} },
		labels: true, negatives: true, queue: true,
		hard: true, weights: true, losses: true,
	},
	{
		name: "InfoNCE/Symmetric",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.InfoNCE{Temperature: tau, InBatch: true, Symmetric: true, Options: o}
		},
		ref:    func(tau, _ float) ref.Loss { return ref.InfoNCE{Temperature: tau, InBatch: true, Symmetric: true} },
		labels: true, negatives: true, queue: true,
		hard: true, weights: true, losses: true,
	},
	{
		name: "CLIP",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.CLIP{Temperature: tau, Options: o}
		},
		ref:     func(tau, _ float) ref.Loss { return ref.CLIP{Temperature: tau} },
		labels:  true,
		weights: true, losses: true,
	},
	{
		name: "NTXent",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.NTXent{Temperature: tau, Options: o}
		},
		ref:     func(tau, _ float) ref.Loss { return ref.NTXent{Temperature: tau} },
		labels:  true,
		weights: true, losses: true,
	},
	{
		name: "SigLIP",
		make: func(tau, bias float32, o options) contrastive.Loss {
			return contrastive.SigLIP{Temperature: tau, Bias: bias, Options: o}
		},
		ref:    func(tau, bias float) ref.Loss { return ref.SigLIP{Temperature: tau, Bias: bias} },
		bias:   true,
		labels: true, weights: true, losses: true,
	},
	{
		name: "SupCon",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.SupCon{Temperature: tau, BaseTemperature: 0.25, Options: o}
		},
		ref:    func(tau, _ float) ref.Loss { return ref.SupCon{Temperature: tau, BaseTemperature: 0.25} },
		labels: true, queue: true, optionalKey: true,
		weights: true, losses: true,
	},
	{
		name:     "DCL",
		make:     func(tau, _ float32, o options) contrastive.Loss { return contrastive.DCL{Temperature: tau, Options: o} },
		ref:      func(tau, _ float) ref.Loss { return ref.DCL{Temperature: tau} },
		needsTwo: true,
		weights:  true, losses: true,
	},
	{
		name: "DCLW",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.DCL{Temperature: tau, Sigma: 0.5, Options: o}
		},
		ref:      func(tau, _ float) ref.Loss { return ref.DCL{Temperature: tau, Sigma: 0.5} },
		needsTwo: true, constants: true,
		weights: true, losses: true,
	},
	{
		name: "HardNegative",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.HardNegative{Temperature: tau, Beta: 0.5, TauPlus: 0.125, Options: o}
		},
		ref:     func(tau, _ float) ref.Loss { return ref.HardNegative{Temperature: tau, Beta: 0.5, TauPlus: 0.125} },
		gain:    2,
		weights: true, losses: true,
	},
	{
		name: "HardNegative/debiased",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.HardNegative{Temperature: tau, TauPlus: 0.0625, Options: o}
		},
		ref:     func(tau, _ float) ref.Loss { return ref.HardNegative{Temperature: tau, TauPlus: 0.0625} },
		weights: true, losses: true,
	},
	{
		name: "HardNegative/hard",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.HardNegative{Temperature: tau, Beta: 1, Options: o}
		},
		ref:     func(tau, _ float) ref.Loss { return ref.HardNegative{Temperature: tau, Beta: 1} },
		gain:    3,
		weights: true, losses: true,
	},
	{
		name:          "NegativeCosine",
		make:          func(_, _ float32, o options) contrastive.Loss { return contrastive.NegativeCosine{Options: o} },
		ref:           func(_, _ float) ref.Loss { return ref.NegativeCosine{} },
		noTemperature: true,
		weights:       true, losses: true,
	},
	{
		name: "BarlowTwins",
		make: func(_, _ float32, o options) contrastive.Loss {
			return contrastive.BarlowTwins{Lambda: 0.0625, Options: o}
		},
		ref:           func(_, _ float) ref.Loss { return ref.BarlowTwins{Lambda: 0.0625} },
		noTemperature: true, columns: true, needsTwo: true,
	},
	{
		name: "VICReg",
		make: func(_, _ float32, o options) contrastive.Loss {
			return contrastive.VICReg{Similarity: 10, Variance: 25, Covariance: 2, Options: o}
		},
		ref:           func(_, _ float) ref.Loss { return ref.VICReg{Similarity: 10, Variance: 25, Covariance: 2} },
		noTemperature: true, columns: true, needsTwo: true,
	},

	// Losses of given pairs.
	{
		name: "CoSENT",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.CoSENT{Scale: 1 / tau, Options: o}
		},
		ref:   func(tau, _ float) ref.Loss { return ref.CoSENT{Scale: inverse(tau)} },
		given: true, scores: true, inverse: true, constantTemperature: true,
	},
	{
		name: "AnglE",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.AnglE{Scale: 1 / tau, Options: o}
		},
		ref:   func(tau, _ float) ref.Loss { return ref.AnglE{Scale: inverse(tau)} },
		given: true, scores: true, inverse: true, constantTemperature: true, even: true, gain: 3,
	},
	{
		name:  "CosineMSE",
		make:  func(_, _ float32, o options) contrastive.Loss { return contrastive.CosineMSE{Options: o} },
		ref:   func(_, _ float) ref.Loss { return ref.CosineMSE{} },
		given: true, scores: true, weights: true, losses: true, noTemperature: true,
	},
	{
		name:  "MarginMSE",
		make:  func(_, _ float32, o options) contrastive.Loss { return contrastive.MarginMSE{Options: o} },
		ref:   func(_, _ float) ref.Loss { return ref.MarginMSE{Dot: true} },
		given: true, hard: true, scores: true, weights: true, losses: true, noTemperature: true, raw: true,
	},
	{
		name: "MarginMSE/Cosine",
		make: func(_, _ float32, o options) contrastive.Loss {
			return contrastive.MarginMSE{Similarity: contrastive.Cosine, Options: o}
		},
		ref:   func(_, _ float) ref.Loss { return ref.MarginMSE{} },
		given: true, hard: true, scores: true, weights: true, losses: true, noTemperature: true,
	},
	{
		name: "DistillKL",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.DistillKL{Temperature: tau, Options: o}
		},
		ref:   func(tau, _ float) ref.Loss { return ref.DistillKL{Temperature: tau, Dot: true} },
		given: true, hard: true, scores: true, weights: true, losses: true, constantTemperature: true, raw: true,
	},
	{
		name: "DistillKL/Cosine",
		make: func(tau, _ float32, o options) contrastive.Loss {
			return contrastive.DistillKL{Temperature: tau, Similarity: contrastive.Cosine, Options: o}
		},
		ref:   func(tau, _ float) ref.Loss { return ref.DistillKL{Temperature: tau} },
		given: true, hard: true, scores: true, weights: true, losses: true, constantTemperature: true,
	},
	{
		name:  "EmbeddingMSE",
		make:  func(_, _ float32, o options) contrastive.Loss { return contrastive.EmbeddingMSE{Options: o} },
		ref:   func(_, _ float) ref.Loss { return ref.EmbeddingMSE{} },
		given: true, weights: true, losses: true, noTemperature: true, raw: true, constantKey: true,
	},
	{
		name:  "Triplet",
		make:  func(_, _ float32, o options) contrastive.Loss { return contrastive.Triplet{Margin: 1, Options: o} },
		ref:   func(_, _ float) ref.Loss { return ref.Triplet{Margin: 1} },
		given: true, hard: true, weights: true, losses: true, noTemperature: true, raw: true,
	},
	{
		name:  "Triplet/wide", // every triplet has a gradient
		make:  func(_, _ float32, o options) contrastive.Loss { return contrastive.Triplet{Margin: 64, Options: o} },
		ref:   func(_, _ float) ref.Loss { return ref.Triplet{Margin: 64} },
		given: true, hard: true, weights: true, losses: true, noTemperature: true, raw: true,
	},
	{
		name: "Triplet/Cosine",
		make: func(_, _ float32, o options) contrastive.Loss {
			return contrastive.Triplet{Margin: 0.5, Distance: contrastive.CosineDistance, Options: o}
		},
		ref:   func(_, _ float) ref.Loss { return ref.Triplet{Margin: 0.5, Cosine: true} },
		given: true, hard: true, weights: true, losses: true, noTemperature: true,
	},
	{
		name: "Triplet/Cosine, wide",
		make: func(_, _ float32, o options) contrastive.Loss {
			return contrastive.Triplet{Margin: 8, Distance: contrastive.CosineDistance, Options: o}
		},
		ref:   func(_, _ float) ref.Loss { return ref.Triplet{Margin: 8, Cosine: true} },
		given: true, hard: true, weights: true, losses: true, noTemperature: true,
	},
}

// inverse returns 1/τ as float32 has it.
func inverse(tau float64) float64 { return float64(1 / float32(tau)) }

// batch returns n pairs of standard normal deviates, and what else v needs.
func (v variant) batch(r *rand.Rand, n, d int) contrastive.Batch {
	if v.even {
		d += d % 2
	}
	b := contrastive.Batch{Query: normal(r, n, d), Key: normal(r, n, d)}
	v.complete(r, &b)
	return b
}

// addHard adds two hard negatives of each query, if there are none.
func addHard(r *rand.Rand, b *contrastive.Batch) {
	if b.Hard.Data == nil {
		b.Hard = normal(r, 2*b.Query.Rows, b.Query.Cols)
	}
}

// complete adds what v needs besides pairs: two hard negatives of each query, and scores,
// of which many are equal.
func (v variant) complete(r *rand.Rand, b *contrastive.Batch) {
	if v.given && v.hard {
		addHard(r, b)
	}
	if v.scores {
		b.Scores = normal(r, b.Query.Rows, 1+b.Hard.Rows/b.Query.Rows)
		mapMatrix(b.Scores, func(_, _ int, x float32) float32 { return float32(math.Round(2*float64(x))) / 4 })
	}
}

// normal returns a matrix of standard normal deviates. Its rows are apart, and
// what is between them is not finite: a loss that reads it will show.
func normal(r *rand.Rand, rows, cols int) contrastive.Matrix {
	const gap = 3
	m := contrastive.Matrix{Rows: rows, Cols: cols, Stride: cols + gap}
	m.Data = make([]float32, rows*m.Stride-gap)
	for i := range m.Data {
		m.Data[i] = float32(math.NaN())
	}
	for i := range rows {
		row := m.Row(i)
		for d := range row {
			row[d] = float32(r.NormFloat64())
		}
	}
	return m
}

// scaleRows multiplies row i of m by f(i).
func scaleRows(m contrastive.Matrix, f func(i int) float64) {
	for i := range m.Rows {
		row := m.Row(i)
		for d, x := range row {
			row[d] = float32(f(i) * float64(x))
		}
	}
}

// rowsOf returns the rows of m in float64, nil for a zero Matrix.
func rowsOf(m contrastive.Matrix) [][]float64 {
	var rows [][]float64
	for i := range m.Rows {
		row := make([]float64, m.Cols)
		for d, x := range m.Row(i) {
			row[d] = float64(x)
		}
		rows = append(rows, row)
	}
	return rows
}

// reference returns b for the oracle.
func reference(b contrastive.Batch) ref.Batch {
	rb := ref.Batch{
		Query: rowsOf(b.Query), Key: rowsOf(b.Key), Negatives: rowsOf(b.Negatives), Labels: b.Labels,
		Hard: rowsOf(b.Hard), HardCounts: b.HardCounts, Scores: rowsOf(b.Scores),
	}
	for _, w := range b.Weights {
		rb.Weights = append(rb.Weights, float64(w))
	}
	if b.Queue != nil {
		rb.Queue = rowsOf(b.Queue.Keys())
		rb.QueueLabels = b.Queue.Labels()
		if rb.Queue == nil {
			rb.Queue = [][]float64{} // empty, but given
		}
	}
	return rb
}

// newQueue returns a queue of the given keys.
func newQueue(t testing.TB, capacity int, keys contrastive.Matrix, labels ...int) *contrastive.Queue {
	t.Helper()
	q, err := contrastive.NewQueue(capacity, keys.Cols)
	if err == nil {
		err = q.Enqueue(keys, labels...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// inputs and outputs return the matrices of a call, in one order.
func inputs(b contrastive.Batch) [4]contrastive.Matrix {
	return [...]contrastive.Matrix{b.Query, b.Key, b.Negatives, b.Hard}
}

func outputs(g contrastive.Gradients) [4]contrastive.Matrix {
	return [...]contrastive.Matrix{g.Query, g.Key, g.Negatives, g.Hard}
}

// canary fills destinations before a call. It is a NaN, so that an element that
// is forgotten shows as well.
var canary = math.Float32frombits(0x7fa5a5a5)

// destination returns a matrix of the size of m for its gradient, with a gap
// between rows, and a zero Matrix for one.
func destination(m contrastive.Matrix) contrastive.Matrix {
	const gap = 5
	if m.Data == nil {
		return contrastive.Matrix{}
	}
	dst := contrastive.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols + gap}
	dst.Data = make([]float32, m.Rows*dst.Stride)
	for i := range dst.Data {
		dst.Data[i] = canary
	}
	return dst
}

// destinations returns matrices for all gradients of b.
func destinations(b contrastive.Batch) contrastive.Gradients {
	return contrastive.Gradients{
		Query: destination(b.Query), Key: destination(b.Key), Negatives: destination(b.Negatives), Hard: destination(b.Hard),
	}
}

// destinations returns matrices for all gradients that v has, and losses if it gives them.
func (v variant) destinations(b contrastive.Batch) contrastive.Gradients {
	g := destinations(b)
	if v.constantKey {
		g.Key = contrastive.Matrix{}
	}
	if v.losses {
		g.Losses = make([]float64, b.Query.Rows)
		for i := range g.Losses {
			g.Losses[i] = float64(canary)
		}
	}
	return g
}

// sameGradients reports whether two sets of destinations of one layout hold the same
// bits.
func sameGradients(a, b contrastive.Gradients) bool {
	for i, m := range outputs(a) {
		if !sameBits(m, outputs(b)[i]) {
			return false
		}
	}
	return slices.EqualFunc(a.Losses, b.Losses, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

// checkGaps fails t if something was written between the rows of m, or not
// written within them.
func checkGaps(t *testing.T, name string, m contrastive.Matrix) {
	t.Helper()
	for k, x := range m.Data {
		if kept := math.Float32bits(x) == math.Float32bits(canary); k%m.Stride >= m.Cols && !kept {
			t.Errorf("%s: row %d: %v was written %d elements after its end", name, k/m.Stride, x, k%m.Stride-m.Cols)
			return
		} else if k%m.Stride < m.Cols && kept {
			t.Errorf("%s: row %d column %d was not written", name, k/m.Stride, k%m.Stride)
			return
		}
	}
}

// sameBits reports whether two matrices of one layout hold the same bits.
func sameBits(a, b contrastive.Matrix) bool {
	if len(a.Data) != len(b.Data) {
		return false
	}
	for i, x := range a.Data {
		if math.Float32bits(x) != math.Float32bits(b.Data[i]) {
			return false
		}
	}
	return true
}

// clone copies m with its storage.
func clone(m contrastive.Matrix) contrastive.Matrix {
	m.Data = append([]float32(nil), m.Data...)
	return m
}

// eval evaluates without an error, and checks that the inputs are as before.
func eval(t *testing.T, name string, l contrastive.Loss, b contrastive.Batch, g contrastive.Gradients) contrastive.Result {
	t.Helper()
	before := inputs(b)
	for i, m := range before {
		before[i] = clone(m)
	}
	res, err := l.Eval(b, g)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for i, m := range inputs(b) {
		if !sameBits(before[i], m) {
			t.Errorf("%s: input %d has changed", name, i)
		}
	}
	return res
}

func within(t *testing.T, name string, got, want, bound float64) {
	t.Helper()
	if !(math.Abs(got-want) <= bound) {
		t.Errorf("%s = %v, want %v ± %.2g; off by %.2g", name, got, want, bound, math.Abs(got-want))
	}
}
