package contrastive

import (
	"fmt"
	"math"
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
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
// [ErrParameter] unless alpha is positive and finite.
func Alignment(x, y Matrix, alpha float64) (float64, error) {
	m := newMetric()
	defer m.release()
	if err := m.pair("Alignment", "x", x, "y", y, true); err != nil {
		return 0, err
	}
	if !(alpha > 0) || math.IsInf(alpha, 1) {
		return 0, fmt.Errorf("Alignment: alpha is %v and must be positive and finite: %w", alpha, ErrParameter)
	}
	sum := 0.0
	for i := range x.Rows {
		sum += math.Pow(engine.Distance(&m.engine.Rows, i, &m.engine.Cols, i), alpha)
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
// It returns an error that wraps [ErrShape] if there are less than two rows,
// [ErrEmpty], [ErrNotFinite], or [ErrParameter] unless t is positive and finite.
func Uniformity(x Matrix, t float64) (float64, error) {
	m := newMetric()
	defer m.release()
	if err := m.one("Uniformity", "x", x); err != nil {
		return 0, err
	}
	if !(t > 0) || t > 1/minTemperature {
		return 0, fmt.Errorf("Uniformity: t is %v and must be positive and at most 2^100: %w", t, ErrParameter)
	}
	if x.Rows < 2 {
		return 0, fmt.Errorf("Uniformity: x has %d row, and a pair needs 2: %w", x.Rows, ErrShape)
	}
	// ‖x̂ − ŷ‖² = 2 − 2s, so that the potential is a softmax's exponential.
	list := &m.engine.Rows
	p := engine.Problem{Rows: list, Cols: list, RowSlots: x.Rows, Scale: 2 * t, Terms: 1, Exponents: [2]float64{1}, Pieces: engine.MaxPieces, Workers: m.workers}
	p.Mask.Exclude(0)
	m.lse = m.lse[:0]
	m.engine.Run(&p, m)
	top, sum := math.Inf(-1), 0.0
	for _, v := range m.lse {
		top = max(top, v)
	}
	for _, v := range m.lse {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum) - 2*t - math.Log(float64(x.Rows)*float64(x.Rows-1)), nil
}

// A metric is the state of one call, pooled.
type metric struct {
	engine  *engine.Engine
	workers int
	lse     []float64
}

var metricPool = sync.Pool{New: func() any { return new(metric) }}

func newMetric() *metric {
	m := metricPool.Get().(*metric)
	m.engine = engines.Get().(*engine.Engine)
	return m
}

func (m *metric) release() {
	releaseEngine(m.engine)
	m.engine = nil
	metricPool.Put(m)
}

// one lists the rows of x, and pair those of x and y, which have as many columns
// and, if like is set, as many rows.
func (m *metric) one(function, name string, x Matrix) error {
	if err := x.check(function, name); err != nil {
		return err
	}
	m.workers = Options{}.workers()
	m.engine.Rows.Reset(x.Cols)
	return addRows(function, &m.engine.Rows, x, Matrix{}, name, true)
}

func (m *metric) pair(function, xName string, x Matrix, yName string, y Matrix, like bool) error {
	if err := x.check(function, xName); err != nil {
		return err
	}
	if like && x.Rows != y.Rows || x.Cols != y.Cols {
		return fmt.Errorf("%s: %s is %d×%d, %s is %d×%d: %w", function, yName, y.Rows, y.Cols, xName, x.Rows, x.Cols, ErrShape)
	}
	if err := y.check(function, yName); err != nil {
		return err
	}
	if err := m.one(function, xName, x); err != nil {
		return err
	}
	m.engine.Cols.Reset(x.Cols)
	return addRows(function, &m.engine.Cols, y, Matrix{}, yName, true)
}

func (m *metric) Row(_ int, s engine.Stat) [2]float64 {
	m.lse = append(m.lse, s.LSE[0])
	return [2]float64{}
}

func (m *metric) Col(int, engine.Stat) [2]float64 { return [2]float64{} }
func (m *metric) AddRow(int, []float32, float64)  {}
func (m *metric) AddCol(int, []float32, float64)  {}
