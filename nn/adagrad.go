package nn

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/simd"
)

// Adagrad is the method of Duchi, Hazan and Singer, "Adaptive Subgradient Methods for
// Online Learning and Stochastic Optimization" (2011), figure 1, with diagonal matrices:
//
//	s = s + g²
//	w = w − rate·g/(√s + ε)
//
// It suits tables of embeddings, of whose rows some are met often and most seldom: see
// [Embedding.Sparse]. The fields must not change after the first step, but for Workers.
type Adagrad struct {
	Params  []*Param // what is trained; see [Params]
	Epsilon float64  // 0 means 10⁻¹⁰
	Initial float64  // of s; 0 is usual, TensorFlow has 0.1
	RowWise bool     // one s for a row, to which the mean of g² over the row is added
	Workers int      // as that of [Linear]

	trained trained
	sums    [][]float32
	now     adagradStep
}

// adagradStep is one step for one parameter.
type adagradStep struct {
	w, s, g       []float32
	cols          int // of a row, if there is one s for a row, or else 0
	rate, epsilon float64

	touched   []int // rows that have a gradient, if the others have none
	rowLength int
}

// Step implements [Optimizer].
func (a *Adagrad) Step(rate float64) error {
	epsilon := orDefault(a.Epsilon, 1e-10)
	if err := a.check(rate, epsilon); err != nil {
		return fmt.Errorf("nn: Adagrad: %w", err)
	}
	a.init()
	now := &a.now
	now.rate, now.epsilon = rate, epsilon
	for i, p := range a.Params {
		now.w, now.s, now.g, now.cols = p.Value, a.sums[i], p.Grad, 0
		if a.RowWise {
			now.cols = p.cols()
		}
		switch {
		case p.sparse:
			now.touched = p.touched
			now.rowLength = p.cols()
			run((*adagradTouched)(now), len(now.touched), max(1, rowGrain(now.rowLength)/4), a.Workers)
		case a.RowWise:
			run((*adagradRows)(now), len(now.w)/now.cols, rowGrain(now.cols), a.Workers)
		default:
			run(now, len(now.w), grainElements, a.Workers)
		}
		p.bound()
		p.ZeroGrad()
	}
	*now = adagradStep{}
	return nil
}

func (a *Adagrad) check(rate, epsilon float64) error {
	if !(epsilon >= minEpsilon) || math.IsInf(epsilon, 1) {
		return fmt.Errorf("Epsilon is %v and must be finite and at least %v: %w", epsilon, minEpsilon, contrastive.ErrParameter)
	}
	if !(a.Initial >= 0 && a.Initial <= math.MaxFloat32) {
		return fmt.Errorf("Initial is %v and must be finite and not negative: %w", a.Initial, contrastive.ErrParameter)
	}
	return a.trained.checkStep(rate, 0, a.Params)
}

// adagradTouched is a step whose parts are rows that have a gradient.
type adagradTouched adagradStep

func (s *adagradTouched) part(lo, hi int) {
	for _, i := range s.touched[lo:hi] {
		(*adagradStep)(s).update(i*s.rowLength, (i+1)*s.rowLength)
	}
}

func (s *adagradStep) part(lo, hi int) { s.update(lo, hi) }

// adagradRows is a step whose parts are rows.
type adagradRows adagradStep

func (s *adagradRows) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		(*adagradStep)(s).update(i*s.cols, (i+1)*s.cols)
	}
}

// update is for elements lo to hi-1, which are one row if cols is not 0. Sums end at the
// greatest float32.
func (s *adagradStep) update(lo, hi int) {
	w, g := s.w[lo:hi], s.g[lo:hi]
	if s.cols != 0 {
		sum := &s.s[lo/s.cols]
		*sum = float32(min(float64(*sum)+simd.DotFloat64(g, g)/float64(s.cols), math.MaxFloat32))
		simd.Axpy(float32(-s.rate/(math.Sqrt(float64(*sum))+s.epsilon)), g, w)
		return
	}
	sums := s.s[lo:hi]
	simd.AddSquare(sums, g)
	// Adam's step, with the gradient and the sum in the places of its averages.
	simd.AdamStep(w, g, sums, 1, float32(s.rate), 1, float32(s.epsilon))
}

func (a *Adagrad) init() {
	if a.trained != nil {
		return
	}
	a.trained = append(trained{}, a.Params...)
	a.sums = moments(a.Params)
	for i, p := range a.Params {
		if a.RowWise {
			a.sums[i] = a.sums[i][:len(p.Value)/max(p.cols(), 1)]
		}
		for j := range a.sums[i] {
			a.sums[i][j] = float32(a.Initial)
		}
	}
}

// State implements [Optimizer].
func (a *Adagrad) State() []Tensor {
	a.init()
	state := momentTensors(nil, "sum", a.Params, a.sums)
	if a.RowWise {
		for i, p := range a.Params {
			state[i].Shape = p.Shape[:max(len(p.Shape)-1, 0)]
		}
	}
	return state
}
