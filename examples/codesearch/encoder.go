package main

import (
	"math"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/simd"
)

// An Encoder maps queries and functions into one space: a text is the sum of
// the embeddings of its features,
//
//	x = Σ weight(f) · exp(a[row(f)] + g[channel(f)]) · E[row(f)],
//
// and is compared by direction only, so x is not normalised here. E, a and g
// are learned, and so is the temperature. Both towers share E and a: with ten
// thousand pairs, separate ones learn the pairs by heart.
type Encoder struct {
	Featurizer
	Dim       int
	Seed      uint64
	Embedding contrastive.Matrix // E, Buckets×Dim
	Weight    []float32          // a, one for each row
	Gain      [channels]float32  // g
	LogScale  float64            // log 1/τ
}

const (
	initialTemperature = 0.05

	// A word in the name of a function says more about it than one in its body,
	// and a word more than a prefix. Training starts from exp(gain).
	initialNameGain   = 1.1
	initialPrefixGain = -0.3
)

// NewEncoder returns an encoder whose comparisons are those of TF-IDF vectors,
// but for the error of a random projection to dim dimensions: rows of E are
// random signs, and exp(a) is the inverse document frequency in code.
func NewEncoder(dim, buckets int, seed uint64, code [][]Feature) *Encoder {
	e := &Encoder{
		Featurizer: Featurizer{buckets},
		Dim:        dim,
		Seed:       seed,
		Embedding:  contrastive.NewMatrix(buckets, dim),
		Weight:     logIDF(buckets, code),
		LogScale:   -math.Log(initialTemperature),
	}
	parallel(buckets, 256, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			e.initialRow(i, e.Embedding.Row(i))
		}
	})
	e.Gain[Name.words()] = initialNameGain
	for f := range fields {
		e.Gain[f.prefixes()] = e.Gain[f.words()] + initialPrefixGain
	}
	return e
}

// initialRow sets row to what row i of E is before training: ±1/√Dim, of length
// 1, from a generator of its own.
func (e *Encoder) initialRow(i int, row []float32) {
	random := rand.NewPCG(e.Seed, uint64(i))
	size := float32(1 / math.Sqrt(float64(e.Dim)))
	var signs uint64
	for j := range row {
		if j%64 == 0 {
			signs = random.Uint64()
		}
		row[j] = size
		if signs>>(j%64)&1 != 0 {
			row[j] = -size
		}
	}
}

// logIDF returns the logarithms of inverse document frequencies.
func logIDF(buckets int, code [][]Feature) []float32 {
	in := make([]float64, buckets)
	last := make([]int, buckets)
	for i, features := range code {
		for _, f := range features {
			if last[f.Row] != i+1 {
				last[f.Row] = i + 1
				in[f.Row]++
			}
		}
	}
	weights := make([]float32, buckets)
	n := float64(len(code))
	for row, df := range in {
		weights[row] = float32(math.Log(math.Log(1 + (n-df+0.5)/(df+0.5))))
	}
	return weights
}

// Temperature returns τ.
func (e *Encoder) Temperature() float64 { return math.Exp(-e.LogScale) }

// coefficient returns the factor of the embedding of f.
func (e *Encoder) coefficient(f Feature) float32 {
	return f.Weight * float32(math.Exp(float64(e.Weight[f.Row]+e.Gain[f.Channel])))
}

// Encode sets row i of dst to the sum of texts[i].
func (e *Encoder) Encode(dst contrastive.Matrix, texts [][]Feature) {
	parallel(len(texts), 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			x := dst.Row(i)
			clear(x)
			for _, f := range texts[i] {
				simd.Axpy(e.coefficient(f), e.Embedding.Row(int(f.Row)), x)
			}
		}
	})
}
