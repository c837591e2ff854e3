package simd_test

import (
	"math"
	"testing"

	"github.com/contrastive-go/contrastive/internal/floattest"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/simd"
)

// TestExp checks the exponential of ExpSum, within 2·u in assembly and 4·u in
// portable code.
func TestExp(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		ulps := 2.0
		if simd.Level() == "generic" {
			ulps = 4
		}
		dst := make([]float32, 4096)
		floattest.EachFloat32(func(x []float32) {
			simd.ExpSum(dst[:len(x)], x, 1, 0)
			for i, v := range x {
				floattest.CheckExp(t, "exp", v, dst[i], math.Exp(float64(v)), ulps)
			}
		})
	})
}
