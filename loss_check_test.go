package contrastive_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

// A badInput is a change to a good call that makes it an error.
type badInput struct {
	name   string
	fits   func(v losstest.Variant) bool // nil for every loss
	change func(t *testing.T, b *contrastive.Batch, g *contrastive.Gradients)
	want   error
	parts  string // words of the message, besides the name of the loss
}

func takesNegatives(v losstest.Variant) bool { return v.Negatives }
func takesQueue(v losstest.Variant) bool     { return v.Queue }
func takesHard(v losstest.Variant) bool      { return v.Hard }
func needsHard(v losstest.Variant) bool      { return v.Hard && v.Given }
func takesScores(v losstest.Variant) bool    { return v.Scores }
func takesWeights(v losstest.Variant) bool   { return v.Weights }
func givesLosses(v losstest.Variant) bool    { return v.Losses }
func givesKey(v losstest.Variant) bool       { return !v.ConstantKey }
func needsKey(v losstest.Variant) bool       { return !v.OptionalKey }

func not(f func(v losstest.Variant) bool) func(v losstest.Variant) bool {
	return func(v losstest.Variant) bool { return !f(v) }
}

// set returns a change of one input.
func set(f func(b *contrastive.Batch)) func(*testing.T, *contrastive.Batch, *contrastive.Gradients) {
	return func(_ *testing.T, b *contrastive.Batch, _ *contrastive.Gradients) { f(b) }
}

// want returns a change of the destinations.
func want(f func(b *contrastive.Batch, g *contrastive.Gradients)) func(*testing.T, *contrastive.Batch, *contrastive.Gradients) {
	return func(_ *testing.T, b *contrastive.Batch, g *contrastive.Gradients) { f(b, g) }
}

// The good call has 6 rows of 4 columns, and 5 negatives where a loss takes
// them.
var badInputs = []badInput{
	// Nothing to evaluate.
	{"no Query", nil, set(func(b *contrastive.Batch) { b.Query = contrastive.Matrix{} }), contrastive.ErrEmpty, "Query 0×0"},
	{"no rows", nil, set(func(b *contrastive.Batch) { b.Query.Rows, b.Key.Rows, b.Labels = 0, 0, nil }), contrastive.ErrEmpty, "Query 0×4"},
	{"no columns", nil, set(func(b *contrastive.Batch) { b.Query.Cols, b.Key.Cols = 0, 0 }), contrastive.ErrEmpty, "Query 6×0"},
	{"no Key", needsKey, set(func(b *contrastive.Batch) { b.Key = contrastive.Matrix{} }), contrastive.ErrShape, "Key 0×0 6×4"},
	{"no rows of Negatives", takesNegatives, set(func(b *contrastive.Batch) { b.Negatives.Rows = 0 }), contrastive.ErrEmpty, "Negatives 0×4"},

	// Shapes.
	{"fewer keys", nil, set(func(b *contrastive.Batch) { b.Key.Rows = 5 }), contrastive.ErrShape, "Key 5×4 Query 6×4"},
	{"narrower keys", nil, set(func(b *contrastive.Batch) { b.Key.Cols = 3 }), contrastive.ErrShape, "Key 6×3 Query 6×4"},
	{"narrower negatives", takesNegatives, set(func(b *contrastive.Batch) { b.Negatives.Cols = 3 }), contrastive.ErrShape, "Negatives 5×3 Query 6×4"},
	{"negative rows", nil, set(func(b *contrastive.Batch) { b.Query.Rows = -1 }), contrastive.ErrShape, "Query -1×4"},
	{"negative columns", nil, set(func(b *contrastive.Batch) { b.Query.Cols = -2 }), contrastive.ErrShape, "Query 6×-2"},
	{"negative rows of Negatives", takesNegatives, set(func(b *contrastive.Batch) { b.Negatives.Rows = -3 }), contrastive.ErrShape, "Negatives -3×4"},
	{"short stride of Query", nil, set(func(b *contrastive.Batch) { b.Query.Stride = 3 }), contrastive.ErrShape, "Query stride 3 4"},
	{"short stride of Key", nil, set(func(b *contrastive.Batch) { b.Key.Stride = 0 }), contrastive.ErrShape, "Key stride 0 4"},
	{"negative stride", nil, set(func(b *contrastive.Batch) { b.Key.Stride = -7 }), contrastive.ErrShape, "Key stride -7"},
	{"short stride of Negatives", takesNegatives, set(func(b *contrastive.Batch) { b.Negatives.Stride = 2 }), contrastive.ErrShape, "Negatives stride 2"},
	{"short Query", nil, set(func(b *contrastive.Batch) { b.Query.Data = b.Query.Data[:38] }), contrastive.ErrShape, "Query 6×4 39 38"},
	{"short Key", nil, set(func(b *contrastive.Batch) { b.Key.Data = nil }), contrastive.ErrShape, "Key 6×4 39 0"},
	{"short Negatives", takesNegatives, set(func(b *contrastive.Batch) { b.Negatives.Data = b.Negatives.Data[:3] }), contrastive.ErrShape, "Negatives 5×4 32 3"},
	{"more than memory", nil, set(func(b *contrastive.Batch) { b.Query.Stride = math.MaxInt / 2 }), contrastive.ErrShape, "Query stride"},
	// (5−1)·Stride is 0 in the arithmetic of int.
	{"so much more than memory that it is little", nil, set(func(b *contrastive.Batch) {
		b.Query.Rows, b.Query.Stride = 5, math.MaxInt/2+1
	}), contrastive.ErrShape, "Query 5×4 stride"},
	{"more rows than memory", nil, set(func(b *contrastive.Batch) {
		b.Query.Rows, b.Key.Rows, b.Labels = math.MaxInt, math.MaxInt, nil
	}), contrastive.ErrShape, "Query"},

	// Labels: of a wrong length they are ErrShape for every loss.
	{"too few labels", nil, set(func(b *contrastive.Batch) { b.Labels = make([]int, 5) }), contrastive.ErrShape, "Labels 5 6×4"},
	{"too many labels", nil, set(func(b *contrastive.Batch) { b.Labels = make([]int, 12) }), contrastive.ErrShape, "Labels 12 6×4"},
	{"no labels, but not nil", nil, set(func(b *contrastive.Batch) { b.Labels = []int{} }), contrastive.ErrShape, "Labels 0 6×4"},

	// Hard negatives, and how many of them each query has. There are 12, two of each.
	{"no Hard", needsHard, set(func(b *contrastive.Batch) { b.Hard = contrastive.Matrix{} }), contrastive.ErrEmpty, "Hard 0×0"},
	{"no rows of Hard", takesHard, set(func(b *contrastive.Batch) { b.Hard.Rows = 0 }), contrastive.ErrEmpty, "Hard 0×4"},
	{"no rows of Hard, and counts", needsHard, set(func(b *contrastive.Batch) {
		b.Hard, b.HardCounts = contrastive.Matrix{}, make([]int, 6)
	}), contrastive.ErrEmpty, "Hard 0×0"},
	{"narrower Hard", takesHard, set(func(b *contrastive.Batch) { b.Hard.Cols = 3 }), contrastive.ErrShape, "Hard 12×3 Query 6×4"},
	{"negative rows of Hard", takesHard, set(func(b *contrastive.Batch) { b.Hard.Rows = -12 }), contrastive.ErrShape, "Hard -12×4"},
	{"short stride of Hard", takesHard, set(func(b *contrastive.Batch) { b.Hard.Stride = 3 }), contrastive.ErrShape, "Hard stride 3"},
	{"short Hard", takesHard, set(func(b *contrastive.Batch) { b.Hard.Data = b.Hard.Data[:80] }), contrastive.ErrShape, "Hard 12×4 81 80"},
	{"rows of Hard that are no multiple", takesHard, set(func(b *contrastive.Batch) { b.Hard.Rows = 11 }), contrastive.ErrShape, "Hard 11×4 HardCounts 6"},
	{"fewer rows of Hard than queries", takesHard, set(func(b *contrastive.Batch) { b.Hard.Rows = 5 }), contrastive.ErrShape, "Hard 5×4 HardCounts 6"},
	{"too few counts", takesHard, set(func(b *contrastive.Batch) { b.HardCounts = []int{2, 2, 2, 2, 4} }), contrastive.ErrShape, "HardCounts 5 6×4"},
	{"too many counts", takesHard, set(func(b *contrastive.Batch) { b.HardCounts = []int{2, 2, 2, 2, 2, 2, 0} }), contrastive.ErrShape, "HardCounts 7 6×4"},
	{"no counts, but not nil", takesHard, set(func(b *contrastive.Batch) { b.HardCounts = []int{} }), contrastive.ErrShape, "HardCounts 0 6×4"},
	{"a negative count", takesHard, set(func(b *contrastive.Batch) { b.HardCounts = []int{2, 2, 2, -1, 5, 2} }), contrastive.ErrShape, "HardCounts[3] -1"},
	{"counts of too few rows", takesHard, set(func(b *contrastive.Batch) { b.HardCounts = []int{2, 2, 2, 2, 2, 1} }), contrastive.ErrShape, "HardCounts 11 Hard 12×4"},
	{"counts of too many rows", takesHard, set(func(b *contrastive.Batch) { b.HardCounts = []int{2, 2, 2, 2, 2, 3} }), contrastive.ErrShape, "HardCounts[5] 3 2 Hard 12×4"},
	// In the arithmetic of int they add up to 12.
	{"counts of very many rows", takesHard, set(func(b *contrastive.Batch) {
		b.HardCounts = []int{math.MaxInt, math.MaxInt, 2, 2, 2, 8}
	}), contrastive.ErrShape, "HardCounts[0] Hard 12×4"},
	{"counts that differ", func(v losstest.Variant) bool { return v.Hard && v.Scores }, set(func(b *contrastive.Batch) {
		b.HardCounts = []int{2, 2, 3, 1, 2, 2}
	}), contrastive.ErrShape, "HardCounts[2] 3 Scores"},

	// Scores.
	{"no Scores", takesScores, set(func(b *contrastive.Batch) { b.Scores = contrastive.Matrix{} }), contrastive.ErrShape, "Scores 0×0 6×"},
	{"fewer rows of Scores", takesScores, set(func(b *contrastive.Batch) { b.Scores.Rows = 5 }), contrastive.ErrShape, "Scores 5× 6×"},
	{"wider Scores", takesScores, set(func(b *contrastive.Batch) { b.Scores.Cols++ }), contrastive.ErrShape, "Scores 6×"},
	{"fewer rows of Hard than Scores of a later query", func(v losstest.Variant) bool { return v.Scores && v.Hard }, want(func(b *contrastive.Batch, g *contrastive.Gradients) {
		b.Hard, b.HardCounts, g.Hard = losstest.Slice(b.Hard, 0, 7), []int{2, 1, 1, 1, 1, 1}, contrastive.Matrix{}
	}), contrastive.ErrShape, "HardCounts[1] 1 HardCounts[0] 2"},
	{"no columns of Scores", takesScores, set(func(b *contrastive.Batch) { b.Scores.Cols = 0 }), contrastive.ErrShape, "Scores 6×0"},
	{"short stride of Scores", takesScores, set(func(b *contrastive.Batch) { b.Scores.Stride = 0 }), contrastive.ErrShape, "Scores stride 0"},
	{"short Scores", takesScores, set(func(b *contrastive.Batch) { b.Scores.Data = b.Scores.Data[:5] }), contrastive.ErrShape, "Scores 6× 5"},
	{"NaN in Scores", takesScores, set(func(b *contrastive.Batch) { b.Scores.Row(4)[0] = nan }), contrastive.ErrNotFinite, "Scores row 4 column 0 NaN"},
	{"-Inf in Scores", takesScores, set(func(b *contrastive.Batch) { b.Scores.Row(0)[b.Scores.Cols-1] = -inf }), contrastive.ErrNotFinite, "Scores row 0 column Inf"},

	// Weights.
	{"too few weights", takesWeights, set(func(b *contrastive.Batch) { b.Weights = []float32{1, 1, 1, 1, 1} }), contrastive.ErrShape, "Weights 5 6×4"},
	{"too many weights", takesWeights, set(func(b *contrastive.Batch) { b.Weights = []float32{1, 1, 1, 1, 1, 1, 1} }), contrastive.ErrShape, "Weights 7 6×4"},
	{"no weights, but not nil", takesWeights, set(func(b *contrastive.Batch) { b.Weights = []float32{} }), contrastive.ErrShape, "Weights 0 6×4"},
	{"a negative weight", takesWeights, set(func(b *contrastive.Batch) { b.Weights = []float32{1, 1, -0.5, 1, 1, 1} }), contrastive.ErrParameter, "Weights[2] -0.5"},
	{"a weight of NaN", takesWeights, set(func(b *contrastive.Batch) { b.Weights = []float32{1, 1, 1, nan, 1, 1} }), contrastive.ErrNotFinite, "Weights row 3 NaN"},
	{"a weight of +Inf", takesWeights, set(func(b *contrastive.Batch) { b.Weights = []float32{inf, 1, 1, 1, 1, 1} }), contrastive.ErrNotFinite, "Weights row 0 Inf"},
	{"weights of 0", takesWeights, set(func(b *contrastive.Batch) { b.Weights = make([]float32, 6) }), contrastive.ErrParameter, "Weights 0"},
	{"weights of those without hard negatives", func(v losstest.Variant) bool { return losstest.TakesCounts(v) && needsHard(v) }, set(func(b *contrastive.Batch) {
		b.Weights, b.HardCounts = []float32{1, 0, 2, 0, 0, 0}, []int{0, 2, 0, 4, 0, 6}
	}), contrastive.ErrParameter, "Weights Hard 0"},

	// Values.
	{"NaN in Query", nil, set(func(b *contrastive.Batch) { b.Query.Row(3)[2] = nan }), contrastive.ErrNotFinite, "Query row 3 column 2 NaN"},
	{"+Inf in Query", nil, set(func(b *contrastive.Batch) { b.Query.Row(0)[0] = inf }), contrastive.ErrNotFinite, "Query row 0 column 0 Inf"},
	{"-Inf in Key", nil, set(func(b *contrastive.Batch) { b.Key.Row(5)[3] = -inf }), contrastive.ErrNotFinite, "Key row 5 column 3 -Inf"},
	{"NaN in Key", nil, set(func(b *contrastive.Batch) { b.Key.Row(2)[1] = nan }), contrastive.ErrNotFinite, "Key row 2 column 1 NaN"},
	{"NaN in Hard", takesHard, set(func(b *contrastive.Batch) { b.Hard.Row(7)[1] = nan }), contrastive.ErrNotFinite, "Hard row 7 column 1 NaN"},
	{"NaN in Negatives", takesNegatives, set(func(b *contrastive.Batch) { b.Negatives.Row(4)[3] = nan }), contrastive.ErrNotFinite, "Negatives row 4 column 3 NaN"},

	// What a loss cannot use.
	{"Negatives for a loss without", not(takesNegatives), set(func(b *contrastive.Batch) { b.Negatives = contrastive.NewMatrix(5, 4) }), contrastive.ErrParameter, "Negatives"},
	{"Queue for a loss without", not(takesQueue), func(t *testing.T, b *contrastive.Batch, _ *contrastive.Gradients) {
		b.Queue = losstest.NewQueue(t, 3, b.Key)
	}, contrastive.ErrParameter, "Queue"},
	{"Hard for a loss without", not(takesHard), set(func(b *contrastive.Batch) { b.Hard = contrastive.NewMatrix(6, 4) }), contrastive.ErrParameter, "Hard"},
	{"HardCounts for a loss without", not(takesHard), set(func(b *contrastive.Batch) { b.HardCounts = make([]int, 6) }), contrastive.ErrParameter, "HardCounts"},
	{"Scores for a loss without", not(takesScores), set(func(b *contrastive.Batch) { b.Scores = contrastive.NewMatrix(6, 1) }), contrastive.ErrParameter, "Scores"},
	{"Weights for a loss without", not(takesWeights), set(func(b *contrastive.Batch) { b.Weights = make([]float32, 6) }), contrastive.ErrParameter, "Weights"},
	{"Losses of a loss without", not(givesLosses), want(func(_ *contrastive.Batch, g *contrastive.Gradients) {
		g.Losses = make([]float64, 6)
	}), contrastive.ErrParameter, "Gradients.Losses"},
	{"Queue of another dimension", takesQueue, func(t *testing.T, b *contrastive.Batch, _ *contrastive.Gradients) {
		b.Queue = losstest.NewQueue(t, 3, contrastive.Matrix{Rows: 2, Cols: 3, Stride: 3, Data: make([]float32, 6)})
	}, contrastive.ErrShape, "Queue 3 6×4"},

	// Destinations.
	{"gradient of a constant Key", not(givesKey), want(func(b *contrastive.Batch, g *contrastive.Gradients) {
		g.Key = losstest.Destination(b.Key)
	}), contrastive.ErrParameter, "Gradients.Key constant"},
	{"too few losses", givesLosses, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Losses = g.Losses[:5] }), contrastive.ErrShape, "Gradients.Losses 5 6×4"},
	{"too many losses", givesLosses, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Losses = make([]float64, 7) }), contrastive.ErrShape, "Gradients.Losses 7 6×4"},
	{"no losses, but not nil", givesLosses, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Losses = []float64{} }), contrastive.ErrShape, "Gradients.Losses 0 6×4"},
	{"fewer rows of gradient of Hard", takesHard, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Hard.Rows = 6 }), contrastive.ErrShape, "Gradients.Hard 6×4 12×4"},
	{"gradient overlaps Hard", takesHard, want(func(b *contrastive.Batch, g *contrastive.Gradients) { g.Query = losstest.Slice(b.Hard, 6, 12) }), contrastive.ErrShape, "Gradients.Query overlaps Hard"},
	{"gradient of Hard overlaps its input", takesHard, want(func(b *contrastive.Batch, g *contrastive.Gradients) { g.Hard = b.Hard }), contrastive.ErrShape, "Gradients.Hard overlaps Hard"},
	{"gradient of Hard overlaps another", takesHard, want(func(_ *contrastive.Batch, g *contrastive.Gradients) {
		g.Query = losstest.Slice(g.Hard, 6, 12)
	}), contrastive.ErrShape, "Gradients.Hard Gradients.Query overlaps"},
	{"gradient overlaps Scores", takesScores, want(func(b *contrastive.Batch, g *contrastive.Gradients) {
		data := make([]float32, 6*8)
		b.Scores.Stride, b.Scores.Data = 8, data
		g.Query = contrastive.Matrix{Rows: 6, Cols: 4, Stride: 8, Data: data[b.Scores.Cols-1:]}
	}), contrastive.ErrShape, "Gradients.Query overlaps Scores"},
	{"gradient overlaps Weights", takesWeights, want(func(b *contrastive.Batch, g *contrastive.Gradients) {
		b.Weights = []float32{1, 1, 1, 1, 1, 1}
		data := append(b.Weights, make([]float32, 18)...)
		b.Weights = data[:6]
		g.Query = contrastive.Matrix{Rows: 6, Cols: 4, Stride: 4, Data: data}
	}), contrastive.ErrShape, "Gradients.Query overlaps Weights"},
	{"gradient of absent Negatives", takesNegatives, set(func(b *contrastive.Batch) { b.Negatives = contrastive.Matrix{} }), contrastive.ErrShape, "Gradients.Negatives"},
	{"gradient of Negatives for a loss without", not(takesNegatives), want(func(b *contrastive.Batch, g *contrastive.Gradients) {
		g.Negatives = losstest.Destination(b.Key)
	}), contrastive.ErrShape, "Gradients.Negatives"},
	{"gradient of Hard for a loss without", not(takesHard), want(func(b *contrastive.Batch, g *contrastive.Gradients) {
		g.Hard = losstest.Destination(b.Key)
	}), contrastive.ErrShape, "Gradients.Hard"},
	{"gradient of absent Key", func(v losstest.Variant) bool { return v.OptionalKey }, set(func(b *contrastive.Batch) {
		b.Key, b.Labels = contrastive.Matrix{}, make([]int, 6)
	}), contrastive.ErrShape, "Gradients.Key"},
	{"fewer rows of gradient", nil, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Query.Rows = 5 }), contrastive.ErrShape, "Gradients.Query 5×4 6×4"},
	{"wider gradient", givesKey, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Key.Cols = 5 }), contrastive.ErrShape, "Gradients.Key 6×5 6×4"},
	{"more rows of gradient of Negatives", takesNegatives, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Negatives.Rows = 6 }), contrastive.ErrShape, "Gradients.Negatives 6×4 5×4"},
	{"negative rows of gradient", nil, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Query.Rows = -6 }), contrastive.ErrShape, "Gradients.Query -6×4"},
	{"short stride of gradient", givesKey, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Key.Stride = 3 }), contrastive.ErrShape, "Gradients.Key stride 3"},
	{"short gradient", nil, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Query.Data = g.Query.Data[:10] }), contrastive.ErrShape, "Gradients.Query 6×4 10"},
	{"gradient without data", nil, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Query.Data = nil }), contrastive.ErrShape, "Gradients.Query 6×4 0"},
	{"gradients overlap", givesKey, want(func(_ *contrastive.Batch, g *contrastive.Gradients) { g.Key = g.Query }), contrastive.ErrShape, "Gradients.Key Gradients.Query overlaps"},
	{"gradients overlap in one element", givesKey, want(func(_ *contrastive.Batch, g *contrastive.Gradients) {
		data := losstest.Destination(contrastive.NewMatrix(100, 1)).Data
		g.Query = contrastive.Matrix{Rows: 6, Cols: 4, Stride: 4, Data: data[:24]}
		g.Key = contrastive.Matrix{Rows: 6, Cols: 4, Stride: 4, Data: data[23:]}
	}), contrastive.ErrShape, "Gradients.Key Gradients.Query overlaps"},
	{"gradients overlap in one column", givesKey, want(func(_ *contrastive.Batch, g *contrastive.Gradients) {
		data := losstest.Destination(contrastive.NewMatrix(100, 1)).Data
		g.Query = contrastive.Matrix{Rows: 6, Cols: 4, Stride: 8, Data: data}
		g.Key = contrastive.Matrix{Rows: 6, Cols: 4, Stride: 8, Data: data[3:]}
	}), contrastive.ErrShape, "Gradients.Key Gradients.Query overlaps"},
	{"gradients overlap in the other column", givesKey, want(func(_ *contrastive.Batch, g *contrastive.Gradients) {
		data := losstest.Destination(contrastive.NewMatrix(100, 1)).Data
		g.Query = contrastive.Matrix{Rows: 6, Cols: 4, Stride: 8, Data: data[3:]}
		g.Key = contrastive.Matrix{Rows: 6, Cols: 4, Stride: 8, Data: data}
	}), contrastive.ErrShape, "Gradients.Key Gradients.Query overlaps"},
	{"gradient overlaps its input", nil, want(func(b *contrastive.Batch, g *contrastive.Gradients) { g.Query = b.Query }), contrastive.ErrShape, "Gradients.Query overlaps Query"},
	{"gradient overlaps the other input", nil, want(func(b *contrastive.Batch, g *contrastive.Gradients) { g.Query = b.Key }), contrastive.ErrShape, "Gradients.Query overlaps Key"},
	{"gradient overlaps Negatives", takesNegatives, want(func(b *contrastive.Batch, g *contrastive.Gradients) {
		b.Negatives = contrastive.NewMatrix(6, 4)
		g.Negatives = contrastive.Matrix{}
		g.Key = b.Negatives
	}), contrastive.ErrShape, "Gradients.Key overlaps Negatives"},
	{"gradient overlaps the keys of Queue", takesQueue, func(t *testing.T, b *contrastive.Batch, g *contrastive.Gradients) {
		b.Queue = losstest.NewQueue(t, 6, contrastive.Matrix{Rows: 6, Cols: 4, Stride: 7, Data: b.Key.Data})
		g.Key = b.Queue.Keys()
	}, contrastive.ErrShape, "Gradients.Key overlaps Queue"},
}

// goodCall returns what badInputs change.
func goodCall(v losstest.Variant) (contrastive.Batch, contrastive.Gradients) {
	r := rand.New(rand.NewPCG(31, 1))
	b := v.Batch(r, 6, 4)
	if v.Hard {
		losstest.AddHard(r, &b)
	}
	if v.Labels {
		b.Labels = []int{0, 1, 2, 3, 0, 1}
	}
	if v.Negatives {
		b.Negatives = losstest.Normal(r, 5, 4)
	}
	return b, v.Destinations(b)
}

// checkError fails t unless l.Eval returns what is wanted, a zero Result, and
// has touched no destination.
func checkError(t *testing.T, name string, l contrastive.Loss, b contrastive.Batch, g contrastive.Gradients, want error, parts ...string) {
	t.Helper()
	before := g
	before.Query, before.Key, before.Negatives, before.Hard = losstest.Clone(g.Query), losstest.Clone(g.Key), losstest.Clone(g.Negatives), losstest.Clone(g.Hard)
	before.Losses = slices.Clone(g.Losses)
	res, err := l.Eval(b, g)
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want one that is %q", name, err, want)
		return
	}
	for _, other := range [...]error{contrastive.ErrShape, contrastive.ErrEmpty, contrastive.ErrNotFinite, contrastive.ErrParameter} {
		if other != want && errors.Is(err, other) {
			t.Errorf("%s: error %q is also %q", name, err, other)
		}
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %q does not say %q", name, err, part)
		}
	}
	if res != (contrastive.Result{}) {
		t.Errorf("%s: %+v with an error", name, res)
	}
	if !losstest.SameGradients(g, before) {
		t.Errorf("%s: a gradient or a loss was written", name)
	}
}

func TestBadInput(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for _, v := range losstest.Variants {
			loss, _, _ := strings.Cut(v.Name, "/")
			if loss == "DCLW" {
				loss = "DCL"
			}
			for _, c := range badInputs {
				if c.fits != nil && !c.fits(v) {
					continue
				}
				b, g := goodCall(v)
				c.change(t, &b, &g)
				checkError(t, v.Name+": "+c.name, v.Make(0.1, 0, options{}), b, g, c.want, append(strings.Fields(c.parts), loss)...)
			}
			b, g := goodCall(v)
			checkError(t, v.Name+": Workers", v.Make(0.1, 0, options{Workers: -1}), b, g, contrastive.ErrParameter, loss, "Workers", "-1")
			for _, p := range [...]contrastive.Precision{contrastive.Medium + 1, 255} {
				checkError(t, v.Name+": Precision", v.Make(0.1, 0, options{Precision: p}), b, g, contrastive.ErrParameter, loss, "Precision", fmt.Sprint(uint8(p)))
			}
			if v.NoTemperature || v.Inverse {
				continue
			}
			for _, tau := range [...]float32{-0.1, -math.SmallestNonzeroFloat32, math.SmallestNonzeroFloat32, 0x1p-101, nan, inf, -inf} {
				checkError(t, v.Name+": Temperature", v.Make(tau, 0, options{}), b, g, contrastive.ErrParameter, loss, "Temperature", fmt.Sprint(tau))
			}
		}
	})
}

// TestBadParameter has what only one loss takes.
func TestBadParameter(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(32, 1))
		two := contrastive.Batch{Query: losstest.Normal(r, 6, 4), Key: losstest.Normal(r, 6, 4)}
		queued, negatives, one, single := two, two, two, two
		queued.Queue = losstest.NewQueue(t, 9, two.Key)
		negatives.Negatives = two.Key
		one.Key = contrastive.Matrix{}
		single.Query.Rows, single.Key.Rows = 1, 1
		odd := contrastive.Batch{Query: losstest.Normal(r, 6, 3), Key: losstest.Normal(r, 6, 3), Scores: losstest.Normal(r, 6, 1)}

		for _, c := range [...]struct {
			loss  contrastive.Loss
			batch contrastive.Batch
			want  error
			parts string
		}{
			{contrastive.InfoNCE{Symmetric: true}, queued, contrastive.ErrParameter, "InfoNCE Symmetric InBatch"},
			{contrastive.InfoNCE{Symmetric: true}, negatives, contrastive.ErrParameter, "InfoNCE Symmetric InBatch"},
			{contrastive.SupCon{}, one, contrastive.ErrShape, "SupCon Labels Key"},
			{contrastive.SupCon{BaseTemperature: -1}, two, contrastive.ErrParameter, "SupCon BaseTemperature -1"},
			{contrastive.SupCon{BaseTemperature: nan}, two, contrastive.ErrParameter, "SupCon BaseTemperature NaN"},
			{contrastive.SigLIP{Bias: nan}, two, contrastive.ErrParameter, "SigLIP Bias NaN"},
			{contrastive.SigLIP{Bias: -inf}, two, contrastive.ErrParameter, "SigLIP Bias -Inf"},
			{contrastive.SigLIP{Bias: 2e30}, two, contrastive.ErrParameter, "SigLIP Bias 2e+30 2^100"},
			{contrastive.SigLIP{Bias: -0x1.000002p100}, two, contrastive.ErrParameter, "SigLIP Bias -1.2676508e+30 2^100"},
			{contrastive.DCL{Sigma: -0.5}, two, contrastive.ErrParameter, "DCL Sigma -0.5"},
			{contrastive.DCL{Sigma: nan}, two, contrastive.ErrParameter, "DCL Sigma NaN"},
			{contrastive.DCL{Sigma: inf}, two, contrastive.ErrParameter, "DCL Sigma Inf"},
			{contrastive.DCL{}, single, contrastive.ErrShape, "DCL Query 1"},
			{contrastive.BarlowTwins{}, single, contrastive.ErrShape, "BarlowTwins Query 1"},
			{contrastive.HardNegative{Beta: -1}, two, contrastive.ErrParameter, "HardNegative Beta -1"},
			{contrastive.HardNegative{Beta: nan}, two, contrastive.ErrParameter, "HardNegative Beta NaN"},
			{contrastive.HardNegative{Beta: inf}, two, contrastive.ErrParameter, "HardNegative Beta Inf"},
			{contrastive.HardNegative{Beta: 1<<16 + 1}, two, contrastive.ErrParameter, "HardNegative Beta 65537"},
			{contrastive.HardNegative{TauPlus: 1}, two, contrastive.ErrParameter, "HardNegative TauPlus 1"},
			{contrastive.HardNegative{TauPlus: -0.1}, two, contrastive.ErrParameter, "HardNegative TauPlus -0.1"},
			{contrastive.HardNegative{TauPlus: nan}, two, contrastive.ErrParameter, "HardNegative TauPlus NaN"},
			{contrastive.BarlowTwins{Lambda: -1}, two, contrastive.ErrParameter, "BarlowTwins Lambda -1"},
			{contrastive.BarlowTwins{Lambda: nan}, two, contrastive.ErrParameter, "BarlowTwins Lambda NaN"},
			{contrastive.VICReg{Similarity: -1}, two, contrastive.ErrParameter, "VICReg Similarity -1"},
			{contrastive.VICReg{Variance: nan}, two, contrastive.ErrParameter, "VICReg Variance NaN"},
			{contrastive.VICReg{Covariance: inf}, two, contrastive.ErrParameter, "VICReg Covariance Inf"},
			{contrastive.VICReg{}, single, contrastive.ErrShape, "VICReg Query 1"},
			{contrastive.CoSENT{Scale: -20}, two, contrastive.ErrParameter, "CoSENT Scale -20"},
			{contrastive.CoSENT{Scale: inf}, two, contrastive.ErrParameter, "CoSENT Scale Inf"},
			{contrastive.AnglE{Scale: nan}, two, contrastive.ErrParameter, "AnglE Scale NaN"},
			{contrastive.AnglE{}, odd, contrastive.ErrShape, "AnglE Query 6×3 even"},
			{contrastive.MarginMSE{Similarity: contrastive.Dot + 1}, two, contrastive.ErrParameter, "MarginMSE Similarity 3"},
			{contrastive.DistillKL{Similarity: 255}, two, contrastive.ErrParameter, "DistillKL Similarity 255"},
			{contrastive.Triplet{Margin: -1}, two, contrastive.ErrParameter, "Triplet Margin -1"},
			{contrastive.Triplet{Margin: nan}, two, contrastive.ErrParameter, "Triplet Margin NaN"},
			{contrastive.Triplet{Margin: inf}, two, contrastive.ErrParameter, "Triplet Margin Inf"},
			{contrastive.Triplet{Distance: contrastive.CosineDistance + 1}, two, contrastive.ErrParameter, "Triplet Distance 2"},
		} {
			checkError(t, fmt.Sprintf("%T%+v", c.loss, c.loss), c.loss, c.batch, losstest.Destinations(c.batch), c.want, strings.Fields(c.parts)...)
		}
	})
}

// TestUnusedLabels gives labels to losses to which they mean nothing.
func TestUnusedLabels(t *testing.T) {
	for _, v := range losstest.Variants {
		if v.Labels {
			continue
		}
		b, g := goodCall(v)
		b.Labels = []int{0, 1, 2, 3, 0, 1}
		checkError(t, v.Name, v.Make(0.1, 0, options{}), b, g, contrastive.ErrParameter, "Labels")
		if _, err := v.Make(0.1, 0, options{}).Eval(b, g); !errors.Is(err, contrastive.ErrUnused) {
			t.Errorf("%s: %v is not %v", v.Name, err, contrastive.ErrUnused)
		}
	}
}

// TestInterleaved has all inputs and gradients side by side in the rows of one
// buffer: no two share an element, though their spans overlap.
func TestInterleaved(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for _, v := range losstest.Variants {
			const n, d, parts = 9, 6, 8
			r := rand.New(rand.NewPCG(33, 1))
			data := make([]float32, n*parts*d)
			part := func(i int) contrastive.Matrix {
				return contrastive.Matrix{Rows: n, Cols: d, Stride: parts * d, Data: data[i*d : (n-1)*parts*d+(i+1)*d]}
			}
			apart := contrastive.Batch{Query: losstest.Normal(r, n, d), Key: losstest.Normal(r, n, d)}
			b := contrastive.Batch{Query: part(4), Key: part(1)}
			g := contrastive.Gradients{Query: part(0), Key: part(3)}
			if v.Negatives {
				apart.Negatives, b.Negatives, g.Negatives = losstest.Normal(r, n, d), part(5), part(2)
			}
			if v.Hard {
				apart.Hard, b.Hard, g.Hard = losstest.Normal(r, n, d), part(7), part(6)
			}
			if v.Scores {
				apart.Scores = losstest.Normal(r, n, 1+apart.Hard.Rows/n)
				b.Scores = apart.Scores
			}
			for k, m := range losstest.Inputs(b) {
				for i := range m.Rows {
					copy(m.Row(i), losstest.Inputs(apart)[k].Row(i))
				}
			}
			loss := v.Make(0.1, 0, options{})
			want := losstest.Destinations(apart)
			if v.ConstantKey {
				g.Key, want.Key = contrastive.Matrix{}, contrastive.Matrix{}
			}
			wantRes := losstest.Eval(t, v.Name, loss, apart, want)
			res, err := loss.Eval(b, g)
			if err != nil || res != wantRes {
				t.Fatalf("%s: %+v, %v, want %+v", v.Name, res, err, wantRes)
			}
			for i, m := range [...][2]contrastive.Matrix{
				{g.Query, want.Query}, {g.Key, want.Key}, {g.Negatives, want.Negatives}, {g.Hard, want.Hard},
				{b.Query, apart.Query}, {b.Key, apart.Key}, {b.Negatives, apart.Negatives}, {b.Hard, apart.Hard},
			} {
				for row := range m[0].Rows {
					for k, x := range m[0].Row(row) {
						if x != m[1].Row(row)[k] {
							t.Fatalf("%s: matrix %d row %d column %d is %v, want %v", v.Name, i, row, k, x, m[1].Row(row)[k])
						}
					}
				}
			}
		}
	})
}

// TestSharedInput gives one matrix as both views, which is no error.
func TestSharedInput(t *testing.T) {
	for _, v := range losstest.Variants {
		m := losstest.Normal(rand.New(rand.NewPCG(34, 1)), 6, 4)
		apart := contrastive.Batch{Query: m, Key: losstest.Clone(m)}
		v.Complete(rand.New(rand.NewPCG(34, 2)), &apart)
		shared := apart
		shared.Key = m
		loss := v.Make(0.1, 0, options{})
		g, want := v.Destinations(shared), v.Destinations(apart)
		got, wantRes := losstest.Eval(t, v.Name, loss, shared, g), losstest.Eval(t, v.Name, loss, apart, want)
		if got != wantRes || !losstest.SameGradients(g, want) {
			t.Errorf("%s: %+v, want %+v", v.Name, got, wantRes)
		}
	}
}

// TestOverlap puts a gradient and its input anywhere in one buffer: the call is an
// error if they share an element, and right if they do not.
func TestOverlap(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 1))
	const rows, cols = 4, 3
	key := losstest.Normal(r, rows, cols)
	var shared, apart int
	for range 5000 {
		data := make([]float32, 60)
		for i := range data {
			data[i] = float32(r.NormFloat64())
		}
		place := func() (m contrastive.Matrix, at map[int]bool) {
			m = contrastive.Matrix{Rows: rows, Cols: cols, Stride: cols + r.IntN(9)}
			length := (rows-1)*m.Stride + cols
			first := r.IntN(len(data) - length + 1)
			m.Data, at = data[first:first+length], map[int]bool{}
			for i := range rows {
				for d := range cols {
					at[first+i*m.Stride+d] = true
				}
			}
			return m, at
		}
		query, in := place()
		gradient, out := place()
		overlap := false
		for k := range in {
			overlap = overlap || out[k]
		}
		b, g := contrastive.Batch{Query: query, Key: key}, contrastive.Gradients{Query: gradient}
		if overlap {
			shared++
			checkError(t, "NegativeCosine", contrastive.NegativeCosine{}, b, g, contrastive.ErrShape, "overlaps")
			continue
		}
		apart++
		want := contrastive.NewMatrix(rows, cols)
		losstest.Eval(t, "NegativeCosine", contrastive.NegativeCosine{}, contrastive.Batch{Query: losstest.Clone(query), Key: key}, contrastive.Gradients{Query: want})
		if _, err := (contrastive.NegativeCosine{}).Eval(b, g); err != nil { // into the gaps of its input
			t.Fatal(err)
		}
		for i := range rows {
			if !slices.Equal(gradient.Row(i), want.Row(i)) {
				t.Fatalf("row %d of a gradient beside its input is %v, want %v", i, gradient.Row(i), want.Row(i))
			}
		}
	}
	if shared < 500 || apart < 500 {
		t.Errorf("%d calls with a shared element and %d without", shared, apart)
	}
}
