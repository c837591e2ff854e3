package losstest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/race"
)

// Temperatures are on both sides of 0.02, where the greatest similarity of an
// anchor begins to be found in a sweep of its own.
var Temperatures = []float32{0.07, 1e-3, 0.5, 0.01, 1, 0.019, 0.021, 0.1, 1e3, 0.03, 10}

// A Kind makes the rows of a batch awkward, in place.
type Kind struct {
	Name string
	Make func(r *rand.Rand, b contrastive.Batch)
}

var RowKinds = []Kind{
	{"normal", func(*rand.Rand, contrastive.Batch) {}},
	{"norms from 1e-30 to 1e30", func(_ *rand.Rand, b contrastive.Batch) {
		ScaleRows(b.Query, func(i int) float64 { return math.Pow(10, float64(i*7%61-30)) })
		ScaleRows(b.Key, func(i int) float64 { return math.Pow(10, float64(30-i*11%61)) })
	}},
	{"near duplicates", func(_ *rand.Rand, b contrastive.Batch) {
		MapRows(b, func(q, k []float32) {
			for d, x := range q {
				k[d] = x + 1e-4*k[d]
			}
		})
	}},
	{"identical rows", func(_ *rand.Rand, b contrastive.Batch) {
		first := append([]float32(nil), b.Query.Row(0)...)
		MapRows(b, func(q, k []float32) { copy(q, first); copy(k, first) })
	}},
	{"opposite rows", func(_ *rand.Rand, b contrastive.Batch) {
		MapRows(b, func(q, k []float32) {
			for d, x := range q {
				k[d] = -x
			}
		})
	}},
	// Every similarity is near −1 but the pairs' own, or the reverse: the
	// exponentials of a row are all far from any constant shift.
	{"two poles", func(_ *rand.Rand, b contrastive.Batch) {
		first := append([]float32(nil), b.Query.Row(0)...)
		MapRows(b, func(q, k []float32) {
			for d, x := range first {
				q[d], k[d] = x+0.01*q[d], -x+0.01*k[d]
			}
		})
	}},
	{"one-hot", func(_ *rand.Rand, b contrastive.Batch) {
		i := 0
		MapRows(b, func(q, k []float32) {
			clear(q)
			clear(k)
			q[i%len(q)], k[(i+i%3)%len(k)] = 3, 2
			i++
		})
	}},
	{"rows of zeros", func(_ *rand.Rand, b contrastive.Batch) {
		clear(b.Query.Row(0))
		clear(b.Key.Row(b.Key.Rows / 2))
	}},
	// A loss near 0: of the order of e^(−1/τ).
	{"aligned", func(_ *rand.Rand, b contrastive.Batch) {
		MapRows(b, func(q, k []float32) { copy(k, q) })
	}},
}

var ColumnKinds = []Kind{
	{"normal", func(*rand.Rand, contrastive.Batch) {}},
	{"near duplicates", RowKinds[2].Make},
	{"opposite rows", RowKinds[4].Make},
	{"one-hot", RowKinds[6].Make},
	{"far from 0", func(_ *rand.Rand, b contrastive.Batch) {
		MapRows(b, func(q, k []float32) {
			for d := range q {
				q[d] += 1000
				k[d] -= 30
			}
		})
	}},
	{"small", func(_ *rand.Rand, b contrastive.Batch) {
		ScaleRows(b.Query, func(int) float64 { return 1e-3 })
		ScaleRows(b.Key, func(int) float64 { return 0.3 })
	}},
	{"huge and tiny", func(_ *rand.Rand, b contrastive.Batch) {
		ScaleRows(b.Query, func(int) float64 { return 1e30 })
		ScaleRows(b.Key, func(int) float64 { return 1e-30 })
	}},
	{"columns of all sizes", func(_ *rand.Rand, b contrastive.Batch) {
		MapRows(b, func(q, k []float32) {
			for d := range q {
				q[d] *= float32(math.Pow(10, float64(d%9-6)))
				k[d] *= float32(math.Pow(10, float64(3-d%7)))
			}
		})
	}},
	{"correlated columns", func(_ *rand.Rand, b contrastive.Batch) {
		MapRows(b, func(q, k []float32) {
			for d := range q {
				q[d], k[d] = q[0]+0.1*q[d], k[0]-0.1*k[d]
			}
		})
	}},
	{"identical rows", RowKinds[3].Make},
	{"great constants", columnsTimes(3, 0, 1e12, 0, 3e38)},
	{"great columns", columnsTimes(3, 1e20, 0, 1e12, 1)},
	{"great offsets", columnsTimes(1, 1, 1e6, 1e20, 1e24)},
	{"tiny columns", columnsTimes(2, 1e-25, 0, 1e-38, 0)},
	{"one great row", func(_ *rand.Rand, b contrastive.Batch) {
		ScaleRows(Slice(b.Query, 0, 1), func(int) float64 { return 1e12 })
	}},
}

// columnsTimes multiplies every step'th column of queries and keys, and adds to it.
func columnsTimes(step int, q, qOffset, k, kOffset float32) func(*rand.Rand, contrastive.Batch) {
	return func(_ *rand.Rand, b contrastive.Batch) {
		MapRows(b, func(x, y []float32) {
			for d := 0; d < len(x); d += step {
				x[d], y[d] = q*x[d]+qOffset, k*y[d]+kOffset
			}
		})
	}
}

func MapRows(b contrastive.Batch, f func(q, k []float32)) {
	for i := range b.Query.Rows {
		f(b.Query.Row(i), b.Key.Row(i))
	}
}

// An Extra is what a batch may have beside two views.
type Extra struct {
	Name string
	Fits func(v Variant) bool
	Add  func(t *testing.T, r *rand.Rand, b *contrastive.Batch)
}

var Extras = []Extra{
	{"", func(Variant) bool { return true }, func(*testing.T, *rand.Rand, *contrastive.Batch) {}},
	{"labels", func(v Variant) bool { return v.Labels }, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Labels = Labels(r, b.Query.Rows)
	}},
	{"one label", func(v Variant) bool { return v.Labels }, func(_ *testing.T, _ *rand.Rand, b *contrastive.Batch) {
		b.Labels = make([]int, b.Query.Rows)
	}},
	{"one view", func(v Variant) bool { return v.OptionalKey }, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Key = contrastive.Matrix{}
		b.Labels = Labels(r, b.Query.Rows)
	}},
	{"negatives", func(v Variant) bool { return v.Negatives }, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Negatives = Normal(r, 1+2*b.Query.Rows, b.Query.Cols)
		ScaleRows(b.Negatives, func(i int) float64 { return math.Pow(2, float64(i%40-20)) })
	}},
	{"short queue", func(v Variant) bool { return v.Queue }, func(t *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Queue = NewQueue(t, 3, Normal(r, b.Query.Rows, b.Query.Cols)) // keeps the last three
	}},
	{"empty queue", func(v Variant) bool { return v.Queue }, func(t *testing.T, _ *rand.Rand, b *contrastive.Batch) {
		q, err := contrastive.NewQueue(4, b.Query.Cols)
		if err != nil {
			t.Fatal(err)
		}
		b.Queue = q
	}},
	{"long labelled queue", func(v Variant) bool { return v.Queue }, func(t *testing.T, r *rand.Rand, b *contrastive.Batch) {
		n := 2*b.Query.Rows + 5
		b.Labels = Labels(r, b.Query.Rows)
		b.Queue = NewQueue(t, n+7, Normal(r, n, b.Query.Cols), Labels(r, n)...)
	}},
	{"labelled queue without labels", func(v Variant) bool { return v.Queue }, func(t *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Queue = NewQueue(t, 9, Normal(r, 9, b.Query.Cols), 0, 1, 2, 3, 4, 0, 1, 2, 3)
	}},
	{"negatives and unlabelled queue", func(v Variant) bool { return v.Queue && v.Negatives }, func(t *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Labels = Labels(r, b.Query.Rows)
		b.Negatives = Normal(r, 7, b.Query.Cols)
		b.Queue = NewQueue(t, 100, Normal(r, 9, b.Query.Cols))
	}},
	{"negatives and labelled queue", func(v Variant) bool { return v.Queue && v.Negatives }, func(t *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Labels = Labels(r, b.Query.Rows)
		b.Negatives = Normal(r, 4, b.Query.Cols)
		b.Queue = NewQueue(t, 100, Normal(r, 21, b.Query.Cols), Labels(r, 21)...)
	}},
	{"weights", func(v Variant) bool { return v.Weights }, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		b.Weights = Weights(r, b.Query.Rows)
	}},
	{"hard negatives of some", TakesCounts, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		AddHard(r, b)
		b.HardCounts = Counts(r, b.Query.Rows, b.Hard.Rows)
	}},
	{"weights and hard negatives of some", TakesCounts, func(_ *testing.T, r *rand.Rand, b *contrastive.Batch) {
		AddHard(r, b)
		b.HardCounts, b.Weights = Counts(r, b.Query.Rows, b.Hard.Rows), Weights(r, b.Query.Rows)
		b.Weights[b.Query.Rows-1] = 3
	}},
}

// TakesCounts reports whether a loss takes hard negatives in any number.
func TakesCounts(v Variant) bool { return v.Hard && !v.Scores }

// Weights returns weights of n queries, some of which are 0, but not all.
func Weights(r *rand.Rand, n int) []float32 {
	w := make([]float32, n)
	for i := range w {
		w[i] = float32(r.IntN(4)) * r.Float32()
	}
	w[r.IntN(n)] = 2
	return w
}

// Counts returns how many of some rows of Hard each of n queries has, 0 for some, but not
// for the last.
func Counts(r *rand.Rand, n, rows int) []int {
	c := make([]int, n)
	for range rows - 1 {
		c[r.IntN(1+r.IntN(n))]++
	}
	c[n-1]++
	return c
}

// Labels returns class ids, some of which occur once and some often.
func Labels(r *rand.Rand, n int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = r.IntN(1+n/3)*r.IntN(2) - 3
	}
	return ids
}

// Trials returns all kinds of batches at all temperatures, small, and all sizes
// around the tiles of every instruction set.
func Trials(t *testing.T, v Variant, r *rand.Rand) []Trial {
	kinds, taus := RowKinds, Temperatures
	if v.Columns {
		kinds = ColumnKinds
	}
	if v.NoTemperature {
		taus = []float32{0}
	}
	var fitting []Extra
	for _, e := range Extras {
		if e.Fits(v) {
			fitting = append(fitting, e)
		}
	}
	var ts []Trial
	add := func(n, d int, k Kind, e Extra, tau, bias float32) {
		if v.NeedsTwo && n < 2 {
			return
		}
		b := v.Batch(r, n, d)
		k.Make(r, b)
		if b.Hard.Data != nil { // two of each query
			k.Make(r, contrastive.Batch{Query: b.Hard.Slice(0, n), Key: b.Hard.Slice(n, 2*n)})
		}
		e.Add(t, r, &b)
		ts = append(ts, NewTrial(v, fmt.Sprintf("bias=%v N=%d D=%d %s %s", bias, n, d, k.Name, e.Name), tau, bias, b))
	}
	for i, k := range kinds {
		for j, tau := range taus {
			for l, e := range fitting {
				add(5, 6, k, e, tau, [...]float32{-10, 0.5}[(i+j+l)%2])
			}
		}
	}
	dims := [...]int{1, 2, 5, 16, 31, 64, 129}
	for i, n := range [...]int{1, 2, 3, 17, 33, 64, 65, 97, 130, 200} {
		if race.Enabled && n > 100 {
			break
		}
		for j := range 3 {
			if testing.Short() && n > 64 && j > 0 {
				break
			}
			c := 3*i + j
			add(n, dims[(i+2*j)%len(dims)], kinds[c%len(kinds)], fitting[c%len(fitting)], taus[c%len(taus)], -2)
		}
	}
	return ts
}
