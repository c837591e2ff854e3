package nn

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/fpmode"
)

// LogQ returns, for each of n items, the logarithm of its share of ids, which are the items
// of all the rows that batches are drawn from. A [contrastive.Batch] takes those of its
// keys as KeyLogQ. An item that is not among ids has the share of one that is there once.
//
// The correction is that of Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large
// Corpus Item Recommendations" (2019), section 3. It panics if an id is not from 0 to n-1.
func LogQ(ids []int, n int) []float32 {
	defer fpmode.Enter().Leave()
	counts := make([]int, n)
	for _, id := range ids {
		counts[id]++
	}
	logQ := make([]float32, n)
	for i, c := range counts {
		logQ[i] = float32(math.Log(float64(max(c, 1)) / float64(max(len(ids), 1))))
	}
	return logQ
}
