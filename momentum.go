package contrastive

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"unsafe"

	"github.com/contrastive-go/contrastive/internal/fpmode"
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
// at most 3·2⁻²⁴·(|target| + |online|) + 2⁻¹⁴⁷ for each parameter, and one that is as
// near to the greatest float32 may become infinite.
//
// It returns an error that wraps [ErrShape] if the lengths differ or the slices
// overlap without being the same, [ErrParameter] unless 0 ≤ m ≤ 1, or
// [ErrNotFinite] if a parameter is NaN or infinite. Then target has not changed.
func MomentumUpdate(target, online []float32, m float32) error {
	defer fpmode.Enter().Leave()
	const function = "MomentumUpdate"
	if err := checkParameters(target, online, alone); err != nil {
		return wrap(function, err)
	}
	if err := checkMomentum(m); err != nil {
		return wrap(function, err)
	}
	momentumUpdate(target, online, m)
	return nil
}

// MomentumUpdates is [MomentumUpdate] for all the parameters of an encoder, one
// slice for each tensor: target[i] moves towards online[i]. Its errors are those
// of MomentumUpdate, and [ErrShape] if the lists differ in length or a slice of
// target overlaps another slice than its own of online: a tensor that two layers
// share is listed once. After an error none of the target has changed.
func MomentumUpdates(target, online [][]float32, m float32) error {
	defer fpmode.Enter().Leave()
	if err := checkLists(target, online, m); err != nil {
		return wrap("MomentumUpdates", err)
	}
	for i := range target {
		momentumUpdate(target[i], online[i], m)
	}
	return nil
}

func checkLists(target, online [][]float32, m float32) error {
	if err := checkMomentum(m); err != nil {
		return err
	}
	if len(target) != len(online) {
		return fmt.Errorf("target has %d slices, online has %d: %w", len(target), len(online), ErrShape)
	}
	for i := range target {
		if err := checkParameters(target[i], online[i], i); err != nil {
			return err
		}
	}
	return checkApart(target, online)
}

func checkMomentum(m float32) error {
	if !(m >= 0 && m <= 1) {
		return fmt.Errorf("m is %v and must be from 0 to 1: %w", m, ErrParameter)
	}
	return nil
}

// alone is the index of slices that are not in lists.
const alone = -1

// checkParameters checks one pair of slices. Their index in lists, or alone, is for
// errors.
func checkParameters(target, online []float32, index int) error {
	place := func() string {
		if index == alone {
			return ""
		}
		return fmt.Sprintf("[%d]", index)
	}
	if len(target) != len(online) {
		return fmt.Errorf("target%s has %d elements, online%s has %d: %w", place(), len(target), place(), len(online), ErrShape)
	}
	if t, o := spanOf(target, 0), spanOf(online, 0); t != o && t.overlaps(o) {
		return fmt.Errorf("target%s overlaps online%s: %w", place(), place(), ErrShape)
	}
	for _, p := range [...]struct {
		name   string
		values []float32
	}{{"target", target}, {"online", online}} {
		if i := indexNotFinite(p.values); i >= 0 {
			return &elementError{NotFiniteError{Argument: p.name + place(), Col: i, Value: p.values[i]}}
		}
	}
	return nil
}

// An elementError is a NotFiniteError of a slice, which has no rows.
type elementError struct{ at NotFiniteError }

func (e *elementError) Error() string {
	return fmt.Sprintf("%s element %d is %v: %v", e.at.Argument, e.at.Col, e.at.Value, ErrNotFinite)
}

func (e *elementError) Unwrap() error { return &e.at }

var spansPool = sync.Pool{New: func() any { return new([]span) }}

// checkApart returns an error if a slice of target overlaps another one of target, or
// one of online that has another index. The slices of equal index have been checked.
func checkApart(target, online [][]float32) error {
	pooled := spansPool.Get().(*[]span)
	defer spansPool.Put(pooled)
	spans := slices.Grow((*pooled)[:0], len(target)+len(online))
	*pooled = spans
	// Nothing is called before all addresses are known: a call may move the stack,
	// and slices that are on it.
	for i, v := range target {
		if len(v) > 0 {
			spans = append(spans, spanOf(v, i))
		}
	}
	n := len(spans)
	for i, v := range online {
		if len(v) > 0 {
			spans = append(spans, spanOf(v, i))
		}
	}
	targets, onlines := spans[:n], spans[n:]

	slices.SortFunc(targets, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.index, b.index))
	})
	for i := 1; i < len(targets); i++ {
		if a, b := targets[i-1], targets[i]; a.overlaps(b) {
			return fmt.Errorf("target[%d] overlaps target[%d]: %w", max(a.index, b.index), min(a.index, b.index), ErrShape)
		}
	}
	for _, o := range onlines {
		// The targets are apart, so that their ends ascend, too.
		i, _ := slices.BinarySearchFunc(targets, o, func(t, o span) int {
			if t.end <= o.start {
				return -1
			}
			return 1
		})
		if i < len(targets) && targets[i].overlaps(o) && targets[i].index != o.index {
			return fmt.Errorf("target[%d] overlaps online[%d]: %w", targets[i].index, o.index, ErrShape)
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

// A span is where a slice lies in memory. Its index is that in a list.
type span struct {
	start, end uintptr
	index      int
}

func spanOf[T any](v []T, index int) span {
	start := uintptr(unsafe.Pointer(unsafe.SliceData(v)))
	return span{start, start + uintptr(len(v))*unsafe.Sizeof(*new(T)), index}
}

// overlaps reports whether two spans have an element in common.
func (s span) overlaps(t span) bool { return max(s.start, t.start) < min(s.end, t.end) }

// indexNotFinite returns the index of the first NaN or infinity in v, or -1. The
// sum of the squares of finite values is finite in float64.
func indexNotFinite(v []float32) int {
	if ss := simd.DotFloat64(v, v); !math.IsNaN(ss) && !math.IsInf(ss, 0) {
		return -1
	}
	return slices.IndexFunc(v, func(x float32) bool { return x-x != 0 })
}
