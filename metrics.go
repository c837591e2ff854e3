package contrastive

import (
	"fmt"
	"math"
	"sync"

	"github.com/contrastive-go/contrastive/internal/eig"
	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/simd"
)

// Alignment returns the mean distance of positive pairs, to the power alpha:
//
//	1/N · Σᵢ ‖x̂ᵢ − ŷᵢ‖^α
//
// for the unit rows of x and y, N×D each: 0 when all pairs coincide. It is
// equation 1 of Wang and Isola, "Understanding Contrastive Representation Learning
// through Alignment and Uniformity on the Hypersphere" (2020), with α = 2.
//
// It returns an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite], or
// [ErrParameter] unless alpha is positive and at most 1000: powers of greater ones
// overflow.
func Alignment(x, y Matrix, alpha float64) (float64, error) {
	m := newMetric()
	defer m.release()
	a, err := m.alignment(x, y, alpha)
	return a, wrap("Alignment", err)
}

func (m *metric) alignment(x, y Matrix, alpha float64) (float64, error) {
	if err := m.pair("x", x, "y", y, true); err != nil {
		return 0, err
	}
	if !(alpha > 0 && alpha <= 1000) {
		return 0, fmt.Errorf("alpha is %v and must be positive and at most 1000: %w", alpha, ErrParameter)
	}
	sum := 0.0
	for i := range x.Rows {
		sum += math.Pow(engine.Distance(&m.rows, i, &m.cols, i), alpha)
	}
	return sum / float64(x.Rows), nil
}

// Uniformity returns the logarithm of the mean Gaussian potential of pairs,
//
//	log mean_{i<j} exp(−t·‖x̂ᵢ − x̂ⱼ‖²)
//
// for the unit rows of x: 0 when all coincide, and the less the more evenly they
// spread. It is equation 2 of Wang and Isola (2020), with t = 2. A row of zeros is
// taken to be orthogonal to all others. The N×N distances are never held.
//
// The error is at most (3·t·r·(D+8) + 40)·2⁻²⁴, with r the greatest squared distance
// of a unit row from their mean: rows that have nearly collapsed keep their digits.
//
// It returns an error that wraps [ErrShape] if there are less than two rows,
// [ErrEmpty], [ErrNotFinite], or [ErrParameter] unless t is positive and at most
// 2¹⁰⁰.
func Uniformity(x Matrix, t float64) (float64, error) {
	m := newMetric()
	defer m.release()
	v, err := m.uniformity(x, t)
	return v, wrap("Uniformity", err)
}

func (m *metric) uniformity(x Matrix, t float64) (float64, error) {
	if err := m.one("x", x); err != nil {
		return 0, err
	}
	if !(t > 0) || t > 1/minTemperature {
		return 0, fmt.Errorf("t is %v and must be positive and at most 2^100: %w", t, ErrParameter)
	}
	if x.Rows < 2 {
		return 0, fmt.Errorf("x has %d row, and a pair needs 2: %w", x.Rows, ErrShape)
	}
	mean, greatest := m.centre(x)
	// No −t·d² is below −4·t·greatest. Where that is near 0, the exponentials are 1 but
	// for roundings. As a function of t, the logarithm of their mean has the derivative
	// −mean d² at 0 and −mean d² under the softmax of −t·d² at t: the trapezoidal rule
	// for its integral is off by a twelfth of the square of the exponents, and the first
	// alone by half of them.
	least := 4 * t * greatest
	if least < 0x1p-24 {
		return 0 - t*mean, nil // not −0
	}
	p := engine.Problem{Rows: &m.rows, Cols: &m.cols, Scale: 2 * t * m.unit * m.unit, Terms: 1, Exponents: [2]float64{1}, Pieces: engine.MaxPieces, Workers: m.workers}
	p.Mask.Exclude(0)
	m.lse, m.exponent = m.lse[:0], m.exponent[:0]
	m.engine.Run(&p, m)
	top := math.Inf(-1)
	for i, v := range m.lse {
		m.lse[i] = v - t*m.squares[i]
		top = max(top, m.lse[i])
	}
	sum, exponents := 0.0, 0.0
	for i, v := range m.lse {
		e := math.Exp(v - top)
		sum += e
		exponents += e * (m.exponent[i] - t*m.squares[i])
	}
	if least < 0x1p-8 {
		return (exponents/sum - t*mean) / 2, nil
	}
	return min(0, top+math.Log(sum)-math.Log(float64(x.Rows)*float64(x.Rows-1))), nil
}

// centre makes two lists of the unit rows of x less their mean, whose products are
// (qᵢ − ‖x̂ᵢ − x̂ⱼ‖²)/2 over the square of a unit, in [−1, 1]; the qᵢ are left in
// squares. It returns the mean of the squared distances of all pairs and the greatest
// qᵢ, at least a quarter of the greatest distance.
//
// With aᵢ the centred row and qᵢ = ‖aᵢ‖², or 1 more for a row of zeros, the squared
// distance is qᵢ + qⱼ − 2·aᵢ·aⱼ. The second list has −qⱼ/2 for one more element, and
// the first 1.
func (m *metric) centre(x Matrix) (mean, greatest float64) {
	n, d := float64(x.Rows), x.Cols
	m.mean, m.rest = zeros(m.mean, d), zeros(m.rest, d)
	for i := range x.Rows {
		scale := m.rows.Scale(i)
		for k, v := range x.Row(i) {
			m.mean[k] += scale * float64(v) / n
		}
	}
	m.left, m.right = reshape(m.left, x.Rows, d+1), reshape(m.right, x.Rows, d+1)
	m.squares = m.squares[:0]
	sum, norms := 0.0, 0.0
	for i := range x.Rows {
		scale, row, square := m.rows.Scale(i), m.left.Row(i), 0.0
		for k, v := range x.Row(i) {
			row[k] = float32(scale*float64(v) - m.mean[k])
			centred := float64(row[k])
			square += centred * centred
			m.rest[k] += centred
		}
		norms += square
		if scale == 0 {
			square++
		}
		sum += square
		m.squares = append(m.squares, square)
		greatest = max(greatest, square)
	}
	// The products are from −3/2 to 1/2 of the greatest.
	_, exponent := math.Frexp(1.5 * greatest)
	m.unit = math.Ldexp(1, (exponent+1)>>1)
	inverse := 1 / m.unit
	for i, square := range m.squares {
		row := m.left.Row(i)[:d]
		simd.ScaleTo(row, row, inverse)
		copy(m.right.Row(i), row)
		m.left.Row(i)[d], m.right.Row(i)[d] = 1, float32(-square/2*inverse*inverse)
	}
	m.rows.Reset(d + 1)
	m.cols.Reset(d + 1)
	m.rows.Add(engine.Matrix(m.left), engine.Matrix{}, false)
	m.cols.Add(engine.Matrix(m.right), engine.Matrix{}, false)
	for _, v := range m.rest { // what roundings leave of a sum of 0
		norms -= v * v
	}
	return 2 * (sum*(n-1) + norms) / (n * (n - 1)), greatest
}

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

// A metric is the state of one call, pooled.
type metric struct {
	engine          *engine.Engine
	rows, cols      engine.List
	workers, pieces int

	// Uniformity
	left, right   Matrix
	unit          float64
	mean, squares []float64
	rest          []float64
	lse, exponent []float64 // of each row
}

var metricPool = sync.Pool{New: func() any { return new(metric) }}

func newMetric() *metric {
	m := metricPool.Get().(*metric)
	m.engine = acquireEngine()
	m.workers, m.pieces = Options{}.workers(), Highest.pieces()
	return m
}

func (m *metric) release() {
	m.rows.Reset(0)
	m.cols.Reset(0)
	releaseEngine(m.engine)
	m.engine = nil
	metricPool.Put(m)
}

// one lists the rows of x, and pair those of x and y, which have as many columns
// and, if like is set, as many rows.
func (m *metric) one(name string, x Matrix) error {
	if err := checkMatrix(name, x); err != nil {
		return err
	}
	m.rows.Reset(x.Cols)
	return addRows(&m.rows, x, Matrix{}, name, true)
}

func (m *metric) pair(xName string, x Matrix, yName string, y Matrix, like bool) error {
	if err := checkMatrix(xName, x); err != nil {
		return err
	}
	if err := checkMatrix(yName, y); err != nil {
		return err
	}
	if like && x.Rows != y.Rows || x.Cols != y.Cols {
		return fmt.Errorf("%s is %d×%d, %s is %d×%d: %w", yName, y.Rows, y.Cols, xName, x.Rows, x.Cols, ErrShape)
	}
	if err := m.one(xName, x); err != nil {
		return err
	}
	m.cols.Reset(x.Cols)
	return addRows(&m.cols, y, Matrix{}, yName, true)
}

func (m *metric) LearnRows(_ int, sums []engine.Stat, _ [][2]float64) {
	for i := range sums {
		m.lse, m.exponent = append(m.lse, sums[i].LSE[0]), append(m.exponent, sums[i].Mean[0])
	}
}

// show shows v the cosines of all rows with all columns, or those of equal indices.
func (m *metric) show(equal bool, v engine.Visitor) {
	p := engine.Problem{Rows: &m.rows, Cols: &m.cols, Pieces: m.pieces, Workers: m.workers}
	m.engine.Show(&p, equal, v)
}
