package simd_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/simd"
)

// spread returns n values of either sign whose magnitudes are spread over 2^±bits.
func spread(r *rand.Rand, n uint16, bits float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.Copysign(math.Exp2(bits*(2*r.Float64()-1)), r.Float64()-0.5))
	}
	return x
}

func FuzzDot(f *testing.F) {
	f.Add(uint64(1), uint16(100))
	f.Add(uint64(2), uint16(5000))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16) {
		r := rand.New(rand.NewPCG(seed, 0))
		x, y := spread(r, n, 30), spread(r, n, 30)
		want, size := 0.0, 0.0
		for i := range x {
			p := float64(x[i]) * float64(y[i])
			want += p
			size += math.Abs(p)
		}
		isatest.Each(t, func(t *testing.T) {
			near(t, "Dot", len(x), float64(simd.Dot(x, y)), want, (float64(n/16)+24)*u*size)
			// Twice the bound: the sum that it is compared with has an error, too.
			near(t, "DotFloat64", len(x), simd.DotFloat64(x, y), want, 2*(float64(n)+1)*0x1p-53*size)
		})
	})
}

// FuzzNormalize spreads the elements over the whole range of float32, subnormal
// numbers included.
func FuzzNormalize(f *testing.F) {
	f.Add(uint64(1), uint16(100))
	f.Add(uint64(2), uint16(1))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16) {
		x := spread(rand.New(rand.NewPCG(seed, 0)), n, 120)
		for i := range x {
			x[i] *= 0x1p-20
		}
		norm := 0.0
		for _, v := range x {
			norm += float64(v) * float64(v)
		}
		norm = math.Sqrt(norm)
		isatest.Each(t, func(t *testing.T) {
			dst := append([]float32{}, x...)
			near(t, "Normalize", len(x), float64(simd.Normalize(dst, dst)), norm, u*norm+0x1p-150)
			for i, v := range dst {
				near(t, "Normalize", len(x), float64(v), float64(x[i])/max(norm, 0x1p-149), 2*u)
			}
		})
	})
}

func FuzzLogSumExp(f *testing.F) {
	f.Add(uint64(1), uint16(100), float32(14))
	f.Add(uint64(2), uint16(5000), float32(-3))
	f.Add(uint64(3), uint16(3000), float32(0))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, scale float32) {
		if n == 0 || !(math.Abs(float64(scale)) < 1e6) {
			t.Skip()
		}
		x := spread(rand.New(rand.NewPCG(seed, 0)), n, 8)
		top, size := math.Inf(-1), 0.0
		for _, v := range x {
			y := float64(scale) * float64(v)
			top, size = max(top, y), max(size, math.Abs(y))
		}
		want := 0.0
		for _, v := range x {
			want += math.Exp(float64(scale)*float64(v) - top)
		}
		want = top + math.Log(want)
		isatest.Each(t, func(t *testing.T) {
			near(t, "LogSumExp", len(x), float64(simd.LogSumExp(x, scale)), want, logSumExpBound(len(x), size, want))
		})
	})
}
