package contrastive

import (
	"fmt"
	"math"
	"unsafe"
)

// check returns an error unless m is a matrix that its Data holds. It names the
// function, which is a loss or its like, and the argument.
func (m Matrix) check(function, argument string) error {
	if m.Rows < 0 || m.Cols < 0 {
		return fmt.Errorf("%s: %s is %d×%d: %w", function, argument, m.Rows, m.Cols, ErrShape)
	}
	if m.Rows == 0 || m.Cols == 0 {
		return fmt.Errorf("%s: %s is %d×%d: %w", function, argument, m.Rows, m.Cols, ErrEmpty)
	}
	if m.Stride < m.Cols {
		return fmt.Errorf("%s: %s is %d×%d with a stride of %d, which must be at least %d: %w", function, argument, m.Rows, m.Cols, m.Stride, m.Cols, ErrShape)
	}
	if m.Rows-1 > (math.MaxInt-m.Cols)/m.Stride {
		return fmt.Errorf("%s: %s is %d×%d with a stride of %d, which no memory can hold: %w", function, argument, m.Rows, m.Cols, m.Stride, ErrShape)
	}
	if need := (m.Rows-1)*m.Stride + m.Cols; len(m.Data) < need {
		return fmt.Errorf("%s: %s is %d×%d with a stride of %d and needs %d elements of Data, which has %d: %w", function, argument, m.Rows, m.Cols, m.Stride, need, len(m.Data), ErrShape)
	}
	return nil
}

// checkLike returns an error unless m is a matrix of the size of like, which has
// been checked.
func (m Matrix) checkLike(function, argument string, like Matrix, likeArgument string) error {
	if m.Rows != like.Rows || m.Cols != like.Cols {
		return fmt.Errorf("%s: %s is %d×%d, %s is %d×%d: %w", function, argument, m.Rows, m.Cols, likeArgument, like.Rows, like.Cols, ErrShape)
	}
	return m.check(function, argument)
}

// overlaps reports whether two checked matrices share an element. It compares
// rows, not spans: two halves of the columns of one buffer do not overlap.
func overlaps(a, b Matrix) bool {
	const size = unsafe.Sizeof(float32(0))
	start := func(m Matrix, i int) uintptr {
		return uintptr(unsafe.Pointer(unsafe.SliceData(m.Data))) + uintptr(i*m.Stride)*size
	}
	if start(a, a.Rows-1)+uintptr(a.Cols)*size <= start(b, 0) || start(b, b.Rows-1)+uintptr(b.Cols)*size <= start(a, 0) {
		return false
	}
	for i, j := 0, 0; i < a.Rows && j < b.Rows; {
		x, y := start(a, i), start(b, j)
		switch {
		case x+uintptr(a.Cols)*size <= y:
			i++
		case y+uintptr(b.Cols)*size <= x:
			j++
		default:
			return true
		}
	}
	return false
}

// checkPositive returns an error unless v, once its default has replaced 0, is
// positive and finite.
func checkPositive(function, parameter string, v float32) error {
	if !(v > 0) || math.IsInf(float64(v), 1) {
		return fmt.Errorf("%s: %s is %v and must be positive and finite: %w", function, parameter, v, ErrParameter)
	}
	return nil
}

// checkNonNegative returns an error unless v is finite and not negative.
func checkNonNegative(function, parameter string, v float32) error {
	if !(v >= 0) || math.IsInf(float64(v), 1) {
		return fmt.Errorf("%s: %s is %v and must be finite and not negative: %w", function, parameter, v, ErrParameter)
	}
	return nil
}

// minTemperature is the least temperature whose logits, times any exponent that
// a loss uses, are far from overflow.
const minTemperature = 0x1p-100

func checkTemperature(function, parameter string, v float32) error {
	if v > 0 && v < minTemperature {
		return fmt.Errorf("%s: %s is %v and must be at least 2^-100: %w", function, parameter, v, ErrParameter)
	}
	return checkPositive(function, parameter, v)
}

// orDefault returns v, or the default if v is 0.
func orDefault(v, ifZero float32) float32 {
	if v == 0 {
		return ifZero
	}
	return v
}
