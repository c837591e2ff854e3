package simd_test

import (
	"math"
	"os"
	"testing"

	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/simd"
)

// float32s calls f with every 9973rd float32, or with all of them if the
// CONTRASTIVE_EXHAUSTIVE environment variable is set, a few at a time.
func float32s(f func(x []float32)) {
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

// checkExp fails t unless got is want within ulps·u relative, if that is normal,
// or 0 or rounded to the next subnormal if it is not.
func checkExp(t *testing.T, what string, x, got float32, want, ulps float64) {
	switch {
	case x != x:
		if got == got {
			t.Fatalf("%s(NaN) is %v", what, got)
		}
	case want >= 0x1.ffffffp127:
		if !math.IsInf(float64(got), 1) {
			t.Fatalf("%s(%v) is %v, want +Inf", what, x, got)
		}
	case want < 0x1p-126*(1+8*u):
		if got != 0 && math.Abs(float64(got)-want) > 0x1p-149+ulps*u*want {
			t.Fatalf("%s(%v) is %v, want %v or 0", what, x, got, want)
		}
	default:
		if err := math.Abs(float64(got)/want-1) / u; !(err <= ulps) {
			t.Fatalf("%s(%v) is %v, want %v: error %.2f·u, bound %v·u", what, x, got, want, err, ulps)
		}
	}
}

// TestExp checks the exponential of ExpSum, within 2·u in assembly and 4·u in
// portable code.
func TestExp(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		ulps := 2.0
		if simd.Level() == "generic" {
			ulps = 4
		}
		dst := make([]float32, 4096)
		float32s(func(x []float32) {
			simd.ExpSum(dst[:len(x)], x, 1, 0)
			for i, v := range x {
				checkExp(t, "exp", v, dst[i], math.Exp(float64(v)), ulps)
			}
		})
	})
}

func TestExp2Generic(t *testing.T) {
	float32s(func(x []float32) {
		for _, v := range x {
			checkExp(t, "exp2", v, simd.Exp2Generic(v), math.Exp2(float64(v)), 4)
		}
	})
}

// TestPanelExp2 checks the 2^y of the panel kernels, for their range, within 2·u
// in assembly and 4·u in portable code.
func TestPanelExp2(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		ulps := 2.0
		if l := simd.Level(); l == "generic" || l == "neon" {
			ulps = 4
		}
		s := simd.TileShape()
		block := make([]float32, s.Cols)
		shift := []float32{0}
		tally := newTally(s.Lanes)
		float32s(func(x []float32) {
			for len(x) >= s.Cols {
				copy(block, x)
				simd.TallyRows(block, 1, 1, shift, tally, true)
				for i, v := range x[:s.Cols] {
					if v < 128 {
						checkExp(t, "exp2", v, block[i], math.Exp2(float64(v)), ulps)
					}
				}
				x = x[s.Cols:]
			}
		})
		// What does not count has an exponential of exactly 0.
		for i := range block {
			block[i] = float32(math.Inf(-1))
		}
		tally = newTally(s.Lanes)
		simd.TallyRows(block, 1, 1, shift, tally, true)
		for i, v := range block {
			if v != 0 {
				t.Errorf("the exponential of -Inf in lane %d is %v", i, v)
			}
		}
		for i := range s.Lanes {
			if tally.Sum[i] != 0 || tally.Moment[i] != 0 {
				t.Errorf("the sums of -Inf in lane %d are %v, %v", i, tally.Sum[i], tally.Moment[i])
			}
		}
	})
}

func newTally(n int) simd.Tally {
	t := simd.Tally{Sum: make([]float32, n), Moment: make([]float32, n), Top: make([]float32, n)}
	for i := range t.Top {
		t.Top[i] = float32(math.Inf(-1))
	}
	return t
}
