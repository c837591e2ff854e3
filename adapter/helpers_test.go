package adapter

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/retrieval"
)

// forms are all kinds and sides.
func forms(t *testing.T, f func(t *testing.T, c Config)) {
	for kind := range Kind(len(kinds)) {
		for side := range Sides(len(sides)) {
			t.Run(kind.String()+"/"+side.String(), func(t *testing.T) {
				f(t, Config{Kind: kind, Sides: side, Rank: 3, Hidden: 7})
			})
		}
	}
}

func normal(rng *rand.Rand, rows, cols int) contrastive.Matrix {
	m := contrastive.NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	return m
}

// rotated returns data whose queries are their documents in other coordinates, with noise:
// raw cosines say nothing, and a linear map of the queries finds all.
func rotated(seed uint64, n, dim int) Data {
	rng := rand.New(rand.NewPCG(seed, 1))
	documents := normal(rng, n, dim)
	turn := normal(rng, dim, dim)
	queries := contrastive.NewMatrix(n, dim)
	for i := range n {
		for j := range dim {
			sum := 0.1 * rng.NormFloat64()
			for k, v := range documents.Row(i) {
				sum += float64(v) * float64(turn.Row(k)[j]) / math.Sqrt(float64(dim))
			}
			queries.Row(i)[j] = float32(sum)
		}
	}
	return Data{Queries: queries, Documents: documents}
}

// general returns data with all that there may be: queries with several documents and
// with none, grades, hard negatives, weights.
func general(seed uint64, n, m, dim int) Data {
	rng := rand.New(rand.NewPCG(seed, 2))
	d := Data{
		Queries: normal(rng, n, dim), Documents: normal(rng, m, dim),
		Relevant: retrieval.Relevance{Keys: make([][]int, n), Grades: make([][]float32, n)},
		Hard:     make([][]int, n), Weights: make([]float32, n),
	}
	for i := range n {
		some := rng.Perm(m)[:6]
		for k := range i % 4 {
			d.Relevant.Keys[i] = append(d.Relevant.Keys[i], some[k])
			d.Relevant.Grades[i] = append(d.Relevant.Grades[i], float32(k))
		}
		if i%4 == 1 {
			d.Relevant.Grades[i][0] = 2
		}
		d.Hard[i] = some[3 : 3+i%3]
		d.Weights[i] = rng.Float32() + 0.5
	}
	return d
}

// randomize gives an adapter parameters that are nothing special.
func randomize(a *Adapter, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	for _, t := range a.tensors() {
		for i := range t.Data {
			t.Data[i] = float32(rng.NormFloat64() / math.Sqrt(float64(t.Shape[0])))
		}
	}
}

func sameBits(t *testing.T, what string, got, want *Adapter) {
	t.Helper()
	w := want.tensors()
	for i, g := range got.tensors() {
		for k, v := range g.Data {
			if math.Float32bits(v) != math.Float32bits(w[i].Data[k]) {
				t.Fatalf("%s: %s[%d] is %v, want %v", what, g.Name, k, v, w[i].Data[k])
			}
		}
	}
	if got.Training != want.Training {
		t.Errorf("%s: %+v, want %+v", what, got.Training, want.Training)
	}
}
