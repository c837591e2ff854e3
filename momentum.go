package contrastive

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

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
// at most 3·2⁻²⁴·(|target| + |online|) + 2⁻¹⁴⁷ for each parameter.
//
// It returns an error that wraps [ErrShape] if the lengths differ or the slices
// overlap without being the same, [ErrParameter] unless 0 ≤ m ≤ 1, or
// [ErrNotFinite] if a parameter is NaN or infinite. Then target has not changed.
func MomentumUpdate(target, online []float32, m float32) error {
	const function = "MomentumUpdate"
	if err := checkParameters(function, target, online, ""); err != nil {
		return err
	}
	if err := checkMomentum(function, m); err != nil {
		return err
	}
	momentumUpdate(target, online, m)
	return nil
}

// MomentumUpdates is [MomentumUpdate] for all the parameters of an encoder, one
// slice for each tensor: target[i] moves towards online[i]. Its errors are those
// of MomentumUpdate, and [ErrShape] if the lists differ in length; after an error
// none of the target has changed.
func MomentumUpdates(target, online [][]float32, m float32) error {
	const function = "MomentumUpdates"
	if err := checkMomentum(function, m); err != nil {
		return err
	}
	if len(target) != len(online) {
		return fmt.Errorf("%s: target has %d slices, online has %d: %w", function, len(target), len(online), ErrShape)
	}
	for i := range target {
		if err := checkParameters(function, target[i], online[i], fmt.Sprintf("[%d]", i)); err != nil {
			return err
		}
	}
	for i := range target {
		momentumUpdate(target[i], online[i], m)
	}
	return nil
}

func checkMomentum(function string, m float32) error {
	if !(m >= 0 && m <= 1) {
		return fmt.Errorf("%s: m is %v and must be from 0 to 1: %w", function, m, ErrParameter)
	}
	return nil
}

// checkParameters names the slices in errors with their index, such as "[3]".
func checkParameters(function string, target, online []float32, index string) error {
	if len(target) != len(online) {
		return fmt.Errorf("%s: target%s has %d elements, online%s has %d: %w", function, index, len(target), index, len(online), ErrShape)
	}
	if len(target) == 0 {
		return nil
	}
	if &target[0] != &online[0] && shareMemory(target, online) {
		return fmt.Errorf("%s: target%s overlaps online%s: %w", function, index, index, ErrShape)
	}
	for _, p := range [...]struct {
		name   string
		values []float32
	}{{"target", target}, {"online", online}} {
		if i := indexNotFinite(p.values); i >= 0 {
			return fmt.Errorf("%s: %s%s element %d is %v: %w", function, p.name, index, i, p.values[i], ErrNotFinite)
		}
	}
	return nil
}

func momentumUpdate(target, online []float32, m float32) {
	switch m {
	case 0:
		copy(target, online)
	case 1:
	default:
		simd.Lerp(target, online, float32(1-float64(m)))
	}
}

// shareMemory reports whether a and b have an element in common.
func shareMemory[T any](a, b []T) bool {
	start := func(v []T) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(v))) }
	var element T
	size := unsafe.Sizeof(element)
	return len(a) > 0 && len(b) > 0 &&
		start(a) < start(b)+uintptr(len(b))*size && start(b) < start(a)+uintptr(len(a))*size
}

// indexNotFinite returns the index of the first NaN or infinity in v, or -1. The
// sum of the squares of finite values is finite in float64.
func indexNotFinite(v []float32) int {
	if ss := simd.DotFloat64(v, v); !math.IsNaN(ss) && !math.IsInf(ss, 0) {
		return -1
	}
	return slices.IndexFunc(v, func(x float32) bool { return x-x != 0 })
}
