package simd_test

import (
	"fmt"
	"testing"

	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/simd"
)

func benchmark(b *testing.B, bytes int, f func(x, y []float32)) {
	isatest.EachB(b, func(b *testing.B) {
		for _, n := range []int{64, 128, 768, 4096} {
			b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
				x, y := make([]float32, n), make([]float32, n)
				b.SetBytes(int64(bytes * n))
				for b.Loop() {
					f(x, y)
				}
			})
		}
	})
}

func BenchmarkDot(b *testing.B) {
	benchmark(b, 8, func(x, y []float32) { simd.Dot(x, y) })
}

func BenchmarkDotFloat64(b *testing.B) {
	benchmark(b, 8, func(x, y []float32) { simd.DotFloat64(x, y) })
}

func BenchmarkNormalize(b *testing.B) {
	benchmark(b, 8, func(x, y []float32) { simd.Normalize(y, x) })
}

func BenchmarkAxpy(b *testing.B) {
	benchmark(b, 12, func(x, y []float32) { simd.Axpy(1, x, y) })
}

func BenchmarkLerp(b *testing.B) {
	benchmark(b, 12, func(x, y []float32) { simd.Lerp(x, y, 0.5) })
}

func BenchmarkExpSum(b *testing.B) {
	benchmark(b, 8, func(x, y []float32) { simd.ExpSum(y, x, 1, 0) })
}

func BenchmarkLogSumExp(b *testing.B) {
	benchmark(b, 4, func(x, y []float32) { simd.LogSumExp(x, 1) })
}

// BenchmarkCopy is the roof of the kernels that read and write.
func BenchmarkCopy(b *testing.B) {
	benchmark(b, 8, func(x, y []float32) { copy(y, x) })
}
