// Package floattest helps to test kernels on float32 values: it makes awkward values
// and compares results with bounds.
package floattest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/guard"
)

// U is the unit roundoff of float32.
const U = 0x1p-24

// Deviates fills s with normal deviates.
func Deviates(r *rand.Rand, s []float32) {
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
}

// Fill sets all elements of s to v.
func Fill(s []float32, v float32) {
	for i := range s {
		s[i] = v
	}
}

// Guarded returns normal deviates that end at a page that faults.
func Guarded(t *testing.T, r *rand.Rand, n int) []float32 {
	_, s := guard.Float32s(t, n)
	Deviates(r, s)
	return s
}

// Spread returns n values of either sign whose magnitudes are spread over 2^±bits.
func Spread(r *rand.Rand, n uint16, bits float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.Copysign(math.Exp2(bits*(2*r.Float64()-1)), r.Float64()-0.5))
	}
	return x
}

// Poke sets elements of x, the places and bits of which edits says in six bytes
// each.
func Poke(x []float32, edits []byte) {
	for ; len(edits) >= 6 && len(x) > 0; edits = edits[6:] {
		x[int(binary.LittleEndian.Uint16(edits))%len(x)] = math.Float32frombits(binary.LittleEndian.Uint32(edits[2:]))
	}
}

// Edit returns the bytes of one edit for Poke.
func Edit(at uint16, v float32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(nil, at), math.Float32bits(v))
}

// Same is slices.Equal for bits.
func Same(x, y []float32) bool {
	return slices.EqualFunc(x, y, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

// Near fails t unless got, of n elements, is within bound of want.
func Near(t *testing.T, what string, n int, got, want, bound float64) {
	if !(math.Abs(got-want) <= bound) && got != want {
		t.Helper()
		t.Fatalf("%s of %d elements is %v, want %v ± %.2g", what, n, got, want, bound)
	}
}

// EachFloat32 calls f with every 9973rd float32, or with all of them if the
// CONTRASTIVE_EXHAUSTIVE environment variable is set, up to 4096 at a time.
func EachFloat32(f func(x []float32)) {
	step := uint64(9973)
	if os.Getenv("CONTRASTIVE_EXHAUSTIVE") != "" {
		step = 1
	}
	buf := make([]float32, 0, 4096)
	for bits := uint64(0); bits < 1<<32; bits += step {
		buf = append(buf, math.Float32frombits(uint32(bits)))
		if len(buf) == cap(buf) {
			f(buf)
			buf = buf[:0]
		}
	}
	f(buf)
}

// CheckExp fails t unless got, an exponential of x, is want within ulps·U relative, if
// that is normal, or 0 or rounded to the next subnormal if it is not.
func CheckExp(t *testing.T, what string, x, got float32, want, ulps float64) {
	t.Helper()
	switch {
	case x != x:
		if got == got {
			t.Fatalf("%s(NaN) is %v", what, got)
		}
	case want >= 0x1.ffffffp127:
		if !math.IsInf(float64(got), 1) {
			t.Fatalf("%s(%v) is %v, want +Inf", what, x, got)
		}
	case want < 0x1p-126*(1+8*U):
		if got != 0 && math.Abs(float64(got)-want) > 0x1p-149+ulps*U*want {
			t.Fatalf("%s(%v) is %v, want %v or 0", what, x, got, want)
		}
	default:
		if err := math.Abs(float64(got)/want-1) / U; !(err <= ulps) {
			t.Fatalf("%s(%v) is %v, want %v: error %.2f·u, bound %v·u", what, x, got, want, err, ulps)
		}
	}
}
