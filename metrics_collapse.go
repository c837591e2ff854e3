package contrastive

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/eig"
	"github.com/contrastive-go/contrastive/simd"
)

// CollapseStats tell whether embeddings have collapsed to a point or to few
// dimensions.
type CollapseStats struct {
	// Std is the mean, and MinStd the least, of the standard deviations of the
	// columns of the unit rows. Rows spread evenly over the sphere have 1/√D;
	// rows that coincide have 0. Chen and He, "Exploring Simple Siamese
	// Representation Learning" (2021), section 4.1, plot the first.
	Std, MinStd float64

	// EffectiveRank is the exponential of the entropy of the singular values σ of
	// the unit rows, divided by their sum: the number of dimensions that they
	// use, from 1 to min(N, D). Roy and Vetterli, "The Effective Rank" (2007);
	// Garrido, Balestriero, Najman and LeCun, "RankMe" (2023), equation 1. Singular
	// values below 2⁻²⁵·√min(N, D) of the greatest count as 0.
	EffectiveRank float64

	// MeanCosine is the mean cosine of pairs of rows, 1 if they coincide. It is 0
	// if there is one row.
	MeanCosine float64
}

// Collapse returns the statistics of x, N×D. Its time is O(N·D·min(N,D)). A row of
// zeros stays one; if all are, every field is 0.
//
// It returns an error that wraps [ErrShape], [ErrEmpty] or [ErrNotFinite].
func Collapse(x Matrix) (CollapseStats, error) {
	m := newMetric()
	defer m.release()
	if err := m.one("x", x); err != nil {
		return CollapseStats{}, wrap("Collapse", err)
	}
	unit, transposed := NewMatrix(x.Rows, x.Cols), NewMatrix(x.Cols, x.Rows)
	for i := range x.Rows {
		m.rows.Vector(i, unit.Row(i))
		for d, v := range unit.Row(i) {
			transposed.Data[d*x.Rows+i] = v
		}
	}
	s := m.spread(x)
	vectors := unit
	if x.Cols < x.Rows {
		vectors = transposed
	}
	s.EffectiveRank = effectiveRank(vectors)
	return s, nil
}

// spread returns the statistics of x but for the rank, with the precision of float64:
// columns that hardly vary keep their digits.
func (m *metric) spread(x Matrix) CollapseStats {
	n, cols := float64(x.Rows), float64(x.Cols)
	m.mean = zeros(m.mean, x.Cols)
	m.squares = zeros(m.squares, x.Cols)
	for i := range x.Rows {
		scale := m.rows.Scale(i)
		for d, v := range x.Row(i) {
			m.mean[d] += scale * float64(v) / n
		}
	}
	for i := range x.Rows {
		scale := m.rows.Scale(i)
		for d, v := range x.Row(i) {
			diff := scale*float64(v) - m.mean[d]
			m.squares[d] += diff * diff / n
		}
	}
	s := CollapseStats{MinStd: math.Inf(1)}
	norms, sums := 0.0, 0.0
	for d, mean := range m.mean {
		variance := m.squares[d]
		s.Std += math.Sqrt(variance) / cols
		s.MinStd = min(s.MinStd, math.Sqrt(variance))
		norms += n * (variance + mean*mean)
		sums += n * n * mean * mean
	}
	if x.Rows > 1 {
		s.MeanCosine = clampCosine((sums - norms) / (n * (n - 1)))
	}
	return s
}

// effectiveRank returns that of the rows of m, or 0 if all are zero. The squares
// of the singular values are the eigenvalues of the products of the rows.
func effectiveRank(m Matrix) float64 {
	n := m.Rows
	gram := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			v := simd.DotFloat64(m.Row(i), m.Row(j))
			gram[i*n+j], gram[j*n+i] = v, v
		}
	}
	values := eig.Symmetric(gram, n)
	// Rounding errors of eigenvalues, of n·2⁻⁵³ of the greatest, are not signal.
	least, sum := float64(n)*0x1p-50*values[n-1], 0.0
	for i, v := range values {
		if v <= least {
			v = 0
		}
		values[i] = math.Sqrt(v)
		sum += values[i]
	}
	if sum == 0 {
		return 0
	}
	entropy := 0.0
	for _, v := range values {
		if p := v / sum; p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	return math.Exp(entropy)
}
