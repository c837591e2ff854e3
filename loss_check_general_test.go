package contrastive_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// TestGeneralBadInput asks for an error that names the argument and the place from every
// batch that is not legal, and for destinations that are as they were.
func TestGeneralBadInput(t *testing.T) {
	const n, k, m, d = 3, 4, 2, 5
	var (
		inf       = float32(math.Inf(1))
		filtered  = contrastive.InfoNCE{InBatch: true, Filter: contrastive.AbsoluteMargin, FilterMargin: 0.1}
		plain     = contrastive.InfoNCE{InBatch: true}
		pairs     = func(b *contrastive.Batch) { b.Positives, b.Key = nil, b.Key.Slice(0, n) }
		shape     = contrastive.ErrShape
		parameter = contrastive.ErrParameter
		notFinite = contrastive.ErrNotFinite
	)
	for _, c := range []struct {
		name   string
		loss   contrastive.Loss
		change func(b *contrastive.Batch)
		want   error
		parts  string
	}{
		{"lists too few", plain, func(b *contrastive.Batch) { b.Positives = b.Positives[:2] }, shape, "Positives 2 3×5"},
		{"index beyond", plain, func(b *contrastive.Batch) { b.Positives[1] = []int{0, 4} }, parameter, "Positives[1][1] 4 4×5"},
		{"index negative", plain, func(b *contrastive.Batch) { b.Positives[2] = []int{-1} }, parameter, "Positives[2][0] -1"},
		{"index repeated", plain, func(b *contrastive.Batch) { b.Positives[0] = []int{2, 1, 2} }, parameter, "Positives[0][2] 2"},
		{"no positives at all", plain, func(b *contrastive.Batch) { b.Positives = [][]int{{}, nil, {}} }, contrastive.ErrEmpty, "Positives 3"},
		{"more keys than queries without lists", plain, func(b *contrastive.Batch) { b.Positives = nil }, shape, "Key 4×5 3×5"},
		{"weights without lists", plain, func(b *contrastive.Batch) { pairs(b); b.PositiveWeights = [][]float32{{1}, {1}, {1}} }, parameter, "PositiveWeights Positives"},
		{"weights too few", plain, func(b *contrastive.Batch) { b.PositiveWeights = [][]float32{{1, 1}, {1}} }, shape, "PositiveWeights 2 3×5"},
		{"weights of another length", plain, func(b *contrastive.Batch) { b.PositiveWeights = [][]float32{{1}, {1}, {1, 1}} }, shape, "PositiveWeights[0] 1 Positives[0] 2"},
		{"weight negative", plain, func(b *contrastive.Batch) { b.PositiveWeights = [][]float32{{1, -2}, {1}, {1, 1}} }, parameter, "PositiveWeights[0][1] -2"},
		{"weight NaN", plain, func(b *contrastive.Batch) { b.PositiveWeights = [][]float32{{1, 1}, {nan}, {1, 1}} }, notFinite, "PositiveWeights row 1 column 0 NaN"},
		{"positive weight infinite", plain, func(b *contrastive.Batch) { b.PositiveWeights = [][]float32{{1, 1}, {inf}, {1, 1}} }, notFinite, "PositiveWeights row 1 column 0 +Inf"},
		{"weights of a query all zero", plain, func(b *contrastive.Batch) { b.PositiveWeights = [][]float32{{0, 0}, {1}, {1, 1}} }, parameter, "PositiveWeights[0] 0"},
		{"weights for the form Any", contrastive.InfoNCE{InBatch: true, Form: contrastive.Any}, func(b *contrastive.Batch) { b.PositiveWeights = [][]float32{{1, 1}, {1}, {1, 1}} }, parameter, "PositiveWeights Any"},
		{"excluded positive", plain, func(b *contrastive.Batch) { b.Exclude = [][]int{{3}, {2}, {}} }, parameter, "Exclude[1][0] 2 query 1"},
		{"excluded beyond", plain, func(b *contrastive.Batch) { b.Exclude = [][]int{{4}, {}, {}} }, parameter, "Exclude[0][0] 4 4×5"},
		{"excluded twice", plain, func(b *contrastive.Batch) { b.Exclude = [][]int{{3, 3}, {}, {}} }, parameter, "Exclude[0][1] 3"},
		{"excludes too many", plain, func(b *contrastive.Batch) { b.Exclude = make([][]int, 4) }, shape, "Exclude 4 3×5"},
		{"excluded own key", plain, func(b *contrastive.Batch) { pairs(b); b.Exclude = [][]int{{}, {1}, {}} }, parameter, "Exclude[1][0] 1"},
		{"key labels without labels", plain, func(b *contrastive.Batch) { b.KeyLabels = make([]int, k) }, parameter, "KeyLabels Labels"},
		{"key labels of another length", plain, func(b *contrastive.Batch) { b.Labels, b.KeyLabels = make([]int, n), make([]int, n) }, shape, "KeyLabels 3 4×5"},
		{"negative labels without labels", plain, func(b *contrastive.Batch) { b.NegativeLabels = make([]int, m) }, parameter, "NegativeLabels Labels"},
		{"negative labels of another length", plain, func(b *contrastive.Batch) { b.Labels, b.NegativeLabels = make([]int, n), make([]int, 1) }, shape, "NegativeLabels 1 2×5"},
		{"weights of queries NaN", plain, func(b *contrastive.Batch) { b.Weights = []float32{1, nan, 1} }, notFinite, "Weights 1 NaN"},
		{"weights of queries negative", plain, func(b *contrastive.Batch) { b.Weights = []float32{1, 1, -1} }, parameter, "Weights[2] -1"},
		{"weights of queries zero", plain, func(b *contrastive.Batch) { b.Weights = make([]float32, n) }, parameter, "Weights 0"},
		{"weights of anchors zero", plain, func(b *contrastive.Batch) { b.Positives[0], b.Weights = nil, []float32{1, 0, 0} }, parameter, "Weights 0"},
		{"weights and keys with lists", contrastive.CLIP{}, func(b *contrastive.Batch) {
			b.Negatives, b.Hard, b.HardCounts, b.Weights = contrastive.Matrix{}, contrastive.Matrix{}, nil, []float32{1, 1, 1}
		}, parameter, "Weights"},
		{"weights of queries infinite", plain, func(b *contrastive.Batch) { b.Weights = []float32{inf, 1, 1} }, notFinite, "Weights row 0 +Inf"},
		{"weights of queries too few", plain, func(b *contrastive.Batch) { b.Weights = []float32{1, 1} }, shape, "Weights 2 3×5"},
		{"weights and more keys both ways", contrastive.InfoNCE{InBatch: true, Symmetric: true}, func(b *contrastive.Batch) { b.Weights = []float32{1, 1, 1} }, parameter, "Weights only positive"},
		{"weights and more keys both ways without lists", contrastive.InfoNCE{InBatch: true, Symmetric: true}, func(b *contrastive.Batch) { b.Positives, b.Weights = nil, []float32{1, 1, 1} }, shape, "Key 4×5 3×5"},
		{"weights and lists both ways", contrastive.InfoNCE{InBatch: true, Symmetric: true}, func(b *contrastive.Batch) {
			b.Key, b.Positives, b.Weights = b.Key.Slice(0, n), [][]int{{0, 1}, {2}, {0}}, []float32{1, 1, 1}
		}, parameter, "Weights only positive"},
		{"labels of another length", plain, func(b *contrastive.Batch) { b.Labels = make([]int, k) }, shape, "Labels 4 3×5"},
		{"key logQ of another length", plain, func(b *contrastive.Batch) { b.KeyLogQ = make([]float32, n) }, shape, "KeyLogQ 3 4×5"},
		{"key logQ NaN", plain, func(b *contrastive.Batch) { b.KeyLogQ = []float32{0, 0, nan, 0} }, notFinite, "KeyLogQ row 2 NaN"},
		{"negative logQ infinite", plain, func(b *contrastive.Batch) { b.NegativeLogQ = []float32{0, -inf} }, notFinite, "NegativeLogQ row 1 -Inf"},
		{"key logQ infinite", plain, func(b *contrastive.Batch) { b.KeyLogQ = []float32{0, -inf, 0, 0} }, notFinite, "KeyLogQ row 1 -Inf"},
		{"key logQ too great", plain, func(b *contrastive.Batch) { b.KeyLogQ = []float32{0, 0, -0x1.000002p60, 0} }, parameter, "KeyLogQ[2] -1.15292"},
		{"negative logQ too great", plain, func(b *contrastive.Batch) { b.NegativeLogQ = []float32{0x1.000002p60, 0} }, parameter, "NegativeLogQ[0] 1.15292"},
		{"key logQ too great for the temperature", contrastive.InfoNCE{InBatch: true, Temperature: 0x1p127}, func(b *contrastive.Batch) { b.KeyLogQ = []float32{0, 0.007, 0.008, 0} }, parameter, "KeyLogQ[2] 0.008 0.00781"},
		{"negative logQ of another length", plain, func(b *contrastive.Batch) { b.NegativeLogQ = make([]float32, k) }, shape, "NegativeLogQ 4 2×5"},
		{"negative logQ without negatives", plain, func(b *contrastive.Batch) { b.Negatives, b.NegativeLogQ = contrastive.Matrix{}, []float32{0} }, shape, "NegativeLogQ 1"},
		{"counts negative", plain, func(b *contrastive.Batch) { b.HardCounts = []int{3, -1, 1} }, shape, "HardCounts[1] -1"},
		{"counts too great", plain, func(b *contrastive.Batch) { b.HardCounts = []int{2, 2, 0} }, shape, "HardCounts[1] 2"},
		{"counts too small", plain, func(b *contrastive.Batch) { b.HardCounts = []int{1, 1, 0} }, shape, "HardCounts 2 3×5"},
		{"counts of another length", plain, func(b *contrastive.Batch) { b.HardCounts = []int{2, 1} }, shape, "HardCounts 2 3×5"},
		{"counts without hard", plain, func(b *contrastive.Batch) { b.Hard, b.HardCounts = contrastive.Matrix{}, []int{1, 0, 0} }, shape, "HardCounts[0] 1 0×0"},
		{"hard of another width", plain, func(b *contrastive.Batch) { b.Hard = contrastive.NewMatrix(3, 4) }, shape, "Hard 3×4 3×5"},
		{"no multiple", plain, func(b *contrastive.Batch) { b.Hard, b.HardCounts = contrastive.NewMatrix(4, d), nil }, shape, "Hard 4×5 HardCounts 3"},
		{"hard NaN", plain, func(b *contrastive.Batch) { b.Hard.Row(1)[2] = nan }, notFinite, "Hard row 1 column 2 NaN"},
		{"guide without a filter", plain, func(b *contrastive.Batch) {
			b.GuideQuery, b.GuideKey = contrastive.NewMatrix(n, 2), contrastive.NewMatrix(k, 2)
		}, parameter, "GuideQuery"},
		{"half a guide", filtered, func(b *contrastive.Batch) { b.GuideQuery = contrastive.NewMatrix(n, 2) }, shape, "GuideKey"},
		{"guide of other rows", filtered, func(b *contrastive.Batch) {
			b.GuideQuery, b.GuideKey = contrastive.NewMatrix(n, 2), contrastive.NewMatrix(n, 2)
		}, shape, "GuideKey 3×2 4×5"},
		{"guide of other columns", filtered, func(b *contrastive.Batch) {
			b.GuideQuery, b.GuideKey = contrastive.NewMatrix(n, 2), contrastive.NewMatrix(k, 3)
		}, shape, "GuideKey 4×3 3×2"},
		{"guide NaN", filtered, func(b *contrastive.Batch) {
			b.GuideQuery, b.GuideKey = contrastive.NewMatrix(n, 2), contrastive.NewMatrix(k, 2)
			b.GuideKey.Row(3)[1] = nan
		}, notFinite, "GuideKey row 3 column 1 NaN"},
		{"guide of negatives alone", filtered, func(b *contrastive.Batch) { b.GuideNegatives = contrastive.NewMatrix(m, 2) }, shape, "GuideQuery GuideKey"},
		{"guide of negatives of other rows", filtered, func(b *contrastive.Batch) {
			b.GuideQuery, b.GuideKey, b.GuideNegatives = contrastive.NewMatrix(n, 2), contrastive.NewMatrix(k, 2), contrastive.NewMatrix(k, 2)
		}, shape, "GuideNegatives 4×2 2×5"},
		{"guide of negatives of other columns", filtered, func(b *contrastive.Batch) {
			b.GuideQuery, b.GuideKey, b.GuideNegatives = contrastive.NewMatrix(n, 2), contrastive.NewMatrix(k, 2), contrastive.NewMatrix(m, 1)
		}, shape, "GuideNegatives 2×1 3×2"},
		{"guide of queries of other rows", filtered, func(b *contrastive.Batch) {
			b.GuideQuery, b.GuideKey = contrastive.NewMatrix(k, 2), contrastive.NewMatrix(k, 2)
		}, shape, "GuideQuery 4×2 3×5"},
		{"guide of negatives infinite", filtered, func(b *contrastive.Batch) {
			b.GuideQuery, b.GuideKey, b.GuideNegatives = contrastive.NewMatrix(n, 2), contrastive.NewMatrix(k, 2), contrastive.NewMatrix(m, 2)
			b.GuideNegatives.Row(1)[0] = inf
		}, notFinite, "GuideNegatives row 1 column 0 +Inf"},
		{"guide for CLIP without a filter", contrastive.CLIP{}, func(b *contrastive.Batch) {
			b.Negatives, b.Hard, b.HardCounts = contrastive.Matrix{}, contrastive.Matrix{}, nil
			b.GuideQuery, b.GuideKey = contrastive.NewMatrix(n, 2), contrastive.NewMatrix(k, 2)
		}, parameter, "GuideQuery"},
		{"hard negatives of CLIP", contrastive.CLIP{}, func(b *contrastive.Batch) { b.Negatives = contrastive.Matrix{} }, contrastive.ErrUnused, "CLIP Hard"},
		{"weights of positives of SigLIP", contrastive.SigLIP{}, func(b *contrastive.Batch) {
			b.Negatives, b.Hard, b.HardCounts = contrastive.Matrix{}, contrastive.Matrix{}, nil
			b.PositiveWeights = [][]float32{{1, 1}, {1}, {1, 1}}
		}, contrastive.ErrUnused, "SigLIP PositiveWeights"},
		{"weights of positives for a sum of the form Any", contrastive.Sum{Losses: []contrastive.Loss{contrastive.InfoNCE{InBatch: true, Form: contrastive.Any}}}, func(b *contrastive.Batch) {
			b.PositiveWeights = [][]float32{{1, 1}, {1}, {1, 1}}
		}, contrastive.ErrUnused, "Sum PositiveWeights"},
		{"filter margin without a filter of CLIP", contrastive.CLIP{FilterMargin: 0.1}, func(b *contrastive.Batch) {
			b.Negatives, b.Hard, b.HardCounts = contrastive.Matrix{}, contrastive.Matrix{}, nil
		}, parameter, "CLIP FilterMargin 0.1"},
		{"margin too great", contrastive.InfoNCE{InBatch: true, Margin: 0x1.000002p60}, func(*contrastive.Batch) {}, parameter, "Margin 2^60"},
		{"margin infinite", contrastive.InfoNCE{InBatch: true, Margin: inf}, func(*contrastive.Batch) {}, parameter, "Margin +Inf"},
		{"hardness negative", contrastive.InfoNCE{InBatch: true, Hardness: -0.5}, func(*contrastive.Batch) {}, parameter, "Hardness -0.5"},
		{"hardness NaN", contrastive.InfoNCE{InBatch: true, Hardness: nan}, func(*contrastive.Batch) {}, parameter, "Hardness NaN"},
		{"hardness too great", contrastive.InfoNCE{InBatch: true, Hardness: 0x1.000002p60}, func(*contrastive.Batch) {}, parameter, "Hardness 2^60"},
		{"filter margin infinite", contrastive.InfoNCE{InBatch: true, Filter: contrastive.AbsoluteMargin, FilterMargin: -inf}, func(*contrastive.Batch) {}, parameter, "FilterMargin -Inf"},
		{"margin NaN", contrastive.InfoNCE{InBatch: true, Margin: nan}, func(*contrastive.Batch) {}, parameter, "Margin NaN"},
		{"margin negative", contrastive.InfoNCE{InBatch: true, Margin: -1}, func(*contrastive.Batch) {}, parameter, "Margin -1"},
		{"hardness infinite", contrastive.InfoNCE{InBatch: true, Hardness: inf}, func(*contrastive.Batch) {}, parameter, "Hardness +Inf"},
		{"filter margin NaN", contrastive.InfoNCE{InBatch: true, Filter: contrastive.RelativeMargin, FilterMargin: nan}, func(*contrastive.Batch) {}, parameter, "FilterMargin NaN"},
		{"filter margin without a filter", contrastive.InfoNCE{InBatch: true, FilterMargin: 0.1}, func(*contrastive.Batch) {}, parameter, "FilterMargin 0.1"},
		{"filter unknown", contrastive.InfoNCE{InBatch: true, Filter: 3}, func(*contrastive.Batch) {}, parameter, "Filter 3"},
		{"form unknown", contrastive.InfoNCE{InBatch: true, Form: 3}, func(*contrastive.Batch) {}, parameter, "Form 3"},
		{"similarity unknown", contrastive.InfoNCE{InBatch: true, Similarity: 3}, func(*contrastive.Batch) {}, parameter, "Similarity 3"},
		{"dot products too great", contrastive.InfoNCE{InBatch: true, Similarity: contrastive.Dot}, func(b *contrastive.Batch) {
			b.Query.Row(0)[0], b.Key.Row(0)[0] = 1e38, 1e38
		}, parameter, "2^100"},
		{"dot products times hardness too great", contrastive.InfoNCE{InBatch: true, Similarity: contrastive.Dot, Hardness: 0x1p60}, func(b *contrastive.Batch) {
			b.Query.Row(0)[0], b.Key.Row(0)[0] = 1e10, 1e10
		}, parameter, "2^100"},
		{"both ways without the batch", contrastive.InfoNCE{Symmetric: true}, func(*contrastive.Batch) {}, parameter, "Symmetric InBatch"},
		{"dimension beyond", contrastive.Matryoshka{Loss: plain, Dims: []int{2, 6}}, func(*contrastive.Batch) {}, parameter, "Dims[1] 6 3×5"},
		{"dimension repeated", contrastive.Matryoshka{Loss: plain, Dims: []int{2, 5, 2}}, func(*contrastive.Batch) {}, parameter, "Dims[2] 2"},
		{"no dimensions", contrastive.Matryoshka{Loss: plain}, func(*contrastive.Batch) {}, parameter, "Dims"},
		{"dimension weight NaN", contrastive.Matryoshka{Loss: plain, Dims: []int{2}, Weights: []float32{nan}}, func(*contrastive.Batch) {}, parameter, "Weights[0] NaN"},
		{"dimension weights too many", contrastive.Matryoshka{Loss: plain, Dims: []int{2}, Weights: []float32{1, 2}}, func(*contrastive.Batch) {}, shape, "Weights 2 1"},
		{"no inner loss", contrastive.Matryoshka{Dims: []int{2}}, func(*contrastive.Batch) {}, parameter, "Loss nil"},
		{"no losses", contrastive.Sum{}, func(*contrastive.Batch) {}, parameter, "Losses"},
		{"nil loss", contrastive.Sum{Losses: []contrastive.Loss{plain, (*contrastive.CLIP)(nil)}}, func(*contrastive.Batch) {}, parameter, "Losses[1] nil"},
		{"what no loss takes", contrastive.Sum{Losses: []contrastive.Loss{contrastive.CLIP{}, contrastive.SigLIP{}}}, func(*contrastive.Batch) {}, parameter, "Negatives"},
		{"second loss refuses", contrastive.Sum{Losses: []contrastive.Loss{plain, contrastive.InfoNCE{Temperature: -1}}}, func(*contrastive.Batch) {}, parameter, "Temperature -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 5))
			b := contrastive.Batch{
				Query: losstest.Normal(r, n, d), Key: losstest.Normal(r, k, d), Negatives: losstest.Normal(r, m, d), Hard: losstest.Normal(r, 3, d), HardCounts: []int{2, 0, 1},
				Positives: [][]int{{0, 1}, {2}, {3, 0}},
			}
			c.change(&b)
			g := losstest.Destinations(b)
			g.Losses = make([]float64, n)
			g.Losses[0] = 7
			_, err := c.loss.Eval(b, g)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want one that is %q", err, c.want)
			}
			if !strings.HasPrefix(err.Error(), "contrastive: ") || strings.Count(err.Error(), "contrastive: ") != 1 {
				t.Errorf("error %q does not name the package once", err)
			}
			for _, part := range strings.Fields(c.parts) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
			for i, out := range losstest.Outputs(g) {
				for _, x := range out.Data {
					if math.Float32bits(x) != math.Float32bits(losstest.Canary) {
						t.Fatalf("destination %d has been written to", i)
					}
				}
			}
			if g.Losses[0] != 7 {
				t.Error("Losses has been written to")
			}
		})
	}
}

// TestGeneralOverlap asks for an error from a gradient that shares memory with what a batch
// may hold besides embeddings.
func TestGeneralOverlap(t *testing.T) {
	const n, d = 3, 5
	r := rand.New(rand.NewPCG(5, 6))
	loss := contrastive.InfoNCE{InBatch: true, Filter: contrastive.AbsoluteMargin}
	for name, share := range map[string]func(b *contrastive.Batch, g contrastive.Matrix){
		"KeyLogQ":        func(b *contrastive.Batch, g contrastive.Matrix) { b.KeyLogQ = g.Data[n*d-n:] },
		"NegativeLogQ":   func(b *contrastive.Batch, g contrastive.Matrix) { b.NegativeLogQ = g.Data[:n] },
		"GuideQuery":     func(b *contrastive.Batch, g contrastive.Matrix) { b.GuideQuery = g },
		"GuideKey":       func(b *contrastive.Batch, g contrastive.Matrix) { b.GuideKey = g },
		"GuideNegatives": func(b *contrastive.Batch, g contrastive.Matrix) { b.GuideNegatives = g },
	} {
		b := contrastive.Batch{
			Query: losstest.Normal(r, n, d), Key: losstest.Normal(r, n, d), Negatives: losstest.Normal(r, n, d),
			GuideQuery: losstest.Normal(r, n, d), GuideKey: losstest.Normal(r, n, d), GuideNegatives: losstest.Normal(r, n, d),
		}
		g := contrastive.NewMatrix(n, d)
		share(&b, g)
		_, err := loss.Eval(b, contrastive.Gradients{Query: g})
		if !errors.Is(err, contrastive.ErrShape) || !strings.Contains(err.Error(), "Gradients.Query overlaps "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
