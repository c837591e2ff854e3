package contrastive

import (
	"fmt"
	"math"
	"slices"

	"github.com/contrastive-go/contrastive/simd"
)

// MomentumUpdate moves the parameters of a momentum encoder towards those of the
// online encoder:
//
//	target = m·target + (1−m)·online
//
// It is equation 2 of He, Fan, Wu, Xie and Girshick, "Momentum Contrast for
// Unsupervised Visual Representation Learning" (2020), with m = 0.999. A momentum
// of 0 copies online, and one of 1 leaves target, exactly; otherwise the error is
// at most 3·2⁻²⁴·(|target| + |online|) for each parameter.
//
// It returns an error that wraps [ErrShape] if the lengths differ or the slices
// overlap without being the same, [ErrParameter] unless 0 ≤ m ≤ 1, or
// [ErrNotFinite] if a parameter is NaN or infinite. Then target has not changed.
func MomentumUpdate(target, online []float32, m float32) error {
	if len(target) != len(online) {
		return fmt.Errorf("MomentumUpdate: target has %d elements, online has %d: %w", len(target), len(online), ErrShape)
	}
	if !(m >= 0 && m <= 1) {
		return fmt.Errorf("MomentumUpdate: m is %v and must be from 0 to 1: %w", m, ErrParameter)
	}
	if len(target) == 0 {
		return nil
	}
	row := func(v []float32) Matrix { return Matrix{Rows: 1, Cols: len(v), Stride: len(v), Data: v} }
	if &target[0] != &online[0] && overlaps(row(target), row(online)) {
		return fmt.Errorf("MomentumUpdate: target overlaps online: %w", ErrShape)
	}
	for _, p := range [...]struct {
		name   string
		values []float32
	}{{"target", target}, {"online", online}} {
		if i := indexNotFinite(p.values); i >= 0 {
			return fmt.Errorf("MomentumUpdate: %s element %d is %v: %w", p.name, i, p.values[i], ErrNotFinite)
		}
	}
	switch m {
	case 0:
		copy(target, online)
	case 1:
	default:
		simd.Lerp(target, online, float32(1-float64(m)))
	}
	return nil
}

// indexNotFinite returns the index of the first NaN or infinity in v, or -1. The
// sum of the squares of finite values is finite in float64.
func indexNotFinite(v []float32) int {
	if ss := simd.DotFloat64(v, v); !math.IsNaN(ss) && !math.IsInf(ss, 0) {
		return -1
	}
	return slices.IndexFunc(v, func(x float32) bool { return x-x != 0 })
}

// CosineSchedule goes from start, at step 0, to end, at step steps and after, in
// half a period of a cosine:
//
//	end − (end − start)·(cos(π·step/steps) + 1)/2
//
// BYOL raises its momentum so, from 0.996 to 1: Grill et al., "Bootstrap Your Own
// Latent" (2020), implementation details. If steps is not positive the result is end.
func CosineSchedule(start, end float64, step, steps int) float64 {
	switch {
	case step >= steps:
		return end
	case step <= 0:
		return start
	}
	return end - (end-start)*(math.Cos(math.Pi*float64(step)/float64(steps))+1)/2
}
