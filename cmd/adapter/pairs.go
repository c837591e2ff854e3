package main

import (
	"math/rand/v2"

	"github.com/contrastive-go/contrastive/simd"
)

// pictures is how many pairs of test queries the pictures show at most.
const pictures = 200

// A sampledPair is a test query, a document that answers it, and one that does not.
type sampledPair struct{ query, document, other int }

// samplePairs draws pairs of the test queries for the pictures.
func (s *session) samplePairs(keys [][]int, grades [][]float32) []sampledPair {
	rng := rand.New(rand.NewPCG(s.flags.Seed, 0x7069_6373))
	documents := s.data.documents.vectors.Rows
	var pairs []sampledPair
	for _, i := range rng.Perm(len(keys)) {
		if len(pairs) == pictures {
			break
		}
		relevant := map[int]bool{}
		document := -1
		for n, j := range keys[i] {
			if grades[i][n] > 0 {
				relevant[j] = true
				if document < 0 {
					document = j
				}
			}
		}
		if len(relevant) == documents {
			continue
		}
		other := rng.IntN(documents)
		for relevant[other] {
			other = rng.IntN(documents)
		}
		pairs = append(pairs, sampledPair{i, document, other})
	}
	return pairs
}

func cosine(x, y []float32) float64 { return float64(simd.Cosine(x, y)) }
