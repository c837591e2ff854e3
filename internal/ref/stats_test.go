package ref_test

import (
	"math"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/ref"
)

// TestStatistics checks accuracy and mean cosines on vectors whose cosines can
// be read off: multiples of 90°.
func TestStatistics(t *testing.T) {
	east, north, west := []float64{1, 0}, []float64{0, 2}, []float64{-3, 0}
	b := ref.Batch{
		Query: [][]float64{east, north, east},
		Key:   [][]float64{east, west, north}, // cosines of the pairs: 1, 0, 0
	}
	grouped := b
	grouped.Labels = []int{0, 1, 0}
	queued := b
	queued.Queue = [][]float64{{-1, 0}, {0, 1}}
	listed := b
	listed.Positives = [][]int{{0, 2}, {}, {1}}
	unlabelled := ref.Batch{Query: b.Query, Key: append(slices.Clone(b.Key), east), Positives: [][]int{{0}, {1}, {2}}, Labels: []int{0, 1, 0}}
	labelled := unlabelled
	labelled.KeyLabels = []int{5, 0, 5, 0}
	excluded := listed
	excluded.Exclude = [][]int{{}, {0}, {0}}
	hard := b
	hard.Hard, hard.HardCounts = [][]float64{north, west}, []int{1, 0, 1}
	guided := b
	guided.GuideQuery, guided.GuideKey = [][]float64{east, east, east}, [][]float64{east, north, west}

	for _, c := range []struct {
		name                         string
		loss                         ref.Loss
		batch                        ref.Batch
		accuracy, positive, negative float64
	}{
		// Query by query, the cosines with the other keys: -1 0; 0 1; 1 -1.
		{"InfoNCE", ref.InfoNCE{Temperature: 1}, b, 1. / 3, 1. / 3, 0},
		{"CLIP", ref.CLIP{Temperature: 1}, b, 1. / 3, 1. / 3, 0},
		{"SigLIP", ref.SigLIP{Temperature: 1}, b, 1. / 3, 1. / 3, 0},
		// Without those of a label: -1; 0 1; -1.
		{"InfoNCE labels", ref.InfoNCE{Temperature: 1}, grouped, 2. / 3, 1. / 3, -1. / 4},
		// With the queue alone: -1 0; 0 1; -1 0.
		{"InfoNCE queue", ref.InfoNCE{Temperature: 1}, queued, 1. / 3, 1. / 3, -1. / 6},
		// Anchors e n e, e w n, against the two other examples: 0 1 -1 0 |
		// 0 0 0 1 | 1 0 1 -1 | 0 1 -1 0 | -1 -1 -1 0 | 0 1 0 0. Positives
		// 1 0 0 1 0 0: none wins, since a tie is no win.
		{"NTXent", ref.NTXent{Temperature: 1}, b, 0, 1. / 3, 0},
		{"NegativeCosine", ref.NegativeCosine{}, b, 0, 1. / 3, 0},
		// Classes {e, e, e, n} and {n, w}: within, 12 ordered pairs of which 6
		// have cosine 1, and 2 of cosine 0; across 16, of which e·n 0, e·w -1
		// (3 times 2), n·n 1 (2), n·w 0.
		{"SupCon", ref.SupCon{Temperature: 1, BaseTemperature: 1}, grouped, 0, 6. / 14, -4. / 16},
		// Pairs 1 0 | | -1, and -1 | | 1 0: the second query is no anchor.
		{"InfoNCE lists", ref.InfoNCE{Temperature: 1}, listed, 1. / 2, 0, 0},
		{"InfoNCE excluded", ref.InfoNCE{Temperature: 1}, excluded, 1. / 2, 0, -1. / 2},
		// For SigLIP it has negatives, 0 0 1.
		{"SigLIP lists", ref.SigLIP{Temperature: 1}, listed, 1. / 2, 0, 1. / 6},
		// Labels of queries are not those of more keys: -1 0 1; 0 1 0; 1 -1 1.
		{"InfoNCE labels of queries", ref.InfoNCE{Temperature: 1}, unlabelled, 0, 1. / 3, 2. / 9},
		// Without those of a label: 0; 0 1 0; 1.
		{"InfoNCE labels of keys", ref.InfoNCE{Temperature: 1}, labelled, 1. / 3, 1. / 3, 2. / 5},
		// With the private negatives alone: 0; none; -1.
		{"InfoNCE hard", ref.InfoNCE{Temperature: 1}, hard, 1, 1. / 3, -1. / 2},
		// Without those above the positive: -1 0; 0; -1.
		{"InfoNCE filter", ref.InfoNCE{Temperature: 1, Filter: ref.AbsoluteMargin}, b, 2. / 3, 1. / 3, -1. / 2},
		// The guide's cosines are 1 0 -1 for each: without those above that of the
		// positive, less ¼, the loss's own are left of -1 0; 1; none.
		{"InfoNCE guide", ref.InfoNCE{Temperature: 1, Filter: ref.AbsoluteMargin, FilterMargin: -0.25}, guided, 1. / 2, 1. / 3, 0},
		// Dot products of the pairs 1 0 0, of others -3 0; 0 4; 1 -3.
		{"InfoNCE dot", ref.InfoNCE{Temperature: 1, Dot: true}, b, 1. / 3, 1. / 3, -1. / 6},
		// In the first dimension the cosines are those of 1 0 1 and 1 -1 0.
		{"Matryoshka", ref.Matryoshka{Loss: ref.InfoNCE{Temperature: 1}, Dims: []int{1}}, b, 1. / 3, 1. / 3, -1. / 6},
		{"Matryoshka, rising", ref.Matryoshka{Loss: ref.InfoNCE{Temperature: 1}, Dims: []int{1, 2}}, grouped, 2. / 3, 1. / 3, -1. / 4},
		{"Matryoshka, falling", ref.Matryoshka{Loss: ref.InfoNCE{Temperature: 1}, Dims: []int{2, 1}}, grouped, 2. / 3, 1. / 3, -1. / 4},
		{"Sum", ref.Sum{Losses: []ref.Loss{ref.InfoNCE{Temperature: 1}, ref.SigLIP{Temperature: 1}}}, queued, 1. / 3, 1. / 3, -1. / 6},
	} {
		r := c.loss.Eval(c.batch)
		within(t, c.name+": accuracy", r.Accuracy, c.accuracy, 1e-15)
		within(t, c.name+": positive cosine", r.PositiveCosine, c.positive, 1e-15)
		within(t, c.name+": negative cosine", r.NegativeCosine, c.negative, 1e-15)
	}
	alone := ref.InfoNCE{Temperature: 1}.Eval(ref.Batch{Query: b.Query[:1], Key: b.Key[:1]})
	within(t, "without negatives: accuracy", alone.Accuracy, 0, 0)
	within(t, "without negatives: loss", alone.Loss, 0, 0)
}

// TestKink checks the least error that changes the choice of a filter: half of the
// distance from a threshold that errs as much as a cosine.
func TestKink(t *testing.T) {
	b := ref.Batch{Query: [][]float64{{2, 0}}, Key: [][]float64{{0.6, 0.8}, {0.8, 0.6}, {4, 3}}, Positives: [][]int{{0, 1}}}
	for _, c := range []struct {
		loss ref.InfoNCE
		want float64
	}{
		{ref.InfoNCE{}, math.Inf(1)},
		{ref.InfoNCE{Filter: ref.AbsoluteMargin, FilterMargin: 0.125}, (0.8 - 0.725) / 2},
		{ref.InfoNCE{Filter: ref.RelativeMargin, FilterMargin: 0.25}, (0.8 - 0.75) / 2.25},
		// Products 1.2 and 1.6 with norms 2, and 8 with 10.
		{ref.InfoNCE{Filter: ref.AbsoluteMargin, FilterMargin: 0.5, Dot: true}, (8 - 1.7) / 12},
	} {
		c.loss.Temperature = 1
		if r := c.loss.Eval(b); math.Abs(r.Kink-c.want) > 1e-15 || r.Losses[0] == 0 != (c.loss.Filter != ref.NoFilter) {
			t.Errorf("%+v: a kink of %v, want %v, and losses %v", c.loss, r.Kink, c.want, r.Losses)
		}
	}
}

func TestEffectiveRank(t *testing.T) {
	identity := [][]float64{{5, 0, 0}, {0, 1e-3, 0}, {0, 0, 2}}
	within(t, "of the identity", ref.EffectiveRank(identity), 3, 1e-14)
	line := [][]float64{{1, 2, 3}, {2, 4, 6}, {-1, -2, -3}}
	within(t, "of a line", ref.EffectiveRank(line), 1, 1e-5)
	// Singular values √2, 1: shares p = √2/(1+√2) and 1−p.
	plane := [][]float64{{1, 0}, {1, 0}, {0, 1}}
	p := math.Sqrt2 / (1 + math.Sqrt2)
	within(t, "of a plane", ref.EffectiveRank(plane), math.Exp(-p*math.Log(p)-(1-p)*math.Log(1-p)), 1e-14)
}
